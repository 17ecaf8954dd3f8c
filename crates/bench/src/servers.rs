//! The servers that everything runs on: those of the test stack, with their processes and settings.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use test_support::stack::workspace;
use test_support::{TestDatabase, stack};
use tokio_postgres::{Client, NoTls};

use crate::usage::Meter;

/// Without these a commit promises nothing.
const DURABLE: [&str; 3] = ["fsync", "synchronous_commit", "full_page_writes"];
/// What else decides how fast PostgreSQL is.
const TELLING: [&str; 8] = [
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_compression",
    "wal_level",
    "commit_delay",
    "autovacuum",
    "work_mem",
];

/// Kafka and PostgreSQL.
pub struct Servers {
    kafka: u32,
    postgres: u32,
    /// Whether PostgreSQL has settings of this run.
    has_settings: bool,
}

impl Servers {
    /// Brings the servers up and gives PostgreSQL these settings.
    ///
    /// # Errors
    /// If PostgreSQL refuses a setting.
    pub async fn up(settings: &[(String, String)]) -> anyhow::Result<Self> {
        stack();
        let mut servers = Self { kafka: 0, postgres: 0, has_settings: !settings.is_empty() };
        let admin = admin().await?;
        // A run that was killed has left its settings behind.
        let sql = "SELECT FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'";
        if servers.has_settings || !admin.query(sql, &[]).await?.is_empty() {
            admin.batch_execute("ALTER SYSTEM RESET ALL").await?;
            for (name, value) in settings {
                let set = format!("ALTER SYSTEM SET {name} = '{value}'");
                let refused = || format!("PostgreSQL refuses {name}={value}");
                admin.batch_execute(&set).await.with_context(refused)?;
            }
            restart_postgres(admin).await?;
        }
        let status = script(&["status", "test"])?;
        servers.kafka = pid(&status, "Kafka").context("Kafka has no process")?;
        servers.postgres = pid(&status, "PostgreSQL").context("PostgreSQL has no process")?;
        Ok(servers)
    }

    /// Takes back what was set for this run.
    ///
    /// # Errors
    /// If PostgreSQL does not answer.
    pub async fn as_before(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.has_settings) {
            return Ok(());
        }
        let admin = admin().await?;
        admin.batch_execute("ALTER SYSTEM RESET ALL").await?;
        restart_postgres(admin).await
    }

    /// Returns a meter for the servers and this process.
    pub fn meter(&self) -> Meter {
        Meter::new().and("kafka", self.kafka).and_tree("postgres", self.postgres)
    }

    /// Returns what the figures were measured on.
    ///
    /// # Errors
    /// If PostgreSQL would lose what it has committed.
    pub async fn describe(&self) -> anyhow::Result<Value> {
        let admin = admin().await?;
        let sql = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY($1)";
        let names: Vec<&str> = DURABLE.iter().chain(&TELLING).copied().collect();
        let mut settings = serde_json::Map::new();
        for row in admin.query(sql, &[&names]).await? {
            settings.insert(row.get(0), Value::String(row.get(1)));
        }
        for name in DURABLE {
            ensure!(
                settings[name] == "on",
                "PostgreSQL runs with {name} = {}: nothing is measured",
                settings[name]
            );
        }
        // What neither PostgreSQL nor its initdb has chosen.
        let sql = "SELECT name || '=' || current_setting(name) FROM pg_settings
                   WHERE source = 'command line' OR sourcefile LIKE '%postgresql.auto.conf' ORDER BY 1";
        let own: Vec<String> = admin.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        let version: String = admin.query_one("SHOW server_version", &[]).await?.get(0);
        Ok(json!({
            "at": now().await?.format("%Y-%m-%dT%H%M%SZ").to_string(),
            "machine": machine(),
            "postgres": {"version": version, "settings": settings, "not_default": own},
        }))
    }
}

/// Returns PostgreSQL's time.
///
/// # Errors
/// If PostgreSQL does not answer.
pub async fn now() -> anyhow::Result<DateTime<Utc>> {
    Ok(admin().await?.query_one("SELECT clock_timestamp()", &[]).await?.get(0))
}

/// Has what was written so far written to its place, so that it is no part of what is measured next.
pub async fn checkpoint(database: &TestDatabase) {
    let admin = database.connect_as_admin().await;
    admin.batch_execute("CHECKPOINT").await.unwrap_or_else(|error| panic!("no checkpoint: {error}"));
}

async fn admin() -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&stack().database_admin_url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn restart_postgres(admin: Client) -> anyhow::Result<()> {
    let data: String = admin.query_one("SHOW data_directory", &[]).await?.get(0);
    drop(admin);
    let log = format!("{data}/../../log/postgres.log");
    script(&["run", "test", "pg_ctl", "restart", "-s", "-w", "-m", "fast", "-D", &data, "-l", &log])?;
    Ok(())
}

/// Runs the stack's script to its end and returns what it prints.
fn script(arguments: &[&str]) -> anyhow::Result<String> {
    let mut script = Command::new(workspace().join("deploy/stack/stack"));
    // A server that is started here has its output, so a pipe would never end.
    let file = std::env::temp_dir().join(format!("bench-{}", uuid::Uuid::new_v4()));
    let output = std::fs::File::create(&file)?;
    let status = script.args(arguments).stdin(Stdio::null()).stdout(output).status();
    let printed = std::fs::read_to_string(&file);
    std::fs::remove_file(&file)?;
    ensure!(status?.success(), "deploy/stack/stack {} failed", arguments.join(" "));
    Ok(printed?)
}

/// Returns the process of a server, out of the table that the stack prints: WHAT ADDRESS PID STATE.
fn pid(status: &str, what: &str) -> Option<u32> {
    let mut words =
        status.lines().map(str::split_whitespace).find(|words| words.clone().next() == Some(what))?;
    words.nth(2)?.parse().ok()
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_from_the_table_of_the_stack() {
        let status = "WHAT             ADDRESS                  PID       STATE\n\
                      Kafka            127.0.0.1:29092          17        ready\n\
                      PostgreSQL       127.0.0.1:25432          -         stopped\n";
        assert_eq!(pid(status, "Kafka"), Some(17));
        assert_eq!(pid(status, "PostgreSQL"), None);
    }
}
