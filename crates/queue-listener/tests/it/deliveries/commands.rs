//! What operators do with deliveries.

use serde_json::{Value, json};

use crate::harness::World;

/// Makes five batches: of the first there is no delivery, the others are waiting, delivered, failed, and failed in part.
async fn deliveries(world: &World) {
    let batches = "INSERT INTO batches (trigger, size, listener, topic, processed_at)
                   SELECT 'deadline', 1, 'l', 't', '2026-01-01'::timestamptz + make_interval(days => number)
                   FROM generate_series(0, 4) AS number";
    world.database.run(batches).await;
    let deliveries = "
        INSERT INTO deliveries (batch_id, part, parts, sink, attempts, next_attempt_at, delivered_at, last_error) VALUES
        (2, 1, NULL, 'kafka', 0, '2100-01-01', NULL, NULL),
        (3, 1, 1, 'kafka', 1, NULL, '2026-01-01', NULL),
        (4, 1, 1, 'webhook', 1, NULL, NULL, E'the receiver\u{1b} answered 410'),
        (5, 1, 2, 'webhook', 1, NULL, '2026-01-01', NULL),
        (5, 2, 2, 'webhook', 9, NULL, NULL, 'no answer within 15 s')";
    world.database.run(deliveries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_and_shown_for_people_and_for_programs() {
    let world = World::new(1).await;
    assert_eq!(world.deliveries("list"), "no deliveries");
    deliveries(&world).await;
    let listed = world.deliveries("list");
    assert!(!listed.contains('\u{1b}') && listed.contains(r"\u{1b} answered 410"), "{listed}");
    let json = |arguments: &str| -> Vec<Value> {
        let printed = world.deliveries(&format!("{arguments} --json"));
        printed.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    };
    let batches =
        |arguments: &str| json(arguments).iter().map(|one| one["batch"].clone()).collect::<Vec<_>>();
    assert_eq!(batches("list"), [5, 4, 3, 2]);
    assert_eq!(batches("list --limit 1"), [5]);
    assert_eq!(batches("list --state failed"), [5, 4]);
    assert_eq!(batches("list --state delivered"), [3], "all of its parts are");
    assert_eq!(batches("list --state waiting"), [2]);
    let parts = json("show 5");
    assert_eq!(parts.iter().map(|part| &part["state"]).collect::<Vec<_>>(), ["delivered", "failed"]);
    let last = json!({
        "batch": 5, "part": 2, "parts": 2, "sink": "webhook", "state": "failed", "attempts": 9,
        "next_attempt_at": null, "delivered_at": null, "last_error": "no answer within 15 s",
    });
    assert_eq!(parts[1], last);
    let (code, error) = world.deliveries_refused("show 1");
    assert_eq!(code, Some(1));
    assert!(error.contains("batch 1 has no delivery"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_told_again_and_given_up_as_far_as_they_were_selected() {
    let world = World::new(1).await;
    deliveries(&world).await;
    let waiting =
        || world.database.number("SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL");
    assert_eq!(world.deliveries("retry --failed --dry-run"), "2 rows would change, 0 changed: a dry run");
    assert_eq!(waiting().await, 1);
    for (arguments, says) in [
        ("retry --batch 4 999", "batch 999 does not exist; nothing was changed"),
        (
            "retry --batch 4 1",
            "batch 1 has no delivery, and BATCH_SINK names no sink for one; nothing was changed",
        ),
    ] {
        let (code, error) = world.deliveries_refused(arguments);
        assert_eq!(code, Some(1));
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(waiting().await, 1);
    assert_eq!(world.deliveries("retry --failed"), "2 rows changed");
    assert_eq!(waiting().await, 3, "of a failed delivery the failed parts alone");
    assert_eq!(world.deliveries("retry --since 2026-01-03"), "1 row changed");
    assert_eq!(
        world.deliveries("fail --sink webhook --before 2026-01-05 --dry-run"),
        "1 row would change, 0 changed: a dry run"
    );
    assert_eq!(world.deliveries("fail --sink webhook --before 2026-01-05"), "1 row changed");
    assert_eq!(world.deliveries("fail --sink webhook --before 2026-01-05"), "0 rows changed");
    assert_eq!(waiting().await, 3);
    for wrong in ["retry", "retry --failed --batch 1", "fail", "fail --sink none", "list --state x", "show"] {
        assert_eq!(world.deliveries_refused(wrong).0, Some(2), "{wrong}");
    }
}
