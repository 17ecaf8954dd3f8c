//! The stack, started by root: what the servers' user puts into folders of its own must not lead root elsewhere.
//!
//! An ordinary user's servers run as that user, and a link leads them no further than that user may go anyway: there
//! the tests see that nobody else owns the folders, say so, and end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use test_support::servers::free_port;
use test_support::stack::workspace;
use uuid::Uuid;

/// Stands in every file that the servers' user may neither read nor change.
const FOREIGN: &str = "of-root-alone";

/// A checkout of its own with the stack's scripts, and a folder that is none of the servers' user's business.
struct Checkout {
    root: PathBuf,
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    links: RefCell<BTreeSet<String>>,
}

/// What there is about a file: its owner, its mode and what it holds.
type Look = BTreeMap<PathBuf, (u32, u32, String)>;

impl Checkout {
    fn new(name: &'static str) -> Self {
        let root = std::env::temp_dir().join(format!("stamp-checkout-{}", Uuid::new_v4()));
        for folder in ["deploy", "target/release", ".stack", "foreign/data"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for folder in [".", ".stack", "foreign", "foreign/data"] {
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let copied = Command::new("cp")
            .arg("-R")
            .args([workspace().join("deploy/stack"), root.join("deploy")])
            .status();
        assert!(copied.expect("cp runs").success());
        for file in ["file", "data/file"] {
            write(&root.join("foreign").join(file), FOREIGN, 0o600);
        }
        let cache = workspace().join(".stack/cache");
        if cache.is_dir() {
            // What the test stack has fetched need not be fetched again.
            symlink(cache, root.join(".stack/cache")).expect("a link");
        }
        for service in ["stamp-api", "queue-listener"] {
            write(&root.join("target/release").join(service), SERVICE, 0o755);
        }
        let port = free_port();
        let addresses = ["HTTP_ADDR", "API_ADMIN_ADDR", "LISTENER_ADMIN_ADDR"];
        let mut variables = addresses.map(|name| (name, format!("127.0.0.1:{}", free_port()))).to_vec();
        variables.extend([
            ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none".to_owned()),
            ("STACK_TEST_POSTGRES_PORT", free_port().to_string()),
            ("STACK_TEST_KAFKA_PORT", port.to_string()),
            ("STACK_TEST_CONTROLLER_PORT", (port + 1).to_string()),
        ]);
        Self { root, name, variables, links: RefCell::default() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("deploy/stack/stack"));
        command.args(arguments).stdin(Stdio::null());
        // Who runs the tests may have these; then nothing would be planted where the stack looks.
        for name in
            ["CARGO_TARGET_DIR", "JWT_SECRET", "JWT_SECRET_FILE", "JWT_PUBLIC_KEY", "JWT_PUBLIC_KEY_FILE"]
        {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the script runs");
        let said = said(&output);
        assert!(!said.contains(FOREIGN), "{arguments:?} showed what is root's alone:\n{said}");
        output
    }

    fn succeeds(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?} failed:\n{}", said(&output));
    }

    /// Asserts that the stack does not start and that the last line says why.
    fn refuses(&self, arguments: &[&str], why: &str) {
        let output = self.run(arguments);
        let said = said(&output);
        let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
        assert!(!output.status.success() && last.contains(why), "{arguments:?} did not say {why:?}:\n{said}");
    }

    fn folder(&self) -> PathBuf {
        self.root.join(".stack").join(self.name)
    }

    /// The servers' user, where that is not who runs this.
    fn servers_user(&self) -> Option<(u32, u32)> {
        let ours = fs::metadata(&self.root).expect("it was made").uid();
        let folder = fs::metadata(self.folder()).expect("the stack has made it");
        if ours == 0 {
            assert_ne!(folder.uid(), 0, "root hands the servers to another user");
            return Some((folder.uid(), folder.gid()));
        }
        assert_eq!(folder.uid(), ours, "an ordinary user's servers are that user's");
        println!("not root: the servers are our own, and no link leads them further than we may go");
        None
    }

    /// Puts a link into the stack's folder, as the servers' user.
    fn plant(&self, place: &str, to: &str) {
        let script = "[ ! -e \"$0\" ] || mv -f \"$0\" \"$0.mine\"; ln -sfn \"$1\" \"$0\"";
        self.as_servers_user(script, place, &self.root.join("foreign").join(to));
        self.links.borrow_mut().insert(place.to_owned());
    }

    /// Takes away the links that are still there, and puts back what was in their place.
    fn pull_out(&self) {
        for place in self.links.take() {
            let mine = self.folder().join(format!("{place}.mine"));
            let script = "[ ! -L \"$0\" ] || rm \"$0\"; [ -e \"$0\" ] || [ ! -e \"$1\" ] || mv \"$1\" \"$0\"";
            self.as_servers_user(script, &place, &mine);
        }
    }

    fn as_servers_user(&self, script: &str, place: &str, other: &Path) {
        let (uid, gid) = self.servers_user().expect("root's servers have a user");
        let mut shell = Command::new("sh");
        shell.args(["-euc", script]).args([&self.folder().join(place), other]).uid(uid).gid(gid);
        assert!(shell.status().expect("a shell").success(), "{script} in {place}");
    }

    /// What the servers' user must not touch.
    fn foreign(&self) -> Look {
        fn look(folder: &Path, seen: &mut Look) {
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
            {
                let found = fs::symlink_metadata(&entry).expect("it was listed");
                if found.is_dir() {
                    look(&entry, seen);
                }
                let content = fs::read_to_string(&entry).unwrap_or_default();
                seen.insert(entry, (found.uid(), found.mode(), content));
            }
        }
        let mut seen = Look::new();
        look(&self.root.join("foreign"), &mut seen);
        let folder = fs::metadata(self.root.join("foreign")).expect("a folder");
        seen.insert(self.root.join("foreign"), (folder.uid(), folder.mode(), String::new()));
        seen
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        for place in self.links.take() {
            let _pulled_out = fs::remove_file(self.folder().join(place));
        }
        let _stopped = self.command(&["down", self.name]).output();
        let _left_behind = fs::remove_dir_all(&self.root);
    }
}

/// A service that is ready at once.
const SERVICE: &str = "#!/bin/sh
case ${1:-serve} in migrate | healthcheck | token) exit ;; esac
trap exit TERM
while :; do sleep 1 & wait $!; done
";

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).join("\n")
}

