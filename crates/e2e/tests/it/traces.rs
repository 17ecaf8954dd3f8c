//! One trace, from the request of a client to the batch and into a collector.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::world::World;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rdkafka::Message as _;
use rdkafka::message::Headers as _;
use test_support::eventually;

use crate::receiver::receive;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector, and the spans that it was sent.
struct SpanCollector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl SpanCollector {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let sent = Arc::clone(&spans);
        let url = receive(move |body| {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            sent.lock().expect("no panic").extend(scopes.flat_map(|scope| scope.spans));
            Some("HTTP/1.1 200 Yes\r\ncontent-length: 0\r\n\r\n")
        });
        Self { url: url.await, spans }
    }

    /// Waits for a span with this name.
    async fn span(&self, name: &str) -> Span {
        let found = || async {
            let spans = self.spans.lock().expect("no panic");
            spans.iter().find(|span| span.name == name).cloned()
        };
        eventually(&format!("a span {name:?}"), found, Option::is_some).await.expect("found")
    }

    fn variables(&self) -> [(&str, &str); 4] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("LOG_FORMAT", "json"),
            ("RUST_LOG", "debug,librdkafka=off"),
        ]
    }
}

fn hex(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("{number:0digits$x}", digits = 2 * bytes.len())
}

/// Sends a stamp from within the trace. Returns where the answer says that its request stood.
async fn create(world: &World, url: &str, object_cid: &str, traceparent: Option<&str>) -> Option<String> {
    let request = world.client.post(format!("{url}/v1/stamps"));
    let request = match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    };
    let body = format!(r#"{{"object_cid": "{object_cid}", "time_tolerance": 0}}"#);
    let answer =
        request.header("content-type", "application/json").body(body).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    Some(answer.headers().get("traceresponse")?.to_str().expect("text").to_owned())
}

/// Returns where each record of the topic says that it was asked for.
fn traceparents(world: &World) -> Vec<String> {
    world.topic.read_as(|record| {
        let headers = record.headers().expect("headers");
        let header = headers.iter().find(|header| header.key == "traceparent").expect("a trace");
        String::from_utf8(header.value.expect("a value").to_vec()).expect("text")
    })
}

