//! Bodies and paths as nobody well-meaning sends them.

mod bulk;
mod cases;

use serde_json::Value;

use self::cases::{ALL, Case, Expected, bodies, dates, forms, ids, tolerances, types};
use crate::harness::{Answer, Api, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_stored_as_it_came_or_refused_with_its_fields_and_without_effect() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let from_now = async |minutes: &str| {
        let sql = format!("SELECT to_json(clock_timestamp() + interval '{minutes} minutes')::text");
        world.database.query(&sql, &[]).await[0].get::<_, String>(0)
    };
    let (ahead, too_far_ahead) = (from_now("4").await, from_now("6").await);
    let cases = [ids(), tolerances(), dates(&ahead, &too_far_ahead), bodies(), types(), forms()];
    let (mut stored, mut wrong) = (0, Vec::new());
    for Case { headers, body, expected, why } in cases.iter().flatten() {
        let answer = api.post(headers, body).await;
        stored += i64::from(matches!(expected, Expected::Created(..)));
        let problem = match expected {
            Expected::Created(id, minutes, date) => unlike_stamp(&api, &answer, id, *minutes, *date).await,
            Expected::Refused(status, fields) => unlike_refusal(&answer, *status, fields),
        };
        wrong.extend(problem.map(|problem| format!("{why}: {problem}: {answer:?}")));
        let count = world.stamps().await;
        if count != stored {
            wrong.push(format!("{why}: {count} stamps instead of {stored}"));
            stored = count;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, stored);
    api.stop().await;
}

/// Returns what differs from a stamp with these values that was stored and can be read back.
async fn unlike_stamp(
    api: &Api,
    answer: &Answer,
    id: &str,
    minutes: i32,
    date: Option<&str>,
) -> Option<&'static str> {
    if answer.status != 201 {
        return Some("not 201");
    }
    let stamp = answer.json();
    if stamp["object_cid"] != *id || stamp["time_tolerance"] != minutes {
        return Some("another id or tolerance");
    }
    if date.is_some_and(|date| stamp["created_date"] != *date) {
        return Some("another date");
    }
    let Some(location) = answer.header("location") else { return Some("no location") };
    let shown = api.get(location).await;
    if shown.status != 200 {
        return Some("nothing at its location");
    }
    let shown = shown.json();
    let same = ALL.iter().all(|field| shown[field] == stamp[field]);
    (!same).then_some("something else at its location")
}

/// Returns what differs from a problem with this status and errors of exactly these fields.
fn unlike_refusal(answer: &Answer, status: u16, fields: &[&str]) -> Option<&'static str> {
    if answer.status != status {
        return Some("another status");
    }
    if answer.header("content-type") != Some("application/problem+json") || answer.json()["status"] != status
    {
        return Some("no problem document");
    }
    unlike_fields(&answer.json(), fields).then_some("errors of other fields")
}

/// Tells whether a problem has other errors than those of exactly these fields.
fn unlike_fields(problem: &Value, fields: &[&str]) -> bool {
    let named = |field: &str| problem[field].as_array().is_some_and(|sentences| !sentences.is_empty());
    !ALL.iter().all(|field| named(field) == fields.contains(field))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_a_path_is_decoded_exactly_once() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    for id in [
        "a/b", "a%2Fb", "a+b", "a b", "a", "a/", "\u{e9}", "e\u{301}", "..", "100%", "a?b", "a#b", "\u{feff}",
    ] {
        assert_eq!(api.create(id).await.status, 201, "{id}");
    }
    for (path, id, why) in [
        ("a%2Fb", Some("a/b"), "an encoded slash"),
        ("a%2fb", Some("a/b"), "in small letters"),
        ("a%252Fb", Some("a%2Fb"), "an encoded percent sign"),
        ("a%25252Fb", None, "twice encoded"),
        ("a+b", Some("a+b"), "a plus is a plus"),
        ("a%2Bb", Some("a+b"), "encoded too"),
        ("a%20b", Some("a b"), "a space"),
        ("%61", Some("a"), "what need not be encoded"),
        ("a/", Some("a"), "the slash of the collection"),
        ("a%2F", Some("a/"), "the id's own"),
        ("a%2F/", Some("a/"), "both"),
        ("a?x=%FF%00", Some("a"), "a query is nobody's business"),
        ("a%3Fb", Some("a?b"), "a question mark"),
        ("a%23b", Some("a#b"), "a hash"),
        ("100%", Some("100%"), "a percent sign alone"),
        ("100%25", Some("100%"), "encoded"),
        ("%C3%A9", Some("\u{e9}"), "composed"),
        ("e%CC%81", Some("e\u{301}"), "decomposed"),
        ("%EF%BB%BF", Some("\u{feff}"), "a mark that is part of the text"),
        ("%2E%2E", Some(".."), "two dots are an id"),
        ("..", Some(".."), "nothing goes up from here"),
        ("%00", None, "a NUL"),
        ("a%00", None, "a NUL behind it"),
        ("%FF", None, "not UTF-8"),
        ("%C0%AF", None, "longer than it need be"),
        ("%ED%A0%80", None, "a surrogate"),
        ("%u0061", None, "no escape of ours"),
        ("A", None, "another id"),
        ("%20", None, "blank"),
        ("", None, "nothing"),
        ("/a", None, "an empty segment"),
        ("a//", None, "another"),
        ("a/b", None, "two segments"),
        ("a;x=1", None, "parameters are part of the text"),
        ("..%2Fstamps%2Fa", None, "no way round"),
        ("../stamps/a", None, "nor without encoding"),
        ("%27%20OR%201=1--", None, "SQL"),
        (&"%F0%9F%98%80".repeat(255), None, "255 characters, and nobody has them"),
        (&"%F0%9F%98%80".repeat(256), None, "one more"),
    ] {
        let answer = api.get(&format!("/v1/stamps/{path}")).await;
        match id {
            Some(id) => {
                assert_eq!(answer.status, 200, "{path:.100}, {why}: {answer:?}");
                assert_eq!(answer.json()["object_cid"], *id, "{path}, {why}");
            }
            // `/v1/stamps/` is the collection.
            None if path.is_empty() => assert!(answer.json()["items"].is_array(), "{answer:?}"),
            None => assert_eq!(answer.status, 404, "{path:.100}, {why}: {answer:?}"),
        }
    }
    api.stop().await;
}
