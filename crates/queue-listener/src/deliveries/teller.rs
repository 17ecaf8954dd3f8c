//! Tells a group of parts: reads them, cuts what is too large, and makes a try for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::delivery::courier::{Held, Told};
use domain::delivery::event::{Heading, encode};
use domain::delivery::{PartId, cut};
use futures_util::future::join_all;
use store::clock::{Clock, PostgresClock};
use store::deliveries::content::{self, PAGE, PartContent};
use store::{Database, DatabaseError};

use super::handover::Contents;
use super::kafka::ToTopic;
use super::outgoing::OutgoingEvent;
use super::webhook::ToReceiver;

/// Where events go.
pub(super) enum Receiver {
    Topic(ToTopic),
    Webhook(ToReceiver),
}

/// Tells parts of batches.
pub(super) struct Teller {
    pub(super) database: Database,
    pub(super) clock: Arc<PostgresClock>,
    pub(super) source: String,
    pub(super) receiver: Receiver,
    /// What need not be read.
    pub(super) contents: Mutex<Contents>,
}

impl Teller {
    /// Tells a group. Returns what became of each part.
    pub(super) async fn tell(&self, group: Vec<Held>) -> Vec<Told> {
        let count = group.len();
        self.try_to_tell(group).await.unwrap_or_else(|error| {
            // They come again once nobody has them in hand any more.
            let error = error.to_string();
            tracing::warn!(error, delivery.parts = count, "batches can't be read to be delivered");
            vec![Told::Untried; count]
        })
    }

    async fn try_to_tell(&self, group: Vec<Held>) -> Result<Vec<Told>, DatabaseError> {
        let known: Vec<PartContent> = {
            let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
            group.iter().filter_map(|held| contents.take(held.id)).collect()
        };
        // A batch of which not even the stamps may be held at once is cut page by page.
        if let ([held], []) = (&group[..], &known[..])
            && held.size > PAGE
            && held.id.part == 1
        {
            let ends = content::ends(&self.database, *held).await?;
            let parts = content::cut(&self.database, *held, &ends).await?;
            if !parts.is_empty() {
                return Ok(vec![Told::Cut(parts)]);
            }
        }
        let mut held: HashMap<PartId, Held> = group.into_iter().map(|held| (held.id, held)).collect();
        let known: Vec<(Held, PartContent)> = pairs(&mut held, known);
        let unknown: Vec<Held> = held.values().copied().collect();
        let read =
            if unknown.is_empty() { Vec::new() } else { content::read(&self.database, &unknown).await? };
        let contents = known.into_iter().chain(pairs(&mut held, read));
        let mut told = join_all(contents.map(|(held, content)| self.tell_one(held, content))).await;
        // Those that are left are in another hand.
        told.extend(held.into_values().map(|_| Ok(Told::Untried)));
        told.into_iter().collect()
    }

    async fn tell_one(&self, held: Held, content: PartContent) -> Result<Told, DatabaseError> {
        if content.parts.is_none() {
            let ends = cut::ends(&content.stamps);
            if ends.len() > 1 {
                return self.cut(held, content, &ends).await;
            }
        }
        let heading = Heading {
            source: self.source.clone(),
            id: content.id,
            parts: content.parts.unwrap_or(1),
            trigger: content.trigger,
            size: content.size,
            processed_at: content.processed_at,
        };
        let body = encode(&heading, &content.stamps);
        let outgoing = OutgoingEvent { id: heading.event_id(), batch: content.id.batch, body };
        let began = self.clock.now();
        let (outcome, error) = match &self.receiver {
            Receiver::Topic(topic) => topic.tell(outgoing, began).await,
            Receiver::Webhook(webhook) => webhook.tell(outgoing, began).await,
        };
        Ok(Told::Tried { held, began, outcome, error })
    }

    async fn cut(&self, held: Held, content: PartContent, ends: &[i32]) -> Result<Told, DatabaseError> {
        let parts = content::cut(&self.database, held, ends).await?;
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stamps = content.stamps.into_iter();
        let mut before = 0;
        for (part, end) in parts.iter().zip(ends) {
            let stamps = stamps.by_ref().take((end - before) as usize).collect();
            contents.keep(PartContent { id: part.id, parts: Some(ends.len() as i32), stamps, ..content });
            before = *end;
        }
        Ok(Told::Cut(parts))
    }
}

/// Takes out the parts whose contents are there.
fn pairs(held: &mut HashMap<PartId, Held>, contents: Vec<PartContent>) -> Vec<(Held, PartContent)> {
    contents.into_iter().filter_map(|content| Some((held.remove(&content.id)?, content))).collect()
}
