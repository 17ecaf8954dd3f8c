//! Records that are hostile or broken, one after the other between good ones.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use test_support::database::Row;
use test_support::eventually;
use test_support::patience::within;

use super::wire;
use crate::harness::World;

/// What becomes of a record.
enum Outcome {
    /// A dead letter with this reason.
    Dead(&'static str),
    /// A stamp with this id.
    Processed(String),
}

struct Poison {
    /// What the poison is, with its number in the list of poisons where it has one.
    what: &'static str,
    value: Option<Vec<u8>>,
    /// How many headers the record has, with values that are no text.
    headers: usize,
    compressed: bool,
    outcome: Outcome,
}

fn dead(what: &'static str, value: impl Into<Vec<u8>>, reason: &'static str) -> Poison {
    let (value, outcome) = (Some(value.into()), Outcome::Dead(reason));
    Poison { what, value, headers: 0, compressed: false, outcome }
}

fn fine(what: &'static str, value: impl Into<Vec<u8>>, id: &str) -> Poison {
    let (value, outcome) = (Some(value.into()), Outcome::Processed(id.to_owned()));
    Poison { what, value, headers: 0, compressed: false, outcome }
}

/// Returns an event with these JSON texts as its values.
fn event(object_cid: &str, time_tolerance: &str, created_date: &str) -> String {
    format!(
        r#"{{"object_cid":{object_cid},"time_tolerance":{time_tolerance},"created_date":{created_date}}}"#
    )
}

const DATE: &str = r#""2026-01-01T00:00:00Z""#;

fn quoted(id: &str) -> String {
    format!("\"{id}\"")
}

fn with_id(id: &str) -> String {
    event(&quoted(id), "0", DATE)
}

fn with_tolerance(id: &str, tolerance: &str) -> String {
    event(&quoted(id), tolerance, DATE)
}

fn with_date(id: &str, date: &str) -> String {
    event(&quoted(id), "10", &quoted(date))
}

/// Returns an event with a further member.
fn with_member(id: &str, name: &str, value: &str) -> String {
    with_id(id).replace('}', &format!(",\"{name}\":{value}}}"))
}

fn twice(text: &str) -> String {
    format!("{text:?}")
}

/// Returns poisons in which the bytes or the JSON are wrong.
fn forms() -> Vec<Poison> {
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    let mark = "\u{feff}";
    vec![
        dead("1 zero bytes", "", "empty"),
        dead("1 white space", " \r\n\t", "empty"),
        Poison { value: None, ..dead("2 a tombstone", "", "no_value") },
        dead("3 not UTF-8", b"{\"object_cid\":\"\xff\xfe\"}", "not_utf8"),
        dead("3 a surrogate in UTF-8", b"{\"object_cid\":\"\xed\xa0\x80\"}", "not_utf8"),
        dead("4 cut JSON", &with_id("cut")[..30], "not_json"),
        dead("4 two objects", with_id("one") + &with_id("other"), "not_json"),
        dead("5 a number", "17", "not_an_object"),
        dead("5 a list", format!("[{}]", with_id("listed")), "not_an_object"),
        dead("5 null", "null", "not_an_object"),
        dead("5 a text", "\"text\"", "not_an_object"),
        fine("an object in a string", twice(&with_id("twice")), "twice"),
        dead("an object in a string in a string", twice(&twice(&with_id("thrice"))), "encoded_too_often"),
        dead("16 a repeated member", with_id("r").replace('{', "{\"object_cid\":\"s\","), "repeated_member"),
        dead("16 in disguise", with_id("r").replace('{', r#"{"object\u005fcid":"s","#), "repeated_member"),
        fine("16 a repeated member of others", with_member("others", "x", "1,\"x\":2"), "others"),
        dead("17 10,000 lists that never end", "[".repeat(10_000), "not_json"),
        dead("17 10,000 lists", nested.as_str(), "not_an_object"),
        dead("17 10,000 lists as an id", event(&nested, "0", DATE), "invalid_object_cid"),
        fine("17 10,000 lists in another member", with_member("nested", "x", &nested), "nested"),
        fine("18 an unknown version of the schema", with_member("v99", "schema_version", "99"), "v99"),
        fine("23 a byte order mark", mark.to_owned() + &with_id("marked"), "marked"),
        dead("23 nothing else", mark, "empty"),
    ]
}

/// Returns poisons in which the members are wrong.
fn members() -> Vec<Poison> {
    let long = |count: usize| "\u{1f600}".repeat(count);
    vec![
        dead("6 no object_cid", r#"{"time_tolerance":1}"#, "invalid_object_cid"),
        dead("7 an empty id", with_id(""), "invalid_object_cid"),
        dead("7 a blank id", with_id("\u{3000} "), "invalid_object_cid"),
        dead("8 256 characters", with_id(&"a".repeat(256)), "invalid_object_cid"),
        fine("8 255 characters of four bytes", with_id(&long(255)), &long(255)),
        dead("9 a NUL", with_id(r"a\u0000b"), "invalid_object_cid"),
        dead("10 a lone surrogate", with_id(r"a\ud800"), "invalid_object_cid"),
        dead("11 a negative tolerance", with_tolerance("t", "-1"), "invalid_time_tolerance"),
        dead("12 2^31", with_tolerance("t", "2147483648"), "invalid_time_tolerance"),
        dead("12 2^63", with_tolerance("t", "9223372036854775808"), "invalid_time_tolerance"),
        dead("12 1e999", with_tolerance("t", "1e999"), "invalid_time_tolerance"),
        fine("13 5 as text", with_tolerance("five", "\"5\""), "five"),
        dead("13 5.5", with_tolerance("t", "5.5"), "invalid_time_tolerance"),
        dead("13 true", with_tolerance("t", "true"), "invalid_time_tolerance"),
        dead("13 null", with_tolerance("t", "null"), "invalid_time_tolerance"),
        fine("14 no offset", with_date("no offset", "2026-01-01T10:30:00"), "no offset"),
        fine("14 24:00", with_date("midnight", "2026-01-01T24:00:00Z"), "midnight"),
        fine("14 23:59:60", with_date("leap", "2016-12-31T23:59:60Z"), "leap"),
        fine("no date: the record's own", r#"{"object_cid":"undated","time_tolerance":0}"#, "undated"),
        fine("15 the year 0001", with_date("first", "0001-01-01T00:00:00Z"), "first"),
        dead("15 due in the year 9999", with_date("d", "9999-01-01T00:00:00Z"), "due_too_far_ahead"),
        dead("15 due after it", with_date("d", "9999-12-31T23:59:00Z"), "invalid_created_date"),
        dead("15 +294277", with_date("d", "+294277-01-01T00:00:00Z"), "invalid_created_date"),
        dead("15 due in 4,000 years", with_tolerance("d", "2147483647"), "due_too_far_ahead"),
    ]
}

/// Returns poisons that are large.
fn sizes() -> Vec<Poison> {
    const MIB: usize = 1 << 20;
    let padded = |id: &str, bytes: usize| with_member(id, "pad", &quoted(&"0".repeat(bytes)));
    let compressed = |poison: Poison| Poison { compressed: true, ..poison };
    let headed = |poison: Poison| Poison { headers: 1_000, ..poison };
    vec![
        dead("1.5 MB that are no JSON", "x".repeat(MIB * 3 / 2), "not_json"),
        fine("1.5 MB of a stamp", padded("large", MIB * 3 / 2), "large"),
        compressed(dead("21 48 MiB of NUL bytes in zstd", vec![0; 48 * MIB], "not_json")),
        compressed(dead("21 48 MiB of spaces in zstd", vec![b' '; 48 * MIB], "empty")),
        compressed(fine("21 a stamp of 48 MiB in zstd", padded("bomb", 48 * MIB), "bomb")),
        headed(dead("22 1,000 headers that are no text", "headed", "not_json")),
        headed(fine("22 the same around a stamp", with_id("headed"), "headed")),
    ]
}

/// A header's value that is neither UTF-8 nor without a NUL.
const NO_TEXT: &[u8] = b"\xff\x00\xfe";
/// A record's key that is no text.
const KEY: &[u8] = b"\x00\xff key";
const TEXT_KEY: &str = "key";

fn send(world: &World, poison: &Poison) {
    if poison.compressed {
        return world.topic.send_compressed(TEXT_KEY, poison.value.as_deref().expect("a value"));
    }
    let headers = (0..poison.headers).fold(OwnedHeaders::new_with_capacity(poison.headers), |headers, _| {
        headers.insert(Header { key: "no-text", value: Some(NO_TEXT) })
    });
    let mut record = BaseRecord::to(world.topic.name()).key(KEY).headers(headers);
    record.payload = poison.value.as_deref();
    world.topic.send_record(record);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_poison_ends_where_it_belongs_once_and_unchanged_and_its_neighbours_go_on() {
    let world = World::with_settings(&[("max.message.bytes", "4000000")]).await;
    let poisons: Vec<Poison> = [forms(), members(), sizes()].into_iter().flatten().collect();
    for (number, poison) in poisons.iter().enumerate() {
        world.topic.send_stamp(&format!("before {number}"), 0, "2026-01-01T00:00:00Z");
        send(&world, poison);
    }
    world.topic.send_stamp("the last", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    let records = 2 * poisons.len() as i64 + 1;
    let understood =
        poisons.iter().filter(|poison| matches!(poison.outcome, Outcome::Processed(_))).count() as i64;

    // The second one reads everything again and changes nothing.
    for group in ["one", "other"] {
        let listener = world.listen(&[("KAFKA_GROUP_ID", group)]);
        let committed = || async { world.topic.committed(group) };
        within(Duration::from_secs(90), "offsets", committed, |seen| *seen == records).await;
        listener.stop().await;
    }
    let good = "SELECT count(*) FROM stamp_states WHERE state = 'processed' AND object_cid ~ '^(before \\d+|the last)$'";
    assert_eq!(world.database.number(good).await, poisons.len() as i64 + 1, "all neighbours are processed");

    let columns = r#"SELECT "offset", reason, key, value, jsonb_array_length(headers) FROM dead_letters"#;
    let mut letters: HashMap<i64, Row> = HashMap::new();
    for row in world.database.query(columns, &[]).await {
        assert!(letters.insert(row.get(0), row).is_none(), "a record is one dead letter");
    }
    let mut wrong = Vec::new();
    for (number, poison) in poisons.iter().enumerate() {
        let letter = letters.remove(&(2 * number as i64 + 1));
        if let Some(problem) = unlike(&world, poison, letter).await {
            wrong.push(format!("{}: {problem}", poison.what));
        }
        println!("| {} | {} |", poison.what, poison.outcome);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(letters.is_empty(), "dead letters of neighbours: {:?}", letters.keys());
    world.processed(poisons.len() as i64 + 1 + understood).await;
    let no_text = r#"SELECT count(*) FROM dead_letters, jsonb_array_elements(headers) AS header
                     WHERE header = '{"key": "no-text", "value": "\\xff00fe"}'"#;
    assert_eq!(world.database.number(no_text).await, 1_000, "headers that are no text are shown in hex");
}

/// Returns what is wrong with the end of a poison.
async fn unlike(world: &World, poison: &Poison, letter: Option<Row>) -> Option<String> {
    match (&poison.outcome, letter) {
        (Outcome::Processed(id), None) => {
            let state = world.state(id).await;
            (state.as_deref() != Some("processed")).then(|| format!("its state is {state:?}"))
        }
        (Outcome::Dead(_), None) => Some("it is no dead letter".to_owned()),
        (Outcome::Processed(_), Some(letter)) => Some(format!("a dead letter, {}", letter.get::<_, &str>(1))),
        (Outcome::Dead(reason), Some(letter)) => {
            let key = if poison.compressed { TEXT_KEY.as_bytes() } else { KEY };
            let problem = if letter.get::<_, &str>(1) != *reason {
                format!("the reason is {}", letter.get::<_, &str>(1))
            } else if letter.get::<_, Option<&[u8]>>(2) != Some(key) {
                "another key".to_owned()
            } else if letter.get::<_, Option<&[u8]>>(3) != poison.value.as_deref() {
                "other bytes".to_owned()
            } else if letter.get::<_, i32>(4) != poison.headers as i32 {
                "other headers".to_owned()
            } else {
                return None;
            };
            Some(problem)
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead(reason) => write!(f, "dead letter `{reason}`"),
            Self::Processed(_) => f.write_str("processed"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_whose_very_name_is_no_text_is_no_end_of_the_listener() {
    let world = World::new(1).await;
    world.topic.send_stamp("before", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    wire::produce(world.topic.name(), b"key", b"poison", (b"\xff\xfe", b"value"));
    wire::produce(world.topic.name(), b"key", with_id("fine").as_bytes(), (b"\xff\xfe", b"value"));
    world.topic.send_stamp("after", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    let listener = world.listen(&[]);
    world.processed(3).await;
    world.committed(world.group(), 4).await;
    let letters = || world.database.number("SELECT count(*) FROM dead_letters WHERE value = 'poison'");
    eventually("the poison is a dead letter", letters, |count| *count == 1).await;
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_decoded_stops_its_partition_and_says_so_until_the_offset_is_moved() {
    let world = World::with_settings(&[("max.message.bytes", "4000000")]).await;
    world.topic.send_stamp("before", 0, "2026-01-01T00:00:00Z");
    // More than librdkafka decodes: its receive.message.max.bytes is 100,000,000.
    world.topic.send_compressed(TEXT_KEY, &vec![b'0'; 101 << 20]);
    world.topic.send_stamp("after", 0, "2026-01-01T00:00:00Z");
    world.topic.flush();
    let listener = world.listen(&[]);
    world.processed(1).await;
    let stands_still = |text: &String| text.contains("can't be decoded");
    eventually("it is degraded", || listener.get("/readyz"), stands_still).await;
    assert!(listener.get("/metrics").await.contains("queue_listener_unreadable 1"));
    listener.stop().await;
    assert_eq!(world.topic.committed(world.group()), 1, "nothing is skipped by itself");
    world.topic.move_offset(world.group(), 2).await;
    let listener = world.listen(&[]);
    world.processed(2).await;
    eventually("it is ready", || listener.get("/readyz"), |text| text.contains("\"ready\"")).await;
    listener.stop().await;
}
