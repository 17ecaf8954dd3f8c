//! Plays histories.

use std::collections::BTreeMap;

use crate::history::{Choice, History};
use crate::meetings::Meetings;
use crate::world::World;

/// What has become of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promise that was broken first, in words.
    pub violation: Option<String>,
    /// How often each meeting happened in the history.
    pub meetings: Meetings,
    /// How often each kind of choice has happened.
    pub happened: BTreeMap<&'static str, u64>,
    /// How many events the hearts were told.
    pub steps: u64,
    /// How many records are lost through Kafka's own doing.
    pub excused: u64,
    /// Every choice, event and command, if that was asked for.
    pub trace: String,
}

/// Plays a history to its end, and lets the world come to rest.
pub fn run(history: &History, traced: bool) -> Outcome {
    let mut world = World::new(history.settings, traced);
    history.choices.iter().for_each(|choice| _ = world.apply(*choice));
    end(world)
}

/// Plays what is chosen one after the other, and keeps what could happen.
pub(crate) fn run_chosen(history: &mut History, mut next: impl FnMut(usize) -> Option<Choice>) -> Outcome {
    let mut world = World::new(history.settings, false);
    while let Some(choice) = next(history.choices.len()) {
        if world.violation.is_some() {
            break;
        }
        if world.apply(choice) {
            history.choices.push(choice);
        }
    }
    end(world)
}

fn end(mut world: World) -> Outcome {
    let excused = world.come_to_rest();
    Outcome {
        violation: world.violation.clone(),
        meetings: world.meetings.clone(),
        happened: std::mem::take(&mut world.happened),
        steps: world.steps(),
        excused,
        trace: world.into_trace(),
    }
}
