//! The heart's decisions, one at a time. That no order of events breaks a promise is the simulator's business.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::batch::assignment::{Assignment, Commit};
use crate::batch::policy::{BatchLimits, Trigger};
use crate::stamp::{ObjectCid, Stamp, TimeTolerance};

/// A heart with its clocks, and a database that screens at once.
struct Rig {
    heart: Heart<&'static str>,
    now: Moment,
}

impl Rig {
    fn new(min: usize, max: usize) -> Self {
        let limits = BatchLimits::new(min, max).expect("valid limits");
        let time = DateTime::from_timestamp(1_700_000_000, 0).expect("a valid time");
        let heart = Heart::new(HeartSettings { limits, horizon: Some(TimeDelta::days(7)), seed: 1 });
        Self { heart, now: Moment { time, elapsed: Duration::from_secs(100) } }
    }

    /// Returns a heart that has read these partitions' backlogs, whose assignments have the numbers 1, 2, ….
    fn settled(min: usize, max: usize, partitions: &[i32]) -> Self {
        let mut rig = Self::new(min, max);
        let assignments: Vec<Assignment> =
            (1..).zip(partitions).map(|(number, partition)| of(*partition, number)).collect();
        rig.step(Event::Assigned(assignments.clone()));
        rig.fetch_with_ends(Vec::new(), assignments);
        rig
    }

    fn step(&mut self, event: Event<&'static str>) -> Vec<Command<&'static str>> {
        self.heart.step(self.now, event)
    }

    fn fetch(&mut self, records: Vec<Record<&'static str>>) -> Vec<Command<&'static str>> {
        self.fetch_with_ends(records, Vec::new())
    }

    /// Hands a chunk in and says that nothing of it is processed. Returns what follows.
    fn fetch_with_ends(
        &mut self,
        records: Vec<Record<&'static str>>,
        ends: Vec<Assignment>,
    ) -> Vec<Command<&'static str>> {
        let mut commands = self.step(Event::Fetched(Chunk { records, ends }));
        let screening = commands.iter().position(|command| matches!(command, Command::Screen(_)));
        let Command::Screen(Screening { ends, stamps, distant, others }) =
            commands.remove(screening.expect("a screening"))
        else {
            unreachable!()
        };
        let distant = distant.iter().map(|distant| distant.waiting.position);
        let finished = others.iter().map(|(position, _)| *position).chain(distant).collect();
        commands.extend(self.step(Event::Screened(Screened {
            ends,
            stamps,
            finished,
            ..Screened::default()
        })));
        commands
    }

    /// Hands an event in when offsets may be committed again.
    fn step_later(&mut self, event: Event<&'static str>) -> Vec<Command<&'static str>> {
        self.now.elapsed += COMMIT_PAUSE;
        self.step(event)
    }

    fn pass(&mut self, time: Duration) -> Vec<Command<&'static str>> {
        self.now.time += time;
        self.now.elapsed += time;
        self.step(Event::Time)
    }

    /// Returns a record of a stamp that is due in so many minutes.
    fn record(&self, assignment: Assignment, offset: i64, id: &str, minutes: i32) -> Record<&'static str> {
        let stamp = Stamp::new(
            ObjectCid::parse(id).expect("a valid id"),
            TimeTolerance::from_minutes(minutes).expect("a valid tolerance"),
            self.now.time,
        );
        let content = Content::Stamp(stamp.expect("a valid due time"));
        Record { assignment, offset, timestamp: -1, content }
    }
}

fn of(partition: i32, number: u32) -> Assignment {
    Assignment { partition, number }
}

