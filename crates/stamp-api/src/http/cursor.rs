//! Where a page of a list ends, and the next one begins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The last character of a cursor: one that was cut has none, where it would be another place in the list.
const END: char = ';';

/// Returns a cursor: the list's name and the numbers that its last item is found by, which no client has to understand. The
/// last of the numbers is an id.
pub fn encode<const N: usize>(list: &str, place: [i64; N]) -> String {
    let numbers = place.map(|number| number.to_string()).join(":");
    URL_SAFE_NO_PAD.encode(format!("{list}:{numbers}{END}"))
}

/// Reads what [`encode`] has written for this list, and nothing else.
///
/// # Errors
/// A sentence for the client.
pub fn decode<const N: usize>(text: &str, list: &str) -> Result<[i64; N], String> {
    let read = || {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (name, numbers) = plain.strip_suffix(END)?.split_once(':')?;
        let numbers: Vec<i64> =
            numbers.split(':').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some((name.to_owned(), numbers))
    };
    let of_another = "This cursor is one of another list; take the one that the page before has as next.";
    let none = "This is no cursor; take the one that the page before has as next.";
    match read() {
        Some((name, _)) if name != list => Err(of_another.to_owned()),
        Some((_, numbers)) => {
            let place = <[i64; N]>::try_from(numbers).ok();
            let is_a_place =
                |place: &[i64; N]| place.iter().all(|number| *number >= 0) && place.last() > Some(&0);
            let is_ours = |place: &[i64; N]| is_a_place(place) && encode(list, *place) == text;
            place.filter(is_ours).ok_or_else(|| none.to_owned())
        }
        None => Err(none.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_where_its_page_ended() {
        for place in [[0, 1], [42, 7], [i64::MAX, i64::MAX]] {
            assert_eq!(decode(&encode("inbox", place), "inbox"), Ok(place));
        }
    }

    #[test]
    fn what_is_no_cursor_of_this_list_is_refused() {
        let encoded = |plain: &str| URL_SAFE_NO_PAD.encode(format!("{plain}{END}"));
        assert_eq!(decode::<1>(&encoded("inbox:1"), "inbox"), Ok([1]));
        for (text, why) in [
            (String::new(), "nothing"),
            ("x".to_owned(), "no base64"),
            ("inbox:1".to_owned(), "not encoded"),
            (encoded("trash:1"), "another list"),
            (encoded("inbox"), "no id"),
            (encoded("inbox:"), "an empty id"),
            (encoded("inbox:x"), "no number"),
            (encoded("inbox:0"), "not an id"),
            (encoded("inbox:-1"), "negative"),
            (encoded("inbox:+1"), "a sign"),
            (encoded("inbox:01"), "a zero in front"),
            (encoded("inbox: 1"), "a space"),
            (encoded("inbox:1\n"), "a line break"),
            (encoded("inbox:1:2"), "a number too many"),
            (encoded("inbox:1 OR 1=1"), "SQL"),
            (encoded("inbox:9223372036854775808"), "over what a bigint holds"),
            (encoded("Inbox:1"), "another spelling"),
            (encoded("inbox:1") + "=", "padding"),
            (URL_SAFE_NO_PAD.encode("inbox:1"), "no end"),
            ("aW5ib3g6MTt".to_owned(), "bits that say nothing"),
            (URL_SAFE_NO_PAD.encode(b"\xff\xfe"), "no text"),
            ("A".repeat(60_000), "60 KB"),
        ] {
            assert!(decode::<1>(&text, "inbox").is_err(), "{why}");
        }
        let whole = encode("inbox", [12_345_678]);
        for end in 0..whole.len() {
            assert!(decode::<1>(&whole[..end], "inbox").is_err(), "cut after {end} characters");
        }
    }
}
