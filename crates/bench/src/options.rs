//! What is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures the services on servers of its own, each figure beside a limit of the same run.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Options {
    /// The parts that are measured; without any, all but growth.
    #[arg(value_enum)]
    pub parts: Vec<Part>,
    /// Measures growth as well.
    #[arg(long)]
    pub growth: bool,
    /// How often each part is measured; growth only once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// How many events are drained.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(20_000..=20_000_000))]
    pub events: u64,
    /// For how many seconds each step of the intake is counted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How many minutes growth lets stamps flow at half of the maximum.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub minutes: u64,
    /// How many stamps growth puts into the tables in the end, in millions.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=100))]
    pub millions: u64,
    /// Another build of stamp-api.
    #[arg(long, value_name = "PATH")]
    pub stamp_api: Option<PathBuf>,
    /// Another build of queue-listener.
    #[arg(long, value_name = "PATH")]
    pub queue_listener: Option<PathBuf>,
    /// Sets a setting of PostgreSQL for this run, which restarts it; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub postgres: Vec<(String, String)>,
    /// Serves the route that does nothing.
    #[arg(long, hide = true)]
    pub do_nothing: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// One stamp a request.
    Intake,
    /// A thousand stamps a request.
    Bulk,
    /// Events that wait in Kafka.
    Drain,
    /// A drain of which every batch is told to a topic.
    Deliveries,
    /// From HTTP to processed at a steady rate.
    Steady,
    /// How late stamps leave.
    Lateness,
    /// What more stamps, listeners, partitions and time change.
    Growth,
}

impl Options {
    /// Returns the parts that each round measures, in their order.
    pub fn each_round(&self) -> Vec<Part> {
        let all = [Part::Intake, Part::Bulk, Part::Drain, Part::Deliveries, Part::Steady, Part::Lateness];
        all.into_iter().filter(|part| self.parts.is_empty() || self.parts.contains(part)).collect()
    }

    /// Tells whether growth is measured.
    pub fn has_growth(&self) -> bool {
        self.growth || self.parts.contains(&Part::Growth)
    }

    /// Returns for how long each step of the intake is counted.
    pub fn step(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Reads a setting of PostgreSQL.
fn setting(text: &str) -> Result<(String, String), String> {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|char| char.is_ascii_lowercase() || char == '_');
    match text.split_once('=') {
        Some((name, value)) if is_name(name) && !value.contains('\'') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("give NAME=VALUE, such as shared_buffers=2GB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_measured_only_when_it_is_asked_for() {
        let options = |arguments: &[&str]| {
            Options::try_parse_from(["bench"].iter().chain(arguments)).expect("what is typed can be meant")
        };
        assert_eq!(options(&[]).each_round().len(), 6);
        assert!(!options(&[]).has_growth());
        assert_eq!(options(&["drain", "intake"]).each_round(), [Part::Intake, Part::Drain]);
        assert!(options(&["--growth"]).has_growth());
        assert_eq!(options(&["growth"]).each_round(), []);
        assert!(options(&["growth"]).has_growth());
    }

    #[test]
    fn a_setting_is_a_name_and_a_value() {
        assert_eq!(setting("shared_buffers=2GB"), Ok(("shared_buffers".to_owned(), "2GB".to_owned())));
        for wrong in ["shared_buffers", "=1", "a b=1", "work_mem='1'"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}
