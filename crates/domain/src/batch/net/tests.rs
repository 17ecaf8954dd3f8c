use super::*;

/// A net with clocks that are moved by hand, both from zero on.
struct Hand {
    net: Net,
    now: Moment,
    is_fed: bool,
}

impl Hand {
    /// Returns a net that has sent its first look.
    fn looking(is_fed: bool) -> Self {
        let now = Moment { time: DateTime::UNIX_EPOCH, elapsed: Duration::ZERO };
        let mut hand = Self { net: Net::new(7), now, is_fed };
        assert_eq!(hand.tell(NetEvent::Time), Some(NetCommand::Look));
        hand
    }

    fn tell(&mut self, event: NetEvent) -> Option<NetCommand> {
        self.net.step(self.now, self.is_fed, event)
    }

    fn wait(&mut self, ms: i64) -> Option<NetCommand> {
        self.now.time += TimeDelta::milliseconds(ms);
        self.now.elapsed += Duration::from_millis(ms.unsigned_abs());
        self.tell(NetEvent::Time)
    }

    /// Sees rows that are numbered from 0 on and fall due at these milliseconds.
    fn see(&mut self, due: impl IntoIterator<Item = i64>) -> Option<NetCommand> {
        let seen = (0..).zip(due).map(|(row, due)| Seen { row, due: Some(at(due)) });
        self.tell(NetEvent::Seen(seen.collect()))
    }
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

fn take(rows: impl IntoIterator<Item = i64>) -> NetCommand {
    NetCommand::Take(rows.into_iter().collect())
}

#[test]
fn a_row_is_taken_when_it_has_been_due_for_half_a_second_and_no_sooner() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([300, 700]), None);
    assert_eq!(hand.net.wake(), Wake { due: Some(at(800)), elapsed: Some(PERIOD) });
    assert_eq!(hand.wait(799), None);
    assert_eq!(hand.wait(1), Some(take([0])));
    assert_eq!(hand.tell(NetEvent::Done), None);
    assert_eq!(hand.wait(200), Some(NetCommand::Look));
    assert_eq!(hand.see([]), None, "the other one has left meanwhile");
    assert_eq!(hand.wait(200), None);
}

#[test]
fn what_falls_due_one_after_the_other_is_taken_together() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([-500, -480, -400]), Some(take([0])));
    assert_eq!(hand.wait(50), None, "the answer is awaited");
    assert_eq!(hand.tell(NetEvent::Done), None);
    assert_eq!(hand.net.wake().elapsed, Some(PACE));
    assert_eq!(hand.wait(50), Some(take([1, 2])));
}

#[test]
fn looks_are_a_second_apart_while_kafka_brings_a_backlog_and_follow_each_other_otherwise() {
    for is_fed in [true, false] {
        let mut hand = Hand::looking(is_fed);
        let overdue = std::iter::repeat_n(-600, SEEN);
        assert_eq!(hand.see(overdue), Some(take(0..SEEN as i64)));
        let next = hand.tell(NetEvent::Done);
        assert_eq!(next, (!is_fed).then_some(NetCommand::Look));
        if is_fed {
            assert_eq!(hand.wait(999), None);
            assert_eq!(hand.wait(1), Some(NetCommand::Look));
        }
    }
}

// Break: let `step` of batch/net/mod.rs answer `NoneLeft` as it answers `Done`.
#[test]
fn as_many_as_a_look_sees_in_somebody_s_hand_are_not_looked_at_without_a_pause() {
    let mut hand = Hand::looking(false);
    assert_eq!(hand.see(std::iter::repeat_n(-600, SEEN)), Some(take(0..SEEN as i64)));
    assert_eq!(hand.tell(NetEvent::NoneLeft), None);
    assert_eq!(hand.wait(999), None);
    assert_eq!(hand.wait(1), Some(NetCommand::Look));
}

