//! A batch as a `CloudEvent`: version 1.0 of the specification, in its JSON format.
//!
//! A receiver drops what it has had by `source` and `id`, so both are the same whoever tells the batch, however often.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::PartId;
use crate::batch::policy::Trigger;
use crate::stamp::Stamp;
use crate::stamp::format_date;

/// The media type of an event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The type of all events.
pub const TYPE: &str = "stamp.batch.processed";

/// What is told of a batch beside its stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Who tells, a URI reference.
    pub source: String,
    /// Which part of which batch.
    pub id: PartId,
    /// How many parts the batch is told in.
    pub parts: i32,
    /// Why the batch left.
    pub trigger: Trigger,
    /// How many stamps the whole batch holds.
    pub size: usize,
    /// When the batch was committed.
    pub processed_at: DateTime<Utc>,
}

impl Heading {
    /// Returns the `id` of the event: `batch-7`, and `batch-7-2` where there are several parts.
    pub fn event_id(&self) -> String {
        let PartId { batch, part } = self.id;
        if self.parts == 1 { format!("batch-{batch}") } else { format!("batch-{batch}-{part}") }
    }
}

/// Returns the event without white space, the stamps in the order that they are given in.
pub fn encode(heading: &Heading, stamps: &[Stamp]) -> Vec<u8> {
    let mut event = head(heading);
    for (index, stamp) in stamps.iter().enumerate() {
        if index > 0 {
            event.push(',');
        }
        push(&mut event, stamp);
    }
    event.push_str(TAIL);
    event.into_bytes()
}

const TAIL: &str = "]}}";

fn head(heading: &Heading) -> String {
    let Heading { source, id, parts, trigger, size, processed_at } = heading;
    let (event_id, source) = (heading.event_id(), Value::from(source.as_str()));
    let (trigger, time) = (trigger.as_str(), format_date(*processed_at));
    let PartId { batch, part } = id;
    format!(
        r#"{{"specversion":"1.0","type":"{TYPE}","source":{source},"id":"{event_id}","time":"{time}","datacontenttype":"application/json","data":{{"batch":{{"id":{batch},"trigger":"{trigger}","size":{size},"processed_at":"{time}"}},"part":{part},"parts":{parts},"stamps":["#
    )
}

/// Adds a stamp to the text of an event.
pub(super) fn push(event: &mut String, stamp: &Stamp) {
    let object_cid = Value::from(stamp.object_cid().as_str());
    let time_tolerance = stamp.time_tolerance();
    let (created_date, process_after) = (format_date(stamp.created_date()), format_date(stamp.due()));
    let _infallible = write!(
        event,
        r#"{{"object_cid":{object_cid},"time_tolerance":{time_tolerance},"created_date":"{created_date}","process_after":"{process_after}"}}"#
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cut::{ENVELOPE, LARGEST, LONGEST_SOURCE, ends};
    use super::*;

    fn stamp(object_cid: &str) -> Stamp {
        crate::stamp::event::decode(
            Some(json!({"object_cid": object_cid, "time_tolerance": 10, "created_date": "2026-01-01T00:00:00Z"}).to_string().as_bytes()),
            None,
            DateTime::from_timestamp(1_767_225_600, 0).expect("a valid time"),
        )
        .expect("a stamp")
    }

    fn heading(part: i32, parts: i32) -> Heading {
        Heading {
            source: "/stamp-service".to_owned(),
            id: PartId { batch: 7, part },
            parts,
            trigger: Trigger::Deadline,
            size: 2,
            processed_at: DateTime::from_timestamp(1_767_225_600, 250_000_000).expect("a valid time"),
        }
    }

    #[test]
    fn a_batch_is_told_as_a_cloud_event() {
        let event: Value =
            serde_json::from_slice(&encode(&heading(1, 1), &[stamp("a\"b"), stamp("c")])).expect("JSON");
        let stamp = |object_cid: &str| {
            json!({"object_cid": object_cid, "time_tolerance": 10, "created_date": "2026-01-01T00:00:00.000000Z",
                   "process_after": "2026-01-01T00:10:00.000000Z"})
        };
        let expected = json!({
            "specversion": "1.0", "type": "stamp.batch.processed", "source": "/stamp-service", "id": "batch-7",
            "time": "2026-01-01T00:00:00.250000Z", "datacontenttype": "application/json",
            "data": {
                "batch": {"id": 7, "trigger": "deadline", "size": 2, "processed_at": "2026-01-01T00:00:00.250000Z"},
                "part": 1, "parts": 1, "stamps": [stamp("a\"b"), stamp("c")],
            },
        });
        assert_eq!(event, expected);
        assert_eq!(heading(2, 3).event_id(), "batch-7-2");
    }

    #[test]
    fn no_part_is_too_large_and_none_is_needless() {
        let most = Heading {
            source: "s".repeat(LONGEST_SOURCE),
            id: PartId { batch: i64::MAX, part: i32::MAX },
            parts: i32::MAX,
            size: usize::MAX,
            ..heading(1, 1)
        };
        assert!(encode(&most, &[]).len() <= ENVELOPE);
        // What takes most room: six bytes for each character.
        let controls = stamp(&"\u{1}".repeat(255));
        let length = |stamp: &Stamp| {
            encode(&heading(1, 1), &[stamp.clone(), stamp.clone()]).len()
                - encode(&heading(1, 1), std::slice::from_ref(stamp)).len()
        };
        let stamps: Vec<Stamp> =
            (0..10_000).map(|number| stamp(&format!("{number:0255}"))).chain(vec![controls; 300]).collect();
        let (ends, mut begin) = (ends(&stamps), 0);
        for end in ends.iter().map(|end| *end as usize) {
            let event = encode(&most, &stamps[begin..end]).len();
            assert!(event <= LARGEST, "{event}");
            let next = stamps.get(end);
            assert!(next.is_none_or(|next| event + length(next) + ENVELOPE > LARGEST), "{event}");
            begin = end;
        }
        assert_eq!(begin, stamps.len());
        assert!(ends.len() > 5 && super::super::cut::ends(&stamps[..10]) == [10], "{ends:?}");
    }
}
