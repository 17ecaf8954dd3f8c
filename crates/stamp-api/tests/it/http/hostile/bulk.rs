//! Many stamps in one request, of which some or all are bad.

use serde_json::{Value, json};

use super::cases::{Case, Expected, bodies, cid, dates, ids, tolerances};
use super::unlike_fields;
use crate::harness::{Answer, Api, FORM, JSON, LINES, World};

/// Returns bodies of single stamps, and what each is answered with.
fn singles() -> Vec<Case> {
    let json = [ids(), tolerances(), dates("null", "\"2999-01-01\""), bodies()].into_iter().flatten();
    // A line ends with its line feed, and a body of one stamp is not as long as one of many.
    json.filter(|case| case.headers == JSON && case.body.len() <= 64 * 1024 && !case.body.contains(&b'\n'))
        .collect()
}

/// Asserts that each item is answered as it would be by itself, and that the good ones can be read.
async fn assert_results(api: &Api, world: &World, answer: &Answer, cases: &[Case]) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), cases.len());
    let (mut stored, mut wrong) = (0, Vec::new());
    for (result, Case { expected, why, .. }) in results.iter().zip(cases) {
        match expected {
            Expected::Created(id, ..) => {
                stored += 1;
                if *result != json!({"status": 201, "object_cid": id}) {
                    wrong.push(format!("{why}: {result}"));
                }
            }
            Expected::Refused(status, fields) => {
                let sentence = result["detail"].is_string() != fields.is_empty();
                if result["status"] != *status || sentence || unlike_fields(result, fields) {
                    wrong.push(format!("{why}: {result}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((answer["created"].as_i64(), world.stamps().await), (Some(stored), stored));
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, stored);
    for date in ["2026-01-01T10:30:00.123456Z", "0001-01-01T00:00:00.000000Z"] {
        let sql = "SELECT count(*) FROM stamps WHERE created_date = $1::text::timestamptz";
        assert_eq!(world.database.query(sql, &[&date]).await[0].get::<_, i64>(0), 1, "{date}");
    }
    assert_eq!(api.get("/v1/stamps/tolerance%206").await.json()["time_tolerance"], 10_080);
}

// Break: let `accept` of domain/src/stamp/fields.rs check no limits.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_taken_as_it_would_be_taken_alone_and_a_bad_one_spoils_itself_only() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    // Empty lines are none.
    let cases: Vec<Case> =
        singles().into_iter().filter(|case| !case.body.iter().all(u8::is_ascii_whitespace)).collect();
    let lines: Vec<&[u8]> = cases.iter().map(|case| case.body.as_slice()).collect();
    let answer = api.bulk(LINES, &[b"\r\n", lines.join(&b"\r\n\n"[..]).as_slice(), b"\n\n"].concat()).await;
    assert_results(&api, &world, &answer, &cases).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_an_array_is_taken_as_it_would_be_taken_alone_and_a_bad_one_spoils_itself_only() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let is_json = |case: &Case| serde_json::from_slice::<&serde_json::value::RawValue>(&case.body).is_ok();
    let cases: Vec<Case> = singles().into_iter().filter(is_json).collect();
    let items: Vec<&[u8]> = cases.iter().map(|case| case.body.as_slice()).collect();
    let answer = api.bulk(JSON, &[b"[", items.join(&b","[..]).as_slice(), b"]"].concat()).await;
    assert_results(&api, &world, &answer, &cases).await;
    api.stop().await;
}

/// Returns an array, or the lines, of so many good stamps that stand in it.
fn many(count: usize, separator: &str) -> String {
    let items: Vec<String> = (0..count).map(|number| cid(&number.to_string())).collect();
    items.join(separator)
}

fn array(items: &str) -> String {
    format!("[{items}]")
}

// Break: let `array` of domain's fields/json.rs stop reading after `max` items; take no more than ten lines in `lines`.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_body_that_can_not_be_read_to_its_end_nothing_is_stored() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let good = cid("\"good\"");
    let full = |bytes: usize| array(&format!("{good}{}", " ".repeat(bytes - good.len() - 2)));
    for (headers, body, status, why) in [
        (JSON, String::new(), 400, "nothing"),
        (JSON, good.clone(), 400, "one object"),
        (JSON, "null".to_owned(), 400, "null"),
        (JSON, format!("[{good},"), 400, "cut after an item"),
        (JSON, format!("[{good},{}", &good[..9]), 400, "cut in an item"),
        (JSON, array(&format!("{good},")), 400, "a comma too many"),
        (JSON, array(&format!("{good} {good}")), 400, "a comma too few"),
        (JSON, array(&good) + &array(&good), 400, "two arrays"),
        (JSON, format!("{good}\n{good}"), 400, "lines"),
        (JSON, array(&many(10_001, ",")), 413, "10,001 items"),
        (JSON, format!("[{}", many(10_001, ",")), 400, "10,001 items, and cut"),
        (JSON, format!("[{good}{}]", ",0".repeat(4_000_000)), 413, "4,000,000 numbers"),
        (JSON, format!("[{good},{}", "[".repeat(8_000_000)), 400, "8,000,000 lists that never end"),
        (JSON, full((8 << 20) + 1), 413, "a byte over 8 MiB"),
        (LINES, many(10_001, "\n"), 413, "10,001 lines"),
        (LINES, " ".repeat((8 << 20) + 1), 413, "a byte over 8 MiB"),
        (FORM, "object_cid=good&time_tolerance=1".to_owned(), 415, "a form"),
        ("", array(&good), 415, "no type"),
        ("content-type: application/x-ndjson; charset=utf-16\r\n", good.clone(), 415, "UTF-16"),
        (&format!("{JSON}content-encoding: gzip\r\n"), array(&good), 415, "compressed"),
    ] {
        let answer = api.bulk(headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{why}");
        assert_eq!(world.stamps().await, 0, "{why}");
    }
    let not_utf_8 = [b"[", good.as_bytes(), b",{\"object_cid\":\"\xff\",\"time_tolerance\":1}]"].concat();
    assert_eq!(api.bulk(JSON, &not_utf_8).await.status, 400);
    assert_eq!(world.stamps().await, 0);
    api.stop().await;
}

// Break: refuse a body of `limits.bytes` in `read` of http/body.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_empty_or_as_long_as_it_may_be_and_come_in_chunks() {
    let world = World::new().await;
    let api = world.serve(&[("HTTP_BODY_BUDGET_BYTES", "8388608")]).await;
    let nothing = json!({"created": 0, "results": []});
    for (headers, body) in [(JSON, "[]"), (JSON, "\u{feff} [\r\n]\t"), (LINES, ""), (LINES, "\n\r\n \n")] {
        let answer = api.bulk(headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.json()), (200, nothing.clone()), "{body:?}");
    }
    let all: Vec<Value> =
        (0..10_000).map(|id: i32| json!({"status": 201, "object_cid": id.to_string()})).collect();
    let mut longest = array(&many(10_000, ","));
    longest.insert_str(1, &" ".repeat((8 << 20) - longest.len()));
    let chunked = format!(
        "POST /v1/stamps/bulk/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n{:x}\r\n{longest}\r\n0\r\n\r\n",
        longest.len()
    );
    let answer = api.exchange(chunked.as_bytes()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"created": 10_000, "results": all})));
    let again = api.bulk(LINES, many(10_000, "\r\n").as_bytes()).await.json();
    assert_eq!(again["created"], 0);
    for result in again["results"].as_array().expect("results") {
        let expected = json!({"status": 409, "object_cid": ["stamp with this object_cid already exists."]});
        assert_eq!(*result, expected);
    }
    api.metric_is("stamp_api_http_body_bytes", 0.0).await;
    api.stop().await;
}

// Break: leave `show` out of `/v1/stamps/bulk` in routes/stamps.rs.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_is_an_ordinary_id_for_who_reads() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    assert_eq!(api.get("/v1/stamps/bulk").await.status, 404);
    assert_eq!(api.bulk(JSON, array(&cid("\"bulk\"")).as_bytes()).await.json()["created"], 1);
    for path in ["/v1/stamps/bulk", "/v1/stamps/bulk/", "/v1/stamps/%62ulk?x=1"] {
        assert_eq!(api.get(path).await.json()["object_cid"], "bulk", "{path}");
    }
    assert_eq!(api.request("HEAD", "/v1/stamps/bulk", "", "").await.status, 200);
    api.stop().await;
}
