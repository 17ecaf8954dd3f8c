//! Registering Prometheus metrics, a line each.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
};

/// Returns a registry with what every process shows of itself: `process_…` (processor time, memory, open files, threads,
/// start), where the system tells it, and the gauge `<service>_build_info{version}`, which is 1.
///
/// # Errors
/// If the service's name can't begin a metric's.
pub fn process_registry(service: &str, version: &str) -> Result<Registry> {
    let registry = Registry::new();
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let info = Opts::new(format!("{service}_build_info"), "1, with the version of the program.");
    let info = IntGaugeVec::new(info, &["version"])?;
    info.with_label_values(&[version]).set(1);
    registry.register(Box::new(info))?;
    Ok(registry)
}

/// Registers a counter.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Registers a counter with labels.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// Registers a gauge.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Registers a gauge of seconds and their fractions.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Gauge> {
    let gauge = Gauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Registers a histogram with the upper bounds of its buckets.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// Registers a gauge that is read when it is asked for.
///
/// # Errors
/// If the name is taken, or can't be a metric's.
pub fn observed(
    registry: &Registry,
    name: &str,
    help: &str,
    read: impl Fn() -> i64 + Send + Sync + 'static,
) -> Result<()> {
    let gauge = IntGaugeVec::new(Opts::new(name, help), &[])?;
    registry.register(Box::new(Observed { gauge, read: move || [([].as_slice(), read())] }))
}

/// Registers how many connections a service has to its database, and how many tasks wait for one:
/// `<service>_database_connections{state="used"|"idle"|"awaited"}`.
///
/// * `read`: how many connections are used, how many idle, and how many are waited for.
///
/// # Errors
/// If the metric is registered already.
pub fn database_connections(
    registry: &Registry,
    service: &str,
    read: impl Fn() -> [i64; 3] + Send + Sync + 'static,
) -> Result<()> {
    let name = format!("{service}_database_connections");
    let help = "Connections to PostgreSQL that are used or idle, and those that are waited for.";
    let gauge = IntGaugeVec::new(Opts::new(name, help), &["state"])?;
    let read = move || {
        let [used, idle, awaited] = read();
        [(["used"].as_slice(), used), (["idle"].as_slice(), idle), (["awaited"].as_slice(), awaited)]
    };
    registry.register(Box::new(Observed { gauge, read }))
}

/// Registers the state of what a service depends on: a gauge with the label `state`, 1 for the state that was seen last
/// and 0 for the others.
///
/// * `names`: names of all states.
/// * `read`: the place among them of the state that was seen last.
///
/// # Errors
/// If the metric is registered already.
pub fn state<const N: usize>(
    registry: &Registry,
    metric: &str,
    names: &'static [&'static str; N],
    read: impl Fn() -> usize + Send + Sync + 'static,
) -> Result<()> {
    let help = "1 for the state that was seen last, else 0.";
    let gauge = IntGaugeVec::new(Opts::new(metric, help), &["state"])?;
    let read = move || -> [(&'static [&'static str], i64); N] {
        let seen = read();
        std::array::from_fn(|index| (std::slice::from_ref(&names[index]), i64::from(index == seen)))
    };
    registry.register(Box::new(Observed { gauge, read }))
}

/// A gauge whose values are read when they are asked for, each with the value of its label.
struct Observed<F> {
    gauge: IntGaugeVec,
    read: F,
}

impl<F, const N: usize> Collector for Observed<F>
where
    F: Fn() -> [(&'static [&'static str], i64); N] + Send + Sync,
{
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (labels, value) in (self.read)() {
            self.gauge.with_label_values(labels).set(value);
        }
        self.gauge.collect()
    }
}
