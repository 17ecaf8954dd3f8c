//! Carries out what the table's net decides: looks, and takes what is overdue. It needs no Kafka.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::batch::heart::{Failure, Moment};
use domain::batch::net::{Net, NetCommand, NetEvent, Obstacle};
use domain::trace::TraceContext;
use store::clock::{Clock, PostgresClock};
use store::stamps::processing::Maker;
use store::stamps::processing::overdue::{self, PutOff, Take};
use store::{Database, DatabaseError};
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::told::tell_of;
use super::wake::sleep;
use crate::deliveries::handover::Handover;
use crate::metrics::ListenerMetrics;

/// What it takes to look after what is overdue.
pub(crate) struct Overdue {
    /// A connection of its own: no write that hangs holds up what is due.
    pub(crate) database: Database,
    pub(crate) clock: Arc<PostgresClock>,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) feed: Feed,
    /// Who makes the batches.
    pub(crate) maker: Maker,
    /// Takes the batches that are to be told.
    pub(crate) handover: Handover,
    /// The most stamps of a batch.
    pub(crate) max: usize,
    /// Lets listeners try again at different moments.
    pub(crate) seed: u64,
}

impl Overdue {
    /// Looks after what is overdue until `stop`, and finishes the statement that is under way unless that takes longer
    /// than `patience`.
    ///
    /// # Errors
    /// If the database fails in a way that no waiting mends.
    pub(crate) async fn run(self, patience: Duration, stop: &CancellationToken) -> anyhow::Result<()> {
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            ended = self.look_after(stop) => ended,
            () = stopped => {
                tracing::warn!("taking overdue stamps did not end in time; the next listener looks after them");
                Ok(())
            }
        }
    }

    async fn look_after(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        let mut net = Net::new(self.seed);
        let (mut event, mut failed) = (NetEvent::Time, None);
        // What the database has said of the values that it refuses.
        let mut refusal = String::new();
        while !stop.is_cancelled() {
            let now = Moment { time: self.clock.now(), elapsed: started.elapsed() };
            let Some(command) = net.step(now, self.feed.is_fed(), event) else {
                stop.run_until_cancelled(sleep(net.wake(), started, &*self.clock)).await;
                event = NetEvent::Time;
                continue;
            };
            let is_take = matches!(command, NetCommand::Take(_));
            let done = match command {
                NetCommand::Look => overdue::look(&self.database).await.map(NetEvent::Seen),
                NetCommand::Take(rows) => self.take(&rows).await,
                NetCommand::PutOff(row, obstacle) => self.put_off(row, obstacle, &refusal).await,
                NetCommand::Fail => {
                    let failed: Option<DatabaseError> = failed;
                    let what = "overdue stamps can't be taken from the table";
                    return Err(failed
                        .map_or_else(|| anyhow::anyhow!(what), |error| anyhow::anyhow!("{what}: {error}")));
                }
            };
            event = done.unwrap_or_else(|error| {
                let failure = error.failure();
                if failure == Failure::Data && is_take {
                    refusal = error.to_string();
                } else {
                    let error = error.to_string();
                    tracing::warn!(error, "overdue stamps can't be taken from the table; trying again");
                }
                failed = Some(error);
                NetEvent::Failed(failure)
            });
        }
        Ok(())
    }

    async fn take(&self, rows: &[i64]) -> Result<NetEvent, DatabaseError> {
        let began = Instant::now();
        let taken = overdue::take(&self.database, rows, self.max, &self.maker).await?;
        let Take::Taken { batches: made, lateness, missed, traces } = taken else {
            return Ok(NetEvent::NotOurTurn);
        };
        if lateness.is_empty() {
            return Ok(NetEvent::NoneLeft);
        }
        let (stamps, batches, took_ms) = (lateness.len(), made.len(), began.elapsed().as_millis() as u64);
        self.metrics.overdue.inc_by(stamps as u64);
        self.metrics.missed.inc_by(missed as u64);
        self.handover.made(&made, std::iter::empty());
        for batch in made {
            self.metrics.batches.with_label_values(&[batch.trigger.as_str()]).inc();
            self.metrics.batch_size.observe(batch.size as f64);
            let of_batch = traces.iter().filter(|(id, trace)| *id == batch.id && trace.is_sampled());
            let traces: Vec<&TraceContext> = of_batch.map(|(_, trace)| trace).collect();
            tell_of(&batch, &self.maker.topic, &traces, began.elapsed());
        }
        for late in lateness {
            self.metrics.lateness.observe(late.as_secs_f64());
        }
        tracing::info!(
            stamp.count = stamps,
            batch.count = batches,
            batch.took_ms = took_ms,
            "overdue stamps have left by the table"
        );
        Ok(NetEvent::Done)
    }

    async fn put_off(&self, row: i64, obstacle: Obstacle, refusal: &str) -> Result<NetEvent, DatabaseError> {
        if let Some(PutOff { object_cid, pause }) = overdue::put_off(&self.database, row).await? {
            let error = match obstacle {
                Obstacle::Refused => refusal,
                Obstacle::NoTime => "its due time is infinite",
            };
            let pause_s = pause.as_secs();
            self.metrics.overdue_refused.inc();
            tracing::error!(
                stamp.object_cid = object_cid,
                error,
                retry.delay_s = pause_s,
                "an overdue stamp can't be processed; it is tried again"
            );
        }
        Ok(NetEvent::Done)
    }
}
