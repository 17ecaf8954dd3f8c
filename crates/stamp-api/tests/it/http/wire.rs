//! Requests that are slow, too long, or on the edge of being HTTP, on the socket itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Answer, FORM, JSON, World};

const STAMP: &str = r#"{"object_cid":"a","time_tolerance":1}"#;
/// How long any answer may take: none waits for what does not come.
const LIMIT: Duration = Duration::from_secs(2);
const POST: &str = "POST /v1/stamps HTTP/1.1\r\nhost: a\r\n";

/// Sends `start`, then a byte every half second for as long as the other side listens. Returns the answer and
/// when the connection was closed.
async fn drip(address: SocketAddr, start: String) -> (Answer, Duration) {
    let started = Instant::now();
    let (reader, mut writer) = TcpStream::connect(address).await.expect("a connection").into_split();
    let writing = tokio::spawn(async move {
        let mut bytes = start.as_bytes();
        while writer.write_all(bytes).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            bytes = b"x";
        }
    });
    let answer = Answer::read(reader).await;
    writing.abort();
    (answer, started.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_byte_by_byte_is_given_up_after_five_seconds_of_head_or_ten_of_body() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let body = |framing: &str| format!("{POST}{JSON}{framing}\r\n\r\n");
    let head = drip(api.address(), format!("{POST}x-slow: "));
    let known = drip(api.address(), body("content-length: 1000"));
    // A chunk of which one byte comes at a time.
    let chunked = drip(api.address(), body("transfer-encoding: chunked") + "3e8\r\n");
    let (head, known, chunked) = tokio::join!(head, known, chunked);
    for (what, (answer, took), seconds) in [("head", head, 5), ("body", known, 10), ("chunk", chunked, 10)] {
        assert_eq!(answer.status, 408, "{what}: {answer:?}");
        let limit = Duration::from_secs(seconds);
        // The server looks at its clock twice a second.
        let slack = Duration::from_secs(1);
        assert!(took > limit - slack && took < limit + 3 * slack, "{what} took {took:?}");
    }
    assert_eq!(world.stamps().await, 0);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_long_or_ambiguous_is_refused_and_its_connection_closed() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let length = STAMP.len();
    let with = |lines: &str| format!("{POST}{JSON}content-length: {length}\r\n{lines}\r\n{STAMP}");
    let headers = |count: usize| "x: a\r\n".repeat(count);
    let smuggled = format!("{POST}{JSON}content-length: {length}\r\n\r\n{STAMP}");
    let mut wrong = Vec::new();
    for (request, status, why) in [
        (with(&headers(94)), 431, "97 headers with host, type and length, one more than are read"),
        (with(&format!("x: {}\r\n", "a".repeat(140_000))), 431, "a head over 128 KiB"),
        (with("x: a\r\n b\r\n"), 400, "a folded header: RFC 9112, section 5.2"),
        (with(" x: a\r\n"), 400, "white space before the first header: RFC 9112, section 2.2"),
        (with("x : a\r\n"), 400, "white space before the colon: RFC 9112, section 5.1"),
        (with("x: a\0b\r\n"), 400, "a NUL"),
        (with("x: a\rb\r\n"), 400, "a bare CR"),
        (with("content-length: 5\r\n"), 400, "two lengths"),
        (with("x: a\ncontent-length: 5\r\n"), 400, "the second one behind a bare LF"),
        (with("x: a\ntransfer-encoding: chunked\r\n"), 400, "chunks behind a bare LF"),
        (with(&format!("content-length: {length}\r\n")), 400, "the same length twice"),
        (with("transfer-encoding: chunked\r\n"), 400, "a length and chunks"),
        (with("transfer-encoding: identity\r\n"), 400, "a length and another framing"),
        (format!("{POST}{JSON}content-length: +{length}\r\n\r\n{STAMP}"), 400, "a length with a sign"),
        (format!("{POST}{JSON}content-length: -1\r\n\r\n{STAMP}"), 400, "a negative length"),
        (format!("{POST}{JSON}content-length: 0x25\r\n\r\n{STAMP}"), 400, "a length in hex"),
        (format!("{POST}{JSON}content-length: 37, 37\r\n\r\n{STAMP}"), 400, "a list of lengths"),
        (format!("{POST}{JSON}transfer-encoding: xchunked\r\n\r\n{STAMP}"), 400, "an unknown framing"),
        (format!("{POST}{JSON}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 400, "chunked twice"),
        (format!("{POST}{JSON}transfer-encoding: chunked\r\n\r\nzz\r\n{STAMP}"), 400, "a chunk of no size"),
        (
            format!("{POST}{JSON}transfer-encoding: chunked\r\n\r\n10000000000000001\r\n{STAMP}"),
            400,
            "a chunk size that overflows",
        ),
        (smuggled.replace(" HTTP/1.1", " HTTP/1.1 x"), 400, "a request line of four words"),
        (smuggled.replace(" HTTP/1.1", " HTTP/9.9"), 400, "a version that does not exist"),
        (smuggled.replace("/v1/stamps", &format!("/{}", "a".repeat(70_000))), 400, "a path over 64 KiB"),
    ] {
        let started = Instant::now();
        let answer = api.exchange(request.as_bytes()).await;
        if answer.status != status || started.elapsed() > LIMIT {
            wrong.push(format!("{why}: not {status} but {answer:?} after {:?}", started.elapsed()));
        }
        assert_eq!(world.stamps().await, 0, "{why}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Long and yet in order.
    for (request, status, why) in [
        (with(&headers(90)), 201, "93 headers"),
        (
            smuggled.replace("\"a\"", "\"b\"").replace("\r\n", "\n"),
            201,
            "bare LFs end lines, as RFC 9112, section 2.2, allows",
        ),
        (
            format!("GET /v1/stamps/{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(60_000)),
            404,
            "a path of 60 KB",
        ),
    ] {
        let answer =
            api.exchange(request.replace("host: a", "host: a\r\nconnection: close").as_bytes()).await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
    }
    api.stop().await;
}

// Break: don't shut down in `cut_if_late` of http/connections.rs.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_further_head_byte_by_byte_is_cut_like_a_connection_on_which_nothing_comes() {
    let world = World::new().await;
    let api = world.serve(&[("HTTP_KEEP_ALIVE_SECS", "6")]).await;
    let mut stream = TcpStream::connect(api.address()).await.expect("a connection");
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\nGET /livez HTTP/1.1\r\nhost: a\r\nx: ")
        .await
        .expect("sent");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) && stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Six seconds of keep-alive, five of head, and the time between two looks.
    let took = started.elapsed();
    assert!(took > Duration::from_secs(6) && took < Duration::from_secs(16), "{took:?}");
    api.stop().await;
}

// Break: don't ask the budget in `collect` of http/body.rs.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_sent_half_take_no_more_memory_than_is_set_and_end_with_their_connections() {
    let world = World::new().await;
    let api = world.serve(&[("HTTP_BODY_BUDGET_BYTES", "8388608")]).await;
    let head = format!("{POST}{JSON}content-length: 65000\r\n\r\n");
    // Together they take all of it, and none has to wait.
    let half = head + &" ".repeat(32_768);
    let mut halves = Vec::new();
    for _ in 0..256 {
        let mut stream = TcpStream::connect(api.address()).await.expect("a connection");
        stream.write_all(half.as_bytes()).await.expect("sent");
        halves.push(stream);
    }
    api.metric_is("stamp_api_http_body_bytes", 8_388_608.0).await;
    let asked = Instant::now();
    let refused = api.create("late").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
    drop(halves);
    api.metric_is("stamp_api_http_body_bytes", 0.0).await;
    assert_eq!(api.create("late").await.status, 201);
    api.stop().await;
}

// Break: leave the check of `is_cross_site` out of `writer` in http/caller.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_s_page_stores_nothing_where_no_token_is_asked_for() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let post = async |site: &str| {
        let headers = format!("{FORM}sec-fetch-site: {site}\r\n");
        api.post(&headers, format!("object_cid={site}&time_tolerance=1").as_bytes()).await
    };
    let refused = post("cross-site").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("other sites"), "{refused:?}");
    for site in ["same-origin", "same-site", "none"] {
        assert_eq!(post(site).await.status, 201, "{site}");
    }
    assert_eq!(world.stamps().await, 3);
    api.stop().await;
}

// Break: don't wait for `shutdown_delay` in app.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_delayed_says_so_first_and_serves_on() {
    let world = World::new().await;
    let api = world.serve(&[("SHUTDOWN_DELAY_SECS", "3")]).await;
    let mut kept = TcpStream::connect(api.address()).await.expect("a connection");
    let asked = Instant::now();
    api.ask_to_stop();
    api.reads("/readyz", "about to stop").await;
    assert_eq!(api.create("meanwhile").await.status, 201);
    // Who had a connection open before is served on it too.
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("sent");
    assert_eq!(Answer::read(kept).await.status, 200);
    api.stop().await;
    assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
}
