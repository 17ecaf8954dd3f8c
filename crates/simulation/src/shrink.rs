//! Shortens a history that breaks a promise: choices are left out as long as one is still broken.

use crate::history::{Choice, History};
use crate::run::run;

/// Returns the shortest history that could be found that still breaks a promise.
pub fn shrink(history: &History) -> History {
    let is_broken = |choices: &[Choice]| {
        let shorter = History { choices: choices.to_vec(), ..history.clone() };
        run(&shorter, false).violation.is_some()
    };
    History { choices: shorten(&history.choices, is_broken), ..history.clone() }
}

/// Shortens a list by delta debugging (A. Zeller): pieces are left out, large ones first, until nothing more can go.
fn shorten<T: Clone>(all: &[T], is_broken: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut shortest = all.to_vec();
    let mut piece = shortest.len().div_ceil(2).max(1);
    loop {
        let mut is_shorter = false;
        let mut from = 0;
        while from < shortest.len() {
            let mut shorter = shortest.clone();
            let to = (from + piece).min(shorter.len());
            shorter.drain(from..to);
            if is_broken(&shorter) {
                (shortest, is_shorter) = (shorter, true);
            } else {
                from = to;
            }
        }
        if piece == 1 && !is_shorter {
            return shortest;
        }
        piece = (piece / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_left_out() {
        let all: Vec<u32> = (0..100).collect();
        let is_broken = |numbers: &[u32]| [7, 8, 93].iter().all(|needed| numbers.contains(needed));
        assert_eq!(shorten(&all, is_broken), [7, 8, 93]);
        assert!(shorten(&all, |_| true).is_empty());
    }
}
