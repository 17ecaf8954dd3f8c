//! What the database says to a chunk before its stamps are admitted: dead letters are stored, replays settled, distant
//! stamps put into the table, and stamps found that are processed already.

use domain::batch::assignment::Position;
use domain::batch::heart::{Distant, Screened, Screening};
use domain::batch::pending::PendingStamp;
use domain::record::{Claim, DeadLetter};
use store::dead_letters::tell_of;
use store::stamps::distant;
use store::stamps::processing::{self, StampStanding};

use crate::stamps::record::Other;
use crate::stamps::writer::{Attempt, Failed, Writer};

/// A chunk that was screened.
pub(crate) struct ScreenedChunk {
    /// What the heart is told of the chunk.
    pub(crate) screened: Screened,
    /// How many records of the chunk are dead letters.
    pub(crate) dead: usize,
}

/// The records of a chunk that are no plain stamps, by what became of them.
#[derive(Default)]
struct Sorted {
    /// Replays that have turned out to be stamps.
    stamps: Vec<PendingStamp>,
    /// Dead letters that have no row yet.
    letters: Vec<DeadLetter>,
    /// Where dead letters were read, those that have a row too.
    buried: Vec<Position>,
}

/// Screens a chunk once. What was done of it before a failure changes nothing when it is done again.
///
/// # Errors
/// The screening, to be done again, and the step that failed.
pub(crate) async fn screen(writer: &Writer, screening: Screening<Other>) -> ScreeningResult {
    let (sorted, standings) = match ask(writer, &screening).await {
        Ok(answers) => answers,
        Err(failed) => return Err((screening, failed)),
    };
    let Screening { ends, stamps, distant, .. } = screening;
    let (dead, mut finished) = (sorted.buried.len(), sorted.buried);
    finished.extend(distant.iter().map(|distant| distant.waiting.position));
    let mut screened = Screened { ends, finished, ..Screened::default() };
    for (mut waiting, standing) in stamps.into_iter().chain(sorted.stamps).zip(standings) {
        if standing == StampStanding::Processed {
            screened.repeats.push(waiting.position);
            continue;
        }
        waiting.has_row = standing == StampStanding::Pending;
        screened.stamps.push(waiting);
    }
    Ok(ScreenedChunk { screened, dead })
}

/// What screening a chunk once has come to.
pub(crate) type ScreeningResult = Result<ScreenedChunk, (Screening<Other>, Failed)>;

async fn ask(writer: &Writer, screening: &Screening<Other>) -> Result<(Sorted, Vec<StampStanding>), Failed> {
    let sorted = settle(writer, screening).await?;
    let stamps = screening.stamps.iter().chain(&sorted.stamps);
    let ids: Vec<&str> = stamps.map(|waiting| waiting.stamp.object_cid().as_str()).collect();
    let (standings, stored) =
        tokio::join!(look_up(writer, &ids), store(writer, &sorted.letters, &screening.distant));
    stored?;
    let standings = standings?;
    Ok((sorted, standings))
}

/// Finds out which records repeat dead letters, settles those replays, and sorts everything by what becomes of it.
async fn settle(writer: &Writer, screening: &Screening<Other>) -> Result<Sorted, Failed> {
    let claims: Vec<Claim> = screening
        .others
        .iter()
        .filter_map(|(_, other)| match other {
            Other::ReplayedStamp(replay) => Some(replay.claim.clone()),
            Other::Dead(_) => None,
        })
        .collect();
    let mut found = writer.recognise(&claims).await?.into_iter();
    let (mut sorted, mut verdicts) = (Sorted::default(), Vec::new());
    for (position, other) in &screening.others {
        let (decoded, genuine, sent) = match other {
            Other::Dead(letter) => {
                sorted.letters.push((**letter).clone());
                sorted.buried.push(*position);
                continue;
            }
            Other::ReplayedStamp(replay) => {
                let id = found.next().flatten();
                verdicts.extend(id.map(|id| replay.verdict(id)));
                (replay.decoded(id.is_some()), id.is_some(), replay.sent)
            }
        };
        match decoded.clone().sort(*position, sent) {
            Ok(waiting) => sorted.stamps.push(waiting),
            Err(letter) => {
                // Of a genuine replay the row is there.
                sorted.letters.extend((!genuine).then_some(*letter));
                sorted.buried.push(*position);
            }
        }
    }
    writer.pass(&verdicts).await?;
    Ok(sorted)
}

async fn look_up(writer: &Writer, ids: &[&str]) -> Result<Vec<StampStanding>, Failed> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = processing::standings(&writer.database, ids).await;
    found.map_err(Failed::during(Attempt::LookUp))
}

async fn store(writer: &Writer, letters: &[DeadLetter], distant: &[Distant]) -> Result<(), Failed> {
    if letters.is_empty() && distant.is_empty() {
        return Ok(());
    }
    let stored = distant::store(&writer.database, &writer.maker.topic, letters, distant).await;
    stored.map_err(Failed::during(Attempt::Bury))?;
    letters.iter().for_each(tell_of);
    Ok(())
}
