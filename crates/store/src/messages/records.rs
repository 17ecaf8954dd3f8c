//! From decoded records of users' topics to rows: the listener goes this way, and so does a check over HTTP.

use domain::message::record::{MessageRecord, NewMessage};
use domain::record::{Claim, Coordinates, DeadLetter, Verdict};

use super::rows::{self, StoredMessage};
use crate::database::Database;
use crate::dead_letters::{self, replays};
use crate::error::{DatabaseError, ErrorClass};

/// Stores records that were read, those of one partition in the order of their offsets: replays are settled, then
/// messages and dead letters are stored in one transaction. Returns the messages that are new.
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
        let error = match rows::store(database, new, part.iter().filter_map(Row::letter), passed).await {
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
    passed: Option<Coordinates>,
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

/// Finds out which records repeat dead letters, settles those replays, and returns what is to be stored.
async fn settle(database: &Database, records: Vec<MessageRecord>) -> Result<Vec<Row>, DatabaseError> {
    let claims: Vec<Claim> = records.iter().filter_map(|record| record.claim().cloned()).collect();
    let mut found = replays::recognise(database, &claims).await?.into_iter();
    let (mut verdicts, mut rows) = (Vec::new(), Vec::with_capacity(records.len()));
    for (message, letter, claim) in records.into_iter().map(MessageRecord::into_parts) {
        let genuine = claim.and_then(|claim| Some((found.next().flatten()?, claim)));
        let Some((id, claim)) = genuine else {
            rows.push(Row { message, otherwise: Otherwise::Bury(letter), passed: None });
            continue;
        };
        let verdict = claim.verdict(id, message.is_some());
        verdicts.push(verdict);
        let (passed, original) = (Some(letter.coordinates), claim.original);
        let message = message.map(|message| NewMessage { coordinates: original, ..message });
        let otherwise = Otherwise::SendBack(Verdict { understood: false, ..verdict });
        rows.push(Row { message, otherwise, passed });
    }
    replays::settle(database, &verdicts).await?;
    Ok(rows)
}

/// Does what is to be done with a message that the database refuses, and returns what is to be stored in its place.
async fn refuse(database: &Database, row: Row, error: &DatabaseError) -> Result<Row, DatabaseError> {
    match row.otherwise {
        Otherwise::SendBack(verdict) => {
            replays::update(database, &[verdict]).await?;
            Ok(Row { message: None, ..row })
        }
        Otherwise::Bury(letter) => {
            let letter = DeadLetter { detail: error.to_string(), ..letter };
            dead_letters::tell_of(&letter);
            Ok(Row { message: None, otherwise: Otherwise::Bury(letter), ..row })
        }
    }
}
