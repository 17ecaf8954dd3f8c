//! The owners of one process: a state machine without I/O and without a clock.

mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::{Asked, Numbers, Retired, Stage};
use super::refusals::Refusals;
use super::{Lane, OutboxCommand, OutboxEvent, OwnerId, Renewal};

/// Pages of rows that are read at once: they share the database's connections with the intake.
const PAGES: usize = 2;

/// What a process may hold in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that are on their way or wait to be tried again. What comes beyond is read from the database later.
    pub events: usize,
    /// Rows of a page that is read from the database.
    pub page: usize,
    /// With so many refused events nothing further is handed out: Kafka takes nothing, and each try costs a request.
    pub refused: usize,
}

/// How an owner stands, for who counts in the database what is not in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Id of the owner.
    pub owner: OwnerId,
    /// Mark of the owner: the number up to which everything is in Kafka.
    pub mark: i64,
    /// How many events of the owner are in memory.
    pub outstanding: usize,
    /// The number above which rows of the owner have not been read, if there may be any.
    pub unread_above: Option<i64>,
}

/// The owners of this process.
#[derive(Debug)]
pub struct Owners<P> {
    limits: Limits,
    lanes: Vec<LaneState>,
    numbers: BTreeMap<OwnerId, Numbers>,
    refusals: Refusals<P>,
    /// Owners that were left to others while a page was awaited, which says nothing once such an owner is put back.
    stale_pages: BTreeSet<OwnerId>,
    /// Events that were handed out and of which nothing was heard yet.
    on_the_way: usize,
    beat: u64,
    /// The owners whose renewal is awaited.
    renewing: Option<Vec<OwnerId>>,
    looking: bool,
    stopping: bool,
}

#[derive(Debug, Default)]
struct LaneState {
    owner: Option<OwnerId>,
    registering: Asked,
}

impl<P> Owners<P> {
    /// Returns the owners of a process with so many lanes: none yet. The first beat registers them.
    pub fn new(lanes: usize, limits: Limits) -> Self {
        Self {
            limits,
            lanes: std::iter::repeat_with(LaneState::default).take(lanes).collect(),
            numbers: BTreeMap::new(),
            refusals: Refusals::new(),
            stale_pages: BTreeSet::new(),
            on_the_way: 0,
            beat: 0,
            renewing: None,
            looking: false,
            stopping: false,
        }
    }

    /// Numbers the stamps of a group: they have the returned number and those that follow, under the returned owner.
    /// `None` while the lane has no owner. A lane stores one group at a time, and an event tells what became of it.
    pub fn number(&mut self, lane: Lane, count: usize) -> Option<(OwnerId, i64)> {
        let owner = self.lanes.get(lane)?.owner?;
        let present = self.numbers.get_mut(&owner)?.present()?;
        // A group of which nothing was heard: it may be stored.
        present.given_up |= present.under_way.is_some();
        let first = present.next;
        present.next += count as i64;
        present.under_way = Some(first..=present.next - 1);
        Some((owner, first))
    }

    /// Takes an event and returns what is to be done about it, in this order.
    pub fn on(&mut self, event: OutboxEvent<P>) -> Vec<OutboxCommand<P>> {
        let mut commands = Vec::new();
        match event {
            OutboxEvent::Beat => self.on_beat(&mut commands),
            OutboxEvent::Registered { lane, owner } => self.on_registered(lane, owner),
            OutboxEvent::Renewed(renewals) => self.on_renewed(&renewals),
            OutboxEvent::NotRenewed => self.renewing = None,
            OutboxEvent::Stored { owner, rows } => self.on_stored(owner, rows, &mut commands),
            OutboxEvent::NotStored(owner) => self.on_not_stored(owner),
            OutboxEvent::StoreUnanswered(owner) => self.on_store_unanswered(owner),
            OutboxEvent::OwnerGone(owner) => self.on_owner_gone(owner),
            OutboxEvent::Retired { owner, gone } => self.on_retired(owner, gone),
            OutboxEvent::NotRetired(owner) => self.on_not_retired(owner),
            OutboxEvent::SilentFound { owner, mark } => {
                self.on_silent(owner, mark, &mut commands);
            }
            OutboxEvent::NoneSilent => self.looking = false,
            OutboxEvent::PageRead { owner, .. } if self.stale_pages.remove(&owner) => {
                self.in_vain(owner, |retired| &mut retired.reading);
            }
            OutboxEvent::PageRead { owner, rows } => self.on_page(owner, rows, &mut commands),
            OutboxEvent::PageNotRead(owner) => {
                self.stale_pages.remove(&owner);
                self.in_vain(owner, |retired| &mut retired.reading);
            }
            OutboxEvent::Forgotten(owner) => self.drop_owner(owner),
            OutboxEvent::NotForgotten(owner) => self.in_vain(owner, |retired| &mut retired.forgetting),
            OutboxEvent::Delivered { owner, number } => self.on_delivered(owner, number),
            OutboxEvent::Refused(publication) => self.on_refused(publication, &mut commands),
            OutboxEvent::Lost(publication) => self.on_lost(publication),
            OutboxEvent::Stop => self.stopping = true,
            OutboxEvent::End => commands.push(OutboxCommand::Abandon(self.marks())),
        }
        self.go_on(&mut commands);
        commands
    }

