//! A pooler between a test and PostgreSQL.

use crate::servers::{Directory, Server, free_port, program};

/// A `PgBouncer` in front of a database, which ends when it is dropped.
pub struct PgBouncer {
    url: String,
    ini: String,
    server: Option<Server>,
    directory: Directory,
}

impl PgBouncer {
    /// Starts a pooler in front of the database that a `DATABASE_URL` names. `mode` is `session` or `transaction`;
    /// `settings` are lines of its configuration.
    pub async fn start(database_url: &str, mode: &str, settings: &[&str]) -> Self {
        let mut url = url::Url::parse(database_url).expect("a URL");
        let (directory, port) = (Directory::new(), free_port());
        let (user, password) = (url.username(), url.password().expect("a password"));
        let users = directory.write("users", &format!("\"{user}\" \"{password}\"\n"));
        let configuration = format!(
            "[databases]
            * = host={} port={}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {}
            pool_mode = {mode}
            max_client_conn = 1000
            {}",
            url.host_str().expect("a host"),
            url.port().unwrap_or(5432),
            users.display(),
            settings.join("\n"),
        );
        let lines: Vec<&str> = configuration.lines().map(str::trim).collect();
        directory.write("pgbouncer.ini", &(lines.join("\n") + "\n"));
        let ini = directory.path("pgbouncer.ini");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let mut pooler = Self { url: url.into(), ini, server: None, directory };
        pooler.restart().await;
        pooler
    }

    /// Ends the pooler with all its connections, and starts it anew.
    pub async fn restart(&mut self) {
        self.server = None;
        let started =
            Server::start(program("pgbouncer").arg(&self.ini), "QUIT", "process up", &self.directory).await;
        self.server = Some(started);
    }

    /// Returns the `DATABASE_URL` that leads through the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}
