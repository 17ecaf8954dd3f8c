//! One trace, from the request of a client to the batch and into a collector.

use std::sync::{Arc, Mutex};

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

// Break: start the last batch of spans after the runtime has ended, in platform/src/exit.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sends_the_spans_that_are_left_and_a_collector_that_is_away_delays_none() {
    let world = World::new().await;
    let collector = SpanCollector::start().await;
    let never = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (mut api, url) = world.api_with(&[&collector.variables()[..], &never].concat()).await;
    let away = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), never[0]];
    let (mut alone, alone_url) = world.api_with(&away).await;
    for url in [&url, &alone_url] {
        assert!(create(&world, url, &format!("from {url}"), None).await.expect("a trace").ends_with("-01"));
    }
    for process in [&mut api, &mut alone] {
        process.signal("TERM");
        assert!(process.ended().await.success());
    }
    collector.span("POST /v1/stamps").await;
}
