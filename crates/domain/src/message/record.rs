//! A message as a Kafka record.
//!
//! [`encode`] knows one form. [`decode`] is wider: producers of all kinds write to users' topics, and what it refuses
//! becomes a dead letter with a [`Rejection`] beside it.

use serde_json::Value;
use uuid::Uuid;

use super::Message;
use super::address::{key_text, recipient_of_key, recipient_of_topic};
use super::fields::{FIELDS, MessageFields};
use crate::record::{Claim, Coordinates, DeadLetter, KafkaRecord, Reason, Rejection, guarded, object_text};

/// Returns the record value of a message, without white space, the members in this order:
/// `{"ns-message":{"subject":"…","body":"…","reference_url":null,"is_active":true}}`.
pub fn encode(message: &Message) -> Vec<u8> {
    let (subject, body) = (Value::from(message.subject()), Value::from(message.body()));
    let (reference_url, is_active) = (Value::from(message.reference_url()), message.is_active());
    format!(
        r#"{{"ns-message":{{"subject":{subject},"body":{body},"reference_url":{reference_url},"is_active":{is_active}}}}}"#
    )
    .into_bytes()
}

/// Returns the message that a record holds.
///
/// Accepted are one JSON object with the member `ns-message` (see [`MessageFields`]) and the same object encoded
/// twice, that is a JSON string holding it; a UTF-8 byte order mark in front of either. Other members are ignored.
///
/// # Errors
///
/// [`Rejection`]: this very value can't be understood, today or later.
pub fn decode(value: Option<&[u8]>) -> Result<Message, Rejection> {
    let object = object_text(value)?;
    let message = MessageFields::from_json_text(&object)?.parse();
    message.map_err(|errors| Rejection::of_fields(&errors, &FIELDS))
}

/// A message that was read, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// What the message says.
    pub message: Message,
    /// Whom the message is for.
    pub recipient: Uuid,
    /// Where the record of the message was read.
    pub coordinates: Coordinates,
    /// Key of the record as text, if it has one: [`key_text`].
    pub key: Option<String>,
}

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
    /// What the record is if it is not understood, or what it becomes if the database refuses it.
    letter: DeadLetter,
    claim: Option<Claim>,
}

impl MessageRecord {
    /// Decodes a record. One that says it is a replay is decoded as well: only the database knows whether that is
    /// true, and the bytes mean the same either way.
    pub fn decode(record: &KafkaRecord<'_>, recipients: Recipients) -> Self {
        let understood = guarded(|| understand(record, recipients));
        let letter = match &understood {
            Ok(_) => record.dead_letter(Reason::RefusedByDatabase, ""),
            Err(rejection) => record.dead_letter(rejection.reason(), rejection.detail()),
        };
        Self { message: understood.ok(), letter, claim: Claim::of(record) }
    }

    /// Returns the message, under the record's own coordinates, if it was understood.
    pub fn message(&self) -> Option<&NewMessage> {
        self.message.as_ref()
    }

    /// Returns what the record is if it was not understood. (Of a dead letter's replay no second one is stored.)
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        self.message.is_none().then_some(&self.letter)
    }

    /// Returns which dead letter the record says that it repeats, if it says so.
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// Returns the message if it was understood, what the record is otherwise, and what it says of itself.
    pub fn into_parts(self) -> (Option<NewMessage>, DeadLetter, Option<Claim>) {
        (self.message, self.letter, self.claim)
    }

    /// Returns roughly how much memory the record takes, in bytes.
    pub fn size(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |new| {
            let url = new.message.reference_url().map_or(0, str::len);
            let key = new.key.as_ref().map_or(0, String::len);
            new.message.subject().len() + new.message.body().len() + url + key
        });
        512 + message + self.letter.size() + self.claim.as_ref().map_or(0, Claim::size)
    }
}

fn understand(record: &KafkaRecord<'_>, recipients: Recipients) -> Result<NewMessage, Rejection> {
    let key = key_text(record.key);
    let recipient = match recipients {
        Recipients::FromTopic => recipient_of_topic(record.topic).ok_or_else(|| {
            Rejection::new(Reason::InvalidTopic, "The topic is no user's: its name is no uuid.")
        })?,
        Recipients::FromKey => recipient_of_key(key.as_deref())?,
    };
    Ok(NewMessage { message: decode(record.value)?, recipient, coordinates: record.coordinates(), key })
}
