//! Thousands of histories, from the seeds on that nobody has chosen.

#![allow(clippy::expect_used, reason = "a failed expectation is a failed test")]

use simulation::{History, Meetings, run, seeded, shrink};

/// Histories that are played: so many that every meeting happens many times, and few enough that they take seconds.
const HISTORIES: u64 = 20_000;
const THREADS: u64 = 2;

#[test]
fn no_promise_is_broken_and_everything_meets() {
    let part = |thread: u64| {
        let mut meetings = Meetings::default();
        for seed in (thread..HISTORIES).step_by(THREADS as usize) {
            let (history, outcome) = seeded(seed);
            if let Some(violation) = outcome.violation {
                let shortest = shrink(&history);
                panic!("{violation}\n\n{shortest}\n{}", run(&shortest, true).trace);
            }
            meetings.add(&outcome.meetings);
        }
        meetings
    };
    let mut meetings = Meetings::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || part(thread))).collect();
        for thread in threads {
            meetings.add(&thread.join().expect("no promise is broken"));
        }
    });
    let missed: Vec<&str> = meetings.missed().iter().map(|meeting| meeting.text()).collect();
    assert!(missed.is_empty(), "a simulator in which these never happen is blind: {missed:#?}");
}

#[test]
fn the_same_history_gives_the_same_commands_byte_for_byte() {
    for seed in 0..300 {
        let (history, _) = seeded(seed);
        let written: History = history.to_string().parse().expect("what was written can be read");
        assert_eq!(written, history);
        let (first, second) = (run(&history, true), run(&written, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(first.trace.contains(" > "), "seed {seed} commands nothing");
    }
}

#[test]
fn a_choice_that_can_not_happen_is_passed_over() {
    let (history, _) = seeded(7);
    let mut odd = history.clone();
    odd.choices.retain(|choice| choice.word() != "start");
    assert_eq!(run(&odd, false).violation, None);
}
