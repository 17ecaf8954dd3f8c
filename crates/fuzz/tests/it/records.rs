//! Records of Kafka.

use bolero::check;
use domain::message::record::{MessageRecord, Recipients, encode};
use domain::message::{key_text, topic_of};
use domain::record::replay::{OFFSET, PARTITION, REPLAYS, TIMESTAMP, TOPIC};
use domain::record::text::to_bytes;
use domain::record::{Claim, Header, KafkaRecord, Reason, time_of};
use domain::stamp::event;
use fuzz::{headers, is_printable, now, split};
use uuid::Uuid;

use crate::RANDOM;

/// Returns a record that somebody wrote.
fn record<'a>(topic: &'a str, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> KafkaRecord<'a> {
    KafkaRecord {
        topic,
        partition: 3,
        offset: 7,
        timestamp: 1_767_268_800_000,
        key,
        value,
        headers: Vec::new(),
    }
}

// Break: let `decode` of stamp/event.rs add a minute to the tolerance.
#[test]
fn stamp_event() {
    check!().with_iterations(RANDOM).for_each(|value: &[u8]| {
        let decode = |value: &[u8]| event::decode(Some(value), time_of(1_767_268_800_000), now());
        match decode(value) {
            Ok(stamp) => {
                assert!(stamp.due() - now() <= event::MAX_AHEAD);
                let once = event::encode(&stamp);
                let twice = serde_json::to_vec(std::str::from_utf8(&once).expect("UTF-8")).expect("JSON");
                assert_eq!(decode(&once), Ok(stamp.clone()));
                assert_eq!(decode(&twice), Ok(stamp));
            }
            Err(rejection) => assert!(is_printable(&rejection), "{rejection:?}"),
        }
    });
}

// Break: let `dead_letter` of record/kafka.rs drop the last byte of the value.
#[test]
fn message() {
    let user = topic_of(Uuid::from_u128(7));
    check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| {
        let (key, value) = split(bytes);
        for recipients in [Recipients::FromTopic, Recipients::FromKey] {
            let record = record(&user, key, Some(value));
            let decoded = MessageRecord::decode(&record, recipients);
            match (decoded.message(), decoded.dead_letter()) {
                (Some(new), None) => {
                    let encoded = encode(&new.message);
                    let again = KafkaRecord { value: Some(&encoded), ..record.clone() };
                    assert_eq!(MessageRecord::decode(&again, recipients).message(), Some(new));
                    assert_eq!(new.key, key_text(key));
                    assert_eq!(new.coordinates, record.coordinates());
                    let is_named_by_key =
                        key_text(key).as_deref().map(Uuid::try_parse) == Some(Ok(new.recipient));
                    assert!(recipients == Recipients::FromTopic || is_named_by_key, "{new:?}");
                }
                (None, Some(letter)) => {
                    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (key, Some(value)));
                    assert!(letter.reason != Reason::Panicked && !letter.detail.is_empty(), "{letter:?}");
                }
                both => panic!("either a message or a dead letter: {both:?}"),
            }
        }
    });
}

// Break: let `key_text` of message/address.rs return a text with a NUL as it is.
#[test]
fn key() {
    check!().with_iterations(RANDOM).for_each(|key: &[u8]| {
        let text = key_text(Some(key)).expect("there is a key");
        assert!(!text.contains('\0'), "no database holds {text:?}");
        let is_untouched = text.as_bytes() == key;
        let is_unquoted = serde_json::from_slice::<String>(key).is_ok_and(|plain| plain == text);
        let is_hex = text.starts_with("\\x") && to_bytes(&text) == key;
        assert!(is_untouched || is_unquoted || is_hex, "{text:?}");
    });
}

// Break: let `Claim::of` in record/replay.rs take the first of two headers of one name.
#[test]
fn replay_headers() {
    check!().with_iterations(RANDOM).for_each(|lines: &[u8]| {
        let mut record = record("topic", Some(b"key"), Some(b"value"));
        record.headers = headers(lines);
        let named = |wanted: &str| {
            let last = record.headers.iter().flatten().rfind(|header| header.name == wanted)?;
            std::str::from_utf8(last.value?).ok()
        };
        let number = |wanted| named(wanted).and_then(|text| text.parse::<i64>().ok());
        let claim = Claim::of(&record);
        match &claim {
            Some(claim) => {
                assert_eq!(named(TOPIC), Some("topic"));
                assert_eq!(number(PARTITION), Some(claim.original.partition.into()));
                assert_eq!(number(OFFSET), Some(claim.original.offset));
                assert_eq!(number(TIMESTAMP), Some(claim.original.timestamp));
                assert_eq!(
                    claim.replays.map(i64::from),
                    number(REPLAYS).filter(|it| i32::try_from(*it).is_ok())
                );
                assert_eq!((claim.key.as_deref(), claim.value.as_deref()), (record.key, record.value));
            }
            None => {
                let is_whole = [PARTITION, OFFSET, TIMESTAMP].iter().all(|name| number(name).is_some());
                let partition_fits = number(PARTITION).is_some_and(|it| i32::try_from(it).is_ok());
                assert!(named(TOPIC) != Some("topic") || !is_whole || !partition_fits, "a claim is missed");
            }
        }
        let letter = record.dead_letter(Reason::NotJson, "d");
        let shown = letter.headers.as_array().expect("a list");
        assert_eq!(shown.len(), record.headers.len());
        for (shown, header) in shown.iter().zip(&record.headers) {
            let bytes = |member: &str| shown[member].as_str().map(to_bytes);
            let Some(Header { name, value }) = header else { continue };
            assert_eq!((bytes("key"), bytes("value")), (Some(name.as_bytes().into()), value.map(Into::into)));
        }
    });
}
