//! The test stack: Kafka and PostgreSQL with ports and data of their own, started once and left running.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The addresses of the servers.
#[derive(Debug, Clone)]
pub struct Stack {
    /// A `DATABASE_URL` with a role that may create databases.
    pub database_url: String,
    /// A `DATABASE_URL` with a role that may do everything.
    pub database_admin_url: String,
    /// Kafka's address.
    pub kafka_bootstrap_servers: String,
    /// A second address of the same broker, which leads its clients to `kafka_proxy_address`.
    pub kafka_proxied_listener: String,
    /// The address for a proxy to `kafka_proxied_listener`; nothing listens there otherwise.
    pub kafka_proxy_address: String,
}

/// Returns the top of the checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/test-support lies two below")
        .to_owned()
}

/// Brings the test stack up, once in a process. What runs already is used as it is.
pub fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        run("up");
        let variables = run("env");
        let variables: HashMap<&str, &str> =
            variables.lines().filter_map(|line| line.split_once('=')).collect();
        let variable = |name: &str| {
            let value = variables.get(name).unwrap_or_else(|| {
                panic!("the test stack has no {name}; if it is of an earlier version: deploy/stack/stack down test")
            });
            (*value).to_owned()
        };
        Stack {
            database_url: variable("DATABASE_URL"),
            database_admin_url: variable("DATABASE_ADMIN_URL"),
            kafka_bootstrap_servers: variable("KAFKA_BOOTSTRAP_SERVERS"),
            kafka_proxied_listener: variable("KAFKA_PROXIED_LISTENER"),
            kafka_proxy_address: variable("KAFKA_PROXY_ADDRESS"),
        }
    })
}

fn run(command: &str) -> String {
    let script = workspace().join("deploy/stack/stack");
    let output = Command::new(&script)
        .args([command, "test"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{} can't be run: {error}", script.display()));
    assert!(output.status.success(), "deploy/stack/stack {command} test failed; its output above says why");
    String::from_utf8(output.stdout).expect("the script prints text")
}
