mod address;
mod fields;
mod properties;
mod wire;

use super::Message;

fn message(subject: &str, body: &str) -> Message {
    Message::new(subject, body, None, true).expect("a valid message")
}

/// The text as a JSON string: one encoding more.
fn encoded(text: &str) -> String {
    serde_json::to_string(text).expect("plain text")
}
