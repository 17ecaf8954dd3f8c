//! A run: what all parts share.

use std::time::{Duration, Instant};

use test_support::{Template, TestDatabase};

use crate::figures::{Figures, Sample};
use crate::options::Options;
use crate::servers::Servers;
use crate::services::Programs;
use crate::table::short;

/// What all parts share.
pub struct Bench {
    /// What was typed.
    pub options: Options,
    /// What everything runs on.
    pub servers: Servers,
    /// What is measured.
    pub programs: Programs,
    /// An empty database with the schema.
    pub template: Template,
    /// A random number from which ids are made.
    pub seed: u64,
    figures: Figures,
    began: Instant,
    /// How many steps are done, and how many of all are to be done.
    steps: (u32, u32),
    round: u32,
}

impl Bench {
    /// Brings up what all parts need.
    ///
    /// # Errors
    /// If something is missing or does not start.
    pub async fn prepare(options: Options, steps: u32) -> anyhow::Result<Self> {
        let programs = Programs::find(&options)?;
        let servers = Servers::up(&options.postgres).await?;
        let template = programs.template().await?;
        let (began, seed) = (Instant::now(), rand::random());
        let figures = Figures::default();
        Ok(Self { options, servers, programs, template, seed, figures, began, steps: (0, steps), round: 1 })
    }

    /// Makes a database with the schema and nothing else.
    pub async fn database(&self) -> TestDatabase {
        self.template.copy().await
    }

    /// Returns a seed that no other call has returned.
    pub fn another_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }

    /// Says which round the next figures are of.
    pub fn begin_round(&mut self, round: u32) {
        self.round = round;
    }

    /// Adds a figure and shows it with the progress of the run.
    pub fn measured(&mut self, part: &'static str, what: &str, unit: &'static str, sample: Sample) {
        let limits: Vec<String> =
            sample.limits().iter().map(|(name, limit)| format!("; {name} {}", short(*limit))).collect();
        let line = format!("{part}: {what}: {} {unit}{}", short(sample.value()), limits.concat());
        self.figures.add(part, what, unit, sample);
        self.progress(&line);
    }

    /// Says why something can't be measured.
    pub fn missing(&mut self, part: &'static str, what: &str, unit: &'static str, why: &str) {
        self.figures.missing(part, what, unit, why);
        self.progress(&format!("{part}: {what}: {why}"));
    }

    fn progress(&mut self, line: &str) {
        self.steps.0 += 1;
        let (done, all) = self.steps;
        let seconds = self.began.elapsed().as_secs();
        eprintln!("[{done}/{all}, {}:{:02}, round {}] {line}", seconds / 60, seconds % 60, self.round);
    }

    /// Says what is being prepared.
    pub fn prepares(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("[{}/{}, {}:{:02}] {what}…", self.steps.0, self.steps.1, seconds / 60, seconds % 60);
    }

    /// Returns all figures so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Returns for how long the run has gone on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