// Break: open `$dir/log/$what.log` in `start_daemon` of deploy/stack/lib/common.sh before the command has its user.
#[test]
fn root_starts_services_and_follows_no_link_of_their_user() {
    let checkout = Checkout::new("none");
    let up = ["up", "none", "--services"];
    checkout.succeeds(&up);
    checkout.succeeds(&["down", "none"]);
    if checkout.servers_user().is_none() {
        return;
    }
    let before = checkout.foreign();
    for what in ["stamp-api", "queue-listener", "migrate"] {
        checkout.plant(&format!("log/{what}.log"), "file");
        checkout.plant(&format!("log/{what}.log.1"), "data");
    }
    for what in ["stamp-api.pid", "stamp-api.version", "services.env", "services.env.new"] {
        checkout.plant(&format!("run/{what}"), "file");
    }
    checkout.plant("secrets/jwt.new", "file");
    checkout.as_servers_user("rm \"$0\"", "secrets/jwt", Path::new(""));
    checkout.succeeds(&up);
    assert_eq!(checkout.foreign(), before, "at a start");

    for what in ["log/stamp-api.log", "run/services.env", "run/stamp-api.version"] {
        checkout.plant(what, "file");
    }
    for command in ["env", "status", "logs", "token"] {
        checkout.run(&[command, "none"]);
    }
    assert_eq!(checkout.foreign(), before, "while they run");
    checkout.pull_out();
    let more = "printf 'EVIL=1\\nJWT_SECRET=a EVIL=1\\n' >>\"$0\"";
    checkout.as_servers_user(more, "run/services.env", Path::new(""));
    let variables = said(&checkout.run(&["env", "none"]));
    assert!(variables.contains("API_URL=") && !variables.contains("EVIL"), "{variables}");
    checkout.succeeds(&["down", "none"]);

    for place in ["log", "run", "secrets", "tmp", "secrets/jwt"] {
        checkout.plant(place, "data");
        checkout.refuses(&up, &format!("none/{place}"));
        assert_eq!(checkout.foreign(), before, "with a link for {place}");
        checkout.pull_out();
    }
    checkout.plant("log", "data");
    checkout.run(&["down", "none", "--volumes"]);
    assert_eq!(checkout.foreign(), before, "at the end");
    checkout.links.take();
}

// Break: write `$dir/kafka/server.properties` in deploy/stack/lib/kafka.sh by a redirection of the script.
#[test]
fn root_starts_servers_and_follows_no_link_of_their_user() {
    let checkout = Checkout::new("test");
    let up = ["up", "test"];
    checkout.succeeds(&up);
    checkout.succeeds(&["down", "test"]);
    if checkout.servers_user().is_none() {
        return;
    }
    let before = checkout.foreign();
    for what in ["kafka", "postgres", "pg_ctl", "kafka-format", "initdb"] {
        checkout.plant(&format!("log/{what}.log"), "file");
        checkout.plant(&format!("log/{what}.log.1"), "data");
    }
    for what in ["run/kafka.pid", "kafka/server.properties", "kafka/server.properties.new"] {
        checkout.plant(what, "file");
    }
    // As after a first start that was interrupted.
    checkout.as_servers_user("rm -r \"$0\" \"$1\"", "kafka/data", &checkout.folder().join("postgres/data"));
    checkout.plant("postgres/new", "data");
    checkout.succeeds(&up);
    assert_eq!(checkout.foreign(), before, "at a start");

    for what in ["log/kafka.log", "log/postgres.log", "kafka/server.properties", "secrets/postgres"] {
        checkout.plant(what, "file");
    }
    for command in ["env", "status", "logs"] {
        checkout.run(&[command, "test"]);
    }
    checkout.pull_out();
    checkout.succeeds(&["down", "test"]);
    assert_eq!(checkout.foreign(), before, "while they run");

    for place in ["kafka", "postgres", "secrets/postgres", "secrets/postgres-superuser"] {
        checkout.plant(place, "data");
        checkout.refuses(&up, &format!("test/{place}"));
        assert_eq!(checkout.foreign(), before, "with a link for {place}");
        checkout.pull_out();
    }
    for (place, to) in [
        ("postgres/data/postmaster.pid", "file"),
        ("postgres/data/PG_VERSION", "file"),
        ("postgres/data", "data"),
        ("kafka/data", "data"),
    ] {
        checkout.plant(place, to);
        checkout.run(&up);
        assert_eq!(checkout.foreign(), before, "with a link for {place}");
        checkout.succeeds(&["down", "test"]);
        checkout.pull_out();
    }
}

// Break: take the question for a link out of `use_stack` in deploy/stack/lib/common.sh.
#[test]
fn stacks_are_not_kept_behind_a_link() {
    let checkout = Checkout::new("none");
    let (link, location) = (checkout.root.join("link"), checkout.root.join(".stack/location"));
    symlink(checkout.root.join("foreign"), &link).expect("a link");
    write(&location, &format!("{}\n", link.display()), 0o644);
    let before = checkout.foreign();
    checkout.refuses(&["up", "none", "--services"], &link.display().to_string());
    assert_eq!(checkout.foreign(), before);
}
