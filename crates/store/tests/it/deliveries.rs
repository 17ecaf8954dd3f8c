//! Deliveries: born with their batch, in one hand at a time, told as committed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use domain::batch::policy::Trigger::MinBatchSize;
use domain::delivery::courier::{Held, Note};
use domain::delivery::schedule::Fate;
use domain::delivery::{PartId, Sink};
use store::Database;
use store::deliveries::queries::{self, Again, DeliveryState};
use store::deliveries::{self, content};
use store::stamps::intake::{self, Taken};
use store::stamps::owners;
use store::stamps::processing::{self, Maker};
use test_support::TestDatabase;

use crate::values::{batches, maker, numbered};

fn telling(sink: Sink) -> Maker {
    Maker { sink: Some(sink), ..maker("l", "t") }
}

/// Makes a batch of these stamps, which other producers have sent.
async fn make(pool: &Database, maker: &Maker, ids: &[&str]) -> i64 {
    let batch = batches(ids.iter().copied(), ids.len(), &[MinBatchSize]);
    let processed = processing::process(pool, &batch, maker, false).await.expect("processed");
    processed.batches[0].id
}

/// Takes everything of a sink in hand, as if no listener had it any more.
async fn claim(database: &TestDatabase, pool: &Database, sink: Sink) -> Vec<Held> {
    database.run("UPDATE deliveries SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL").await;
    deliveries::claim(pool, sink, 100).await.expect("claimed")
}

fn noted(held: &Held, fate: Fate) -> Note {
    let error = (fate != Fate::Delivered).then(|| "no answer".to_owned());
    Note { id: held.id, claim: held.claim, began: DateTime::UNIX_EPOCH, fate, error }
}

async fn state(pool: &Database, batch: i64) -> DeliveryState {
    queries::of(pool, &[batch]).await.expect("asked")[0].state
}

// Break: leave `delivered` out of `make` in stamps/processing/made.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_to_be_told_from_its_commit_on_and_only_where_a_sink_is_set() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    make(&pool, &maker("l", "t"), &["a", "b"]).await;
    assert_eq!(database.number("SELECT count(*) FROM deliveries").await, 0);
    let batch = make(&pool, &telling(Sink::Webhook), &["c", "d"]).await;
    assert_eq!(state(&pool, batch).await, DeliveryState::Waiting);
    // Its maker has it in hand.
    assert_eq!(deliveries::claim(&pool, Sink::Webhook, 10).await.expect("claimed"), []);
    assert_eq!(claim(&database, &pool, Sink::Kafka).await, [], "it is another sink's");
    let held = claim(&database, &pool, Sink::Webhook).await;
    assert_eq!(
        held.iter().map(|held| (held.id.batch, held.claim, held.size)).collect::<Vec<_>>(),
        [(batch, 2, 2)]
    );
    assert_eq!(deliveries::claim(&pool, Sink::Webhook, 10).await.expect("claimed"), [], "it is in hand");
}

