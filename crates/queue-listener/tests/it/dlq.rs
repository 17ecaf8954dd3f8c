//! `queue-listener dlq`, run as the program that it is.

use std::process::Command;

use serde_json::Value;
use test_support::eventually;

use crate::harness::World;

const REPLAYED: &str = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NOT NULL";
const RESOLVED: &str = "SELECT count(*) FROM dead_letters WHERE resolved_at IS NOT NULL";
const ALL: &str = "SELECT count(*) FROM dead_letters";

/// Stores so many dead letters that are stamps by now.
async fn bury_stamps(world: &World, count: i64) {
    let sql = r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, reason, detail)
                 SELECT $1, 0, i, 1, convert_to('key ' || i, 'UTF8'),
                     convert_to(format('{"object_cid":"%s","time_tolerance":0}', i), 'UTF8'), 'not_json', ''
                 FROM generate_series(1, $2::bigint) i"#;
    world.database.query(sql, &[&world.topic.name(), &count]).await;
}

// Break: don't call `mark_replayed` in dlq/replay.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replayed_twice_are_published_once_and_the_second_run_changes_nothing() {
    let world = World::new(3).await;
    bury_stamps(&world, 1_000).await;
    assert_eq!(world.dlq("replay --all"), "1000 rows changed");
    assert_eq!(world.dlq("replay --all"), "0 rows changed");
    assert_eq!(world.topic.read().len(), 1_000);
    let listener = world.listen(&[]);
    world.processed(1_000).await;
    listener.stop().await;
    assert_eq!(world.database.number(RESOLVED).await, 1_000);
    assert_eq!(world.dlq("replay --all"), "0 rows changed");
    assert_eq!(world.database.number(ALL).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_goes_on_where_it_was_and_a_killed_one_counts_once() {
    let world = World::new(1).await;
    bury_stamps(&world, 60).await;
    let changed = |count: i64| move |seen: &i64| *seen >= count;

    let start = || world.dlq_command("replay --all --rate 10").spawn().expect("it starts");
    let interrupted = start();
    eventually("a page", || world.database.number(REPLAYED), changed(10)).await;
    let killed = Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    let output = interrupted.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let replayed = world.database.number(REPLAYED).await;
    assert!((10..60).contains(&replayed), "{replayed}");
    let line = String::from_utf8(output.stdout).expect("text");
    assert_eq!(line, format!("{replayed} rows of 60 changed: interrupted, run it again\n"));
    assert_eq!(
        world.topic.read().len() as i64,
        replayed,
        "what is in Kafka is marked, and the other way round"
    );

    let mut killed = start();
    eventually("another page", || world.database.number(REPLAYED), changed(replayed + 10)).await;
    killed.kill().expect("it is killed");
    killed.wait().expect("it ends");
    world.dlq("replay --all");
    assert_eq!(world.database.number(REPLAYED).await, 60);
    let listener = world.listen(&[]);
    world.committed(world.group(), world.topic.read().len() as i64).await;
    listener.stop().await;
    world.processed(60).await;
    assert_eq!(world.database.number(RESOLVED).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_refuses_stays_and_is_named_and_the_rest_is_replayed() {
    let world = World::with_settings(&[("max.message.bytes", "2000")]).await;
    // Bytes that no compression makes fewer.
    let noise = "SELECT string_agg(sha512(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 80) i";
    let noise: Vec<u8> = world.database.query(noise, &[]).await[0].get(0);
    let large = world.bury(1, None, Some(&noise)).await;
    for (offset, noise) in (2..).zip(noise.chunks(1_024)) {
        world.bury(offset, None, Some(noise)).await;
    }
    world.bury(7, None, Some(&[b'x'; 5_000])).await;
    // Together even the small ones are more than the topic takes at once.
    assert_eq!(world.try_dlq("replay --all"), (Some(1), "6 rows changed\n".to_owned()));
    let waiting = "SELECT id FROM dead_letters WHERE replayed_at IS NULL";
    assert_eq!(world.database.number(waiting).await, large);
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_takes_what_was_selected_and_a_dry_run_nothing() {
    let world = World::new(1).await;
    let (first, other) = (world.bury(1, None, Some(b"1")).await, world.bury(2, None, Some(b"2")).await);
    let topic = world.topic.name();
    world.database.run("UPDATE dead_letters SET received_at = '2026-01-01' WHERE \"offset\" = 1").await;
    let (code, printed) = world.try_dlq("replay --all --dry-run --json");
    let line: Value = serde_json::from_str(&printed).expect("one object");
    assert_eq!((code, &line["selected"], &line["changed"]), (Some(0), &2.into(), &0.into()));
    assert_eq!(world.dlq("replay --all --dry-run"), "2 rows would change, 0 changed: a dry run");
    assert_eq!(world.dlq("replay --topic none"), "0 rows changed");
    assert_eq!(world.dlq(&format!("replay --topic {topic} --since 2026-01-02")), "1 row changed");
    assert_eq!(world.dlq(&format!("replay --id {other}")), "0 rows changed");
    assert_eq!(world.try_dlq(&format!("replay --id {first} 999")).0, Some(1));
    assert_eq!(world.database.number(REPLAYED).await, 1, "where one is missing nothing is sent");
    assert_eq!(world.dlq(&format!("replay --id {first} {other} --json")).matches("\"changed\":1").count(), 1);
    assert_eq!(world.topic.read().len(), 2);
    for wrong in
        ["replay", "replay --all --id 1", "replay --all --since 2026-01-01", "purge", "list --since x"]
    {
        assert_eq!(world.try_dlq(wrong), (Some(2), String::new()), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_removes_what_was_selected_and_a_dry_run_nothing() {
    let world = World::new(1).await;
    for offset in 1..=5 {
        world.bury(offset, None, None).await;
    }
    let ids = world.database.query("SELECT id FROM dead_letters ORDER BY id", &[]).await;
    let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
    world
        .database
        .run(
            r#"UPDATE dead_letters SET received_at = '2026-01-01' WHERE "offset" = 1;
               UPDATE dead_letters SET replayed_at = now() WHERE "offset" IN (2, 3);
               UPDATE dead_letters SET resolved_at = now() WHERE "offset" = 3"#,
        )
        .await;
    for all in ["--replayed", "--before 2100-01-01", &format!("--id {} {}", ids[0], ids[1])] {
        assert!(world.dlq(&format!("purge {all} --dry-run")).ends_with(" changed: a dry run"));
    }
    assert_eq!(world.try_dlq(&format!("purge --id {} 999", ids[0])).0, Some(1));
    assert_eq!(world.database.number(ALL).await, 5);
    let left = || async {
        let rows = world.database.query(r#"SELECT "offset" FROM dead_letters ORDER BY 1"#, &[]).await;
        rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>()
    };
    assert_eq!(world.dlq("purge --replayed"), "1 row changed");
    assert_eq!(left().await, [1, 2, 4, 5]);
    assert_eq!(world.dlq("purge --before 2026-01-02T00:00:00Z"), "1 row changed");
    assert_eq!(left().await, [2, 4, 5]);
    assert_eq!(world.dlq(&format!("purge --id {} {}", ids[3], ids[4])), "2 rows changed");
    assert_eq!(left().await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_shows_the_newest_first_and_narrows_by_topic_reason_and_time() {
    let world = World::new(1).await;
    bury_stamps(&world, 60).await;
    world
        .database
        .run(
            r#"UPDATE dead_letters SET received_at = '2026-01-01' WHERE "offset" > 10;
               UPDATE dead_letters SET reason = 'empty' WHERE "offset" IN (1, 60)"#,
        )
        .await;
    let offsets = |arguments: &str| -> Vec<i64> {
        let (code, printed) = world.try_dlq(&format!("list --json {arguments}"));
        assert_eq!(code, Some(0));
        let object = |line: &str| serde_json::from_str::<Value>(line).expect("an object a line");
        printed.lines().map(|line| object(line)["offset"].as_i64().expect("an offset")).collect()
    };
    assert_eq!(offsets(""), (11..=60).rev().collect::<Vec<_>>(), "50 if nothing is said");
    assert_eq!(offsets("--limit 3"), [60, 59, 58]);
    assert_eq!(offsets("--reason empty"), [60, 1]);
    assert_eq!(offsets("--since 2026-01-02T00:00:00+01:00"), (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(offsets("--topic none"), Vec::<i64>::new());
    assert_eq!(offsets(&format!("--topic {} --limit 100", world.topic.name())).len(), 60);
    assert_eq!(world.dlq("list --topic none"), "no dead letters");
    assert!(world.try_dlq("list").1.contains("not_json"));
}

// Break: let `escaped` in dlq/terminal.rs return the text.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_shown_and_nothing_of_it_is_obeyed_by_a_terminal() {
    let world = World::new(1).await;
    let evil = "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{8}\n";
    let id = world.bury(1, Some(b"\xff\x00"), Some(evil.as_bytes())).await;
    let headers = serde_json::json!([{"key": evil, "value": evil}, {"key": "none", "value": null}]);
    let sql = "UPDATE dead_letters SET reason = $1, detail = $1, topic = $1, headers = $2";
    world.database.query(sql, &[&evil, &headers]).await;
    for arguments in
        ["list".to_owned(), "list --json".to_owned(), format!("show {id}"), format!("show {id} --json")]
    {
        let (code, printed) = world.try_dlq(&arguments);
        assert_eq!(code, Some(0));
        let obeyed = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!printed.contains(obeyed), "{arguments}: {printed:?}");
    }
    let (_, printed) = world.try_dlq(&format!("show {id} --json"));
    let shown: Value = serde_json::from_str(&printed).expect("one object");
    assert_eq!((&shown["key"], &shown["value"]), (&r"\xff00".into(), &evil.into()));
    assert_eq!((&shown["headers"], &shown["topic"]), (&headers, &evil.into()));
    assert!(world.try_dlq(&format!("show {id}")).1.contains("key          \\xff00\n"));
    assert_eq!(world.try_dlq("show 999"), (Some(1), String::new()));
}
