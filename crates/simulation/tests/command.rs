//! The command that people type.

#![allow(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().expect("the program runs")
}

fn file(name: &str, text: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).expect("the folder is there");
    file
}

/// Asserts that the command says one sentence on the error channel and ends with 2.
fn is_refused(arguments: &[&str], part: &str) {
    let output = simulate(arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(part) && told.trim_end().lines().count() == 1, "{told}");
}

#[test]
fn what_can_not_be_meant_is_refused_with_a_sentence() {
    is_refused(&["--seed", "seven"], "SEED=seven is not a whole number");
    is_refused(&["--seed", "-1"], "SEED=-1 is not a whole number");
    is_refused(&["--seconds", "0"], "SECONDS=0 is not a whole number from 1 on");
    is_refused(&["--seconds", "1.5"], "SECONDS=1.5 is not");
    is_refused(&["--history", "/nowhere/at/all"], "can't be read");
    is_refused(&["--history", "some", "--seed", "1"], "HISTORY is played alone");
}

#[test]
fn what_is_no_history_is_refused_with_the_line_that_is_wrong() {
    let head = "simulation-2 seed=1 members=1 partitions=1 min=1 max=1 horizon_ms=0 clean=0\n";
    let cases = [
        ("empty", String::new(), "it is empty"),
        ("version", head.replace("-2 ", "-1 "), "its first line: it does not begin with simulation-2"),
        ("limits", head.replace("min=1", "min=2"), "min is above max"),
        ("bounds", head.replace("members=1", "members=0"), "members=0 is out of bounds"),
        ("choice", format!("{head}start member=0\nfly member=0\n"), "line 3: \"fly\" is no choice"),
        ("field", format!("{head}start partition=0\n"), "line 2: it lacks member=NUMBER"),
        ("more", format!("{head}start member=0 now\n"), "line 2: \"now\" is one word too many"),
    ];
    for (name, text, part) in cases {
        let file = file(name, &text);
        is_refused(&["--history", &file.display().to_string()], part);
    }
}

#[test]
fn a_history_is_played_with_everything_that_happens() {
    let text = "# a remark\nsimulation-2 seed=1 members=1 partitions=1 min=1 max=1 horizon_ms=0 clean=0\n\
                start member=0\nappend partition=0 id=3 due_in_ms=5\n";
    let file = file("played", text);
    let output = simulate(&["--history", &file.display().to_string()]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for part in ["append partition=0 id=3", "0 < Fetched", "0 > Write", "no promise is broken"] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
}

#[test]
fn seeds_are_played_for_a_time_and_summed_up() {
    let output = simulate(&["--seed", "5", "--seconds", "1"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    for part in ["the first seed is 5", "what has met", "0 violations"] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
}
