//! Puts batches and dead letters into PostgreSQL: one attempt at a time. Whether there is another one is the heart's to
//! decide.

use domain::batch::heart::{Failure, Member, Write};
use domain::record::{Claim, Coordinates, DeadLetter, Reason, Verdict};
use domain::stamp::event;
use platform::kafka::KafkaSettings;
use store::dead_letters::{self, replays, tell_of};
use store::stamps::processing::{self, Maker, Processed};
use store::{Database, DatabaseError};

use crate::group::reread::read_again;

/// Writes batches and dead letters for one listener.
pub(crate) struct Writer {
    pub(crate) database: Database,
    pub(crate) kafka: KafkaSettings,
    /// Who makes the batches, from the records of which topic.
    pub(crate) maker: Maker,
}

/// What a failed attempt was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Write,
    LookUp,
    Bury,
    Recognise,
    Settle,
}

impl Attempt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Write => "batches can't be written",
            Self::LookUp => "processed stamps can't be looked up",
            Self::Bury => "dead letters can't be written",
            Self::Recognise => "replays can't be looked up",
            Self::Settle => "replays can't be settled",
        }
    }
}

/// A failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .step.as_str())]
pub(crate) struct Failed {
    step: Attempt,
    error: DatabaseError,
}

impl Failed {
    /// Names the step during which an error came.
    pub(crate) fn during(step: Attempt) -> impl Fn(DatabaseError) -> Self {
        move |error| Self { step, error }
    }

    /// Returns what the heart is told of the failure.
    pub(crate) fn failure(&self) -> Failure {
        self.error.failure()
    }

    /// Returns what the database has said.
    pub(crate) fn reason(&self) -> String {
        self.error.to_string()
    }

    /// Logs that there will be another attempt.
    pub(crate) fn tell_of_another(&self, after: std::time::Duration) {
        let Self { step, error } = self;
        let delay_ms = after.as_millis() as u64;
        tracing::warn!(
            error = error.to_string(),
            retry.delay_ms = delay_ms,
            "{}; trying again",
            step.as_str()
        );
    }
}

impl Writer {
    /// Writes batches in one transaction.
    pub(crate) async fn write(&self, write: &Write) -> Result<Processed, Failed> {
        let Write { batches, doubtful } = write;
        let written = processing::process(&self.database, batches, &self.maker, *doubtful).await;
        written.map_err(Failed::during(Attempt::Write))
    }

    /// Writes stamps as a batch and takes that back, to see whether the database refuses them.
    pub(crate) async fn probe(&self, members: &[Member]) -> Result<(), Failed> {
        let probed = processing::probe(&self.database, members, &self.maker).await;
        probed.map_err(Failed::during(Attempt::Write))
    }

    /// Makes a dead letter of a stamp that the database refuses, with the bytes that Kafka still has. `refusal` is what
    /// the database has said.
    pub(crate) async fn bury_refused(&self, member: &Member, refusal: &str) -> Result<(), Failed> {
        let (config, topic, detail) =
            (self.kafka.client_config(), self.maker.topic.clone(), refusal.to_owned());
        let (partition, offset) = (member.partition, member.offset);
        let read = tokio::task::spawn_blocking(move || {
            read_again(&config, &topic, partition, offset, |record| {
                (record.dead_letter(Reason::RefusedByDatabase, &detail), Claim::of(record))
            })
        });
        let (letter, claim) = read.await.ok().flatten().unwrap_or_else(|| {
            let detail = format!("{refusal} (the record can't be read again; this is what it said)");
            (self.letter_of(member, detail), None)
        });
        // A replay that was understood and is refused after all is one that came back.
        let found = self.recognise(claim.as_slice()).await?.pop().flatten();
        match claim.zip(found) {
            Some((claim, id)) => self.pass(&[claim.verdict(id, false)]).await,
            None => {
                let stored = dead_letters::store(&self.database, std::slice::from_ref(&letter)).await;
                stored.map_err(Failed::during(Attempt::Bury))?;
                tell_of(&letter);
                Ok(())
            }
        }
    }

    fn letter_of(&self, member: &Member, detail: String) -> DeadLetter {
        DeadLetter {
            coordinates: Coordinates {
                topic: self.maker.topic.clone(),
                partition: member.partition,
                offset: member.offset,
                timestamp: -1,
            },
            key: Some(member.stamp.object_cid().as_str().into()),
            value: Some(event::encode(&member.stamp)),
            headers: serde_json::json!([]),
            reason: Reason::RefusedByDatabase,
            detail,
        }
    }

    /// Finds the dead letter that each record repeats.
    pub(crate) async fn recognise(&self, claims: &[Claim]) -> Result<Vec<Option<i64>>, Failed> {
        replays::recognise(&self.database, claims).await.map_err(Failed::during(Attempt::Recognise))
    }

    /// Notes what became of replays.
    pub(crate) async fn pass(&self, verdicts: &[Verdict]) -> Result<(), Failed> {
        replays::settle(&self.database, verdicts).await.map(drop).map_err(Failed::during(Attempt::Settle))
    }
}
