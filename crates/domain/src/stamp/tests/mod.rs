mod date;
mod event;
mod fields;
mod json;
mod values;

use chrono::{DateTime, Utc};

use super::{ObjectCid, TimeTolerance, parse_date};

fn cid(text: &str) -> ObjectCid {
    ObjectCid::parse(text).expect("a valid identifier")
}

fn minutes(minutes: i32) -> TimeTolerance {
    TimeTolerance::from_minutes(minutes).expect("a valid tolerance")
}

fn date(text: &str) -> DateTime<Utc> {
    parse_date(text).expect("a valid date")
}
