//! Plays histories until it is stopped or a promise is broken, or one history with everything that happens in it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{History, Meeting, Meetings, Outcome, deliveries, run, seeded, shrink};

/// Of so many seeds one is played as a history of deliveries too, which takes longer.
const DELIVERIES: u64 = 32;

/// Lets hearts of listeners live through made-up histories and judges what they do.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The seed of the first history; each further history has the next. By chance where no seed is given.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    seed: Option<String>,
    /// For how many seconds histories are played; without a number until the command is stopped.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    seconds: Option<String>,
    /// Plays the history in this file, and prints what happens in it.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// A sentence for whoever has typed the command.
struct Unusable(String);

/// What was played so far, by figures.
#[derive(Default)]
struct Totals {
    histories: u64,
    steps: u64,
    excused: u64,
    meetings: Meetings,
    happened: BTreeMap<&'static str, u64>,
    /// The first history that broke a promise.
    broken: Option<History>,
    deliveries: u64,
    /// The first seed of deliveries that broke a promise, and which.
    undelivered: Option<(u64, String)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let played = match &arguments {
        Arguments { history: Some(file), seed: None, seconds: None } => replay(file),
        Arguments { history: Some(_), .. } => {
            Err(Unusable("HISTORY is played alone, without SEED and SECONDS.".to_owned()))
        }
        _ => play(&arguments),
    };
    played.unwrap_or_else(|Unusable(sentence)| {
        eprintln!("{sentence}");
        ExitCode::from(2)
    })
}

fn replay(file: &PathBuf) -> Result<ExitCode, Unusable> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Unusable(format!("HISTORY={name} can't be read: {error}.")))?;
    let history: History =
        text.parse().map_err(|reason| Unusable(format!("HISTORY={name} is no history: {reason}.")))?;
    let outcome = run(&history, true);
    // A reader that goes away early has seen enough.
    _ = write!(std::io::stdout(), "{}", outcome.trace);
    match outcome.violation {
        Some(violation) => {
            println!("broken: {violation}");
            Ok(ExitCode::FAILURE)
        }
        None => {
            println!("no promise is broken; {} records are lost through Kafka's own doing", outcome.excused);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn number(text: &str, variable: &str, least: u64) -> Result<u64, Unusable> {
    let sentence = || format!("{variable}={text} is not a whole number from {least} on.");
    text.parse().ok().filter(|number| *number >= least).ok_or_else(|| Unusable(sentence()))
}

fn play(arguments: &Arguments) -> Result<ExitCode, Unusable> {
    let seed = arguments.seed.as_deref().map(|seed| number(seed, "SEED", 0)).transpose()?;
    let seconds = arguments.seconds.as_deref().map(|seconds| number(seconds, "SECONDS", 1)).transpose()?;
    // Short enough to be typed.
    let first = seed.unwrap_or_else(|| RandomState::new().hash_one(()) >> 24);
    let begun = Instant::now();
    let is_over = |now: Instant| seconds.is_some_and(|seconds| now - begun >= Duration::from_secs(seconds));
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    println!("the first seed is {first}");
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let (history, outcome) = seeded(seed);
                    let deliveries = seed.is_multiple_of(DELIVERIES).then(|| deliveries::play(seed));
                    let mut totals = totals.lock().expect("nobody panics with it");
                    totals.add(history, &outcome);
                    if let Some(played) = deliveries {
                        totals.deliveries += 1;
                        if let Err(broken) = played {
                            totals.undelivered.get_or_insert((seed, broken));
                        }
                    }
                    if totals.broken.is_some() || totals.undelivered.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        let is_terminal = std::io::stderr().is_terminal();
        let mut told = begun;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            let now = Instant::now();
            if is_over(now) {
                stop.store(true, Ordering::Relaxed);
            }
            if now - told >= Duration::from_secs(if is_terminal { 1 } else { 30 }) {
                told = now;
                let line = totals.lock().expect("nobody panics with it").line(now - begun);
                if is_terminal { eprint!("\r{line}") } else { eprintln!("{line}") }
            }
        }
        if is_terminal {
            eprintln!();
        }
    });
    let totals = totals.into_inner().expect("nobody panics with it");
    print!("{}", totals.summary(begun.elapsed()));
    if let Some((seed, broken)) = &totals.undelivered {
        println!("\nbroken: {broken}\n\nmake simulate SEED={seed} SECONDS=1 plays it again");
        return Ok(ExitCode::FAILURE);
    }
    Ok(totals.broken.as_ref().map_or(ExitCode::SUCCESS, report))
}

impl Totals {
    fn add(&mut self, history: History, outcome: &Outcome) {
        self.histories += 1;
        self.steps += outcome.steps;
        self.excused += outcome.excused;
        self.meetings.add(&outcome.meetings);
        for (word, count) in &outcome.happened {
            *self.happened.entry(word).or_default() += count;
        }
        if outcome.violation.is_some() {
            self.broken.get_or_insert(history);
        }
    }

    fn line(&self, time: Duration) -> String {
        let violations = u8::from(self.broken.is_some()) + u8::from(self.undelivered.is_some());
        let Self { histories, deliveries, steps, .. } = self;
        let missed = self.meetings.missed().len();
        format!(
            "{} s: {histories} histories, {deliveries} of deliveries, {steps} steps, {missed} meetings missed, {violations} violations",
            time.as_secs()
        )
    }

    fn summary(&self, time: Duration) -> String {
        let chosen = self.happened.iter().map(|(word, count)| (*count, *word));
        let met = Meeting::ALL.iter().map(|meeting| (self.meetings.of(*meeting), meeting.text()));
        let lost = std::iter::once((self.excused, "records lost through Kafka's own doing"));
        let table = |title: &str, rows: &mut dyn Iterator<Item = (u64, &'static str)>| {
            let rows: Vec<String> = rows.map(|(count, text)| format!("{count:>12}  {text}")).collect();
            format!("\n{title}\n{}\n", rows.join("\n"))
        };
        [
            table("what was chosen", &mut chosen.into_iter()),
            table("what has met", &mut met.chain(lost)),
            format!("\n{}\n", self.line(time)),
        ]
        .concat()
    }
}

/// Shows the shortest form of a history that breaks a promise, and leaves it in a file.
fn report(history: &History) -> ExitCode {
    let shortest = shrink(history);
    let violation = run(&shortest, false).violation.unwrap_or_default();
    let folder = PathBuf::from("target/simulation");
    let file = folder.join(format!("{}.history", history.settings.seed));
    println!("\nbroken: {violation}\n\n{shortest}");
    let text = format!("# {violation}\n{shortest}");
    match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text)) {
        Ok(()) => println!("make simulate HISTORY={}", file.display()),
        Err(error) => eprintln!("{} can't be written: {error}", file.display()),
    }
    ExitCode::FAILURE
}
