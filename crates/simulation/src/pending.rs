//! The table of pending stamps, as the statements of the net find it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use domain::batch::net::Seen;

/// How long a stamp has been due before it leaves by the table.
pub(crate) const GRACE: TimeDelta = TimeDelta::milliseconds(500);
/// How far ahead a look sees.
const AHEAD: TimeDelta = TimeDelta::seconds(1);
/// The first and the longest pause of a stamp that is put off, in seconds.
const PAUSES: (i64, i64) = (60, 3_600);

/// A stamp that is pending. Its number is that of its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingRow {
    /// When the stamp is due; `None` is infinity.
    pub(crate) due: Option<DateTime<Utc>>,
    /// Since when nobody else has the row in hand.
    pub(crate) since: DateTime<Utc>,
    pub(crate) retry_at: Option<DateTime<Utc>>,
    pub(crate) refusals: u32,
}

impl PendingRow {
    pub(crate) fn is_put_off(&self, time: DateTime<Utc>) -> bool {
        self.retry_at.is_some_and(|at| at > time)
    }
}

/// The rows of all stamps that are pending.
#[derive(Debug, Default)]
pub(crate) struct PendingTable {
    pub(crate) rows: BTreeMap<u8, PendingRow>,
}

impl PendingTable {
    /// Stores a row, unless one is there.
    pub(crate) fn store(&mut self, id: u8, due: Option<DateTime<Utc>>, time: DateTime<Utc>) {
        let new = PendingRow { due, since: time, retry_at: None, refusals: 0 };
        self.rows.entry(id).or_insert(new);
    }

    /// Returns what a look sees, the most overdue first.
    pub(crate) fn look(&self, time: DateTime<Utc>) -> Vec<Seen> {
        let is_near = |row: &PendingRow| row.due.is_none_or(|due| due <= time + AHEAD);
        let rows = self.rows.iter().filter(|(_, row)| is_near(row) && !row.is_put_off(time));
        let mut seen: Vec<Seen> = rows.map(|(id, row)| Seen { row: i64::from(*id), due: row.due }).collect();
        seen.sort_by_key(|seen| (seen.due.is_none(), seen.due));
        seen
    }

    /// Returns those of these stamps that a take takes, the most overdue first.
    pub(crate) fn ripe(&self, rows: &[i64], time: DateTime<Utc>) -> Vec<u8> {
        let is_ripe =
            |row: &PendingRow| !row.is_put_off(time) && row.due.is_some_and(|due| due <= time - GRACE);
        let named = self.rows.iter().filter(|(id, _)| rows.contains(&i64::from(**id)));
        let mut ripe: Vec<(Option<DateTime<Utc>>, u8)> =
            named.filter(|(_, row)| is_ripe(row)).map(|(id, row)| (row.due, *id)).collect();
        ripe.sort_unstable();
        ripe.into_iter().map(|(_, id)| id).collect()
    }

    /// Puts a row off, longer each time. Returns whether it was there and not put off.
    pub(crate) fn put_off(&mut self, row: i64, time: DateTime<Utc>) -> bool {
        let row = u8::try_from(row).ok().and_then(|id| self.rows.get_mut(&id));
        let Some(row) = row.filter(|row| !row.is_put_off(time)) else { return false };
        let (first, longest) = PAUSES;
        row.retry_at = Some(time + TimeDelta::seconds((first << row.refusals.min(30)).min(longest)));
        row.refusals += 1;
        true
    }
}
