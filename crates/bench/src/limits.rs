//! Limits: what the bare parts do on this machine, in the same round as what they limit.

use std::ops::Range;
use std::time::{Duration, Instant};

use test_support::TestDatabase;

use crate::ids::text;
use crate::requests::TOLERANCE;
use crate::servers::now;
use crate::stats::Distribution;

/// The name of the limit of whatever writes many stamps.
pub const INSERT: &str = "bare insert";
/// The name of the limit of whatever waits for one commit.
pub const COMMIT: &str = "single-row commit";
/// The rows of a transaction that writes many.
pub const ROWS: u64 = 10_000;

/// A table with what every reader finds of a stamp, under the id that makes it unique. It stays as it is whatever
/// becomes of the tables of the services: a limit that moves with them would hide what they cost.
const TABLE: &str = r#"CREATE TABLE bare_stamps (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object_cid     varchar(255) COLLATE "C" NOT NULL UNIQUE,
    time_tolerance integer NOT NULL,
    created_date   timestamptz NOT NULL
)"#;

/// A table without anything around it, in a database of its own.
pub struct Bare {
    database: TestDatabase,
}

impl Bare {
    /// Makes an empty table.
    pub async fn new() -> Self {
        let database = TestDatabase::empty().await;
        database.run(TABLE).await;
        Self { database }
    }

    /// Inserts the stamps of some numbers, many in a transaction, and returns how many seconds that took. Making them is
    /// not counted.
    ///
    /// # Errors
    /// If PostgreSQL refuses them.
    pub async fn insert(&self, seed: u64, numbers: Range<u64>) -> anyhow::Result<f64> {
        let client = self.database.connect().await;
        let insert = client
            .prepare(
                "INSERT INTO bare_stamps (object_cid, time_tolerance, created_date)
                 SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[])",
            )
            .await?;
        let created = now().await?;
        let mut took = Duration::ZERO;
        for first in numbers.clone().step_by(ROWS as usize) {
            let ids: Vec<String> =
                (first..numbers.end.min(first + ROWS)).map(|number| text(seed, number)).collect();
            let (minutes, dates) = (vec![TOLERANCE; ids.len()], vec![created; ids.len()]);
            let began = Instant::now();
            client.execute(&insert, &[&ids, &minutes, &dates]).await?;
            took += began.elapsed();
        }
        Ok(took.as_secs_f64())
    }

    /// Inserts one stamp a transaction for a while, over one connection. Returns how many milliseconds each took.
    ///
    /// # Errors
    /// If PostgreSQL refuses them.
    pub async fn commits(&self, seed: u64, time: Duration) -> anyhow::Result<Distribution> {
        let client = self.database.connect().await;
        let sql = "INSERT INTO bare_stamps (object_cid, time_tolerance, created_date) VALUES ($1, $2, $3)";
        let insert = client.prepare(sql).await?;
        let (created, began, mut took) = (now().await?, Instant::now(), Vec::new());
        for number in 0.. {
            let id = text(seed, number);
            let asked = Instant::now();
            if asked - began >= time {
                break;
            }
            client.execute(&insert, &[&id, &TOLERANCE, &created]).await?;
            took.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Distribution::of(took))
    }
}

/// Measures single-row commits for a while in a table of their own. Returns how many milliseconds each took.
///
/// # Errors
/// If PostgreSQL refuses them.
pub async fn commits(seed: u64, time: Duration) -> anyhow::Result<Distribution> {
    Bare::new().await.commits(seed, time).await
}
