//! The place of a request in a trace, as W3C Trace Context writes it (`traceparent`).

use std::fmt;

/// Name of the header, of HTTP and of Kafka, that holds a [`TraceContext`].
pub const TRACEPARENT: &str = "traceparent";

/// A trace and a span in it: the one under which something was asked for.
///
/// Source: W3C Trace Context, section 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

impl TraceContext {
    /// Returns a context. `sampled`: whether the trace is recorded. `None` if an id is 0, which stands for none.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled })
    }

    /// Reads a `traceparent`: `00-{32 hex digits}-{16}-{2}`, in lower case. Of a later version only these are read, as
    /// the recommendation has it; `None` for everything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        const LENGTH: usize = 55;
        let (known, later) = text.split_at_checked(LENGTH)?;
        let [version, trace_id, span_id, flags] = fields(known)?;
        let version = hex(version)?;
        let goes_on = later.is_empty() || (version > 0 && later[0] == b'-');
        if version == 0xff || !goes_on {
            return None;
        }
        // The lowest bit is the one flag that is known here; unknown ones are not passed on (section 3.2.2.5.2).
        Self::new(hex(trace_id)?, hex(span_id)? as u64, hex(flags)? & 1 == 1)
    }

    /// Returns the id of the trace, never 0.
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// Returns the id of the span, never 0.
    pub fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Tells whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }
}

/// Writes a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// Takes the fields of 2, 32, 16 and 2 digits that hyphens separate.
fn fields(text: &[u8]) -> Option<[&[u8]; 4]> {
    let hyphens = [2, 35, 52].iter().all(|at| text[*at] == b'-');
    hyphens.then(|| [&text[..2], &text[3..35], &text[36..52], &text[53..]])
}

/// Reads hexadecimal digits in lower case, 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    // Break: write the span's id in 15 digits.
    #[test]
    fn a_traceparent_is_read_and_written_as_it_came() {
        let context = TraceContext::parse(TRACEPARENT.as_bytes()).expect("a good one");
        assert_eq!(context.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(context.span_id(), 0xb7ad_6b71_6920_3331);
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), TRACEPARENT);
        let unsampled = TraceContext::parse(TRACEPARENT.replace("-01", "-00").as_bytes()).expect("one");
        assert!(!unsampled.is_sampled());
    }

    // Break: take version ff.
    #[test]
    fn what_is_no_traceparent_is_no_context() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319cab7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let known = TraceContext::parse(TRACEPARENT.as_bytes());
        let later = TRACEPARENT.replacen("00", "cc", 1);
        assert_eq!(TraceContext::parse(later.as_bytes()), known);
        assert_eq!(TraceContext::parse(format!("{later}-what-comes").as_bytes()), known);
        let other_flags = TRACEPARENT.replace("-01", "-ff");
        assert_eq!(TraceContext::parse(other_flags.as_bytes()), known);
    }
}
