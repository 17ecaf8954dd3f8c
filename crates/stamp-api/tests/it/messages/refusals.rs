//! What Kafka does not take, and no further try mends.

use serde_json::json;
use test_support::TestTopic;

use super::{User, send};
use crate::harness::World;
use crate::tokens::SECRET;

const KEY: (&str, &str) = ("JWT_SECRET", SECRET);

// Break: leave `MessageTooLarge` out of `From<SendError>` in http/error/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_its_topic_does_not_take_is_413_and_a_smaller_one_is_sent() {
    let world = World::new().await;
    let topic = TestTopic::with_settings(&[("max.message.bytes", "2000")]).await;
    let api = world.serve(&[KEY, ("MESSAGE_TOPIC", topic.name())]).await;
    let user = User::new();
    let large = send(&api, &user, &json!({"subject": "s", "body": "b".repeat(3_000)})).await;
    assert_eq!((large.status, large.header("retry-after")), (413, None), "{large:?}");
    assert!(large.body.contains("larger than its topic takes"), "{large:?}");
    assert_eq!(send(&api, &user, &json!({"subject": "s", "body": "b"})).await.status, 201);
    assert_eq!(topic.read().len(), 1);
    for (outcome, sends) in [("sent", 1.0), ("too_large", 1.0), ("unavailable", 0.0)] {
        api.metric_is(&format!(r#"stamp_api_message_sends_total{{outcome="{outcome}"}}"#), sends).await;
    }
    let checked = user.ask(&api, "POST", "/check").await;
    assert_eq!(checked.status, 200, "{checked:?}");
    api.metric_is(r#"stamp_api_message_checks_total{outcome="done"}"#, 1.0).await;
    api.stop().await;
}

// Break: leave `InvalidReplicationFactor` out of `takes_an_operator` in platform's kafka/refusal.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_can_t_be_made_as_it_is_set_is_no_reason_to_try_again() {
    let world = World { topic: TestTopic::unmade(), ..World::new().await };
    let api = world.start(&[KEY, ("TOPIC_REPLICATION_FACTOR", "3")]);
    api.reads("/readyz", "Kafka refuses: topic ").await;
    // Stamps are taken in all the same.
    api.reads("/readyz", r#""degraded""#).await;
    assert_eq!(api.create("meanwhile").await.status, 201);
    let refused = send(&api, &User::new(), &json!({"subject": "s", "body": "b"})).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, None), "{refused:?}");
    assert!(refused.body.contains("operator"), "{refused:?}");
    api.metric_is(r#"stamp_api_message_sends_total{outcome="refused"}"#, 1.0).await;
    api.stop().await;
}
