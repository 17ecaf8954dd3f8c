//! Which topic is checked next: each by one check at a time, in the order in which they were asked for.

use std::collections::{HashMap, VecDeque};

/// Topics that may wait for a check: what the threads do in a second, and no more.
const TOPICS: usize = 64;
/// Callers that may wait, over all topics.
const CALLERS: usize = 1_000;

/// Topics with those who wait for them. A check that is under way may have passed what a later caller asks for; so who
/// comes meanwhile waits for the next one, which is for all who wait then.
#[derive(Debug)]
pub(super) struct Turns<W> {
    queue: VecDeque<String>,
    topics: HashMap<String, Turn<W>>,
    callers: usize,
}

#[derive(Debug)]
struct Turn<W> {
    waiting: Vec<W>,
    is_under_way: bool,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), topics: HashMap::new(), callers: 0 }
    }
}

impl<W> Turns<W> {
    /// Lets somebody wait for a topic. Returns false if there are too many already.
    pub(super) fn join(&mut self, topic: &str, caller: W) -> bool {
        if self.callers >= CALLERS || (!self.topics.contains_key(topic) && self.topics.len() >= TOPICS) {
            return false;
        }
        let fresh = || Turn { waiting: Vec::new(), is_under_way: false };
        let turn = self.topics.entry(topic.to_owned()).or_insert_with(fresh);
        if turn.waiting.is_empty() && !turn.is_under_way {
            self.queue.push_back(topic.to_owned());
        }
        turn.waiting.push(caller);
        self.callers += 1;
        true
    }

    /// Begins the next check: returns its topic and all who wait for it; `None` while nobody waits.
    pub(super) fn begin(&mut self) -> Option<(String, Vec<W>)> {
        let topic = self.queue.pop_front()?;
        let turn = self.topics.get_mut(&topic)?;
        turn.is_under_way = true;
        let callers = std::mem::take(&mut turn.waiting);
        self.callers -= callers.len();
        Some((topic, callers))
    }

    /// Ends a check. Whoever came meanwhile gets the next one, behind the other topics.
    pub(super) fn end(&mut self, topic: &str) {
        let Some(turn) = self.topics.get_mut(topic) else { return };
        turn.is_under_way = false;
        if turn.waiting.is_empty() {
            self.topics.remove(topic);
        } else {
            self.queue.push_back(topic.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_checked_once_at_a_time_and_those_who_come_meanwhile_share_the_next_check() {
        let mut turns = Turns::default();
        assert!(turns.join("a", 1) && turns.join("a", 2) && turns.join("b", 3));
        assert_eq!(turns.begin(), Some(("a".to_owned(), vec![1, 2])));
        assert!(turns.join("a", 4) && turns.join("a", 5));
        assert_eq!(turns.begin(), Some(("b".to_owned(), vec![3])));
        assert_eq!(turns.begin(), None, "it is under way");
        turns.end("a");
        assert_eq!(turns.begin(), Some(("a".to_owned(), vec![4, 5])));
        turns.end("a");
        turns.end("b");
        assert!(turns.topics.is_empty() && turns.callers == 0);
    }

    #[test]
    fn a_topic_that_is_asked_for_again_and_again_comes_behind_the_others() {
        let mut turns = Turns::default();
        assert!(turns.join("a", 1));
        turns.begin();
        assert!(turns.join("a", 2) && turns.join("b", 3));
        turns.end("a");
        assert_eq!(turns.begin().expect("a turn").0, "b");
    }

    #[test]
    fn neither_topics_nor_callers_wait_without_end() {
        let mut turns = Turns::default();
        for topic in 0..TOPICS {
            assert!(turns.join(&topic.to_string(), 0));
        }
        assert!(!turns.join("another", 0));
        for _ in TOPICS..CALLERS {
            assert!(turns.join("0", 0));
        }
        assert!(!turns.join("0", 0));
    }
}
