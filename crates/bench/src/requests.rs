//! What clients send: bytes that are ready but for the ids.

use std::iter::StepBy;
use std::ops::Range;

use crate::http::{Answer, post};
use crate::ids::{Id, LENGTH, id};

/// The path of the route that takes one stamp.
pub const CREATE: &str = "/datasender/create_stamp/";
/// The path of the route that takes many stamps.
pub const BULK: &str = "/v1/stamps/bulk";
/// Minutes that a stamp may wait: longer than a run takes, so that it leaves because its batch is full.
pub const TOLERANCE: i32 = 1_000;
/// How many stamps a bulk request has.
pub const STAMPS_OF_BULK: u64 = 1_000;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// What stands in a request where its id will.
const PLACE: Id = [b'_'; LENGTH];

/// The requests of one client.
pub trait Requests: Send + 'static {
    /// Returns the next request, `None` after the last.
    fn next(&mut self) -> Option<&[u8]>;

    /// Returns how many stamps were stored, by the word of an answer; 0 is a failure.
    fn stored(&self, answer: &Answer<'_>) -> u64;
}

/// Numbers of the ids that one client sends.
#[derive(Debug, Clone)]
pub struct Numbers {
    seed: u64,
    numbers: StepBy<Range<u64>>,
}

impl Numbers {
    /// Returns the share of one of several clients that go on for as long as they are let.
    pub fn endless(seed: u64, client: usize, clients: usize) -> Self {
        Self::every(1, u64::MAX, seed, client, clients)
    }

    /// Returns the share of one of several clients of each `step`th number below `end`.
    pub fn every(step: u64, end: u64, seed: u64, client: usize, clients: usize) -> Self {
        let first = step * client as u64;
        Self { seed, numbers: (first..end.max(first)).step_by(step as usize * clients) }
    }

    fn id(&mut self) -> Option<Id> {
        Some(id(self.seed, self.numbers.next()?))
    }
}

/// Requests of one stamp each, as forms.
pub struct Form {
    request: Vec<u8>,
    place: usize,
    numbers: Numbers,
}

impl Form {
    /// Makes the requests. `created`: the stamps' creation date, if they say one.
    pub fn new(numbers: Numbers, created: Option<&str>) -> Self {
        let created = created.map_or_else(String::new, |date| format!("&created_date={date}"));
        let place = String::from_utf8_lossy(&PLACE);
        let request = post(CREATE, FORM, &format!("object_cid={place}&time_tolerance={TOLERANCE}{created}"));
        let place = places(&request).next().unwrap_or_default();
        Self { request, place, numbers }
    }
}

impl Requests for Form {
    fn next(&mut self) -> Option<&[u8]> {
        let id = self.numbers.id()?;
        self.request[self.place..self.place + LENGTH].copy_from_slice(&id);
        Some(&self.request)
    }

    fn stored(&self, answer: &Answer<'_>) -> u64 {
        u64::from(answer.status == 201)
    }
}

/// Requests of many stamps each, as JSON.
pub struct Bulk {
    request: Vec<u8>,
    places: Vec<usize>,
    numbers: Numbers,
}