// Break: let `note` of deliveries/mod.rs count whatever `claims` says.
#[tokio::test(flavor = "multi_thread")]
async fn a_note_counts_from_who_has_the_part_in_hand_or_if_the_receiver_has_it() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let batch = make(&pool, &telling(Sink::Webhook), &["a"]).await;
    let first = claim(&database, &pool, Sink::Webhook).await[0];
    let second = claim(&database, &pool, Sink::Webhook).await[0];
    deliveries::note(&pool, &[noted(&first, Fate::Failed)]).await.expect("noted");
    assert_eq!(state(&pool, batch).await, DeliveryState::Waiting, "it is in another hand");
    let later = DateTime::UNIX_EPOCH + TimeDelta::days(100 * 365);
    deliveries::note(&pool, &[noted(&second, Fate::Waiting(later))]).await.expect("noted");
    let waiting = queries::of(&pool, &[batch]).await.expect("asked").remove(0);
    assert_eq!((waiting.attempts, waiting.last_error.as_deref()), (1, Some("no answer")));
    assert!(waiting.next_attempt_at.is_some_and(|next| (next - later).abs() < TimeDelta::milliseconds(1)));
    deliveries::note(&pool, &[noted(&first, Fate::Delivered)]).await.expect("noted");
    assert_eq!(state(&pool, batch).await, DeliveryState::Delivered, "the receiver has it");
    deliveries::note(&pool, &[noted(&second, Fate::Failed)]).await.expect("noted");
    assert_eq!(state(&pool, batch).await, DeliveryState::Delivered, "and keeps it");
    let standing = deliveries::standing(&pool, Sink::Webhook).await.expect("counted");
    assert_eq!((standing.waiting, standing.oldest), (0, Duration::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_told_as_it_is_committed_in_the_order_of_its_stamps() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    intake::store(&pool, owner, &numbered(1, &["z", "m"]), Taken::Unlikely).await.expect("stored");
    let mut batch = batches(["m", "a", "z"], 3, &[MinBatchSize]);
    for member in &mut batch[0].members {
        member.has_row = member.stamp.object_cid().as_str() != "a";
    }
    processing::process(&pool, &batch, &telling(Sink::Kafka), false).await.expect("processed");
    let held = claim(&database, &pool, Sink::Kafka).await;
    let told = content::read(&pool, &held).await.expect("read");
    let ids: Vec<&str> = told[0].stamps.iter().map(|stamp| stamp.object_cid().as_str()).collect();
    // In the order of their rows: those of the intake, sorted by their ids, came first.
    assert_eq!(ids, ["m", "z", "a"]);
    assert_eq!((told[0].size, told[0].parts, told[0].trigger), (3, None, MinBatchSize));
    let other = Held { claim: held[0].claim - 1, ..held[0] };
    assert!(content::read(&pool, &[other]).await.expect("asked").is_empty(), "it is in another hand");
}

// Break: let `store` of deliveries/content.rs cut what is cut already.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_cut_once_and_told_in_parts() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let ids: Vec<String> = (0..4_000).map(|number| format!("{number:0255}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let batch = make(&pool, &telling(Sink::Webhook), &ids).await;
    let held = claim(&database, &pool, Sink::Webhook).await[0];
    let ends = content::ends(&pool, held).await.expect("read");
    let parts = content::cut(&pool, held, &ends).await.expect("cut");
    assert!(parts.len() > 2, "{parts:?}");
    assert_eq!(content::cut(&pool, held, &ends).await.expect("asked"), [], "it is cut already");
    let told = content::read(&pool, &parts).await.expect("read");
    let mut seen: Vec<(i32, usize)> = told.iter().map(|part| (part.id.part, part.stamps.len())).collect();
    seen.sort_unstable();
    assert_eq!(seen.iter().map(|(_, stamps)| stamps).sum::<usize>(), ids.len());
    assert_eq!(seen[0], (1, ends[0] as usize));
    assert!(told.iter().all(|part| part.parts == Some(parts.len() as i32)));
    let [first, others @ ..] = &parts[..] else { unreachable!("several") };
    deliveries::note(&pool, &[noted(first, Fate::Failed)]).await.expect("noted");
    let notes: Vec<Note> = others.iter().map(|held| noted(held, Fate::Delivered)).collect();
    deliveries::note(&pool, &notes).await.expect("noted");
    assert_eq!(state(&pool, batch).await, DeliveryState::Failed);
    let again = Again::Batches(vec![batch]);
    assert_eq!(queries::retry(&pool, &again, None, 0, 10, true).await.expect("asked"), [batch]);
    assert_eq!(state(&pool, batch).await, DeliveryState::Failed, "a dry run");
    assert_eq!(queries::retry(&pool, &again, None, 0, 10, false).await.expect("again"), [batch]);
    let again = claim(&database, &pool, Sink::Webhook).await;
    assert_eq!(
        again.iter().map(|held| held.id).collect::<Vec<_>>(),
        [PartId { batch, part: 1 }],
        "the failed one"
    );
    deliveries::note(&pool, &[noted(&again[0], Fate::Delivered)]).await.expect("noted");
    assert_eq!(state(&pool, batch).await, DeliveryState::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_tell_batches_again_and_give_up_what_nobody_serves() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let silent = make(&pool, &maker("l", "t"), &["a"]).await;
    let told = make(&pool, &telling(Sink::Webhook), &["b"]).await;
    let held = claim(&database, &pool, Sink::Webhook).await;
    deliveries::note(&pool, &[noted(&held[0], Fate::Delivered)]).await.expect("noted");
    assert_eq!(
        queries::not_retryable(&pool, &[told, silent], None).await.expect("asked"),
        Some((silent, true)),
        "nobody says where it is to be told"
    );
    let since = Again::Since(DateTime::UNIX_EPOCH);
    assert_eq!(queries::retry(&pool, &since, None, 0, 10, false).await.expect("again"), [told]);
    assert_eq!(
        queries::retry(&pool, &since, Some(Sink::Kafka), 0, 10, false).await.expect("again"),
        [silent]
    );
    assert_eq!(queries::of(&pool, &[silent]).await.expect("asked")[0].sink, "kafka");
    let not_retryable =
        async |batch, sink| queries::not_retryable(&pool, &[told, batch], sink).await.expect("asked");
    assert_eq!(not_retryable(silent, None).await, None);
    assert_eq!(not_retryable(i64::MAX, Some(Sink::Kafka)).await, Some((i64::MAX, false)));
    let (kafka, long_ago) = (Sink::Kafka, Some(DateTime::UNIX_EPOCH));
    assert_eq!(queries::waiting(&pool, kafka, None).await.expect("counted"), 1);
    assert_eq!(queries::waiting(&pool, kafka, long_ago).await.expect("counted"), 0);
    assert_eq!(queries::fail(&pool, kafka, long_ago, 10).await.expect("none"), 0);
    assert_eq!(queries::fail(&pool, kafka, None, 10).await.expect("given up"), 1);
    let listed = queries::list(&pool, None, 10).await.expect("listed");
    let listed: Vec<_> = listed.iter().map(|one| (one.batch, one.state)).collect();
    assert_eq!(listed, [(told, DeliveryState::Waiting), (silent, DeliveryState::Failed)]);
    let failed = queries::list(&pool, Some(DeliveryState::Failed), 10).await.expect("listed");
    assert_eq!(failed.len(), 1);
    assert_eq!(queries::retry(&pool, &Again::Failed, None, 0, 10, false).await.expect("again"), [silent]);
}
