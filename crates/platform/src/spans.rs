//! Spans of this process, sent to a collector by OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` names one (OpenTelemetry).
//!
//! Where it names none, nothing is recorded, and every function here returns at once.

use std::sync::OnceLock;
use std::time::Duration;

use crate::collector::Collector;
use crate::settings::{Environment, InvalidSetting, Secret, TraceSettings};
use domain::trace::TraceContext;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value, time};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

/// The most members of a batch that its span links to: each takes 100 bytes, in up to 2,048 spans that wait.
const MOST_LINKS: usize = 128;
/// How long the end of a process waits for the collector: less than what a stop keeps back to end in.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);

/// What records spans, if anything does.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

struct Recorder {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Which spans of a process are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Those that the settings choose: all by default, unless the caller's trace is not recorded.
    AsSet,
    /// All that are begun: who has begun the traces that they link to has chosen.
    Everything,
}

/// Begins to record spans, if a collector is named.
///
/// # Errors
/// If a variable of traces has a value that can't be used.
pub fn init(
    environment: &Environment,
    service: &'static str,
    sampling: Sampling,
) -> Result<(), InvalidSetting> {
    let Some(settings) = TraceSettings::from_environment(environment)? else { return Ok(()) };
    let unusable = |error: String| {
        let accepted = format!("settings of an exporter that can be used ({error})");
        InvalidSetting::secret("OTEL_EXPORTER_OTLP_ENDPOINT", accepted)
    };
    let shown = |(name, value): (String, Secret)| (name, value.expose().to_owned());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new().map_err(|error| unusable(format!("{error:#}")))?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.collector)
        .with_headers(settings.headers.into_iter().map(shown).collect());
    let exporter = if settings.gzip { exporter.with_compression(Compression::Gzip) } else { exporter };
    let exporter = exporter.build().map_err(|error| unusable(error.to_string()))?;
    let sampler = match sampling {
        Sampling::Everything => Sampler::AlwaysOn,
        Sampling::AsSet => {
            let others = Sampler::TraceIdRatioBased(settings.share);
            if settings.follows_caller { Sampler::ParentBased(Box::new(others)) } else { others }
        }
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_max_links_per_span(MOST_LINKS as u32)
        .with_sampler(sampler)
        .build();
    let tracer = provider.tracer("stamp-service");
    // A second start in one process keeps the first recorder.
    let _kept = RECORDER.set(Recorder { provider, tracer });
    Ok(())
}

/// Sends what is recorded, for a moment at most. Blocks.
pub(crate) fn flush() {
    if let Some(recorder) = RECORDER.get()
        && let Err(error) = recorder.provider.shutdown_with_timeout(FLUSH_LIMIT)
    {
        tracing::warn!(error = error.to_string(), "not all spans were sent");
    }
}

/// A span that is being recorded. It ends when it is dropped.
pub struct RecordedSpan(opentelemetry_sdk::trace::Span);

/// Begins the span of a request that a client has made; `None` where spans are not recorded.
pub fn of_request(name: &'static str, caller: Option<&TraceContext>) -> Option<RecordedSpan> {
    let recorder = RECORDER.get()?;
    let parent =
        caller.map_or_else(Context::new, |caller| Context::new().with_remote_span_context(remote(caller)));
    let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
    Some(RecordedSpan(recorder.tracer.build_with_context(builder, &parent)))
}

/// Begins a span of work on what was asked for in several traces, in a trace of its own that links to those. It has begun
/// `ago`. `None` where spans are not recorded, or none of the traces is.
pub fn of_batch<'a>(
    name: &'static str,
    members: impl Iterator<Item = &'a TraceContext>,
    ago: Duration,
) -> Option<RecordedSpan> {
    let recorder = RECORDER.get()?;
    let links: Vec<Link> =
        members.take(MOST_LINKS).map(|member| Link::with_context(remote(member))).collect();
    if links.is_empty() {
        return None;
    }
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Consumer)
        .with_start_time(time::now() - ago)
        .with_links(links);
    Some(RecordedSpan(recorder.tracer.build_with_context(builder, &Context::new())))
}

impl RecordedSpan {
    /// Returns the span's place in its trace, for others to go on from.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.span_context();
        let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
        let span_id = u64::from_be_bytes(context.span_id().to_bytes());
        TraceContext::new(trace_id, span_id, context.is_sampled())
    }

    /// Gives the span another name.
    pub fn rename(&mut self, name: String) {
        self.0.update_name(name);
    }

    /// Notes something about the span, under a name of OpenTelemetry's semantic conventions where there is one.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Marks the span as one that has failed.
    pub fn fail(&mut self) {
        self.0.set_status(Status::error(""));
    }
}

fn remote(context: &TraceContext) -> SpanContext {
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(
        TraceId::from_bytes(context.trace_id().to_be_bytes()),
        SpanId::from_bytes(context.span_id().to_be_bytes()),
        flags,
        true,
        TraceState::default(),
    )
}
