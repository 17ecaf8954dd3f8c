//! What processes take: CPU seconds, and the most memory that was resident.

use std::collections::BTreeMap;
use std::fs;

use e2e::figures::{cpu, cpu_with_ended_children};

/// The name of the process that measures: its clients are the load.
pub const LOAD: &str = "load";

/// The processes of a measurement.
#[derive(Debug, Clone)]
pub struct Meter {
    watched: Vec<Watched>,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    name: &'static str,
    pid: u32,
    /// Whether its children count as well.
    is_tree: bool,
}

impl Meter {
    /// Returns a meter for this process.
    pub fn new() -> Self {
        Self { watched: Vec::new() }.and(LOAD, std::process::id())
    }

    /// Adds a process. Several of one name are counted together.
    #[must_use]
    pub fn and(self, name: &'static str, pid: u32) -> Self {
        self.with(Watched { name, pid, is_tree: false })
    }

    /// Adds a process with all its children.
    #[must_use]
    pub fn and_tree(self, name: &'static str, pid: u32) -> Self {
        self.with(Watched { name, pid, is_tree: true })
    }

    fn with(mut self, watched: Watched) -> Self {
        self.watched.push(watched);
        self
    }

    /// Begins to measure.
    pub fn begin(&self) -> Measuring {
        let watched = self.watched.clone();
        for pid in watched.iter().flat_map(|one| one.pids()) {
            // What may not be done for a process of somebody else leaves the peak since its start.
            let _refused = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let before = watched.iter().map(|one| one.cpu()).collect();
        Measuring { watched, before }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Watched {
    fn pids(self) -> Vec<u32> {
        let mut pids = if self.is_tree { children(self.pid) } else { Vec::new() };
        pids.push(self.pid);
        pids
    }

    fn cpu(self) -> f64 {
        if !self.is_tree {
            return cpu(&self.pid.to_string());
        }
        let living: f64 = children(self.pid).iter().map(|pid| cpu(&pid.to_string())).sum();
        living + cpu_with_ended_children(&self.pid.to_string())
    }
}

/// A measurement under way.
pub struct Measuring {
    watched: Vec<Watched>,
    before: Vec<f64>,
}

impl Measuring {
    /// Ends it.
    pub fn end(self) -> Usage {
        let mut usage = Usage::default();
        for (one, before) in self.watched.iter().zip(self.before) {
            *usage.cpu.entry(one.name).or_default() += (one.cpu() - before).max(0.0);
            // Pages that processes share would be counted several times in a sum.
            let peak = one.pids().into_iter().filter_map(peak).fold(0.0, f64::max);
            let most = usage.peak.entry(one.name).or_default();
            *most = most.max(peak);
        }
        usage
    }
}

/// What processes took, by name.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// CPU seconds.
    pub cpu: BTreeMap<&'static str, f64>,
    /// The most resident memory, in MiB, of the greatest process of that name.
    pub peak: BTreeMap<&'static str, f64>,
}

/// Returns the most memory of a process that was resident, in MiB.
fn peak(pid: u32) -> Option<f64> {
    peak_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes / 1_024.0)
}

fn children(pid: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status_of_a_process() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n"), Some(20.0));
        assert_eq!(peak_of("Name:\tx\n"), None);
        assert!(peak(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn work_is_counted_and_that_of_ended_children_too() {
        let measuring = Meter::new().and_tree("tree", std::process::id()).begin();
        let mut child = std::process::Command::new("sh");
        child.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
        assert!(child.status().unwrap().success());
        let usage = measuring.end();
        assert!(usage.cpu["tree"] >= usage.cpu[LOAD] + 0.05, "{usage:?}");
    }
}
