//! Servers of one's own, for tests that stop or break them.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::patience::within;
use crate::stack::{stack, workspace};

/// A folder that the servers' user owns, removed at the end. Only processes of that user read and write in it: a link
/// there would lead root, who may run the tests, to somebody else's file.
pub struct Directory {
    path: PathBuf,
    /// Where what the servers say is kept, for who runs the tests alone.
    logs: PathBuf,
}

impl Directory {
    /// Makes a folder where the servers' user can reach it.
    pub fn new() -> Self {
        // `run` needs the stack's programs.
        stack();
        let output = program("mktemp").arg("-d").stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "the servers' user can make no folder; the output above says why");
        let path = String::from_utf8(output.stdout).expect("a path that is text");
        let logs = std::env::temp_dir().join(format!("stamp-logs-{}", Uuid::new_v4()));
        DirBuilder::new().mode(0o700).create(&logs).expect("a folder");
        Self { path: PathBuf::from(path.trim_end()), logs }
    }

    /// Writes a file that only the servers' user (and root) can read, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let mut shell = self.shell("umask 077; cat >\"$0\"", name);
        let mut child = shell.stdin(Stdio::piped()).spawn().expect("the script runs");
        let written = child.stdin.take().expect("it is piped").write_all(content.as_bytes());
        let status = child.wait().expect("our own child");
        assert!(written.is_ok() && status.success(), "{name} can't be written; the output above says why");
        self.path.join(name)
    }

    /// Returns a command that runs a script as the servers' user, with the path of a file as `$0`.
    fn shell(&self, script: &str, name: &str) -> Command {
        let mut shell = program("sh");
        shell.args(["-euc", script]).arg(self.path.join(name));
        shell
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(name)
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        self.path.join(name).to_str().expect("a path that is text").to_owned()
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays behind is in the test stack's folder, which `make down-v` deletes.
        let _left_behind = self.shell("rm -rf \"$0\"", "").stderr(Stdio::null()).status();
        let _left_behind = fs::remove_dir_all(&self.logs);
    }
}

/// A Kafka of one node.
pub struct OwnKafka {
    port: u16,
    server: Option<Server>,
    directory: Directory,
}

impl OwnKafka {
    /// Starts a broker.
    pub async fn start() -> Self {
        let port = free_port();
        let listener = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},{{controller}}
            advertised.listeners=PLAINTEXT://127.0.0.1:{port}
            listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        );
        Self::start_in(Directory::new(), port, &listener).await
    }

    /// Starts a broker with these properties of its listeners; `{controller}` stands for the controller's.
    pub(crate) async fn start_in(directory: Directory, port: u16, listener: &str) -> Self {
        let controller = free_port();
        let listener = listener.replace("{controller}", &format!("CONTROLLER://127.0.0.1:{controller}"));
        let properties = format!(
            "node.id=1
            process.roles=broker,controller
            controller.quorum.voters=1@127.0.0.1:{controller}
            controller.listener.names=CONTROLLER
            {listener}
            log.dirs={}
            auto.create.topics.enable=false
            group.initial.rebalance.delay.ms=0
            broker.session.timeout.ms=5000
            broker.heartbeat.interval.ms=1000
            offsets.topic.replication.factor=1
            offsets.topic.num.partitions=1
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1\n",
            directory.path("data"),
        );
        directory.write("server.properties", &properties);
        let mut format = program("java");
        format.args(["-Xmx256m", "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]);
        run_to_end(format.args(["--config", &directory.path("server.properties")]), &directory);
        let mut kafka = Self { port, server: None, directory };
        kafka.start_again().await;
        kafka
    }

    /// Starts the broker on the data that it has.
    pub async fn start_again(&mut self) {
        let mut kafka = program("java");
        kafka.args(["-Xmx512m", "kafka.Kafka", &self.directory.path("server.properties")]);
        let ready = "Kafka Server started";
        self.server = Some(Server::start(&mut kafka, "KILL", ready, &self.directory).await);
    }

    /// Kills the broker. What it has acknowledged is in its files.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Cuts off what a partition has from an offset on, while the broker does not run: so does one that lost its tail,
    /// or an unclean election.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        assert!(self.server.is_none(), "a broker that runs holds its files");
        let segment = format!("data/{topic}-{partition}/00000000000000000000");
        let read = self.directory.shell("cat \"$0.log\"", &segment).output().expect("the script runs");
        assert!(read.status.success(), "the only segment can't be read");
        let bytes = read.stdout;
        let mut end = 0;
        // A batch begins with its first offset and the length of what comes after these twelve bytes.
        while end < bytes.len() {
            let first = i64::from_be_bytes(bytes[end..end + 8].try_into().expect("eight bytes"));
            if first >= offset {
                break;
            }
            let length = i32::from_be_bytes(bytes[end + 8..end + 12].try_into().expect("four bytes"));
            end += 12 + usize::try_from(length).expect("a length");
        }
        assert!(end < bytes.len(), "a batch begins at or after offset {offset}");
        // The indexes are made again.
        let cut = "head -c \"$1\" \"$0.log\" >\"$0.new\"; mv \"$0.new\" \"$0.log\"; rm \"$0.index\" \"$0.timeindex\"";
        let status = self.directory.shell(cut, &segment).arg(end.to_string()).status();
        assert!(status.expect("the script runs").success(), "the segment is not cut");
    }

    /// Returns the broker's bootstrap address.
    pub fn address(&self) -> String {
        self.address_as("127.0.0.1")
    }

    pub(crate) fn address_as(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

/// The cluster's id, in Kafka's form of a uuid: 16 bytes in URL-safe base64.
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A running server, stopped at the end.
pub(crate) struct Server {
    child: Child,
    /// The signal that stops the server.
    pub(crate) stop: &'static str,
}

impl Server {
    /// Starts a program and waits until its log says that it is ready.
    pub(crate) async fn start(
        command: &mut Command,
        stop: &'static str,
        ready: &'static str,
        directory: &Directory,
    ) -> Self {
        let log = directory.log("server");
        let child = with_log(command, &log).spawn().expect("the script runs");
        let mut server = Self { child, stop };
        let mut look = || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let ended = server.child.try_wait().expect("our own child");
            std::future::ready((said, ended))
        };
        let limit = Duration::from_mins(2);
        let (said, ended) = within(limit, "the server is ready", &mut look, |(said, ended)| {
            said.contains(ready) || ended.is_some()
        })
        .await;
        assert!(ended.is_none(), "the server ended; its log:\n{said}");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _asked = Command::new("kill").args(["-s", self.stop, &pid]).status();
        let asked = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if asked.elapsed() > Duration::from_secs(10) {
                let _killed = self.child.kill();
                let _ended = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns a command for a program of the servers, run as their user; the process that starts becomes that program.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(workspace().join("deploy/stack/stack"));
    command.args(["run", "test", name]).stdin(Stdio::null());
    command
}

pub(crate) fn run_to_end(command: &mut Command, directory: &Directory) {
    let log = directory.log("preparation");
    let status = with_log(command, &log).status().expect("the script runs");
    assert!(status.success(), "{command:?} failed:\n{}", fs::read_to_string(&log).unwrap_or_default());
}

fn with_log<'a>(command: &'a mut Command, log: &Path) -> &'a mut Command {
    let file = File::create(log).expect("a log");
    command.stderr(file.try_clone().expect("the same file")).stdout(file)
}

/// Returns a port that nobody is on now. Port 0 would give one of those that the system hands to outgoing connections
/// too, and another test's connection could have it before the server does.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + (Uuid::new_v4().as_u128() % 5_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
