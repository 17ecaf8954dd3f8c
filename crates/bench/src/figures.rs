//! Figures: what was measured in each round, each beside its limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stats::Spread;
use crate::usage::Usage;

/// What one round measured of one thing.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    value: f64,
    limits: Vec<(&'static str, f64)>,
    /// What else is worth knowing, with its unit in its name.
    also: Vec<(&'static str, f64)>,
    /// CPU microseconds a stamp, by process.
    cpu: BTreeMap<&'static str, f64>,
    /// The most resident memory in MiB, by process.
    peak: BTreeMap<&'static str, f64>,
}

impl Sample {
    /// Returns a sample without limits.
    pub fn new(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// Returns the value.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Returns the limits by name.
    pub fn limits(&self) -> &[(&'static str, f64)] {
        &self.limits
    }

    /// Adds a limit that was measured in the same round.
    #[must_use]
    pub fn limit(mut self, name: &'static str, value: f64) -> Self {
        self.limits.push((name, value));
        self
    }

    /// Adds what else is worth knowing.
    #[must_use]
    pub fn also(mut self, name: &'static str, value: f64) -> Self {
        self.also.push((name, value));
        self
    }

    /// Adds what the processes took for so many stamps.
    #[must_use]
    pub fn usage(mut self, usage: &Usage, stamps: f64) -> Self {
        self.cpu = usage.cpu.iter().map(|(name, seconds)| (*name, seconds * 1e6 / stamps.max(1.0))).collect();
        self.peaks(usage)
    }

    /// Adds the memory that the processes took, where their time is not the stamps'.
    #[must_use]
    pub fn peaks(mut self, usage: &Usage) -> Self {
        self.peak.clone_from(&usage.peak);
        self
    }
}

/// One thing that is measured, in each round.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The part that measures it.
    pub part: &'static str,
    /// What it is.
    pub what: String,
    /// The unit of the value and of its limits.
    pub unit: &'static str,
    samples: Vec<Sample>,
    /// Why there are no samples.
    pub missing: Option<String>,
}

/// All figures of a run, in the order in which they were first measured.
#[derive(Debug, Default)]
pub struct Figures {
    figures: Vec<Figure>,
}

impl Figures {
    /// Adds what a round measured.
    pub fn add(&mut self, part: &'static str, what: &str, unit: &'static str, sample: Sample) {
        self.figure(part, what, unit).samples.push(sample);
    }

    /// Says why something can't be measured.
    pub fn missing(&mut self, part: &'static str, what: &str, unit: &'static str, why: &str) {
        self.figure(part, what, unit).missing = Some(why.to_owned());
    }

    fn figure(&mut self, part: &'static str, what: &str, unit: &'static str) -> &mut Figure {
        let is_it = |figure: &Figure| figure.part == part && figure.what == what;
        let index = self.figures.iter().position(is_it).unwrap_or_else(|| {
            let what = what.to_owned();
            self.figures.push(Figure { part, what, unit, samples: Vec::new(), missing: None });
            self.figures.len() - 1
        });
        &mut self.figures[index]
    }

    /// Returns all figures.
    pub fn all(&self) -> &[Figure] {
        &self.figures
    }

    /// Returns all figures with each round's values.
    pub fn json(&self) -> Value {
        self.figures.iter().map(Figure::json).collect()
    }
}

/// Names with the middle of what each round measured.
type Medians = Vec<(&'static str, f64)>;

impl Figure {
    /// Returns the spread of the rounds' values; `None` without any.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(&self.samples.iter().map(|sample| sample.value).collect::<Vec<_>>())
    }

    /// Returns the limits.
    pub fn limits(&self) -> Medians {
        self.medians(|sample| sample.limits.clone())
    }

    /// Returns what the value is of each limit: the ratio of each round is taken first, then the middle.
    pub fn ratios(&self) -> Medians {
        let ratio = |sample: &Sample, limit: f64| if limit > 0.0 { sample.value / limit } else { 0.0 };
        self.medians(|sample| {
            sample.limits.iter().map(|(name, limit)| (*name, ratio(sample, *limit))).collect()
        })
    }

    /// Returns what else is worth knowing.
    pub fn also(&self) -> Medians {
        self.medians(|sample| sample.also.clone())
    }

    /// Returns CPU microseconds a stamp, by process.
    pub fn cpu(&self) -> Medians {
        self.medians(|sample| sample.cpu.iter().map(|(name, value)| (*name, *value)).collect())
    }

    /// Returns the most resident memory in MiB, by process, of any round.
    pub fn peak(&self) -> Medians {
        let mut most: BTreeMap<&'static str, f64> = BTreeMap::new();
        for (name, peak) in self.samples.iter().flat_map(|sample| &sample.peak) {
            let seen = most.entry(*name).or_default();
            *seen = seen.max(*peak);
        }
        most.into_iter().collect()
    }

    /// Returns the middle of what the rounds have under each name, in the order of the first round.
    fn medians(&self, of: impl Fn(&Sample) -> Medians) -> Medians {
        let rounds: Vec<Medians> = self.samples.iter().map(of).collect();
        let names = rounds.first().into_iter().flatten().map(|(name, _)| *name);
        let median = |name: &'static str| {
            let values: Vec<f64> =
                rounds.iter().flatten().filter(|(one, _)| *one == name).map(|(_, value)| *value).collect();
            Some((name, Spread::of(&values)?.median))
        };
        names.filter_map(median).collect()
    }

    fn json(&self) -> Value {
        let map = |pairs: &[(&'static str, f64)]| -> Value {
            Value::Object(pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect())
        };
        let rounds: Vec<Value> = self
            .samples
            .iter()
            .map(|sample| {
                json!({
                    "value": sample.value,
                    "limits": map(&sample.limits),
                    "also": map(&sample.also),
                    "cpu_us_a_stamp": sample.cpu,
                    "peak_rss_mib": sample.peak,
                })
            })
            .collect();
        let spread = self.spread();
        json!({
            "part": self.part,
            "what": self.what,
            "unit": self.unit,
            "min": spread.map(|spread| spread.min),
            "median": spread.map(|spread| spread.median),
            "max": spread.map(|spread| spread.max),
            "limits": map(&self.limits()),
            "ratios": map(&self.ratios()),
            "missing": self.missing,
            "rounds": rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rounds: &[(f64, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (value, limit) in rounds {
            figures.add("drain", "2/10", "stamps/s", Sample::new(*value).limit("bare insert", *limit));
        }
        figures
    }

    #[test]
    fn a_ratio_is_one_of_a_round_and_not_of_two() {
        let figures = measured(&[(10.0, 20.0), (30.0, 40.0), (50.0, 50.0)]);
        let figure = &figures.all()[0];
        assert_eq!(figure.spread(), Some(Spread { min: 10.0, median: 30.0, max: 50.0 }));
        assert_eq!(figure.limits(), [("bare insert", 40.0)]);
        assert_eq!(figure.ratios(), [("bare insert", 0.75)]);
    }

    #[test]
    fn time_is_told_by_the_stamp_and_memory_by_its_peak() {
        let mut figures = Figures::default();
        for (cpu, peak) in [(1.0, 80.0), (3.0, 90.0), (2.0, 70.0)] {
            let usage = Usage { cpu: [("api", cpu)].into(), peak: [("api", peak)].into() };
            figures.add("intake", "1", "stamps/s", Sample::new(1.0).usage(&usage, 100_000.0));
        }
        assert_eq!(figures.all()[0].cpu(), [("api", 20.0)]);
        assert_eq!(figures.all()[0].peak(), [("api", 90.0)]);
    }

    #[test]
    fn what_is_missing_says_why_and_has_no_rounds() {
        let mut figures = measured(&[(1.0, 2.0)]);
        figures.missing("bulk", "1,000 a request", "stamps/s", "not available");
        assert_eq!(figures.all()[1].spread(), None);
        let json = figures.json();
        assert_eq!((&json[1]["missing"], &json[1]["median"]), (&json!("not available"), &Value::Null));
        assert_eq!(json[0]["rounds"][0]["limits"]["bare insert"], json!(2.0));
    }
}
