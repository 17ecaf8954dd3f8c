//! The intake from its opening to its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::outbox::OutboxEvent;
use platform::kafka::KafkaSettings;
use store::Database;
use store::clock::PostgresClock;
use store::readiness::wait_for_database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, OpenIntake};
use super::intake::Intake;
use super::outbox::Outbox;
use super::owners::{self, Complaint};
use super::relay::Relay;
use crate::metrics::ApiMetrics;

/// What it takes to run the intake.
pub struct IntakeParts {
    /// The connections over which stamps are stored, and nothing else is done.
    pub intake: Database,
    /// The connections for all else that stamps need.
    pub stamps: Database,
    /// How to reach the brokers to which events are published.
    pub kafka: KafkaSettings,
    /// Topic of the events.
    pub topic: String,
    /// The gate through which requests find the intake.
    pub gate: Arc<Gate>,
    /// What the process counts.
    pub metrics: ApiMetrics,
    /// Takes what is wrong with the outbox, for `/readyz`.
    pub complaint: Arc<Complaint>,
    /// How long handing events to Kafka may take at the end; waiting for Kafka may take as long again.
    pub patience: Duration,
}

/// Opens the intake as soon as the database is there; at `drain` closes it and publishes what it has stored.
///
/// # Errors
/// If the schema is older than this version needs, a client can't be made, or a part ends by itself.
pub async fn run(parts: IntakeParts, drain: CancellationToken) -> anyhow::Result<()> {
    let IntakeParts {
        intake: group_commits,
        stamps: database,
        kafka,
        topic,
        gate,
        metrics,
        complaint,
        patience,
    } = parts;
    let database = &database;
    let prepare = async {
        wait_for_database(database).await?;
        // So that the first stamps need not wait. Where it fails they are slower, and that is all.
        let _cold = group_commits.open().await;
        anyhow::Ok(Arc::new(PostgresClock::synchronised(database).await))
    };
    let Some(clock) = drain.run_until_cancelled(prepare).await else { return Ok(()) };
    let clock = clock?;
    let (outbox, wanted) = Outbox::new();
    let outbox = Arc::new(outbox);
    let mut relay = Relay::start(&kafka, &topic, &outbox, database, &clock, wanted)?;
    // What ends with the requests.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&clock).keep(database.clone(), drain.clone()));
    let shown =
        owners::show(Arc::clone(&outbox), database.clone(), metrics.clone(), complaint, drain.clone());
    background.spawn(shown);
    let mut committers = JoinSet::new();
    tokio::select! {
        () = drain.cancelled() => {}
        ended = relay.ended() => ended.context("the relay ended")?,
        () = outbox.opened() => {
            let (intake, started) = Intake::start(&group_commits, &clock, &outbox);
            committers = started;
            gate.open(OpenIntake { clock, intake });
            tracing::info!("taking stamps in");
        }
    }
    tokio::select! {
        () = drain.cancelled() => {}
        ended = relay.ended() => ended.context("the relay ended")?,
        Some(ended) = background.join_next() => ended.context("a part of the intake ended")?,
        Some(ended) = committers.join_next() => ended.context("a committer ended")?,
    }
    gate.close();
    committers.join_all().await;
    outbox.tell(OutboxEvent::Stop);
    relay.stop(patience).await?;
    background.join_all().await;
    owners::abandon(&outbox, database).await;
    Ok(())
}
