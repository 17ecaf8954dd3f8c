//! A host's clock that a test sets forward and back under a program that runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::stack::workspace;

/// The clock of one host.
#[derive(Debug)]
pub struct HostClock {
    offset: PathBuf,
}

impl HostClock {
    /// Returns a clock that is right.
    ///
    /// # Panics
    /// If the clock's library can't be compiled: it takes a C compiler.
    pub fn new() -> Self {
        let offset = workspace().join("target").join(format!("host-clock-{}", Uuid::new_v4()));
        let clock = Self { offset };
        clock.set(0);
        clock
    }

    /// Returns the variables that make a program live by this clock.
    pub fn variables(&self) -> [(&'static str, &str); 2] {
        let library = library().to_str().expect("a path that is text");
        [("LD_PRELOAD", library), ("HOST_CLOCK", self.offset.to_str().expect("a path that is text"))]
    }

    /// Sets the clock, so many seconds off the right time.
    pub fn set(&self, seconds: i64) {
        // Whoever reads at this moment reads the old time or the new one.
        let written = self.offset.with_extension("written");
        std::fs::write(&written, seconds.to_string()).expect("a file in target");
        std::fs::rename(&written, &self.offset).expect("the same folder");
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for HostClock {
    fn drop(&mut self) {
        // A file that stays behind harms nobody.
        let _left_behind = std::fs::remove_file(&self.offset);
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = workspace().join("crates/test-support/src/host_clock.c");
        let library = workspace().join("target/host-clock.so");
        // Other test processes may be at it too.
        let compiling = library.with_extension(std::process::id().to_string());
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&compiling, &source])
            .arg("-ldl")
            .status()
            .expect("cc runs: install a C compiler");
        assert!(compiled.success(), "{} can't be compiled; the output above says why", source.display());
        std::fs::rename(compiling, &library).expect("the same folder");
        library
    })
}
