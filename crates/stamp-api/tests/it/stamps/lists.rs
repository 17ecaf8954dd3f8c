//! Lists of stamps and batches, page by page.

use serde_json::Value;

use crate::harness::{Api, World};

/// Stores stamps as services do: `p…` are pending, `k…` were processed with a row that the intake had made, `e…` are those
/// of another producer. Batches are of three stamps each.
async fn stamps(world: &World) {
    let sql = "
        WITH made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date, batch_id, kafka_partition, kafka_offset)
            SELECT (ARRAY['p', 'k', 'e'])[number % 3 + 1] || number, 1, now(),
                CASE number % 3 WHEN 2 THEN number / 9 + 1 END, CASE number % 3 WHEN 2 THEN 0 END,
                CASE number % 3 WHEN 2 THEN 0 END
            FROM generate_series(0, 26) AS number ORDER BY number RETURNING id, object_cid
        ), pending AS (
            INSERT INTO pending_stamps (stamp_id, owner, seq)
            SELECT id, 1, id FROM made WHERE object_cid LIKE 'p%'
        ), processed AS (
            INSERT INTO processed_stamps (stamp_id, batch_id, time_tolerance, created_date, kafka_partition, kafka_offset)
            SELECT id, 3 - substr(object_cid, 2)::int / 9, 1, now(), 0, 0 FROM made WHERE object_cid LIKE 'k%'
        )
        INSERT INTO batches (trigger, size, listener, topic, processed_at)
        SELECT 'deadline', 6, 'l', 't', now() FROM generate_series(1, 3)";
    world.database.run(sql).await;
}

/// Returns what a list names in all its pages together, by `of`.
async fn all(api: &Api, path: &str, items: &str, of: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}{after}")).await.json();
        let items = page[items].as_array().expect("items");
        assert!((1..=4).contains(&items.len()), "{page}");
        found.extend(items.iter().map(|item| item[of].to_string().replace('"', "")));
        match &page["next"] {
            Value::String(next) => after = format!("&after={next}"),
            next => {
                assert!(next.is_null(), "{next}");
                return found;
            }
        }
    }
}

// Break: let `page` of store's stamps/lists.rs ask for `limit` rows.
#[tokio::test(flavor = "multi_thread")]
async fn every_stamp_and_batch_is_on_one_page_of_its_list_the_newest_first() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    for path in ["/v1/stamps", "/v1/batches/"] {
        assert_eq!(api.get(path).await.json(), serde_json::json!({"items": [], "next": null}));
    }
    stamps(&world).await;
    let ids = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        numbers.map(|number| format!("{}{number}", ["p", "k", "e"][number % 3])).collect()
    };
    for limit in 1..=4 {
        let list = async |query: &str| {
            all(&api, &format!("/v1/stamps?limit={limit}{query}"), "items", "object_cid").await
        };
        assert_eq!(list("").await, ids(&mut (0..27).rev()));
        assert_eq!(list("&state=pending").await, ids(&mut (0..27).rev().filter(|number| number % 3 == 0)));
        // By the batch, and in it by the row: 3, 2, 1.
        let batches = [(18..27, 0..9), (9..18, 9..18), (0..9, 18..27)];
        let processed = batches.into_iter().flat_map(|(events, known)| {
            let mut both: Vec<usize> = events
                .filter(|number| number % 3 == 2)
                .chain(known.filter(|number| number % 3 == 1))
                .collect();
            both.sort_unstable();
            both.into_iter().rev()
        });
        assert_eq!(list("&state=processed").await, ids(&mut processed.collect::<Vec<_>>().into_iter()));
        let path = format!("/v1/batches?limit={limit}");
        assert_eq!(all(&api, &path, "items", "id").await, ["3", "2", "1"]);
        let path = format!("/v1/batches/3?limit={limit}");
        assert_eq!(
            all(&api, &path, "stamps", "object_cid").await,
            ids(&mut [1, 4, 7, 20, 23, 26].into_iter())
        );
    }
    let batch = &api.get("/v1/batches?limit=1").await.json()["items"][0];
    assert_eq!(
        (&batch["trigger"], &batch["size"], &batch["delivery"]),
        (&"deadline".into(), &6.into(), &Value::Null)
    );
    api.stop().await;
}

