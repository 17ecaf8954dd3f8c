//! What the database says to a chunk before its stamps are admitted: dead letters are stored, replays settled, and
//! stamps found that are processed already.

use std::collections::HashSet;

use domain::batch::Position;
use domain::batch::pending::Message;
use platform::postgres::dead_letters::DeadLetter;

use crate::record::Record;
use crate::replay::Replay;
use crate::writer::{Unwritable, Writer};

/// A chunk that is to be screened.
#[derive(Default)]
pub(crate) struct Chunk {
    /// Partitions whose end it contains.
    pub(crate) ends: Vec<(i32, u32)>,
    /// Its stamps.
    pub(crate) stamps: Vec<Message>,
    /// Its dead letters.
    pub(crate) letters: Vec<DeadLetter>,
    /// Where those were read.
    pub(crate) buried: Vec<Position>,
    /// Those of its records that say they are replays.
    pub(crate) replays: Vec<Replay>,
}

/// A chunk that was screened.
pub(crate) struct Screened {
    /// As in the chunk.
    pub(crate) ends: Vec<(i32, u32)>,
    /// Its stamps.
    pub(crate) stamps: Vec<Message>,
    /// The ids of those that are processed.
    pub(crate) processed: HashSet<String>,
    /// The records that need nothing more: they are dead letters.
    pub(crate) buried: Vec<Position>,
}

impl Chunk {
    /// Asks and tells the database, for as long as it takes.
    ///
    /// # Errors
    /// If it refuses what no waiting mends.
    pub(crate) async fn screen(mut self, writer: &Writer) -> Result<Screened, Unwritable> {
        let replays = std::mem::take(&mut self.replays);
        for (record, genuine) in writer.settle(replays).await? {
            self.take(record, genuine);
        }
        let Self { ends, stamps, letters, buried, .. } = self;
        let ids: Vec<String> =
            stamps.iter().map(|message| message.stamp.object_cid().as_str().to_owned()).collect();
        let (processed, burial) = tokio::join!(writer.processed_among(&ids), writer.bury(&letters));
        burial?;
        Ok(Screened { ends, stamps, processed: processed?, buried })
    }

    fn take(&mut self, record: Record, genuine: bool) {
        match record {
            Record::Stamp(message) => self.stamps.push(message),
            Record::Dead(position, letter) => {
                // Of a genuine replay the row is there.
                self.letters.extend((!genuine).then_some(*letter));
                self.buried.push(position);
            }
            Record::Replay(_) => {}
        }
    }
}
