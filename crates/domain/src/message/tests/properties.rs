use proptest::prelude::*;

use crate::message::record::{decode, encode};
use crate::message::{Message, key_text};
use crate::record::Rejection;
use crate::record::spoiling::{any_mutations, encoded, mutated};

fn any_message() -> impl Strategy<Value = Message> {
    let text = |most| prop::collection::vec(any::<char>(), 1..=most).prop_map(String::from_iter);
    let url = prop::option::of("(http|HTTPS)://[a-z]{1,20}(:[0-9]{1,4})?(/[!-\\[\\]-~é]{0,30})?");
    (text(255), text(600), url, any::<bool>()).prop_filter_map("valid", |(subject, body, url, is_active)| {
        Message::new(&subject, &body, url.as_deref(), is_active).ok()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again_once_or_twice_encoded(message in any_message()) {
        let once = encode(&message);
        let twice = encoded(std::str::from_utf8(&once).expect("JSON is UTF-8"));
        prop_assert_eq!(decode(Some(&once)), Ok(message.clone()));
        prop_assert_eq!(decode(Some(twice.as_bytes())), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_orderly(&value);
        prop_assert!(key_text(Some(&value)).is_some_and(|text| !text.contains('\0')));
    }

    #[test]
    fn arbitrary_urls_never_panic(url in "(http://)?\\PC{0,40}") {
        if let Ok(message) = Message::new("s", "b", Some(&url), true) {
            prop_assert_eq!(message.reference_url().unwrap_or_default(), url);
        }
    }

    #[test]
    fn mutated_messages_never_panic(
        message in any_message(),
        twice in any::<bool>(),
        mutations in any_mutations(),
    ) {
        let mut value = encode(&message);
        if twice {
            value = encoded(std::str::from_utf8(&value).expect("JSON is UTF-8")).into_bytes();
        }
        assert_orderly(&mutated(value, mutations));
    }
}

/// Asserts that the bytes are a message that survives another round, or a printable rejection.
fn assert_orderly(value: &[u8]) {
    match decode(Some(value)) {
        Ok(message) => assert_eq!(decode(Some(&encode(&message))), Ok(message)),
        Err(rejection) => {
            assert!(rejection.detail().len() <= Rejection::MAX_DETAIL_BYTES);
            assert!(!rejection.detail().contains(char::is_control));
        }
    }
}
