//! What people can look up of a batch: a line of the log, and a span that links to the traces of its stamps.

use std::time::Duration;

use domain::batch::heart::{Batch, Write};
use domain::trace::TraceContext;
use platform::spans;
use store::stamps::processing::{MadeBatch, Processed};

/// Traces that a line of the log names.
const NAMED: usize = 10;

/// Tells of a batch that was committed by a statement which took so long.
///
/// * `topic`: what the batch is said to be of.
/// * `traces`: of its stamps that were asked for in a trace that is recorded.
pub(super) fn tell_of(batch: &MadeBatch, topic: &str, traces: &[&TraceContext], took: Duration) {
    let span = spans::of_batch("process", traces.iter().copied(), took);
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
        let members: Vec<String> = traces.iter().take(NAMED).map(|trace| id(trace)).collect();
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

/// Returns the traces of the members that each batch has won, by its place in what was written.
pub(super) fn traces_of_winners<'a>(write: &'a Write, processed: &Processed) -> Vec<Vec<&'a TraceContext>> {
    let mut won = processed.won.iter();
    let of_batch = |batch: &'a Batch| {
        let winners = batch.members.iter().zip(won.by_ref()).filter(|(_, won)| won.is_some());
        winners.filter_map(|(member, _)| member.stamp.trace()).collect()
    };
    write.batches.iter().map(of_batch).collect()
}
