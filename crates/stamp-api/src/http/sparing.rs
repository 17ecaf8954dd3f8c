//! Keeps what anybody can bring about from filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in one period.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// Lets ten lines in ten seconds into the log.
#[derive(Debug, Default)]
pub struct SparingLog(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    begun: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl SparingLog {
    /// Returns whether a line may be written now: how many were left out since the last one, or `None` for this one to be
    /// left out too.
    pub fn take(&self, now: Instant) -> Option<u64> {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if period.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= PERIOD) {
            (period.begun, period.lines) = (Some(now), 0);
        }
        if period.lines == LINES {
            period.left_out += 1;
            return None;
        }
        period.lines += 1;
        Some(std::mem::take(&mut period.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Break: begin no new period in `take`.
    #[test]
    fn a_flood_leaves_ten_lines_in_ten_seconds_and_says_how_much_it_was() {
        let (log, start) = (SparingLog::default(), Instant::now());
        let lines = |at: Duration| (0..1_000).filter_map(|_| log.take(start + at)).collect::<Vec<u64>>();
        assert_eq!(lines(Duration::ZERO), [0; 10]);
        assert_eq!(lines(PERIOD / 2), [0; 0]);
        assert_eq!(lines(PERIOD), [1_990, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