impl Bulk {
    /// Makes requests of [`STAMPS_OF_BULK`] stamps. What is left over in the end, fewer than make a request, is not sent.
    /// `created`: the stamps' creation date, if they say one.
    pub fn new(numbers: Numbers, created: Option<&str>) -> Self {
        let created = created.map_or_else(String::new, |date| format!(r#","created_date":"{date}""#));
        Self::of(numbers, STAMPS_OF_BULK as usize, &created)
    }

    /// Makes requests of so many stamps that have nearly this many bytes: each stamp has a member that nobody looks at.
    pub fn padded(numbers: Numbers, stamps: usize, bytes: usize) -> Self {
        let pad = |length: usize| format!(r#","pad":"{}""#, "x".repeat(length));
        // A comma stands between two.
        let length = (bytes / stamps).saturating_sub(item(&pad(0)).len() + 1);
        Self::of(numbers, stamps, &pad(length))
    }

    fn of(numbers: Numbers, stamps: usize, members: &str) -> Self {
        let items = vec![item(members); stamps].join(",");
        let request = post(BULK, JSON, &format!("[{items}]"));
        let places = places(&request).collect();
        Self { request, places, numbers }
    }
}

/// Returns a stamp without its id and with further members.
fn item(members: &str) -> String {
    let place = String::from_utf8_lossy(&PLACE);
    format!(r#"{{"object_cid":"{place}","time_tolerance":{TOLERANCE}{members}}}"#)
}

impl Requests for Bulk {
    fn next(&mut self) -> Option<&[u8]> {
        for place in &self.places {
            let id = self.numbers.id()?;
            self.request[*place..place + LENGTH].copy_from_slice(&id);
        }
        Some(&self.request)
    }

    fn stored(&self, answer: &Answer<'_>) -> u64 {
        let created = if answer.status == 200 { created(answer.body).unwrap_or(0) } else { 0 };
        // Every id is new, so one that was not created is a failure of its request.
        if created == self.places.len() as u64 { created } else { 0 }
    }
}

/// Requests of one stamp each that are ready altogether.
pub struct Prepared {
    requests: std::vec::IntoIter<Vec<u8>>,
    last: Vec<u8>,
}

impl Prepared {
    /// Makes requests of stamps that are due at these times: (number of the id, creation date) with this tolerance.
    pub fn new(seed: u64, stamps: &[(u64, String)], minutes: i64) -> Self {
        let request = |(number, created): &(u64, String)| {
            let id = crate::ids::text(seed, *number);
            post(CREATE, FORM, &format!("object_cid={id}&time_tolerance={minutes}&created_date={created}"))
        };
        let requests: Vec<Vec<u8>> = stamps.iter().map(request).collect();
        Self { requests: requests.into_iter(), last: Vec::new() }
    }
}

impl Requests for Prepared {
    fn next(&mut self) -> Option<&[u8]> {
        self.last = self.requests.next()?;
        Some(&self.last)
    }

    fn stored(&self, answer: &Answer<'_>) -> u64 {
        u64::from(answer.status == 201)
    }
}

/// Returns where the places of ids begin.
fn places(request: &[u8]) -> impl Iterator<Item = usize> {
    request.windows(LENGTH).enumerate().filter(|(_, window)| *window == PLACE).map(|(index, _)| index)
}

/// Returns the number of created stamps that an answer to a bulk request begins with.
fn created(body: &[u8]) -> Option<u64> {
    let body = str::from_utf8(&body[..body.len().min(64)]).ok()?;
    let digits = body.split_once(r#""created":"#)?.1.trim_start();
    let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::text;

    fn body(requests: &mut impl Requests) -> Option<String> {
        let request = String::from_utf8(requests.next()?.to_vec()).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        Some(body.to_owned())
    }

    #[test]
    fn clients_share_the_numbers_and_send_each_once() {
        let mut all = Vec::new();
        for client in 0..3 {
            let mut form = Form::new(Numbers::every(2, 10, 1, client, 3), Some("2026-01-01T00:00:00Z"));
            while let Some(body) = body(&mut form) {
                all.push(body);
            }
        }
        all.sort();
        let mut expected = [0, 2, 4, 6, 8].map(|number| {
            let id = text(1, number);
            format!("object_cid={id}&time_tolerance=1000&created_date=2026-01-01T00:00:00Z")
        });
        expected.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_bulk_request_is_an_array_of_a_thousand_new_stamps() {
        let mut bulk = Bulk::new(Numbers::every(1, 2_500, 1, 0, 1), None);
        for first in [0, 1_000] {
            let items: serde_json::Value = serde_json::from_str(&body(&mut bulk).unwrap()).unwrap();
            assert_eq!(items.as_array().map(Vec::len), Some(1_000));
            assert_eq!(items[999]["object_cid"], text(1, first + 999));
        }
        assert_eq!(body(&mut bulk), None, "the rest makes no request");
    }

    #[test]
    fn a_request_is_padded_to_nearly_its_size() {
        let mut bulk = Bulk::padded(Numbers::endless(1, 0, 1), 100, 100_000);
        let body = body(&mut bulk).unwrap();
        assert!((99_000..=100_001).contains(&body.len()), "{}", body.len());
        let items: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(items[99]["object_cid"], text(1, 99));
    }

    #[test]
    fn an_answer_counts_only_when_all_was_created() {
        let bulk = Bulk::new(Numbers::endless(1, 0, 1), None);
        let stored = |status, body: &str| {
            bulk.stored(&Answer { status, retry_after: false, closes: false, body: body.as_bytes() })
        };
        assert_eq!(stored(200, r#"{"created":1000,"results":[]}"#), 1_000);
        assert_eq!(stored(200, r#"{"created":999,"results":[]}"#), 0);
        assert_eq!(stored(503, "{}"), 0);
        assert_eq!(created(br#"{"created": 7}"#), Some(7));
    }
}
