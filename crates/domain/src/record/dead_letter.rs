//! Records that could not be understood, or not be stored.

use serde_json::Value;

use super::coordinates::Coordinates;
use super::reason::Reason;

/// A record as it was read, and why it became neither a stamp nor a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record was read.
    pub coordinates: Coordinates,
    /// Key of the record, if it has one.
    pub key: Option<Vec<u8>>,
    /// Value of the record, if it has one.
    pub value: Option<Vec<u8>>,
    /// Headers of the record, in order: `[{"key": …, "value": …}, …]`; values that are no text as `\x…`.
    pub headers: Value,
    /// Code of the reason, for programs.
    pub reason: Reason,
    /// A sentence about the reason, for people.
    pub detail: String,
}

impl DeadLetter {
    /// Returns roughly how much memory the parts take whose length a producer chooses, in bytes: all of them go into
    /// one statement with others.
    pub fn size(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let text = |header: &Value, part: &str| header[part].as_str().map_or(0, str::len);
        let headers = self.headers.as_array().into_iter().flatten();
        let headers: usize = headers.map(|header| 32 + text(header, "key") + text(header, "value")).sum();
        bytes(&self.key) + bytes(&self.value) + headers
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_size_counts_everything_that_a_producer_can_blow_up() {
        let size = |key: usize, value: usize, header: usize| {
            let coordinates = Coordinates { topic: "t".to_owned(), partition: 0, offset: 0, timestamp: -1 };
            let letter = DeadLetter {
                coordinates,
                key: Some(vec![0; key]),
                value: Some(vec![0; value]),
                headers: json!([{"key": "k", "value": "v".repeat(header)}, {"key": null, "value": null}]),
                reason: Reason::NotJson,
                detail: "d".to_owned(),
            };
            letter.size()
        };
        for large in [size(1 << 20, 0, 0), size(0, 1 << 20, 0), size(0, 0, 1 << 20)] {
            assert!(large > 1 << 20 && large < 2 << 20, "{large}");
        }
    }
}
