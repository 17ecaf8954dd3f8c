use chrono::DateTime;
use proptest::prelude::*;

use super::{decode_bytes, now};
use crate::record::Rejection;
use crate::record::spoiling::{any_mutations, encoded, mutated};
use crate::stamp::event::{decode, encode};
use crate::stamp::{ObjectCid, Stamp, TimeTolerance};

/// Returns any stamp that is due within the horizon.
fn any_stamp() -> impl Strategy<Value = Stamp> {
    let cid = prop::collection::vec(any::<char>().prop_filter("no NUL", |c| *c != '\0'), 1..=255)
        .prop_map(String::from_iter)
        .prop_filter_map("not blank", |text| ObjectCid::parse(text).ok());
    (cid, 0..=525_600, -62_135_596_800_000_000_i64..1_767_268_800_000_000).prop_map(
        |(cid, minutes, micros)| {
            let tolerance = TimeTolerance::from_minutes(minutes).expect("not negative");
            let created_date = DateTime::from_timestamp_micros(micros).expect("in range");
            Stamp::new(cid, tolerance, created_date).expect("in range")
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again_once_or_twice_encoded(stamp in any_stamp()) {
        let once = encode(&stamp);
        let twice = encoded(std::str::from_utf8(&once).expect("JSON is UTF-8"));
        prop_assert_eq!(decode(Some(&once), None, now()), Ok(stamp.clone()));
        prop_assert_eq!(decode(Some(twice.as_bytes()), None, now()), Ok(stamp));
    }

    #[test]
    fn arbitrary_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_orderly(&value);
    }

    #[test]
    fn mutated_events_never_panic(
        stamp in any_stamp(),
        twice in any::<bool>(),
        mutations in any_mutations(),
    ) {
        let mut value = encode(&stamp);
        if twice {
            value = encoded(std::str::from_utf8(&value).expect("JSON is UTF-8")).into_bytes();
        }
        assert_orderly(&mutated(value, mutations));
    }
}

/// Asserts that the bytes are a stamp that survives another round, or a printable rejection.
fn assert_orderly(value: &[u8]) {
    match decode_bytes(value) {
        Ok(stamp) => assert_eq!(decode_bytes(encode(&stamp)), Ok(stamp)),
        Err(rejection) => {
            assert!(rejection.detail().len() <= Rejection::MAX_DETAIL_BYTES);
            assert!(!rejection.detail().contains(char::is_control));
        }
    }
}
