//! What people can look up of a batch: a line of the log, and a span that links to the traces of its stamps.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::batch::heart::Write;
use domain::trace::TraceContext;
use platform::spans;
use store::stamps::processing::{MadeBatch, Processed, Won};

/// Traces that a line of the log names.
const NAMED: usize = 10;

/// Tells of a batch that was committed by a statement which took so long.
///
/// * `topic`: what the batch is said to be of.
/// * `traces`: of its stamps that were asked for in a trace that is recorded.
pub(super) fn tell_of(batch: &MadeBatch, topic: &str, traces: &[&TraceContext], took: Duration) {
    // One request may have asked for all of them.
    let mut seen = HashSet::new();
    let places = traces.iter().copied().filter(|trace| seen.insert(*trace));
    let span = spans::of_batch("process", places, took);
    let own = span.as_ref().and_then(spans::RecordedSpan::context);
    if let Some(mut span) = span {
        span.note("messaging.system", "kafka");
        span.note("messaging.operation.type", "process");
        span.note("messaging.destination.name", topic.to_owned());
        span.note("messaging.batch.message_count", batch.size as i64);
        span.note("batch.id", batch.id);
        span.note("batch.trigger", batch.trigger.as_str());
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        let id = |trace: &TraceContext| format!("{:032x}", trace.trace_id());
        let mut seen = HashSet::new();
        let distinct = traces.iter().filter(|trace| seen.insert(trace.trace_id()));
        let members: Vec<String> = distinct.take(NAMED).map(|trace| id(trace)).collect();
        tracing::debug!(
            batch.id = batch.id,
            batch.size = batch.size,
            batch.trigger = batch.trigger.as_str(),
            trace.id = own.as_ref().map(id),
            batch.traces = (!members.is_empty()).then(|| members.join(" ")),
            "batch committed"
        );
    }
}

/// Returns the traces of the stamps that a write has won, by the batch that each has become a member of.
pub(super) fn traces_of_winners<'a>(
    write: &'a Write,
    processed: &Processed,
) -> HashMap<i64, Vec<&'a TraceContext>> {
    let mut traces: HashMap<i64, Vec<&TraceContext>> = HashMap::new();
    let members = write.batches.iter().flat_map(|batch| &batch.members);
    for (member, won) in members.zip(&processed.won) {
        if let (Some(trace), Some(Won { batch, .. })) = (member.stamp.trace(), won) {
            traces.entry(*batch).or_default().push(trace);
        }
    }
    traces
}
