use super::*;
use crate::outbox::Publication;

const OWNER: OwnerId = OwnerId(7);

/// Returns the owners of a process with one lane that has one, and room for four events.
fn begun() -> Owners<char> {
    let mut owners = Owners::new(1, Limits { events: 4, page: 2, refused: 2 });
    assert!(owners.on(OutboxEvent::Beat).contains(&OutboxCommand::Register(0)));
    assert_eq!(owners.on(OutboxEvent::Registered { lane: 0, owner: Some(OWNER) }), []);
    owners
}

/// Stores a group and returns its numbers.
fn store(owners: &mut Owners<char>, payloads: &str) -> Vec<i64> {
    let (owner, first) = owners.number(0, payloads.len()).expect("the lane has an owner");
    let rows: Vec<(i64, char)> = (first..).zip(payloads.chars()).collect();
    owners.on(OutboxEvent::Stored { owner, rows: rows.clone() });
    rows.into_iter().map(|(number, _)| number).collect()
}

fn delivered(owners: &mut Owners<char>, number: i64) -> Vec<OutboxCommand<char>> {
    owners.on(OutboxEvent::Delivered { owner: OWNER, number })
}

fn standing(owners: &Owners<char>, owner: OwnerId) -> Standing {
    owners.standing().into_iter().find(|standing| standing.owner == owner).expect("it is there")
}

fn publication(number: i64, payload: char, alone: bool) -> Publication<char> {
    Publication { owner: OWNER, number, payload, alone }
}

#[test]
fn the_mark_never_passes_a_number_that_is_outstanding() {
    let mut owners = begun();
    assert_eq!(store(&mut owners, "abc"), [1, 2, 3]);
    delivered(&mut owners, 2);
    delivered(&mut owners, 3);
    assert_eq!(standing(&owners, OWNER).mark, 0);
    delivered(&mut owners, 1);
    assert_eq!(
        standing(&owners, OWNER),
        Standing { owner: OWNER, mark: 3, outstanding: 0, unread_above: None }
    );
}

#[test]
fn a_number_that_is_given_out_and_not_answered_for_is_below_no_mark() {
    let mut owners = begun();
    assert_eq!(owners.number(0, 2), Some((OWNER, 1)));
    assert_eq!(standing(&owners, OWNER).mark, 0);
    owners.on(OutboxEvent::NotStored(OWNER));
    assert_eq!(standing(&owners, OWNER).mark, 2, "there is no such stamp");
}

#[test]
fn an_owner_without_room_goes_on_until_there_is_room_and_is_read_from_where_it_was_given_up() {
    let mut owners = begun();
    store(&mut owners, "abcde");
    assert_eq!(standing(&owners, OWNER).unread_above, Some(4));
    assert_eq!(store(&mut owners, "f"), [6], "it goes on");
    for _ in 0..100 {
        assert!(!owners.on(OutboxEvent::Beat).contains(&OutboxCommand::Register(0)), "there is no room");
    }
    for number in [1, 2] {
        let commands = delivered(&mut owners, number);
        assert_eq!(commands.contains(&OutboxCommand::Register(0)), number == 2);
    }
    let new = OwnerId(8);
    let commands = owners.on(OutboxEvent::Registered { lane: 0, owner: Some(new) });
    assert_eq!(commands, [OutboxCommand::Retire(OWNER)]);
    owners.on(OutboxEvent::Retired { owner: OWNER, gone: false });
    delivered(&mut owners, 3);
    let commands = delivered(&mut owners, 4);
    assert_eq!(commands, [OutboxCommand::ReadPage { owner: OWNER, above: 4 }]);
    assert_eq!(owners.number(0, 1), Some((new, 1)));
}

#[test]
fn what_a_lost_answer_may_have_stored_is_read_from_the_database() {
    let mut owners = begun();
    store(&mut owners, "a");
    assert_eq!(owners.number(0, 2), Some((OWNER, 2)));
    assert_eq!(owners.on(OutboxEvent::StoreUnanswered(OWNER)), [OutboxCommand::Register(0)]);
    assert_eq!(standing(&owners, OWNER).unread_above, Some(1));
}

