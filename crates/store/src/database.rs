//! Pools of connections to PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::{
    Hook, HookError, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::future::{BoxFuture, try_join_all};
use tokio::time::{Instant, timeout_at};

use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use platform::settings::InvalidSetting;

use crate::connection::open::{Opener, Target};
use crate::connection::{Plans, Session};
use crate::error::DatabaseError;
use crate::settings::DatabaseSettings;

/// How long one small question may take in all, waiting for a connection included.
pub const QUESTION_LIMIT: Duration = Duration::from_millis(1_800);

/// How long it may take to open a connection, over all hosts: by far longer than on any link that is of use.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long a connection may be at rest before it is asked whether it still works: a link that goes half open is
/// noticed by whoever uses it then.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long a connection that was at rest may take to say that it still works.
const TRIAL_LIMIT: Duration = Duration::from_millis(1_500);

/// Some of a process's connections to its database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    target: Arc<Target>,
}

impl Database {
    /// Prepares a pool; connections are opened when they are needed.
    ///
    /// # Errors
    /// If `DATABASE_URL` can't be understood, or names a certificate that can't be read.
    pub fn new(settings: &DatabaseSettings, application_name: &str) -> Result<Self, InvalidSetting> {
        Self::shares(settings, application_name, [(1, Plans::EachTime)]).map(|[all]| all)
    }

    /// Prepares several pools that share the connections of the settings by these weights: whoever waits for one of
    /// them takes nothing from the others. Each says when its statements are planned.
    ///
    /// # Errors
    /// If `DATABASE_URL` can't be understood, or names a certificate that can't be read.
    pub fn shares<const N: usize>(
        settings: &DatabaseSettings,
        application_name: &str,
        shares: [(usize, Plans); N],
    ) -> Result<[Self; N], InvalidSetting> {
        let target = Arc::new(Target::parse(&settings.url, application_name)?);
        let sizes = divided(settings.pool_size, shares.map(|(weight, _)| weight));
        let pool = |(size, (_, plans))| Self::of(&target, size, plans);
        let pools: Result<Vec<Self>, InvalidSetting> = sizes.into_iter().zip(shares).map(pool).collect();
        Ok(pools?.try_into().unwrap_or_else(|_| unreachable!("as many pools as weights")))
    }

