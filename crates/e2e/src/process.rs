//! The two programs, built once, started with nothing but the variables that a test gives them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use test_support::eventually;
use test_support::stack::workspace;

/// Builds both programs and returns where they are.
fn programs() -> &'static HashMap<String, String> {
    static PROGRAMS: OnceLock<HashMap<String, String>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg("build");
        // Set for this test by the cargo that runs it; build scripts that look at them would run again.
        for name in ["MANIFEST_DIR", "MANIFEST_PATH", "PKG_NAME", "PKG_VERSION", "CRATE_NAME"] {
            cargo.env_remove(format!("CARGO_{name}"));
        }
        for part in ["MAJOR", "MINOR", "PATCH", "PRE"] {
            cargo.env_remove(format!("CARGO_PKG_VERSION_{part}"));
        }
        // As this program itself was built: `chaos` measures.
        if !cfg!(debug_assertions) {
            // With `chaos` itself, so that what it depends on is built once.
            cargo.args(["--release", "-p", "e2e"]);
        }
        let built = cargo
            .args(["--locked", "--message-format=json", "--bins", "-p", "stamp-api", "-p", "queue-listener"])
            .current_dir(workspace())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "the programs can't be built; the output above says why");
        let messages = String::from_utf8(built.stdout).expect("cargo prints text");
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| {
                let name = message["target"]["name"].as_str()?.to_owned();
                Some((name, message["executable"].as_str()?.to_owned()))
            })
            .collect()
    })
}

/// Returns a command of one of the programs, with an environment of its own.
pub fn command(program: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(&programs()[program]);
    command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

/// A program that runs; it is killed when this is dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program.
    pub fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        Self::of(command(program, variables))
    }

    /// Starts a program of another version.
    pub fn start_file(path: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_with(path, &[], variables)
    }

    /// Starts a program of another version, or another program, with arguments.
    pub fn start_with(path: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(path);
        command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
        Self::of(command)
    }

    /// Returns the process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts a program that may have so many files open.
    pub fn start_with_open_files(program: &str, variables: &[(&str, &str)], limit: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\""), &programs()[program]]);
        command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, written) =
            (BufReader::new(child.stdout.take().expect("a pipe")).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().expect("no panic").push(line);
            }
        });
        Self { child, log }
    }

    /// Waits for a line of the log that holds a text.
    pub async fn says(&self, text: &str) -> String {
        let found = || async { self.lines().into_iter().find(|line| line.contains(text)) };
        eventually(&format!("a log line with {text:?}"), found, Option::is_some).await.expect("found")
    }

    /// Returns the address that the program announces for something.
    pub async fn address(&self, what: &str) -> String {
        let line = self.says(&format!("{what} on http://")).await;
        line.rsplit("http://").next().expect("an address").trim().to_owned()
    }

    /// Returns what the program has logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    /// Sends the program a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the program's end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        let status = || async { child.lock().expect("no panic").try_wait().expect("a child") };
        eventually("the process ends", status, Option::is_some).await.expect("ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The program may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
