//! A whole run: the rounds of all parts, the table and the file.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use test_support::stack::workspace;

use crate::bench::Bench;
use crate::drain::{self, Stock};
use crate::events::Events;
use crate::options::{Options, Part};
use crate::table::table;
use crate::{bulk, deliveries, growth, intake, lateness, steady};

/// Measures what was asked for, and prints and writes what was measured, also when something fails on the way.
///
/// # Errors
/// If the servers do not start, or what failed on the way.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut bench = Bench::prepare(options.clone(), steps(&options)).await?;
    let outcome = measure(&mut bench).await;
    let restored = bench.servers.as_before().await;
    outcome.and(restored)
}

async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let about = bench.servers.describe().await?;
    eprintln!("{about:#}");
    let outcome = parts(bench).await;
    println!("{}", table(bench.figures()));
    let file = write(bench, &about)?;
    println!("{}: {} s", file.display(), bench.elapsed().as_secs());
    outcome
}

async fn parts(bench: &mut Bench) -> anyhow::Result<()> {
    let parts = bench.options.each_round();
    let stock = if parts.contains(&Part::Drain) { Some(Stock::prepare(bench).await?) } else { None };
    let with_events = [Part::Deliveries, Part::Lateness];
    let needs_events = stock.is_none() && with_events.iter().any(|part| parts.contains(part));
    let lone = if needs_events { Some(drain::publish(bench).await?) } else { None };
    let events: Option<&Events> = stock.as_ref().map(|stock| &stock.events).or(lone.as_ref());
    if stock.is_none() {
        intake::warm_up(bench).await?;
    }
    for round in 1..=bench.options.rounds {
        bench.begin_round(round);
        for part in &parts {
            match (part, &stock, events) {
                (Part::Intake, ..) => intake::round(bench).await?,
                (Part::Bulk, ..) => bulk::round(bench).await?,
                (Part::Drain, Some(stock), _) => drain::round(bench, stock).await?,
                (Part::Deliveries, _, Some(events)) => deliveries::round(bench, events).await?,
                (Part::Steady, ..) => steady::round(bench).await?,
                (Part::Lateness, _, Some(events)) => lateness::round(bench, events).await?,
                _ => {}
            }
        }
    }
    if bench.options.has_growth() {
        bench.begin_round(1);
        growth::run(bench).await?;
    }
    Ok(())
}

/// Returns how many figures a run shows.
fn steps(options: &Options) -> u32 {
    let steps = |part: &Part| match part {
        Part::Intake => intake::STEPS,
        Part::Bulk => bulk::STEPS,
        Part::Drain => drain::STEPS,
        Part::Deliveries => deliveries::STEPS,
        Part::Steady => steady::STEPS,
        Part::Lateness => lateness::STEPS,
        Part::Growth => growth::STEPS,
    };
    let each_round: u32 = options.each_round().iter().map(steps).sum();
    each_round * options.rounds + if options.has_growth() { growth::STEPS } else { 0 }
}

/// Writes everything that is known of the run and returns where.
fn write(bench: &Bench, about: &Value) -> anyhow::Result<PathBuf> {
    let folder = workspace().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{}.json", about["at"].as_str().unwrap_or("run")));
    let options = &bench.options;
    let content = json!({
        "about": about,
        "programs": bench.programs.paths(),
        "rounds": options.rounds,
        "events": options.events,
        "seconds_a_step": options.seconds,
        "took_seconds": bench.elapsed().as_secs(),
        "figures": bench.figures().json(),
    });
    std::fs::write(&file, format!("{content:#}\n"))
        .with_context(|| format!("{} can't be written", file.display()))?;
    Ok(file)
}
