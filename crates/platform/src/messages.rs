//! From the records of users' topics to rows: the listener goes this way, and so does a check over HTTP.

use domain::message::{self, key_text, recipient_of_key, recipient_of_topic};
use domain::record::{Reason, Rejection};
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::kafka::record::{dead_letter, guarded};
use crate::kafka::replay::claim;
use crate::postgres::dead_letters::DeadLetter;
use crate::postgres::dead_letters::replays::{self, Claim, Verdict};
use crate::postgres::messages::{self, NewMessage, Passed, StoredMessage};
use crate::postgres::{Database, DatabaseError, ErrorClass};

/// Why a message is a dead letter that was understood and can't be stored all the same.
const REFUSED: &str = "refused_by_database";

/// What tells whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    /// The topic is one user's.
    FromTopic,
    /// The topic is all users', and the record's key is one's uuid.
    FromKey,
}

/// A record that was read: a message that was understood or a dead letter, and perhaps what it says it is a replay of.
#[derive(Debug, Clone)]
pub struct MessageRecord {
    message: Option<NewMessage>,
    /// What it is if it is not understood, or what it becomes if the database refuses it: the record as it came.
    letter: DeadLetter,
    claim: Option<Claim>,
}

impl MessageRecord {
    /// Decodes a record. One that says it is a replay is decoded as well: only the database knows whether that is
    /// true, and the bytes mean the same either way.
    pub fn decode(record: &BorrowedMessage<'_>, recipients: Recipients) -> Self {
        let understood = guarded(|| understand(record, recipients));
        let letter = match &understood {
            Ok(_) => dead_letter(record, REFUSED, ""),
            Err(rejection) => dead_letter(record, rejection.reason().as_str(), rejection.detail()),
        };
        Self { message: understood.ok(), letter, claim: claim(record) }
    }

    /// Returns the message, under the record's own coordinates, if it was understood.
    pub fn message(&self) -> Option<&NewMessage> {
        self.message.as_ref()
    }

    /// Returns what it is if it was not understood. (Of a dead letter's replay no second one is stored.)
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        self.message.is_none().then_some(&self.letter)
    }

    /// Returns whether it says of itself that it repeats a dead letter.
    pub fn claims_to_be_a_replay(&self) -> bool {
        self.claim.is_some()
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |new| {
            let url = new.message.reference_url().map_or(0, str::len);
            let key = new.key.as_ref().map_or(0, String::len);
            new.message.subject().len() + new.message.body().len() + url + key
        });
        512 + message + self.letter.size() + self.claim.as_ref().map_or(0, Claim::size)
    }
}

fn understand(record: &BorrowedMessage<'_>, recipients: Recipients) -> Result<NewMessage, Rejection> {
    let key = key_text(record.key());
    let recipient = match recipients {
        Recipients::FromTopic => recipient_of_topic(record.topic()).ok_or_else(|| {
            Rejection::new(Reason::InvalidTopic, "The topic is no user's: its name is no uuid.")
        })?,
        Recipients::FromKey => recipient_of_key(key.as_deref())?,
    };
    Ok(NewMessage {
        message: message::decode(record.payload())?,
        recipient,
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis().unwrap_or(-1),
        key,
    })
}

