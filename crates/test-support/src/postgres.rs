//! PostgreSQL servers of one's own.

use tokio_postgres::NoTls;

use crate::servers::{Directory, Server, free_port, program, run_to_end};

/// A PostgreSQL whose superuser is `postgres`, with the password `postgres`.
pub struct OwnPostgres {
    port: u16,
    arguments: Vec<String>,
    server: Option<Server>,
    directory: Directory,
}

impl OwnPostgres {
    /// Starts a server with further settings, each as `name=value`.
    pub async fn start(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::start_in(Directory::new(), "host", &settings).await
    }

    /// Starts a server that takes connections of a kind that `pg_hba.conf` knows.
    pub(crate) async fn start_in(directory: Directory, connections: &str, settings: &[String]) -> Self {
        let (data, port) = (directory.path("data"), free_port());
        directory.write("password", "postgres");
        let mut initdb = program("initdb");
        initdb
            .args(["-D", &data, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync"])
            // With a password the client binds its proof to the server's certificate, as it does in production.
            .args(["--auth=scram-sha-256", &format!("--pwfile={}", directory.path("password"))]);
        run_to_end(&mut initdb, &directory);
        let local = "local all all scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n";
        let hba = format!("{local}{connections} all all 127.0.0.1/32 scram-sha-256\n");
        directory.write("data/pg_hba.conf", &hba);
        let own = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"];
        let mut arguments = vec!["-D".to_owned(), data, "-p".to_owned(), port.to_string()];
        for setting in own.into_iter().chain(settings.iter().map(String::as_str)) {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let mut postgres = Self { port, arguments, server: None, directory };
        postgres.start_again().await;
        postgres
    }

    /// Starts the server on the data that it has.
    pub async fn start_again(&mut self) {
        self.start_until("ready to accept connections").await;
    }

    async fn start_until(&mut self, ready: &'static str) {
        let mut postgres = program("postgres");
        postgres.args(&self.arguments);
        // INT is its fast shutdown: killed, it would leave shared memory behind.
        self.server = Some(Server::start(&mut postgres, "INT", ready, &self.directory).await);
    }

    /// Ends the server as a crash does: what was not written to its log by then is lost.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            // PostgreSQL's immediate shutdown: no process of it writes anything more.
            server.stop = "QUIT";
        }
    }

    /// Returns the `DATABASE_URL` of one of the server's databases.
    pub fn url(&self, database: &str) -> String {
        self.url_as("127.0.0.1", database)
    }

    pub(crate) fn url_as(&self, host: &str, database: &str) -> String {
        format!("postgres://postgres:postgres@{host}:{}/{database}", self.port)
    }

    /// Starts a second server that follows this one by streaming replication, and takes no writes. This one is
    /// started again for it.
    pub async fn standby(&mut self) -> Self {
        self.server = None;
        let (directory, port) = (Directory::new(), free_port());
        let (from, to) = (self.directory.path("data"), directory.path("data"));
        run_to_end(program("cp").args(["-a", &from, &to]), &directory);
        let primary = format!("host=127.0.0.1 port={} user=postgres password=postgres", self.port);
        directory.write("data/postgresql.auto.conf", &format!("primary_conninfo = '{primary}'\n"));
        directory.write("data/standby.signal", "");
        self.start_again().await;
        let own = |argument: &String| match argument {
            argument if *argument == from => to.clone(),
            argument if *argument == self.port.to_string() => port.to_string(),
            argument => argument.clone(),
        };
        let arguments = self.arguments.iter().map(own).collect();
        let mut standby = Self { port, arguments, server: None, directory };
        standby.start_until("ready to accept read-only connections").await;
        standby
    }

    /// Runs a statement on one of the server's databases.
    pub async fn run(&self, database: &str, sql: &str) {
        let url = self.url(database);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        let driven = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        driven.abort();
    }

    /// Makes a standby take writes.
    pub fn promote(&self) {
        let mut promote = program("pg_ctl");
        run_to_end(promote.args(["promote", "-w", "-D", &self.directory.path("data")]), &self.directory);
    }

    /// Stops the server as an operator does: what runs is broken off, and all that is committed is written.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Returns the port on which the server listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}
