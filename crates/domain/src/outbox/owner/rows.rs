//! What becomes of single rows: stored, read, handed out, and what Kafka made of them.

use super::super::numbers::{Numbers, Stage};
use super::super::{OutboxCommand, OwnerId, Publication};
use super::{Asked, Owners};

impl<P> Owners<P> {
    pub(super) fn on_stored(
        &mut self,
        owner: OwnerId,
        rows: Vec<(i64, P)>,
        commands: &mut Vec<OutboxCommand<P>>,
    ) {
        let Some(present) = self.numbers.get_mut(&owner).and_then(Numbers::present) else { return };
        let Some(group) = present.under_way.take() else { return };
        if present.given_up {
            return;
        }
        for (number, payload) in rows {
            if !self.has_room_for(1) {
                self.give_up(owner, number - 1);
                return;
            }
            if let Some(numbers) = self.numbers.get_mut(&owner) {
                numbers.outstanding.insert(number);
                self.publish(Publication { owner, number, payload, alone: false }, commands);
            }
        }
        if let Some(numbers) = self.numbers.get_mut(&owner) {
            numbers.known_through = *group.end();
        }
    }

    pub(super) fn on_not_stored(&mut self, owner: OwnerId) {
        let Some(numbers) = self.numbers.get_mut(&owner) else { return };
        let Some(present) = numbers.present() else { return };
        if let Some(group) = present.under_way.take()
            && !present.given_up
        {
            numbers.known_through = *group.end();
        }
    }

    pub(super) fn on_store_unanswered(&mut self, owner: OwnerId) {
        if let Some(present) = self.numbers.get_mut(&owner).and_then(Numbers::present) {
            present.under_way = None;
            present.given_up = true;
        }
    }

    /// Gives an owner up: what is stored above a number is read from the database later.
    fn give_up(&mut self, owner: OwnerId, known_through: i64) {
        if let Some(numbers) = self.numbers.get_mut(&owner) {
            numbers.known_through = known_through;
            if let Some(present) = numbers.present() {
                present.given_up = true;
            }
        }
    }

    pub(super) fn on_owner_gone(&mut self, owner: OwnerId) {
        if self.numbers.get(&owner).is_some_and(|numbers| matches!(numbers.stage, Stage::Present(_))) {
            self.drop_owner(owner);
        }
    }

    pub(super) fn on_page(
        &mut self,
        owner: OwnerId,
        rows: Vec<(i64, P)>,
        commands: &mut Vec<OutboxCommand<P>>,
    ) {
        let Some(numbers) = self.numbers.get_mut(&owner) else { return };
        let Stage::Retired(retired) = &mut numbers.stage else { return };
        retired.reading = Asked::No;
        retired.read_out = rows.is_empty();
        for (number, payload) in rows {
            let Some(numbers) = self.numbers.get_mut(&owner) else { return };
            numbers.outstanding.insert(number);
            numbers.known_through = number;
            self.publish(Publication { owner, number, payload, alone: false }, commands);
        }
    }

    pub(super) fn publish(&mut self, publication: Publication<P>, commands: &mut Vec<OutboxCommand<P>>) {
        self.on_the_way += 1;
        commands.push(OutboxCommand::Publish(publication));
    }

    pub(super) fn on_delivered(&mut self, owner: OwnerId, number: i64) {
        self.on_the_way -= 1;
        let Some(numbers) = self.numbers.get_mut(&owner) else { return };
        numbers.outstanding.remove(&number);
        // A copy from before the owner was left to others and came back.
        if self.refusals.settle(owner, number) {
            numbers.waiting -= 1;
        }
    }

    pub(super) fn on_refused(&mut self, publication: Publication<P>, commands: &mut Vec<OutboxCommand<P>>) {
        self.on_the_way -= 1;
        if !self.is_outstanding(publication.owner, publication.number) {
            return;
        }
        // The fault may be that of its neighbours, or of their number.
        if !publication.alone {
            self.publish(Publication { alone: true, ..publication }, commands);
            return;
        }
        let Publication { owner, number, payload, .. } = publication;
        if self.refusals.refuse(owner, number, payload, self.beat) {
            self.wait(owner);
        }
    }

    pub(super) fn on_lost(&mut self, publication: Publication<P>) {
        self.on_the_way -= 1;
        let Publication { owner, number, payload, .. } = publication;
        if self.is_outstanding(owner, number) && self.refusals.lose(owner, number, payload, self.beat) {
            self.wait(owner);
        }
    }

    fn wait(&mut self, owner: OwnerId) {
        if let Some(numbers) = self.numbers.get_mut(&owner) {
            numbers.waiting += 1;
        }
    }
}
