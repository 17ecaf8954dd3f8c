//! The services as processes, of this build or of another one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::process::Process;
use e2e::world::metric;
use test_support::patience::within;
use test_support::{Template, TestDatabase, stack};

use crate::http::get;
use crate::options::Options;

/// How long anything may take that is no measurement.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// What no token is made with: without one the API complains.
const SECRET: &str = "a secret of thirty-two bytes or more";

/// So many complaints of a service are shown.
const COMPLAINTS: usize = 5;

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    api: String,
    listener: String,
    bench: String,
}

/// Bounds of the size of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    /// `MIN_BATCH_SIZE`.
    pub min: u32,
    /// `MAX_BATCH_SIZE`.
    pub max: u32,
}

/// A service that runs; it is killed when this is dropped.
pub struct Service {
    process: Process,
    /// Where clients reach it; of a listener the operators' address.
    pub address: SocketAddr,
    admin: SocketAddr,
}

impl Programs {
    /// Finds the programs: beside this one, unless others were named.
    ///
    /// # Errors
    /// If one is not there.
    pub fn find(options: &Options) -> anyhow::Result<Self> {
        let bench = std::env::current_exe()?;
        let find = |named: &Option<PathBuf>, name: &str| {
            let path = named.clone().unwrap_or_else(|| bench.with_file_name(name));
            ensure!(path.is_file(), "{} is not there: make bench builds it", path.display());
            Ok(path.to_string_lossy().into_owned())
        };
        Ok(Self {
            api: find(&options.stamp_api, "stamp-api")?,
            listener: find(&options.queue_listener, "queue-listener")?,
            bench: bench.to_string_lossy().into_owned(),
        })
    }

    /// Returns where both are, for the report.
    pub fn paths(&self) -> [&str; 2] {
        [&self.api, &self.listener]
    }

    /// Makes an empty database with the schema of these programs.
    ///
    /// # Errors
    /// If `stamp-api migrate` fails.
    pub async fn template(&self) -> anyhow::Result<Template> {
        let database = TestDatabase::empty().await;
        let mut migrate = Command::new(&self.api);
        migrate.arg("migrate").env_clear().env("DATABASE_URL", database.url());
        let output = migrate.stdin(Stdio::null()).output().context("stamp-api can't be run")?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "stamp-api migrate failed:\n{said}");
        Ok(database.closed())
    }

    /// Starts the API and waits until it is ready.
    pub async fn api(&self, database: &TestDatabase, topic: &str) -> Service {
        let own = [("HTTP_ADDR", "127.0.0.1:0"), ("JWT_SECRET", SECRET)];
        let process = start(&self.api, database, topic, &own);
        let address = address(&process, "stamps").await;
        let admin = address_of_operators(&process).await;
        let service = Service { process, address, admin };
        service.ready().await;
        service
    }

    /// Starts a listener with further variables.
    pub async fn listener(
        &self,
        database: &TestDatabase,
        topic: &str,
        group: &str,
        batches: Batches,
        variables: &[(&str, &str)],
    ) -> Service {
        let (min, max) = (batches.min.to_string(), batches.max.to_string());
        let own = [("KAFKA_GROUP_ID", group), ("MIN_BATCH_SIZE", &min), ("MAX_BATCH_SIZE", &max)];
        let process = start(&self.listener, database, topic, &[&own[..], variables].concat());
        let admin = address_of_operators(&process).await;
        Service { process, address: admin, admin }
    }

    /// Starts the route that does nothing.
    pub async fn nothing(&self) -> Service {
        let process = Process::start_with(&self.bench, &["--do-nothing"], &[]);
        let address = address(&process, "nothing").await;
        Service { process, address, admin: address }
    }
}

fn start(program: &str, database: &TestDatabase, topic: &str, own: &[(&str, &str)]) -> Process {
    // A listener reads the topics of all users, in a group of its own.
    let messages = format!("messages-{}", uuid::Uuid::new_v4());
    let common = [
        ("DATABASE_URL", database.url()),
        ("KAFKA_BOOTSTRAP_SERVERS", &stack().kafka_bootstrap_servers),
        ("STAMP_TOPIC", topic),
        ("MESSAGE_GROUP_ID", &messages),
        ("ADMIN_ADDR", "127.0.0.1:0"),
    ];
    let variables: Vec<_> = common.into_iter().chain(own.iter().copied()).collect();
    Process::start_file(program, &variables)
}

async fn address_of_operators(process: &Process) -> SocketAddr {
    address(process, "metrics").await
}

async fn address(process: &Process, what: &str) -> SocketAddr {
    process.address(what).await.parse().unwrap_or_else(|error| panic!("the address of {what}: {error}"))
}

impl Service {
    /// Returns the process's number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the service is ready.
    pub async fn ready(&self) {
        let readiness = || get(self.admin, "/readyz");
        let is_ready = |answer: &Option<(u16, String)>| {
            answer.as_ref().is_some_and(|(status, body)| *status == 200 && body.contains(r#""ready""#))
        };
        within(PATIENCE, "a service is ready", readiness, is_ready).await;
    }

    /// Returns the value of a metric, its labels included in the name; 0 while it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = get(self.admin, "/metrics").await.map_or_else(String::new, |(_, text)| text);
        metric(&text, name).unwrap_or(0.0)
    }

    /// Waits until all that was stored is published, and returns how many seconds that took.
    pub async fn published(&self) -> f64 {
        let began = Instant::now();
        let pending = || self.metric("stamp_api_outbox_pending");
        within(PATIENCE, "all is published", pending, |pending| *pending < 1.0).await;
        began.elapsed().as_secs_f64()
    }

    /// Returns how many records of stamps a listener has processed.
    pub async fn processed(&self) -> f64 {
        self.metric(r#"queue_listener_messages_total{result="processed"}"#).await
    }

    /// Stops the service as an operator does.
    pub async fn stop(mut self) {
        self.process.signal("TERM");
        self.process.ended().await;
    }
}

impl Drop for Service {
    /// Shows what the service has complained about: it may explain a figure.
    fn drop(&mut self) {
        let lines = self.process.lines();
        let complaints =
            lines.iter().filter(|line| ["WARN", "ERROR"].iter().any(|level| line.contains(level)));
        for line in complaints.take(COMPLAINTS) {
            eprintln!("    {line}");
        }
    }
}