// Break: take `Sampling::AsSet` for the listener, drop the links in `of_batch` of platform/src/spans.rs, or the stamp's trace in `Publisher::publish`.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_a_request_to_its_batch_and_into_the_collector() {
    let world = World::new().await;
    let collector = SpanCollector::start().await;
    let (api, url) = world.api_with(&collector.variables()).await;
    // Whether a batch is recorded was chosen with its stamps.
    let never = [("OTEL_TRACES_SAMPLER", "always_off")];
    let listener = world.listener(&[&collector.variables()[..], &never].concat()).await;
    let told = create(&world, &url, "traced", Some(&format!("00-{TRACE}-{CALLER}-01"))).await;
    let request = collector.span("POST /v1/stamps").await;
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    let own = format!("00-{TRACE}-{}-01", hex(&request.span_id));
    assert_eq!(told.as_ref(), Some(&own));
    let batch = collector.span("process").await;
    let links: Vec<_> = batch.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(links, [(&request.trace_id, &request.span_id)]);
    assert_eq!(traceparents(&world), [own]);
    let answered = api.says(r#""http.route":"/v1/stamps""#).await;
    assert!(answered.contains(&format!(r#""trace.id":"{TRACE}""#)), "{answered}");
    let committed = listener.says("batch committed").await;
    assert!(committed.contains(&format!(r#""batch.traces":"{TRACE}""#)), "{committed}");
    assert!(committed.contains(&format!(r#""trace.id":"{}""#, hex(&batch.trace_id))), "{committed}");
}

// Break: don't leave out what was there before in `tell_of` of queue-listener/src/stamps/told.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_many_stamps_takes_no_others_place_among_the_links_of_their_batch() {
    let world = World::new().await;
    let collector = SpanCollector::start().await;
    let (_api, url) = world.api().await;
    let all = [("MIN_BATCH_SIZE", "131"), ("MAX_BATCH_SIZE", "131")];
    let _listener = world.listener(&[&collector.variables()[..], &all].concat()).await;
    let other = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (trace, ids) in [(TRACE, 0..130), (other, 130..131)] {
        let stamps: Vec<String> =
            ids.map(|id| format!(r#"{{"object_cid": "{id}", "time_tolerance": 1000}}"#)).collect();
        let many = world.client.post(format!("{url}/v1/stamps/bulk")).body(stamps.join("\n"));
        let many = many.header("content-type", "application/x-ndjson");
        let many = many.header("traceparent", format!("00-{trace}-{CALLER}-01"));
        assert_eq!(many.send().await.expect("an answer").status(), 200);
    }
    let batch = collector.span("process").await;
    let mut linked: Vec<String> = batch.links.iter().map(|link| hex(&link.trace_id)).collect();
    linked.sort_unstable();
    assert_eq!(linked, [TRACE, other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_a_callers_trace_is_carried_on_and_no_other_is_said_to_be_recorded() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let caller = format!("00-{TRACE}-{CALLER}-00");
    assert_eq!(create(&world, &url, "traced", Some(&caller)).await.as_ref(), Some(&caller));
    assert_eq!(create(&world, &url, "untraced", None).await, None);
    assert_eq!(create(&world, &url, "mistraced", Some("00-0-0-00")).await, None);
    let read = || async { traceparents(&world) };
    let mut traceparents = eventually("all are published", read, |read| read.len() == 3).await;
    assert!(traceparents.iter().all(|traceparent| traceparent.ends_with("-00")), "{traceparents:?}");
    traceparents.retain(|traceparent| *traceparent == caller);
    assert_eq!(traceparents, [caller]);
}

// Break: start the last batch of spans after the runtime has ended, in platform/src/exit.rs, or wait for its end without
// `FLUSH_LIMIT` in platform/src/spans.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sends_the_spans_that_are_left_and_waits_for_no_collector() {
    const LIMIT: Duration = Duration::from_secs(5);
    let world = World::new().await;
    let collector = SpanCollector::start().await;
    let never = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (mut api, url) = world.api_with(&[&collector.variables()[..], &never].concat()).await;
    let silent = receive(|_| Some("")).await;
    let silent = [("OTEL_EXPORTER_OTLP_ENDPOINT", silent.as_str()), never[0]];
    let (mut unheard, unheard_url) = world.api_with(&silent).await;
    for url in [&url, &unheard_url] {
        assert!(create(&world, url, &format!("from {url}"), None).await.expect("a trace").ends_with("-01"));
    }
    for process in [&mut api, &mut unheard] {
        let begun = Instant::now();
        process.signal("TERM");
        assert!(process.ended().await.success());
        // A collector may take ten seconds.
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    }
    collector.span("POST /v1/stamps").await;
}

// Break: tell of the whole error of the client in `send_bytes` of platform/src/collector.rs, or of each in `tell_of`.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_of_once_until_it_is_back() {
    let world = World::new().await;
    let (is_well, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (answer, count) = (Arc::clone(&is_well), Arc::clone(&refused));
    let url = receive(move |_| {
        let well = answer.load(Ordering::Relaxed);
        count.fetch_add(usize::from(!well), Ordering::Relaxed);
        Some(if well {
            "HTTP/1.1 200 Yes\r\ncontent-length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"
        })
    });
    let url = url.await;
    let often = ("OTEL_BSP_SCHEDULE_DELAY", "50");
    let (api, api_url) = world.api_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), often]).await;
    let away = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/hush"), often];
    let (alone, alone_url) = world.api_with(&away).await;
    create(&world, &alone_url, "one", None).await;
    let told = alone.says("the collector takes no spans").await;
    assert!(told.contains("refused") && !told.contains("hush"), "{told}");
    for id in ["two", "three"] {
        let before = refused.load(Ordering::Relaxed);
        create(&world, &api_url, id, None).await;
        let refused = || async { refused.load(Ordering::Relaxed) };
        eventually("spans are refused", refused, |refused| *refused > before).await;
        assert!(api.says("the collector takes no spans").await.contains("401"));
    }
    is_well.store(true, Ordering::Relaxed);
    create(&world, &api_url, "four", None).await;
    api.says("the collector takes spans again").await;
    let complaints = api.lines().iter().filter(|line| line.contains("takes no spans")).count();
    assert_eq!(complaints, 1, "{:#?}", api.lines());
}