// Break: compare with `<=` in `page` of store's stamps/lists.rs.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_somebody_turns_pages_shows_nothing_twice_and_hides_nothing_that_was_there() {
    let world = World::new().await;
    stamps(&world).await;
    let api = world.serve(&[]).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["object_cid"].as_str().expect("an id").to_owned()).collect()
    };
    let page = async |query: &str| api.get(&format!("/v1/stamps?limit=4{query}")).await.json();
    let (all, pending) = (page("").await, page("&state=pending").await);
    assert_eq!(
        (ids(&all), ids(&pending)),
        (
            ["e26", "k25", "p24", "e23"].map(String::from).to_vec(),
            ["p24", "p21", "p18", "p15"].map(String::from).to_vec()
        )
    );
    // A stamp comes, and one that was shown and one that was not are processed.
    world
        .database
        .run(
            "WITH new AS (
                INSERT INTO stamps (object_cid, time_tolerance, created_date) VALUES ('p27', 1, now()) RETURNING id
            ), waits AS (
                INSERT INTO pending_stamps (stamp_id, owner, seq) SELECT id, 1, id FROM new
            ), left_now AS (
                DELETE FROM pending_stamps p USING stamps s
                WHERE s.id = p.stamp_id AND s.object_cid IN ('p18', 'p12') RETURNING p.stamp_id
            )
            INSERT INTO processed_stamps (stamp_id, batch_id, time_tolerance, created_date)
            SELECT stamp_id, 3, 1, now() FROM left_now",
        )
        .await;
    let after = |page: &Value| format!("&after={}", page["next"].as_str().expect("a cursor"));
    assert_eq!(ids(&page(&after(&all)).await), ["k22", "p21", "e20", "k19"]);
    assert_eq!(ids(&page(&format!("&state=pending{}", after(&pending))).await), ["p9", "p6", "p3", "p0"]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_no_page_of_a_list_is_told_which_parameter_is_wrong() {
    let world = World::new().await;
    stamps(&world).await;
    let api = world.serve(&[]).await;
    let next = async |path: &str| api.get(path).await.json()["next"].as_str().expect("a cursor").to_owned();
    let of_stamps = next("/v1/stamps?limit=1").await;
    let of_pending = next("/v1/stamps?limit=1&state=pending").await;
    let of_batches = next("/v1/batches?limit=1").await;
    let of_batch = next("/v1/batches/3?limit=1").await;
    let mut wrong =
        vec![("/v1/stamps?state=lost".to_owned(), "state"), ("/v1/stamps?state=".to_owned(), "state")];
    for list in ["/v1/stamps", "/v1/batches", "/v1/batches/3"] {
        let limits = ["0", "-1", "1.5", "100000000000000000000", ""];
        wrong.extend(limits.map(|limit| (format!("{list}?limit={limit}"), "limit")));
        wrong.push((format!("{list}?after="), "after"));
        wrong.push((format!("{list}?after=x"), "after"));
    }
    let with_cursor = |path: &str, cursor: &str| (format!("{path}after={cursor}"), "after");
    wrong.extend([
        with_cursor("/v1/stamps?", &of_pending),
        with_cursor("/v1/stamps?state=processed&", &of_stamps),
        with_cursor("/v1/stamps?", &of_batches),
        with_cursor("/v1/batches?", &of_stamps),
        with_cursor("/v1/batches/2?", &of_batch),
        with_cursor("/v1/batches?", &of_batch),
        with_cursor("/v1/stamps?", &of_stamps[1..]),
        with_cursor("/v1/stamps?", &of_stamps[..of_stamps.len() - 4]),
    ]);
    let answer = api.get(&format!("/v1/stamps?state=pendin&after={of_pending}")).await.json();
    assert!(answer["after"].is_null(), "the cursor may be good: {answer}");
    for (path, parameter) in wrong {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(answer.json()[parameter].is_array(), "{path}: {answer:?}");
    }
    api.stop().await;
}