    /// Tells whether an event is still this process's to publish: its owner may be somebody else's by now.
    pub fn is_outstanding(&self, owner: OwnerId, number: i64) -> bool {
        self.numbers.get(&owner).is_some_and(|numbers| numbers.outstanding.contains(&number))
    }

    /// Tells whether a lane has an owner.
    pub fn has_owner(&self, lane: Lane) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.owner.is_some())
    }

    /// Returns how each owner stands.
    pub fn standing(&self) -> Vec<Standing> {
        self.numbers
            .values()
            .map(|numbers| Standing {
                owner: numbers.owner,
                mark: numbers.mark(),
                outstanding: numbers.outstanding.len(),
                unread_above: numbers.is_unread().then_some(numbers.known_through),
            })
            .collect()
    }

    /// Returns how many events Kafka has refused by themselves, and not taken since.
    pub fn refused(&self) -> usize {
        self.refusals.refused()
    }

    fn marks(&self) -> Vec<(OwnerId, i64)> {
        self.numbers.values().map(|numbers| (numbers.owner, numbers.mark())).collect()
    }

    fn has_room_for(&self, events: usize) -> bool {
        self.on_the_way + self.refusals.held() + events <= self.limits.events
            && self.refusals.refused() < self.limits.refused
    }

    fn on_beat(&mut self, commands: &mut Vec<OutboxCommand<P>>) {
        self.beat += 1;
        for lane in &mut self.lanes {
            lane.registering.beat();
        }
        for numbers in self.numbers.values_mut() {
            match &mut numbers.stage {
                Stage::Present(_) => {}
                Stage::Leaving(asked) => asked.beat(),
                Stage::Retired(retired) => {
                    retired.reading.beat();
                    retired.forgetting.beat();
                }
            }
        }
        if self.renewing.is_none() && !self.numbers.is_empty() {
            self.renewing = Some(self.numbers.keys().copied().collect());
            commands.push(OutboxCommand::Renew(self.marks()));
        }
        if self.stopping {
            return;
        }
        if !self.looking {
            self.look(commands);
        }
        for publication in self.refusals.due(self.beat) {
            if let Some(numbers) = self.numbers.get_mut(&publication.owner) {
                numbers.waiting -= 1;
            }
            self.publish(publication, commands);
        }
    }

    fn look(&mut self, commands: &mut Vec<OutboxCommand<P>>) {
        self.looking = true;
        commands.push(OutboxCommand::LookForSilent { except: self.numbers.keys().copied().collect() });
    }

    fn on_registered(&mut self, lane: Lane, owner: Option<OwnerId>) {
        let state = &mut self.lanes[lane];
        let Some(owner) = owner else {
            state.registering = Asked::InVain;
            return;
        };
        state.registering = Asked::No;
        if let Some(old) = state.owner.replace(owner)
            && let Some(numbers) = self.numbers.get_mut(&old)
        {
            numbers.stage = Stage::Leaving(Asked::No);
        }
        self.numbers.insert(owner, Numbers::new(owner));
    }

    fn on_renewed(&mut self, renewals: &[Renewal]) {
        for owner in self.renewing.take().unwrap_or_default() {
            let renewal = renewals.iter().find(|renewal| renewal.owner == owner);
            let Some(numbers) = self.numbers.get_mut(&owner) else { continue };
            // Others have retired it and publish what is above its mark, or have done so.
            let lost = match numbers.stage {
                Stage::Present(_) => renewal.is_none_or(|renewal| renewal.retired),
                Stage::Leaving(_) | Stage::Retired(_) => renewal.is_none(),
            };
            if lost {
                self.drop_owner(owner);
            }
        }
    }

    fn on_retired(&mut self, owner: OwnerId, gone: bool) {
        if gone {
            self.drop_owner(owner);
        } else if let Some(numbers) = self.numbers.get_mut(&owner) {
            numbers.stage = Stage::Retired(Retired::new(true));
        }
    }

    fn on_not_retired(&mut self, owner: OwnerId) {
        if let Some(Numbers { stage: Stage::Leaving(asked), .. }) = self.numbers.get_mut(&owner) {
            *asked = Asked::InVain;
        }
    }

    fn on_silent(&mut self, owner: OwnerId, mark: i64, commands: &mut Vec<OutboxCommand<P>>) {
        self.looking = false;
        match self.numbers.get_mut(&owner) {
            // The owner's registration was answered after the look had been sent.
            Some(numbers) => {
                numbers.stage = Stage::Retired(Retired::new(true));
                self.leave_lane(owner);
            }
            None => {
                let awaited = self.stale_pages.contains(&owner);
                self.numbers.insert(owner, Numbers::adopted(owner, mark, awaited));
            }
        }
        if !self.stopping {
            self.look(commands);
        }
    }

    fn in_vain(&mut self, owner: OwnerId, which: impl Fn(&mut Retired) -> &mut Asked) {
        if let Some(Numbers { stage: Stage::Retired(retired), .. }) = self.numbers.get_mut(&owner) {
            *which(retired) = Asked::InVain;
        }
    }

    /// Leaves an owner to others, or to nobody once all of it is in Kafka.
    fn drop_owner(&mut self, owner: OwnerId) {
        let dropped = self.numbers.remove(&owner);
        if dropped.is_some_and(|numbers| numbers.is_reading()) {
            self.stale_pages.insert(owner);
        }
        self.refusals.drop_owner(owner);
        self.leave_lane(owner);
    }

    fn leave_lane(&mut self, owner: OwnerId) {
        for lane in &mut self.lanes {
            lane.owner = lane.owner.filter(|own| *own != owner);
        }
    }

    /// Begins whatever may be begun now.
    fn go_on(&mut self, commands: &mut Vec<OutboxCommand<P>>) {
        if self.stopping {
            return;
        }
        self.register(commands);
        for numbers in self.numbers.values_mut() {
            if let Stage::Leaving(asked) = &mut numbers.stage
                && asked.ask()
            {
                commands.push(OutboxCommand::Retire(numbers.owner));
            }
        }
        // There may be thousands of owners to take over, and what is asked for comes.
        let mut pages = self.numbers.values().filter(|numbers| numbers.is_reading()).count() + 1;
        let rooms = (1..).take_while(|pages| self.has_room_for(pages * self.limits.page)).take(PAGES).count();
        for numbers in self.numbers.values_mut() {
            let (owner, is_idle) = (numbers.owner, numbers.on_the_way() == 0);
            let Stage::Retired(retired) = &mut numbers.stage else { continue };
            if !retired.read_out {
                if pages <= rooms && is_idle && retired.reading.ask() {
                    pages += 1;
                    commands.push(OutboxCommand::ReadPage { owner, above: numbers.known_through });
                }
            } else if numbers.outstanding.is_empty() && retired.forgetting.ask() {
                commands.push(OutboxCommand::Forget(owner));
            }
        }
    }

    /// Makes owners for lanes that have none, and for one whose owner was given up. That one goes on taking rows until
    /// there is room again, and until the one that was replaced before is read: so owners never pile up.
    fn register(&mut self, commands: &mut Vec<OutboxCommand<P>>) {
        let mut may_replace = None;
        for lane in 0..self.lanes.len() {
            let owner = self.lanes[lane].owner;
            let numbers = owner.and_then(|owner| self.numbers.get(&owner));
            if numbers.is_some_and(|numbers| !numbers.is_given_up()) {
                continue;
            }
            let replaces = owner.is_some();
            if replaces && !*may_replace.get_or_insert_with(|| self.may_replace()) {
                continue;
            }
            if self.lanes[lane].registering.ask() {
                may_replace = may_replace.map(|may| may && !replaces);
                commands.push(OutboxCommand::Register(lane));
            }
        }
    }

    fn may_replace(&self) -> bool {
        let is_replacing = |lane: &LaneState| lane.owner.is_some() && lane.registering == Asked::Yes;
        let is_leaving = |numbers: &Numbers| numbers.is_leaving(self.refusals.refused_of(numbers.owner));
        self.has_room_for(self.limits.events / 2)
            && !self.lanes.iter().any(is_replacing)
            && !self.numbers.values().any(is_leaving)
    }
}
