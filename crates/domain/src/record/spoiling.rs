//! What the tests of both kinds of records do to a value.

use proptest::prelude::*;

/// What happens to one byte: where it stands, another byte, and which of four things is done.
pub(crate) type Mutation = (prop::sample::Index, u8, i32);

/// Returns a few changes of a value.
pub(crate) fn any_mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..6)
}

/// Returns the value with bytes replaced, removed or put in, or cut off.
pub(crate) fn mutated(mut value: Vec<u8>, mutations: Vec<Mutation>) -> Vec<u8> {
    for (index, byte, kind) in mutations {
        let at = index.index(value.len().max(1));
        match kind {
            0 if at < value.len() => value[at] = byte,
            1 if at < value.len() => drop(value.remove(at)),
            2 => value.insert(at, b"\"\\{}[],:0-\x00"[usize::from(byte) % 11]),
            _ => value.truncate(at),
        }
    }
    value
}

/// Returns the JSON string that holds a text.
pub(crate) fn encoded(text: &str) -> String {
    serde_json::to_string(text).expect("plain text")
}
