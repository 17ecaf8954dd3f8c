//! Large bodies, more of them than there is memory for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Answer, Api, BULK, JSON, World};

const LARGEST: usize = 8 << 20;
/// How long a client waits that is refused: two seconds, and what a busy machine needs to say so.
const REFUSED: std::ops::Range<Duration> = Duration::from_millis(1_950)..Duration::from_millis(3_500);

/// Sends the head of a request whose body never comes.
async fn announce(api: &Api, framing: &str) -> TcpStream {
    let mut stream = TcpStream::connect(api.address()).await.expect("a connection");
    let head = format!("{BULK}connection: close\r\n{JSON}{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

// Break: let `BodyLimits::MANY_STAMPS` of http/body.rs be charged as it comes; return 0 for a chunked body in
// `announced_length`; make `LEFT_TO_SMALL` of http/budget.rs a million.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_takes_all_of_its_memory_at_once_and_none_of_what_small_ones_need() {
    let world = World::new().await;
    let api = world.serve(&[("HTTP_BODY_BUDGET_BYTES", "20971520")]).await;
    let taken = |bytes: usize| api.metric_is("stamp_api_http_body_bytes", bytes as f64);
    let mut held = vec![announce(&api, "content-length: 4000000").await];
    taken(4_000_000_usize.next_multiple_of(1_024)).await;
    held.push(announce(&api, "transfer-encoding: chunked").await);
    taken(4_000_000_usize.next_multiple_of(1_024) + LARGEST).await;
    // The largest budget's eighth is left to others, and so there is no room for another one.
    let asked = Instant::now();
    let (refused, single) = tokio::join!(
        async {
            let answer = Answer::read(announce(&api, "content-length: 8388608").await).await;
            (answer, asked.elapsed())
        },
        async {
            // Behind the one that waits.
            tokio::time::sleep(Duration::from_millis(500)).await;
            (api.create("small").await, asked.elapsed())
        }
    );
    assert_eq!((refused.0.status, refused.0.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(REFUSED.contains(&refused.1), "{refused:?}");
    assert_eq!(single.0.status, 201, "{single:?}");
    assert!(single.1 < Duration::from_millis(1_500), "{single:?}");
    drop(held);
    taken(0).await;
    api.stop().await;
}

// Break: let `PATIENCE` of http/budget.rs be six seconds.
#[tokio::test(flavor = "multi_thread")]
async fn of_64_clients_with_8_mib_each_those_that_find_no_memory_are_told_so_after_two_seconds() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let head = format!("{BULK}connection: close\r\n{JSON}content-length: {LARGEST}\r\n\r\n");
    let request = |client: usize| {
        let stamp = format!(r#"[{{"object_cid":"{client}","time_tolerance":1,"pad":""#);
        let pad = "x".repeat(LARGEST - stamp.len() - 3);
        format!("{head}{stamp}{pad}\"}}]")
    };
    // Most of them are slow to send the rest, so that the memory is taken for as long as the others may wait.
    let one = async |client: usize| {
        let request = request(client);
        let (reader, mut writer) =
            TcpStream::connect(api.address()).await.expect("a connection").into_split();
        let asked = Instant::now();
        let writing = async {
            let (first, rest) = request.as_bytes().split_at(request.len() - 1);
            if writer.write_all(first).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(4)).await;
                let _refused = writer.write_all(rest).await;
            }
        };
        let reading = async { (Answer::read(reader).await, asked.elapsed()) };
        tokio::join!(writing, reading).1
    };
    let answers = join_all((0..64).map(one)).await;
    let (mut stored, mut refused) = (0, 0);
    for (answer, took) in &answers {
        match answer.status {
            200 => stored += 1,
            _ => {
                refused += 1;
                assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
                assert!(REFUSED.contains(took), "{took:?}");
            }
        }
    }
    // Seven find room; others who come when one of those is done.
    assert!(stored >= 7 && refused >= 50, "{stored} stored, {refused} refused");
    assert_eq!(world.stamps().await, stored);
    api.metric_is("stamp_api_http_body_bytes", 0.0).await;
    api.stop().await;
}
