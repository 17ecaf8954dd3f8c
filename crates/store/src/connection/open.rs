//! Opening sessions, and finding out whether they are one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use platform::settings::{InvalidSetting, Secret};
use rand::seq::SliceRandom;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::LoadBalanceHosts;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTls;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options;
use super::tls;
use super::url::DatabaseUrl;
use crate::trouble::Trouble;

/// What a session is opened with, unless the `options` of the URL say otherwise.
///
/// A statement looks up as many rows as it is given, never a share of a table. Without the last four the planner reads
/// whole tables of middling size, or compiles what runs for milliseconds. The last one is that of [`Plans::EachTime`].
const SETTINGS: &[(&str, &str)] = &[
    ("statement_timeout", "15s"),
    ("lock_timeout", "3s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("enable_seqscan", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_custom_plan"),
];

/// When the statements of a session are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// Each time: the planner sees how many rows there are.
    EachTime,
    /// Once, for statements whose plan does not depend on the number of rows, and of whose time planning takes a good part.
    /// A pooler's session plans each time all the same.
    Once,
}

/// How long a host may take that is followed by another one. `connect_timeout` ends with the TCP connection, which a
/// server that hangs still takes.
const HOST_LIMIT: Duration = Duration::from_secs(5);

/// A setting that only our own sessions have: one that lacks it was opened by a pooler.
const MARK: &str = "stamp_service.session";

/// A server to connect to, and how.
pub(crate) struct Target {
    /// How each host is connected to, one after the other.
    hosts: Vec<Config>,
    /// What a session of one's own is opened with; a pooler takes none of it.
    options: String,
    /// What a session of one's own that plans its statements once is opened with.
    options_to_plan_once: String,
    tls: Option<MakeRustlsConnect>,
    /// What sets in a transaction what a session of one's own is opened with.
    set_local: String,
    begin: String,
    is_pooled: AtomicBool,
    pub(crate) trouble: Trouble,
}

impl Target {
    /// Understands a `DATABASE_URL`.
    ///
    /// # Errors
    /// If the URL can't be used.
    pub(crate) fn parse(url: &Secret, application_name: &str) -> Result<Self, InvalidSetting> {
        Self::with(url, application_name, SETTINGS)
    }

    /// Understands a `DATABASE_URL` for statements that may take as long as they need.
    ///
    /// # Errors
    /// If the URL can't be used.
    pub(crate) fn without_limits(url: &Secret, application_name: &str) -> Result<Self, InvalidSetting> {
        Self::with(url, application_name, &[])
    }

    fn with(url: &Secret, application_name: &str, settings: &[(&str, &str)]) -> Result<Self, InvalidSetting> {
        let invalid = |why: &dyn std::fmt::Display| InvalidSetting::secret("DATABASE_URL", why);
        let DatabaseUrl { mut hosts, options: asked, check, root_certificates, pgbouncer } =
            DatabaseUrl::parse(url)?;
        let tls = check.map(|check| tls::connector(check, root_certificates.as_deref())).transpose();
        let tls = tls.map_err(|error| invalid(&error))?;
        let theirs = options::parse(&asked).map_err(|why| invalid(&why))?;
        let ours = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mark = (MARK.to_owned(), "own".to_owned());
        let once = [("plan_cache_mode".to_owned(), "force_generic_plan".to_owned())];
        let to_plan_once: Vec<_> = ours.clone().chain(once).chain(theirs.clone()).collect();
        let all: Vec<_> = ours.chain(theirs).collect();
        for host in hosts.iter_mut().filter(|host| host.get_application_name().is_none()) {
            host.application_name(application_name);
        }
        let isolation = ("default_transaction_isolation".to_owned(), "read committed".to_owned());
        let own = |settings: &[(String, String)]| options::write(settings.iter().chain([&isolation, &mark]));
        let (options, options_to_plan_once) = (own(&all), own(&to_plan_once));
        let set_local = options::set_local(&all);
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {set_local}");
        let (is_pooled, trouble) = (AtomicBool::new(pgbouncer), Trouble::default());
        Ok(Self { hosts, options, options_to_plan_once, tls, set_local, begin, is_pooled, trouble })
    }

    /// Tells whether a pooler stands between, which hands each transaction to another session.
    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled.load(Ordering::Relaxed)
    }

    /// Takes note of a pooler.
    pub(super) fn found_pooler(&self, by: &str) {
        if !self.is_pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(
                pooler.by = by,
                "a pooler stands before PostgreSQL: each statement is a transaction without a name from now on"
            );
        }
    }

    /// Returns what begins a transaction behind a pooler, and sets what a session of one's own is opened with.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// Returns what sets in a transaction what a session of one's own is opened with.
    pub(crate) fn set_local(&self) -> &str {
        &self.set_local
    }

    /// Opens a session with the first host that gives one.
    ///
    /// # Errors
    /// Whatever keeps the last host from opening one.
    pub(crate) async fn open(&self, plans: Plans) -> Result<(Client, JoinHandle<()>), Error> {
        let mut order: Vec<&Config> = self.hosts.iter().collect();
        if order[0].get_load_balance_hosts() == LoadBalanceHosts::Random {
            order.shuffle(&mut rand::rng());
        }
        let mut hosts = order.into_iter();
        let last = hosts.next_back().unwrap_or_else(|| unreachable!("a URL names a host"));
        for host in hosts {
            let why = match timeout(HOST_LIMIT, self.open_on(host, plans)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::debug!(database.host = ?host.get_hosts(), database.why = why, "no session; trying the next host");
        }
        self.open_on(last, plans).await
    }

    async fn open_on(&self, host: &Config, plans: Plans) -> Result<(Client, JoinHandle<()>), Error> {
        if !self.is_pooled() {
            let options = match plans {
                Plans::EachTime => &self.options,
                Plans::Once => &self.options_to_plan_once,
            };
            match self.connect(host.clone().options(options)).await {
                Ok((client, task)) => {
                    if !is_own(&client).await? {
                        self.found_pooler("it drops the settings of a session");
                    }
                    return Ok((client, task));
                }
                Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {
                    self.found_pooler("it refuses the settings of a session");
                }
                Err(error) => return Err(error),
            }
        }
        self.connect(host).await
    }

    async fn connect(&self, config: &Config) -> Result<(Client, JoinHandle<()>), Error> {
        match &self.tls {
            Some(tls) => config.connect(tls.clone()).await.map(|(client, rest)| (client, drive(rest))),
            None => config.connect(NoTls).await.map(|(client, rest)| (client, drive(rest))),
        }
    }
}

/// Tells whether a session was opened with our settings.
async fn is_own(client: &Client) -> Result<bool, Error> {
    let answer = client.simple_query(&format!("SELECT current_setting('{MARK}', true)")).await?;
    Ok(answer.iter().any(|message| {
        matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("own"))
    }))
}

fn drive<S>(connection: Connection<Socket, S>) -> JoinHandle<()>
where
    S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = error.to_string(), "a connection to PostgreSQL broke");
        }
    })
}

/// Opens sessions for a pool.
pub(crate) struct Opener {
    pub(crate) target: Arc<Target>,
    pub(crate) plans: Plans,
}

impl Connect for Opener {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(self.target.open(self.plans))
    }
}
