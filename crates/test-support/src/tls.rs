//! Servers of one's own that speak TLS, and certificates for them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use uuid::Uuid;

use crate::patience::within;
use crate::stack::{stack, workspace};

/// A certificate authority.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and its key, both PEM.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its root certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certifies a server under these host names and addresses, and no other.
    pub fn certify(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A folder that the servers' user owns, removed at the end.
pub struct Directory(PathBuf);

impl Directory {
    /// Makes one where the servers' user can reach it.
    pub fn new() -> Self {
        // `run` needs the stack's programs.
        stack();
        let output = program("mktemp").arg("-d").stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "the servers' user can make no folder; the output above says why");
        let path = String::from_utf8(output.stdout).expect("a path that is text");
        Self(PathBuf::from(path.trim_end()))
    }

    /// Writes a file that only the servers' user (and root) can read, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, content).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let owner = fs::metadata(&self.0).expect("the folder").uid();
        chown(&file, Some(owner), None).expect("it is ours");
        file
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path that is text").to_owned()
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
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

/// A PostgreSQL that accepts connections over TLS and no other.
pub struct TlsPostgres {
    port: u16,
    _server: Server,
    _directory: Directory,
}

impl TlsPostgres {
    /// Starts one that shows this certificate.
    pub async fn start(identity: &Identity) -> Self {
        let directory = Directory::new();
        let (data, port) = (directory.path("data"), free_port());
        directory.write("password", "postgres");
        directory.write("server.crt", &identity.certificate);
        directory.write("server.key", &identity.key);
        let mut initdb = program("initdb");
        initdb
            .args(["-D", &data, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync"])
            // With a password the client binds its proof to the server's certificate, as it does in production.
            .args(["--auth=scram-sha-256", &format!("--pwfile={}", directory.path("password"))]);
        run_to_end(&mut initdb, &directory);
        directory.write("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n");
        let mut postgres = program("postgres");
        postgres.args(["-D", &data, "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        postgres.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "ssl=on"]);
        postgres.args(["-c", &format!("ssl_cert_file={}", directory.path("server.crt"))]);
        postgres.args(["-c", &format!("ssl_key_file={}", directory.path("server.key"))]);
        // INT is its fast shutdown: killed, it would leave shared memory behind.
        let server = Server::start(&mut postgres, "INT", "ready to accept connections", &directory).await;
        Self { port, _server: server, _directory: directory }
    }

    /// Its `DATABASE_URL` under one of its host names; `localhost` and 127.0.0.1 lead to it.
    pub fn url(&self, host: &str) -> String {
        format!("postgres://postgres:postgres@{host}:{}/postgres", self.port)
    }
}

/// A Kafka that speaks TLS with its clients.
pub struct TlsKafka {
    port: u16,
    _server: Server,
    _directory: Directory,
}

impl TlsKafka {
    /// Starts one that shows this certificate and tells its clients to call it `localhost`.
    pub async fn start(identity: &Identity, authority: &Authority) -> Self {
        let directory = Directory::new();
        let (port, controller) = (free_port(), free_port());
        let keystore = directory.write("keystore.pem", &format!("{}{}", identity.key, identity.certificate));
        // A broker refuses to start when it can't trust itself.
        let truststore = directory.write("truststore.pem", authority.pem());
        let properties = format!(
            "node.id=1
            process.roles=broker,controller
            controller.quorum.voters=1@127.0.0.1:{controller}
            controller.listener.names=CONTROLLER
            listeners=SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
            advertised.listeners=SSL://localhost:{port}
            inter.broker.listener.name=SSL
            listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT
            ssl.keystore.type=PEM
            ssl.keystore.location={}
            ssl.truststore.type=PEM
            ssl.truststore.location={}
            log.dirs={}
            auto.create.topics.enable=false\n",
            keystore.display(),
            truststore.display(),
            directory.path("data"),
        );
        directory.write("server.properties", &properties);
        let mut format = program("java");
        format.args(["-Xmx256m", "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID]);
        run_to_end(format.args(["--config", &directory.path("server.properties")]), &directory);
        let mut kafka = program("java");
        kafka.args(["-Xmx512m", "kafka.Kafka", &directory.path("server.properties")]);
        // Its data are thrown away: nothing is gained by letting it stop in order.
        let server = Server::start(&mut kafka, "KILL", "Kafka Server started", &directory).await;
        Self { port, _server: server, _directory: directory }
    }

    /// Its bootstrap address under one of its host names; `localhost` and 127.0.0.1 lead to it.
    pub fn address(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

/// Kafka's form of a uuid: 16 bytes in URL-safe base64.
const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// A running server, stopped at the end.
struct Server {
    child: Child,
    /// The signal that stops it.
    stop: &'static str,
}

impl Server {
    /// Starts a program and waits until its log says that it is ready.
    async fn start(
        command: &mut Command,
        stop: &'static str,
        ready: &'static str,
        directory: &Directory,
    ) -> Self {
        let log = directory.0.join("server.log");
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

/// A program of the servers, run as their user; the process that starts becomes that program.
fn program(name: &str) -> Command {
    let mut command = Command::new(workspace().join("deploy/stack/stack"));
    command.args(["run", "test", name]).stdin(Stdio::null());
    command
}

fn run_to_end(command: &mut Command, directory: &Directory) {
    let log = directory.0.join("preparation.log");
    let status = with_log(command, &log).status().expect("the script runs");
    assert!(status.success(), "{command:?} failed:\n{}", fs::read_to_string(&log).unwrap_or_default());
}

fn with_log<'a>(command: &'a mut Command, log: &Path) -> &'a mut Command {
    let file = File::create(log).expect("a log");
    command.stderr(file.try_clone().expect("the same file")).stdout(file)
}

/// A port that nobody is on now. Port 0 would give one of those that the system hands to outgoing connections
/// too, and another test's connection could have it before the server does.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (Uuid::new_v4().as_u128() % 5_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