    fn of(target: &Arc<Target>, size: usize, plans: Plans) -> Result<Self, InvalidSetting> {
        let recycling_method = RecyclingMethod::Fast;
        let manager = deadpool_postgres::Manager::from_connect(
            // The address is the opener's business.
            tokio_postgres::Config::new(),
            Opener { target: Arc::clone(target), plans },
            ManagerConfig { recycling_method },
        );
        let trial = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, metrics| {
            Box::pin(async move {
                if metrics.last_used() > TRUSTED {
                    client.simple_query("").await.map_err(HookError::Backend)?;
                }
                Ok(())
            })
        });
        let pool = Pool::builder(manager)
            .max_size(size)
            // The connection that was used last knows its statements and their tables best.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .pre_recycle(trial)
            .build()
            .map_err(|error| InvalidSetting::secret("DATABASE_URL", error))?;
        Ok(Self { pool, target: Arc::clone(target) })
    }

    /// Returns how many connections of some pools are used, how many idle, and how many are waited for.
    pub fn connections(pools: &[Self]) -> [i64; 3] {
        pools.iter().map(|one| one.pool.status()).fold([0; 3], |[used, idle, awaited], it| {
            let [size, available, waiting] = [it.size, it.available, it.waiting].map(|count| count as i64);
            [used + size - available, idle + available, awaited + waiting]
        })
    }

    /// Returns what the server has complained of lately that takes a person to mend, over any of the process's pools.
    pub fn trouble(&self) -> Option<String> {
        self.target.trouble.lately().map(|why| format!("PostgreSQL refuses a statement: {why}"))
    }

    /// Opens all connections of the pool: whoever asks first need not wait for one then.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn open(&self) -> Result<(), DatabaseError> {
        self.on_every_connection(CONNECT_LIMIT, |_| Box::pin(async { Ok(()) })).await
    }

    /// Runs a small question, bounded by [`QUESTION_LIMIT`], waiting for a connection included.
    ///
    /// # Errors
    /// Whatever the database says; a question that takes too long counts as a lost connection.
    pub(crate) async fn ask<T, F>(&self, question: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c mut Session) -> BoxFuture<'c, Result<T, DatabaseError>>,
    {
        let deadline = Instant::now() + QUESTION_LIMIT;
        // The rest is the question's. A connection that was opened in longer than that is for the next one who asks.
        let session = self.session(deadline - QUESTION_LIMIT / 2).await?;
        self.finish(session, deadline, question).await
    }

    /// Runs a statement that may take `limit`, whatever it waited for a connection before, and that may take as long
    /// again.
    ///
    /// # Errors
    /// Whatever the database says; [`DatabaseError::Timeout`] is the statement's own slowness.
    pub(crate) async fn run<T, F>(&self, limit: Duration, statement: F) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c mut Session) -> BoxFuture<'c, Result<T, DatabaseError>>,
    {
        let session = self.session(Instant::now() + limit).await?;
        self.finish(session, Instant::now() + limit, statement).await
    }

    /// Opens all connections of the pool and has each run what `statement` does.
    ///
    /// # Errors
    /// Whatever the database says; [`DatabaseError::Timeout`] is the statement's own slowness.
    pub(crate) async fn on_every_connection<F>(
        &self,
        limit: Duration,
        statement: F,
    ) -> Result<(), DatabaseError>
    where
        F: for<'c> Fn(&'c mut Session) -> BoxFuture<'c, Result<(), DatabaseError>>,
    {
        let deadline = Instant::now() + limit;
        let all = (0..self.pool.status().max_size).map(|_| self.session(deadline));
        let sessions = try_join_all(all).await?;
        try_join_all(sessions.into_iter().map(|session| self.finish(session, deadline, &statement))).await?;
        Ok(())
    }

    /// Closes the connections that nobody uses: those that were opened while the database was read-only stay so.
    pub(crate) fn forget_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    async fn session(&self, deadline: Instant) -> Result<Session, DatabaseError> {
        let pool = self.pool.clone();
        let (wait, create, recycle) = (deadline - Instant::now(), CONNECT_LIMIT, TRIAL_LIMIT);
        let timeouts = Timeouts { wait: Some(wait), create: Some(create), recycle: Some(recycle) };
        // A connection that takes longer than whoever has asked can wait goes on being opened, for the next one.
        let got = tokio::spawn(async move { pool.timeout_get(&timeouts).await });
        match timeout_at(deadline, got).await {
            Ok(Ok(got)) => Ok(Session::new(got?, Arc::clone(&self.target))),
            // The runtime ends.
            Ok(Err(_)) | Err(_) => Err(DatabaseError::Connect("no free connection in time".to_owned())),
        }
    }

    /// Runs a statement to its end, or throws its connection away: whatever comes over it later belongs to nobody.
    async fn finish<T, F>(
        &self,
        mut session: Session,
        deadline: Instant,
        statement: F,
    ) -> Result<T, DatabaseError>
    where
        F: for<'c> FnOnce(&'c mut Session) -> BoxFuture<'c, Result<T, DatabaseError>>,
    {
        let answer =
            timeout_at(deadline, statement(&mut session)).await.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = &answer {
            session.throw_away();
            self.target.trouble.note(error);
            if error.is_read_only() {
                self.forget_idle();
            }
        }
        answer
    }

    /// Opens a connection of its own, without a pool and without limits on how long a statement takes: for migrations.
    ///
    /// # Errors
    /// If the URL is wrong or the database is away.
    pub async fn connect_once(settings: &DatabaseSettings) -> anyhow::Result<AsyncPgConnection> {
        Ok(Self::connect(settings).await?.0)
    }

    /// Opens a connection as [`connect_once`](Self::connect_once) does, and returns with it what each transaction has to
    /// begin with behind a pooler.
    pub(crate) async fn connect(settings: &DatabaseSettings) -> anyhow::Result<(AsyncPgConnection, String)> {
        let target = Target::without_limits(&settings.url, "stamp-api migrate")?;
        let opened = target.open(Plans::EachTime).await.map_err(DatabaseError::from);
        let (client, _driven) = opened.context("can't connect to the database that DATABASE_URL names")?;
        // Behind a pooler, what Diesel sets and names has to stay in one transaction, and to end in it.
        client.batch_execute("BEGIN").await?;
        let mut connection = AsyncPgConnection::try_from(client).await?;
        connection.set_prepared_statement_cache_size(CacheSize::Disabled);
        connection.batch_execute("COMMIT").await?;
        Ok((connection, target.set_local().to_owned()))
    }
}

/// Divides connections by weights; each gets one at least.
fn divided<const N: usize>(size: usize, weights: [usize; N]) -> [usize; N] {
    let (mut left, mut weight_left) = (size, weights.iter().sum::<usize>());
    let mut others = N;
    weights.map(|weight| {
        others -= 1;
        let most = left.saturating_sub(others).max(1);
        let share = (left * weight).div_ceil(weight_left).clamp(1, most);
        left = left.saturating_sub(share);
        weight_left -= weight;
        share
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_divided_by_weight_and_everybody_has_one() {
        assert_eq!(divided(10, [4, 3, 3]), [4, 3, 3]);
        assert_eq!(divided(4, [4, 3, 3]), [2, 1, 1]);
        assert_eq!(divided(4, [3, 2]), [3, 1]);
        assert_eq!(divided(3, [1, 1, 1]), [1, 1, 1]);
        assert_eq!(divided(100, [4, 3, 3]), [40, 30, 30]);
        assert_eq!(divided(1, [1]), [1]);
    }
}