// Break: let `take_less` of batch/net/mod.rs divide no suspects.
#[test]
fn suspects_that_take_too_long_together_are_divided_and_one_alone_is_tried_again() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([-600; 4]), Some(take(0..4)));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Data)), Some(take([0, 1])));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Slow)), None);
    assert_eq!(hand.wait(100), Some(take([0])));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Slow)), None);
    assert_eq!(hand.wait(200), Some(take([0])));
    assert_eq!(hand.tell(NetEvent::Done), Some(take([1])));
}

#[test]
fn while_another_listener_takes_the_same_rows_are_tried_a_quarter_of_a_second_later() {
    for is_fed in [true, false] {
        let mut hand = Hand::looking(is_fed);
        let overdue = std::iter::repeat_n(-600, SEEN);
        hand.see(overdue);
        assert_eq!(hand.tell(NetEvent::NotOurTurn), None);
        assert_eq!(hand.wait(249), None);
        assert_eq!(hand.wait(1), Some(take(0..SEEN as i64)));
    }
}

// Break: let `next` of batch/net/mod.rs look while there are suspects.
#[test]
fn what_was_refused_is_not_seen_once_more_while_it_waits_for_its_turn() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([-600, -600]), Some(take([0, 1])));
    hand.now.elapsed += PERIOD;
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Data)), Some(take([0])));
    assert_eq!(hand.tell(NetEvent::NotOurTurn), None, "a look is due, and waits");
    assert_eq!(hand.net.wake().elapsed, Some(PERIOD + TURN));
    assert_eq!(hand.wait(250), Some(take([0])));
    assert_eq!(hand.tell(NetEvent::Done), Some(take([1])));
    assert_eq!(hand.tell(NetEvent::Done), Some(NetCommand::Look));
}

// Break: let `divide` of batch/net/mod.rs put all off that were refused together.
#[test]
fn of_rows_that_are_refused_together_the_culprit_alone_is_put_off() {
    let mut hand = Hand::looking(true);
    let mut command = hand.see([-600; 5]);
    let (mut taken, mut tries) = (Vec::new(), 0);
    while let Some(NetCommand::Take(rows)) = command {
        tries += 1;
        let event = if rows.contains(&3) { NetEvent::Failed(Failure::Data) } else { NetEvent::Done };
        if event == NetEvent::Done {
            taken.extend(rows);
        }
        command = hand.tell(event);
    }
    assert_eq!(command, Some(NetCommand::PutOff(3, Obstacle::Refused)));
    assert_eq!(tries, 6);
    // Whoever stands behind the culprit does not wait for what becomes of it.
    assert_eq!(hand.tell(NetEvent::Done), Some(take([4])));
    assert_eq!(taken, [0, 1, 2]);
}

#[test]
fn a_due_time_that_is_none_is_told_of_and_holds_up_nobody() {
    let mut hand = Hand::looking(true);
    let seen = vec![Seen { row: 1, due: None }, Seen { row: 2, due: Some(at(-600)) }];
    assert_eq!(hand.tell(NetEvent::Seen(seen)), Some(NetCommand::PutOff(1, Obstacle::NoTime)));
    assert_eq!(hand.tell(NetEvent::Done), Some(take([2])));
}

#[test]
fn what_the_database_does_not_do_now_is_tried_again_and_what_was_slow_in_smaller_parts() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([-600; 8]), Some(take(0..8)));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Unavailable)), None);
    let until = hand.net.wake().elapsed.expect("a time");
    assert!(until <= Duration::from_millis(50), "{until:?}");
    assert_eq!(hand.wait(100), Some(take(0..8)));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Slow)), None);
    assert_eq!(hand.wait(200), Some(take(0..4)));
    assert_eq!(hand.tell(NetEvent::Failed(Failure::Fatal)), Some(NetCommand::Fail));
}

#[test]
fn a_clock_that_is_set_back_takes_nothing_before_its_time() {
    let mut hand = Hand::looking(true);
    assert_eq!(hand.see([100]), None);
    hand.now.time -= TimeDelta::hours(1);
    assert_eq!(hand.wait(700), None);
    assert_eq!(hand.wait(300), Some(NetCommand::Look));
}