#[test]
fn what_is_refused_with_others_is_published_alone_and_what_is_refused_alone_waits() {
    let mut owners = begun();
    store(&mut owners, "ab");
    let alone = |number, payload| [OutboxCommand::Publish(publication(number, payload, true))];
    assert_eq!(owners.on(OutboxEvent::Refused(publication(1, 'a', false))), alone(1, 'a'));
    assert_eq!(owners.on(OutboxEvent::Refused(publication(2, 'b', false))), alone(2, 'b'));
    delivered(&mut owners, 2);
    assert_eq!(owners.on(OutboxEvent::Refused(publication(1, 'a', true))), []);
    assert_eq!((owners.refused(), standing(&owners, OWNER).mark), (1, 0));
    assert!(owners.on(OutboxEvent::Beat).contains(&alone(1, 'a')[0]), "it is tried again");
    delivered(&mut owners, 1);
    assert_eq!((owners.refused(), standing(&owners, OWNER).mark), (0, 2));
}

#[test]
fn an_owner_that_others_have_retired_is_theirs_and_its_lane_gets_a_new_one() {
    let mut owners = begun();
    store(&mut owners, "a");
    owners.on(OutboxEvent::Beat);
    let renewal = Renewal { owner: OWNER, retired: true };
    assert_eq!(owners.on(OutboxEvent::Renewed(vec![renewal])), [OutboxCommand::Register(0)]);
    assert!(!owners.is_outstanding(OWNER, 1));
    assert_eq!(owners.on(OutboxEvent::Refused(publication(1, 'a', false))), []);
}

#[test]
fn an_event_of_which_two_copies_come_back_waits_once() {
    let mut owners = begun();
    store(&mut owners, "a");
    owners.on(OutboxEvent::Beat);
    owners.on(OutboxEvent::Renewed(vec![Renewal { owner: OWNER, retired: true }]));
    owners.on(OutboxEvent::SilentFound { owner: OWNER, mark: 0 });
    owners.on(OutboxEvent::PageRead { owner: OWNER, rows: vec![(1, 'a')] });
    // The first is from before the owner was left to others.
    owners.on(OutboxEvent::Lost(publication(1, 'a', false)));
    owners.on(OutboxEvent::Lost(publication(1, 'a', false)));
    assert!(owners.on(OutboxEvent::Beat).contains(&OutboxCommand::Publish(publication(1, 'a', false))));
    owners.on(OutboxEvent::PageRead { owner: OWNER, rows: Vec::new() });
    assert_eq!(delivered(&mut owners, 1), [OutboxCommand::Forget(OWNER)]);
}

#[test]
fn of_many_owners_that_fell_silent_no_more_pages_are_read_at_once_than_there_is_room_for() {
    // Room for four events is room for two pages.
    let mut owners = begun();
    let mut asked = Vec::new();
    for silent in 100..110 {
        let found = OutboxEvent::SilentFound { owner: OwnerId(silent), mark: 0 };
        asked.extend(
            owners.on(found).into_iter().filter(|command| matches!(command, OutboxCommand::ReadPage { .. })),
        );
    }
    assert_eq!(asked.len(), 2, "{asked:?}");
    let rows = vec![(1, 'a'), (2, 'b')];
    let next = owners.on(OutboxEvent::PageRead { owner: OwnerId(100), rows });
    assert!(!next.iter().any(|command| matches!(command, OutboxCommand::ReadPage { .. })), "{next:?}");
    let empty = owners.on(OutboxEvent::PageRead { owner: OwnerId(101), rows: Vec::new() });
    assert!(empty.iter().any(|command| matches!(command, OutboxCommand::ReadPage { .. })), "{empty:?}");
}

#[test]
fn a_page_from_before_an_owner_was_put_back_says_nothing() {
    let mut owners = begun();
    let silent = OwnerId(100);
    owners.on(OutboxEvent::Beat);
    owners.on(OutboxEvent::SilentFound { owner: silent, mark: 6 });
    owners.on(OutboxEvent::Renewed(vec![Renewal { owner: OWNER, retired: false }]));
    owners.on(OutboxEvent::Beat);
    assert!(owners.on(OutboxEvent::PageRead { owner: silent, rows: vec![(7, 'a')] }).len() == 1);
    let lost = Publication { owner: silent, number: 7, payload: 'a', alone: false };
    let above = |above| OutboxCommand::ReadPage { owner: silent, above };
    assert_eq!(owners.on(OutboxEvent::Lost(lost)), [above(7)]);
    owners.on(OutboxEvent::Renewed(vec![Renewal { owner: OWNER, retired: false }]));
    let found = owners.on(OutboxEvent::SilentFound { owner: silent, mark: 6 });
    assert!(!found.contains(&above(6)), "the old page is awaited: {found:?}");
    assert_eq!(owners.on(OutboxEvent::PageRead { owner: silent, rows: Vec::new() }), []);
    assert!(owners.on(OutboxEvent::Beat).contains(&above(6)));
}