/// Stores what was read, those of one partition in the order of their offsets: replays are settled, then messages and
/// dead letters are stored in one transaction. Returns the messages that are new.
///
/// A replay of a dead letter is stored under that one's coordinates; if it is still bad, the dead letter has come
/// back and there is no second one. A message that the database refuses for its values becomes a dead letter; then the
/// others are stored in several transactions, the earlier ones first.
///
/// # Errors
/// Whatever the database says. It is not tried again here; trying again with the same records changes nothing that
/// was done, and returns only what is new since.
pub async fn store_all(
    database: &Database,
    records: Vec<MessageRecord>,
) -> Result<Vec<StoredMessage>, DatabaseError> {
    let mut stored = Vec::new();
    // What has to be stored still, the next part last.
    let mut parts = vec![settle(database, records).await?];
    while let Some(mut part) = parts.pop() {
        let new = part.iter().filter_map(|row| row.message.as_ref());
        let passed = part.iter().filter_map(|row| row.passed.as_ref());
        let error = match messages::store(database, new, part.iter().filter_map(Row::letter), passed).await {
            Ok(rows) => {
                stored.extend(rows);
                continue;
            }
            Err(error) if error.class() == ErrorClass::Data => error,
            Err(error) => return Err(error),
        };
        if part.len() > 1 {
            let second = part.split_off(part.len() / 2);
            parts.extend([second, part]);
        } else {
            let Some(row) = part.pop().filter(|row| row.message.is_some()) else { return Err(error) };
            parts.push(vec![refuse(database, row, &error).await?]);
        }
    }
    Ok(stored)
}

/// What is to be stored of one record.
struct Row {
    message: Option<NewMessage>,
    otherwise: Otherwise,
    /// Where the record was read, if it is a dead letter's replay.
    passed: Option<Passed>,
}

/// What is to be done where no message can be stored.
enum Otherwise {
    Bury(DeadLetter),
    SendBack(Verdict),
}

impl Row {
    fn letter(&self) -> Option<&DeadLetter> {
        match &self.otherwise {
            Otherwise::Bury(letter) if self.message.is_none() => Some(letter),
            _ => None,
        }
    }
}

/// Finds out which records repeat dead letters, settles those, and returns what is to be stored.
async fn settle(database: &Database, records: Vec<MessageRecord>) -> Result<Vec<Row>, DatabaseError> {
    let claims: Vec<Claim> = records.iter().filter_map(|record| record.claim.clone()).collect();
    let found = if claims.is_empty() { Vec::new() } else { replays::recognise(database, &claims).await? };
    let (mut found, mut verdicts) = (found.into_iter(), Vec::new());
    let mut rows = Vec::with_capacity(records.len());
    for MessageRecord { message, letter, claim } in records {
        let genuine = claim.and_then(|claim| Some((found.next().flatten()?, claim)));
        let Some((id, claim)) = genuine else {
            rows.push(Row { message, otherwise: Otherwise::Bury(letter), passed: None });
            continue;
        };
        let verdict = Verdict { id, replays: claim.replays, understood: message.is_some() };
        verdicts.push(verdict);
        let DeadLetter { topic, partition, offset, timestamp, .. } = letter;
        let passed = Some(Passed { topic, partition, offset, timestamp });
        let Claim { partition, offset, timestamp, .. } = claim;
        let message = message.map(|message| NewMessage { partition, offset, timestamp, ..message });
        let otherwise = Otherwise::SendBack(Verdict { understood: false, ..verdict });
        rows.push(Row { message, otherwise, passed });
    }
    if !verdicts.is_empty() {
        replays::settle(database, &verdicts).await?;
        let understood = verdicts.iter().filter(|verdict| verdict.understood).count();
        tracing::info!(replays = verdicts.len(), understood, "dead letters were replayed");
    }
    Ok(rows)
}

/// Does what is to be done with a message that the database refuses, and returns what is to be stored in its place.
async fn refuse(database: &Database, row: Row, error: &DatabaseError) -> Result<Row, DatabaseError> {
    match row.otherwise {
        Otherwise::SendBack(verdict) => {
            replays::settle(database, &[verdict]).await?;
            Ok(Row { message: None, ..row })
        }
        Otherwise::Bury(letter) => {
            let detail = error.to_string();
            let DeadLetter { topic, partition, offset, reason, .. } = &letter;
            tracing::warn!(topic, partition, offset, reason, detail, "a record became a dead letter");
            let otherwise = Otherwise::Bury(DeadLetter { detail, ..letter });
            Ok(Row { message: None, otherwise, ..row })
        }
    }
}
