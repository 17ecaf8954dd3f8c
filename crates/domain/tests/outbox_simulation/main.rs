//! Several processes with their owners, on models of PostgreSQL and Kafka, through histories of faults.

mod history;
mod judge;
mod kafka;
mod leaving;
mod process;
mod store;
mod world;

use crate::history::{ALL_KINDS, History, Kind};
use crate::judge::Meetings;
use crate::world::World;

/// Histories that are run: as many as a development build does in some seconds.
const HISTORIES: u64 = 1_500;

/// Runs a history and panics with the shortest one that fails as well.
fn run(history: &History) -> World {
    match World::run(history) {
        Ok(world) => world,
        Err(complaint) => {
            let shortest = history.shortest(|shorter| World::run(shorter).is_err());
            let (trace, again) = World::traced(&shortest);
            let trace = trace.join("\n  ");
            panic!(
                "{complaint}\nseed {}, as short as it gets:\n  {trace}\n  {}",
                history.seed,
                again.err().unwrap_or_default()
            );
        }
    }
}

// Break: let `mark` in outbox/numbers.rs return `known_through`, let `go_on` in outbox/owner/mod.rs forget an owner
// although something is outstanding, or let `may_replace` there be true. In leaving.rs, let no page have left events, let
// no take leave any, or let `put_back` return the lowest number; in store.rs, let a renewal note all left events of its
// owners, let `look` not heed the lowest left event, or let it put nobody back.
#[test]
fn every_stored_event_is_published_whatever_happens_on_the_way() {
    let mut meetings = Meetings::default();
    for seed in 0..HISTORIES {
        meetings.add(&run(&History::of(seed, &ALL_KINDS)).judge.meetings);
    }
    println!("{meetings}");
    assert_eq!(meetings.never(), Vec::<&str>::new(), "a simulator that never meets these is blind");
}

// A take may outlive its owner: it has seen that an event is above the mark, the event is published, the owner is
// forgotten, and only then the take is committed. Nobody has noted the event, so the owner is put back and what is above
// its mark is published once more.
#[test]
fn without_losses_and_deaths_each_event_is_published_once() {
    let harmless = [Kind::Away, Kind::Refusal, Kind::RefusalOfAll, Kind::Repeat, Kind::Leave];
    let twice = |world: &World| {
        let mut accepted = world.store.accepted.iter();
        let is_once =
            |(owner, payload)| world.kafka.records(payload) == 1 || world.judge.back.contains(owner);
        !accepted.all(|((owner, _), payload)| is_once((owner, *payload)))
            || !world.judge.back.is_subset(&world.judge.outlived)
    };
    for seed in 0..HISTORIES / 3 {
        let history = History::of(seed, &harmless);
        if twice(&run(&history)) {
            let shortest = history.shortest(|shorter| World::run(shorter).is_ok_and(|world| twice(&world)));
            panic!(
                "seed {seed} publishes more than was stored:\n  {}",
                World::traced(&shortest).0.join("\n  ")
            );
        }
    }
}

#[test]
fn the_same_history_gives_the_same_commands() {
    for seed in 0..50 {
        let history = History::of(seed, &ALL_KINDS);
        assert_eq!(World::traced(&history).0, World::traced(&history).0);
    }
}
