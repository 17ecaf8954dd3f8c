//! The two programs, started with nothing but the variables that a test gives them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use test_support::eventually;

/// Returns where a program is: Cargo has built it with this one, of the services' own `main.rs`.
fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a program");
    let folder = this.parent().expect("a folder");
    let folder = if folder.ends_with("deps") { folder.parent().expect("a folder") } else { folder };
    folder.join(format!("e2e-{name}"))
}

/// Returns a command of one of the programs, with an environment of its own.
pub fn command(program: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(self::program(program));
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
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\"")]).arg(self::program(program));
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
        let (_, address) = line.split_once("http://").expect("an address");
        // In JSON more comes after it.
        address.split('"').next().unwrap_or(address).trim().to_owned()
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