/// Returns what is written, by batch: its trigger and its ids.
fn written(commands: &[Command<&'static str>]) -> Vec<(Trigger, String)> {
    let ids = |batch: &Batch| {
        let ids: Vec<&str> = batch.members.iter().map(|member| member.stamp.object_cid().as_str()).collect();
        (batch.trigger, ids.join(" "))
    };
    let write = |command: &Command<_>| match command {
        Command::Write(write) => Some(write.batches.iter().map(ids).collect::<Vec<_>>()),
        _ => None,
    };
    commands.iter().find_map(write).unwrap_or_default()
}

/// Returns what is committed: partition, number and offset of each.
fn committed(commands: &[Command<&'static str>]) -> Vec<(i32, u32, i64)> {
    let commit = |commit: &Commit| (commit.assignment.partition, commit.assignment.number, commit.offset);
    let commits = |command: &Command<_>| match command {
        Command::Commit(commits) => commits.iter().map(commit).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    commands.iter().flat_map(commits).collect()
}

/// Returns what is given back to this request, if anything is.
fn released(commands: &[Command<&'static str>], wanted: u64) -> Option<Vec<i64>> {
    commands.iter().find_map(|command| match command {
        Command::Release { request: Request(request), frontiers } if *request == wanted => {
            Some(frontiers.iter().map(|commit| commit.offset).collect())
        }
        _ => None,
    })
}

fn revoked(request: u64, assignment: Assignment) -> Event<&'static str> {
    Event::Revoked { request: Request(request), assignments: vec![assignment], lost: false }
}

#[test]
fn a_partition_that_comes_back_during_a_write_has_a_ledger_of_its_own() {
    let mut rig = Rig::settled(1, 1, &[0]);
    let write = rig.fetch(vec![rig.record(of(0, 1), 0, "a", 10)]);
    assert_eq!(written(&write), [(Trigger::MinBatchSize, "a".to_owned())]);
    assert_eq!(released(&rig.step(revoked(7, of(0, 1))), 7), None, "it waits for the write");
    // The client gives the partition away although nobody has answered, and gets it again.
    rig.step(Event::Assigned(vec![of(0, 2)]));
    rig.fetch(vec![rig.record(of(0, 2), 0, "a", 10), rig.record(of(0, 2), 1, "b", 10)]);
    let done = rig.step_later(Event::Done);
    assert_eq!(released(&done, 7), Some(vec![0]), "the record was read again, so it counts there");
    assert_eq!(committed(&done), [(0, 2, 1)]);
    rig.step(Event::Done);
    let more = rig.fetch(vec![rig.record(of(0, 2), 2, "c", 10)]);
    assert_eq!(written(&more), [(Trigger::MinBatchSize, "c".to_owned())], "its records are taken");
    assert_eq!(committed(&rig.step_later(Event::Done)), [(0, 2, 3)]);
}

// Break: compare nothing with `next_commit` in `commit` of step.rs; leave `commit` out of `go_on` in work.rs.
#[test]
fn offsets_that_go_on_are_committed_no_more_often_than_every_so_long_and_none_is_forgotten() {
    let mut rig = Rig::settled(1, 1, &[0]);
    let mut commits = Vec::new();
    for offset in 0..50 {
        commits.extend(committed(&rig.fetch(vec![rig.record(of(0, 1), offset, &offset.to_string(), 10)])));
        commits.extend(committed(&rig.step(Event::Done)));
        rig.now.elapsed += COMMIT_PAUSE / 10;
    }
    assert_eq!(commits.len(), 5, "{commits:?}");
    assert!(rig.heart.wake().elapsed.is_some_and(|until| until <= rig.now.elapsed + COMMIT_PAUSE));
    assert_eq!(committed(&rig.pass(COMMIT_PAUSE)), [(0, 1, 50)]);
    assert_eq!(rig.heart.wake().elapsed, None);
}

#[test]
fn what_is_about_to_be_given_back_is_not_committed() {
    let mut rig = Rig::settled(1, 1, &[0, 1]);
    rig.fetch(vec![rig.record(of(0, 1), 0, "a", 10), rig.record(of(1, 2), 0, "b", 10)]);
    rig.step(revoked(1, of(0, 1)));
    let forgotten = Commit { assignment: of(1, 2), offset: -1001 };
    assert_eq!(committed(&rig.step_later(Event::Known(vec![forgotten]))), [(1, 2, 0)]);
}

#[test]
fn an_offset_that_goes_back_leaves_what_waits_below_it() {
    let mut rig = Rig::settled(5, 5, &[0]);
    rig.fetch(vec![
        rig.record(of(0, 1), 0, "waits", 10),
        rig.record(of(0, 1), 1, "first", 20),
        rig.record(of(0, 1), 2, "second", 20),
    ]);
    // The log was truncated to 1, and has other records there now.
    let commands = rig.fetch(vec![rig.record(of(0, 1), 1, "other", 0)]);
    assert_eq!(written(&commands), [(Trigger::Deadline, "other".to_owned())]);
    assert_eq!(committed(&rig.step(Event::Done)), [], "the first one holds the offset");
    let due = rig.pass(Duration::from_secs(600));
    assert_eq!(written(&due), [(Trigger::Deadline, "waits".to_owned())]);
    assert_eq!(committed(&rig.step(Event::Done)), [(0, 1, 2)], "the truncated ones hold nothing");
    let due = rig.pass(Duration::from_secs(600));
    assert_eq!(written(&due), [(Trigger::Deadline, "first second".to_owned())], "and leave in time");
}

#[test]
fn after_a_slow_answer_fewer_batches_go_together_and_a_single_one_stays_whole() {
    let mut rig = Rig::settled(2, 2, &[0]);
    let records = (0..8).map(|offset| rig.record(of(0, 1), offset, &offset.to_string(), 10)).collect();
    assert_eq!(written(&rig.fetch(records)).len(), 4);
    rig.step(Event::Failed(Failure::Slow));
    assert_eq!(written(&rig.pass(Duration::from_secs(3))).len(), 2);
    rig.step(Event::Failed(Failure::Slow));
    assert_eq!(written(&rig.pass(Duration::from_secs(3))).len(), 1);
    rig.step(Event::Failed(Failure::Slow));
    let write = rig.pass(Duration::from_secs(3));
    assert_eq!(written(&write), [(Trigger::MinBatchSize, "0 1".to_owned())]);
    let doubtful = |command: &Command<_>| matches!(command, Command::Write(write) if write.doubtful);
    assert!(write.iter().any(doubtful), "it may be done already");
}

#[test]
fn a_revocation_does_not_wait_for_the_next_try_nor_for_the_work_of_others() {
    let mut rig = Rig::settled(1, 1, &[0, 1]);
    rig.fetch(vec![rig.record(of(0, 1), 0, "a", 10)]);
    assert_eq!(released(&rig.step(revoked(1, of(1, 2))), 1), Some(vec![]), "the write is of another one");
    rig.step(Event::Failed(Failure::Unavailable));
    assert_eq!(released(&rig.step(revoked(2, of(0, 1))), 2), Some(vec![0]), "no statement is under way");
    assert_eq!(rig.heart.pending(), 0, "whoever has it next reads it again");
}

#[test]
fn a_due_stamp_waits_for_the_backlog_of_its_own_partition_alone() {
    let mut rig = Rig::settled(3, 3, &[0]);
    rig.fetch(vec![rig.record(of(0, 1), 0, "settled", 1)]);
    rig.pass(Duration::from_millis(59_500));
    rig.step(Event::Assigned(vec![of(1, 2)]));
    let due = rig.record(of(1, 2), 0, "new", 0);
    assert_eq!(written(&rig.fetch(vec![due])), [], "its partition is being read");
    let both = rig.pass(Duration::from_millis(500));
    assert_eq!(written(&both), [(Trigger::Deadline, "new settled".to_owned())]);
}

#[test]
fn the_culprit_of_a_refused_batch_is_buried_and_the_others_leave_as_one_batch() {
    let mut rig = Rig::settled(4, 4, &[0]);
    let records = (0..4).map(|offset| rig.record(of(0, 1), offset, &offset.to_string(), 10)).collect();
    assert_eq!(written(&rig.fetch(records)), [(Trigger::MinBatchSize, "0 1 2 3".to_owned())]);
    let mut commands = rig.step(Event::Failed(Failure::Data));
    let mut buried = Vec::new();
    // The database refuses number 2.
    while let Some(command) = commands.pop() {
        let refused = match &command {
            Command::Probe(members) => members.iter().any(|member| member.offset == 2),
            Command::Bury(member) => {
                buried.push(member.offset);
                false
            }
            _ => continue,
        };
        commands = rig.step(if refused { Event::Failed(Failure::Data) } else { Event::Done });
        if buried.len() == 1 && !written(&commands).is_empty() {
            break;
        }
    }
    assert_eq!(buried, [2]);
    assert_eq!(rig.heart.pending(), 3, "below min they wait for their time");
    let due = rig.pass(Duration::from_secs(600));
    assert_eq!(written(&due), [(Trigger::Deadline, "0 1 3".to_owned())]);
}

#[test]
fn records_that_come_before_the_word_of_their_assignment_are_taken() {
    let mut rig = Rig::new(1, 2);
    let write = rig.fetch(vec![rig.record(of(0, 1), 5, "early", 10)]);
    assert_eq!(written(&write).len(), 0, "its backlog is being read");
    rig.step(Event::Assigned(vec![of(0, 1)]));
    let write = rig.fetch_with_ends(Vec::new(), vec![of(0, 1)]);
    assert_eq!(written(&write), [(Trigger::MinBatchSize, "early".to_owned())]);
    assert_eq!(committed(&rig.step_later(Event::Done)), [(0, 1, 6)]);
}

#[test]
fn a_distant_stamp_is_stored_and_waited_for_no_longer() {
    let mut rig = Rig::settled(2, 2, &[0]);
    let records = vec![
        rig.record(of(0, 1), 0, "distant", 7 * 24 * 60 + 1),
        rig.record(of(0, 1), 1, "near", 7 * 24 * 60),
    ];
    let commands = rig.fetch(records);
    assert_eq!((written(&commands).len(), rig.heart.pending()), (0, 1));
    assert_eq!(committed(&commands), [(0, 1, 0)]);
    assert_eq!(committed(&rig.pass(COMMIT_PAUSE)), [(0, 1, 1)]);
}

#[test]
fn a_stop_waits_for_the_work_under_way_and_for_nothing_else() {
    let mut rig = Rig::settled(1, 1, &[0]);
    rig.fetch(vec![rig.record(of(0, 1), 0, "a", 10)]);
    assert!(rig.step(Event::Stop).is_empty());
    let finished = rig.step(Event::Done);
    let is_all =
        |command: &Command<_>| matches!(command, Command::Finish { frontiers } if frontiers[0].offset == 1);
    assert!(finished.iter().any(is_all), "{finished:?}");
}

#[test]
fn an_offset_that_goes_back_is_committed_before_the_database_has_answered() {
    let mut rig = Rig::settled(1, 1, &[0]);
    rig.fetch(vec![rig.record(of(0, 1), 0, "first", 10)]);
    assert_eq!(committed(&rig.step_later(Event::Done)), [(0, 1, 1)]);
    // The log was truncated to 0.
    let record = rig.record(of(0, 1), 0, "other", 10);
    let fetched = rig.step(Event::Fetched(Chunk { records: vec![record], ends: Vec::new() }));
    assert_eq!(committed(&fetched), [(0, 1, 0)]);
}

#[test]
fn a_heart_that_has_failed_begins_nothing_more() {
    let mut rig = Rig::settled(2, 2, &[0]);
    let records = (0..6).map(|offset| rig.record(of(0, 1), offset, &offset.to_string(), 10)).collect();
    assert_eq!(written(&rig.fetch(records)).len(), 3);
    let more = (6..8).map(|offset| rig.record(of(0, 1), offset, &offset.to_string(), 10)).collect();
    rig.fetch(more);
    assert!(matches!(rig.step(Event::Failed(Failure::Fatal))[..], [Command::Fail(Step::Writing)]));
}

#[test]
fn a_database_that_takes_the_parts_of_what_it_refuses_is_not_asked_without_a_pause() {
    let mut rig = Rig::settled(2, 2, &[0]);
    let records = (0..2).map(|offset| rig.record(of(0, 1), offset, &offset.to_string(), 10)).collect();
    assert_eq!(written(&rig.fetch(records)).len(), 1);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        assert!(matches!(rig.step(Event::Failed(Failure::Data))[..], [Command::Probe(_)]));
        assert!(matches!(rig.step(Event::Done)[..], [Command::Probe(_)]));
        let commands = rig.step(Event::Done);
        let [Command::Retry { step: Step::Writing, after }] = commands[..] else { panic!("{commands:?}") };
        pauses.push(after);
        assert_eq!(written(&rig.pass(after)), [(Trigger::MinBatchSize, "0 1".to_owned())]);
    }
    assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
}
