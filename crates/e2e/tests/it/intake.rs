//! What a newcomer types, and what they see.

use test_support::eventually;

use e2e::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn two_posts_end_in_one_batch_of_two() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let _listener = world.listener(&[]).await;
    for object_cid in ["1", "2"] {
        let (status, body) = world.create(&url, object_cid, "10").await.expect("an answer");
        assert_eq!(status, 201, "{body}");
        assert!(
            body.starts_with(&format!(
                r#"{{"object_cid":"{object_cid}","time_tolerance":10,"created_date":""#
            ))
        );
    }
    let first = world.processed(&url, "1").await;
    let second = world.processed(&url, "2").await;
    assert_eq!(first["batch"], second["batch"]);
    assert_eq!((&first["batch"]["size"], &first["batch"]["trigger"]), (&2.into(), &"min_batch_size".into()));
    assert_eq!(first["kafka"]["topic"], world.topic.name());
    let batch = world
        .client
        .get(format!("{url}/v1/batches/{}", first["batch"]["id"]))
        .send()
        .await
        .expect("an answer");
    let batch: serde_json::Value = serde_json::from_str(&batch.text().await.expect("a text")).expect("JSON");
    assert_eq!(batch["stamps"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_bound_shows_how_much_of_it_is_taken() {
    let world = World::new().await;
    let (api, url) = world.api().await;
    let (_listener, listener_url) = world.listener_with_url(&[]).await;
    let api_url = format!("http://{}", api.address("metrics").await);
    assert_eq!(world.create(&url, "a", "10").await.expect("an answer").0, 201);
    // The client keeps its connection.
    assert_eq!(world.metric(&api_url, "stamp_api_http_connections").await, Some(1.0));
    assert_eq!(world.metric(&api_url, "stamp_api_intake_queue").await, Some(0.0));
    for (url, service) in [(&api_url, "stamp_api"), (&listener_url, "queue_listener")] {
        let of = |state: &str| format!("{service}_database_connections{{state=\"{state}\"}}");
        let open = world.metric(url, &of("used")).await.zip(world.metric(url, &of("idle")).await);
        assert!(
            open.is_some_and(|(used, idle)| (1.0..=10.0).contains(&(used + idle))),
            "{service}: {open:?}"
        );
    }
    assert_eq!(world.metric(&listener_url, "queue_listener_paused").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_exists_is_refused_and_published_once() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    assert_eq!(world.create(&url, "a", "10").await.expect("an answer").0, 201);
    let (status, body) = world.create(&url, "a", "20").await.expect("an answer");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains(r#""object_cid":["#), "{body}");
    eventually("published", || async { world.topic.read().len() }, |count| *count == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_posts_of_one_id_make_one_stamp() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let posts: Vec<_> = (0..100)
        .map(|_| {
            let (client, url) = (world.client.clone(), format!("{url}/v1/stamps"));
            tokio::spawn(async move {
                let request = client.post(url).header("content-type", "application/json");
                let answer = request.body(r#"{"object_cid":"same","time_tolerance":10}"#).send().await;
                answer.expect("an answer").status().as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.expect("no panic"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 409), "{statuses:?}");
}
