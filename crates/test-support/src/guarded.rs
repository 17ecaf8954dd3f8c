//! A Kafka that knows who its clients are, and lets each do what it was granted and nothing else.

use crate::servers::{Directory, OwnKafka, free_port, program, run_to_end};

/// Somebody who was granted nothing yet; the password is the name.
pub const USERS: [&str; 2] = ["api", "listener"];

/// A Kafka with users and access control lists.
pub struct GuardedKafka {
    kafka: OwnKafka,
    guarded: u16,
    commands: Directory,
}

impl GuardedKafka {
    /// Starts a broker with [`USERS`].
    pub async fn start() -> Self {
        let (port, guarded) = (free_port(), free_port());
        let users = USERS.map(|name| format!(" user_{name}=\"{name}\"")).concat();
        // Whoever comes by the first listener, as its operators do, may do everything.
        let listener = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded},{{controller}}
            advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded}
            listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
            inter.broker.listener.name=PLAINTEXT
            sasl.enabled.mechanisms=PLAIN
            listener.name.sasl_plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required{users};
            authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
            super.users=User:ANONYMOUS\n"
        );
        let kafka = OwnKafka::start_in(Directory::new(), port, &listener).await;
        Self { kafka, guarded, commands: Directory::new() }
    }

    /// Returns the bootstrap address by which operators come, who may do everything.
    pub fn operators(&self) -> String {
        self.kafka.address()
    }

    /// Returns the variables with which a program is one of [`USERS`].
    pub fn variables(&self, user: &str) -> Vec<(&'static str, String)> {
        vec![
            ("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{}", self.guarded)),
            ("KAFKA_CONF_SECURITY_PROTOCOL", "SASL_PLAINTEXT".to_owned()),
            ("KAFKA_CONF_SASL_MECHANISM", "PLAIN".to_owned()),
            ("KAFKA_CONF_SASL_USERNAME", user.to_owned()),
            ("KAFKA_CONF_SASL_PASSWORD", user.to_owned()),
        ]
    }

    /// Lets a user do something (`Read`, `Write`, …) with a resource (`topic` or `group`) of this name.
    pub fn grant(&self, user: &str, operations: &[&str], resource: &str, name: &str) {
        self.acl("--add", user, operations, resource, name);
    }

    /// Takes back what was granted in the same words.
    pub fn take_back(&self, user: &str, operations: &[&str], resource: &str, name: &str) {
        self.acl("--remove", user, operations, resource, name);
    }

    fn acl(&self, change: &str, user: &str, operations: &[&str], resource: &str, name: &str) {
        let mut command = program("java");
        command.args([
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "org.apache.kafka.tools.AclCommand",
            "--force",
            change,
        ]);
        command.args(["--bootstrap-server", &self.operators(), "--allow-principal", &format!("User:{user}")]);
        command.args([&format!("--{resource}"), name]);
        for operation in operations {
            command.args(["--operation", operation]);
        }
        run_to_end(&mut command, &self.commands);
    }
}
