mod address;
mod fields;
mod properties;
mod record;

use super::Message;

fn message(subject: &str, body: &str) -> Message {
    Message::new(subject, body, None, true).expect("a valid message")
}
