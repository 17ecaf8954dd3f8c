//! `DATABASE_URL`, as libpq writes it (PostgreSQL manual, 32.1.1.2 "Connection URIs").
//!
//! What `tokio-postgres` takes, it gets as it is written. What it lacks or reads otherwise than libpq is decided here:
//! `sslmode` with its checks, milliseconds of `tcp_user_timeout`, a `host` or `port` among the parameters, which
//! replaces those before the path, and several hosts in one `host`.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use platform::settings::{InvalidSetting, Secret};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Check;

/// The parameters that are handed on as they are.
const HANDED_ON: &[&str] = &[
    "user",
    "password",
    "dbname",
    "application_name",
    "sslnegotiation",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// What else a URL may hold.
const UNDERSTOOD: &str =
    "host, hostaddr, port, options, keepalives_count, tcp_user_timeout, sslmode, sslrootcert, pgbouncer";

const ACCEPTED: &str = "postgres://user:password@host:port/database?parameter=value";

/// What a `DATABASE_URL` says.
#[derive(Debug)]
pub struct DatabaseUrl {
    /// How each host is connected to, in the order of the URL, without `options`.
    pub hosts: Vec<Config>,
    /// What a session is opened with, as the URL has it.
    pub(super) options: String,
    /// What is checked of a server's certificate; `None` where no TLS is used.
    pub(super) check: Option<Check>,
    /// File with the root certificates to check against.
    pub(super) root_certificates: Option<String>,
    /// Whether the URL says that a pooler stands between, which hands each transaction to another session.
    pub(super) pgbouncer: bool,
}

impl DatabaseUrl {
    /// Understands a `DATABASE_URL`.
    ///
    /// # Errors
    /// If the URL can't be understood, or asks for what can't be done. The error shows names of parameters, and none of
    /// their values.
    pub fn parse(url: &Secret) -> Result<Self, InvalidSetting> {
        parse(url.expose())
            .map_err(|why| InvalidSetting::secret("DATABASE_URL", format!("{ACCEPTED} ({why})")))
    }
}

fn parse(url: &str) -> Result<DatabaseUrl, String> {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let (before, query) = split(rest.ok_or("it begins otherwise")?, '?');
    let (authority, database) = split(before, '/');
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if [credentials, database, query].iter().any(|part| part.contains('@')) {
        return Err(
            "an @, / or ? within a user name, a password or a parameter is written %40, %2F or %3F".into()
        );
    }
    let parameters = Parameters::parse(query, hosts)?;
    let user = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
    let read = |parameters: &[String]| {
        let plain = format!("postgres://{user}/{database}?{}", parameters.join("&"));
        Config::from_str(&plain).map_err(|error| said(&error))
    };
    let (mut places, mut config) = (read(&parameters.places)?, read(&parameters.handed_on)?);
    number_of_hosts_fits(&mut places)?;
    parameters.set_times(&mut config)?;
    let check = parameters.set_tls(&mut config)?.filter(|_| !places.get_hosts().iter().all(is_socket));
    let hosts = each_host(&places, &config);
    let Parameters { options, root_certificates, pgbouncer, .. } = parameters;
    Ok(DatabaseUrl { hosts, options, check, root_certificates, pgbouncer })
}

/// Returns how each of some places is connected to.
fn each_host(places: &Config, config: &Config) -> Vec<Config> {
    let (addresses, ports) = (places.get_hostaddrs(), places.get_ports());
    let of = |(index, host): (usize, &Host)| {
        let mut one = config.clone();
        match host {
            Host::Tcp(name) => one.host(name),
            // As libpq does: there is no TLS over a socket of the same machine.
            Host::Unix(directory) => one.host_path(directory).ssl_mode(SslMode::Disable),
        };
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    places.get_hosts().iter().enumerate().map(of).collect()
}

fn is_socket(host: &Host) -> bool {
    matches!(host, Host::Unix(_))
}

/// Splits at the first of a character, which may be missing.
fn split(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

/// Returns why `tokio-postgres` can't read something; that names a parameter and shows no value.
fn said(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// What stands after the question mark, and the hosts before it.
#[derive(Default)]
struct Parameters {
    /// What `tokio-postgres` reads, each as `name=value`, percent-encoded as it came.
    handed_on: Vec<String>,
    /// Hosts, their addresses and ports, in the same form.
    places: Vec<String>,
    options: String,
    keepalives_count: Option<String>,
    tcp_user_timeout: Option<String>,
    ssl_mode: Option<String>,
    root_certificates: Option<String>,
    pgbouncer: bool,
}

impl Parameters {
    fn parse(query: &str, hosts: &str) -> Result<Self, String> {
        let mut this = Self::default();
        let (mut hosts, mut ports) = hosts_and_ports(hosts);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or("a parameter has no =")?;
            let name = decoded(name)?;
            match &*name {
                "host" => hosts = decoded(value)?.split(',').map(encoded).collect(),
                "port" => ports = decoded(value)?,
                "hostaddr" => {
                    decoded(value)?;
                    this.places.push(format!("hostaddr={value}"));
                }
                "options" => this.options = decoded(value).map_err(|why| format!("options: {why}"))?,
                "keepalives_count" => this.keepalives_count = Some(decoded(value)?),
                "tcp_user_timeout" => this.tcp_user_timeout = Some(decoded(value)?),
                "sslmode" => this.ssl_mode = Some(decoded(value)?),
                "sslrootcert" => this.root_certificates = Some(decoded(value)?),
                "pgbouncer" => {
                    this.pgbouncer = decoded(value)?.parse().map_err(|_| "pgbouncer is true or false")?;
                }
                known if HANDED_ON.contains(&known) => {
                    decoded(value).map_err(|why| format!("{known}: {why}"))?;
                    this.handed_on.push(format!("{known}={value}"));
                }
                other => {
                    let all = HANDED_ON.join(", ");
                    return Err(format!(
                        "the parameter {other} can't be honoured; known are {all}, {UNDERSTOOD}"
                    ));
                }
            }
        }
        let hosts = hosts.iter().filter(|host| !host.is_empty());
        this.places.extend(hosts.map(|host| format!("host={host}")));
        if !ports.is_empty() {
            this.places.push(format!("port={ports}"));
        }
        Ok(this)
    }

    /// Sets how a connection that leads nowhere is noticed: within five seconds, unless the URL says otherwise.
    fn set_times(&self, config: &mut Config) -> Result<(), String> {
        let lacks =
            |name| !self.handed_on.iter().any(|it| it.split_once('=').is_some_and(|(it, _)| it == name));
        if lacks("connect_timeout") {
            config.connect_timeout(Duration::from_secs(2));
        }
        if lacks("keepalives_idle") {
            config.keepalives_idle(Duration::from_secs(3));
        }
        if lacks("keepalives_interval") {
            config.keepalives_interval(Duration::from_secs(1));
        }
        let count = whole("keepalives_count", self.keepalives_count.as_deref())?;
        config.keepalives_retries(count.unwrap_or(2));
        match whole("tcp_user_timeout", self.tcp_user_timeout.as_deref())? {
            None => _ = config.tcp_user_timeout(Duration::from_secs(5)),
            // The system's own.
            Some(0) => {}
            Some(milliseconds) => _ = config.tcp_user_timeout(Duration::from_millis(milliseconds.into())),
        }
        Ok(())
    }

    /// Sets whether TLS is used, and returns what is checked of a certificate.
    fn set_tls(&self, config: &mut Config) -> Result<Option<Check>, String> {
        let mode = self.ssl_mode.as_deref().unwrap_or("prefer");
        let (ssl_mode, check) = match (mode, &self.root_certificates) {
            ("disable", _) => (SslMode::Disable, None),
            ("prefer", _) => (SslMode::Prefer, Some(Check::Nothing)),
            // As libpq does: a root certificate that is given is used.
            ("require", None) => (SslMode::Require, Some(Check::Nothing)),
            ("require" | "verify-ca", _) => (SslMode::Require, Some(Check::Authority)),
            ("verify-full", _) => (SslMode::Require, Some(Check::Host)),
            _ => return Err("sslmode is disable, prefer, require, verify-ca or verify-full".into()),
        };
        config.ssl_mode(ssl_mode);
        Ok(check)
    }
}

/// Returns the hosts that stand before the path, and their ports separated by commas.
fn hosts_and_ports(authority: &str) -> (Vec<String>, String) {
    if authority.is_empty() {
        return (Vec::new(), String::new());
    }
    let of = |host: &str| match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.to_owned(), port.trim_start_matches(':').to_owned()),
        None => {
            let (host, port) = split(host, ':');
            (host.to_owned(), port.to_owned())
        }
    };
    let (hosts, ports): (Vec<_>, Vec<_>) = authority.split(',').map(of).unzip();
    (hosts, ports.join(","))
}

/// Makes sure that every host has an address and a port: otherwise no try to connect would ever succeed.
fn number_of_hosts_fits(config: &mut Config) -> Result<(), String> {
    let addresses = config.get_hostaddrs().to_vec();
    if config.get_hosts().is_empty() {
        // A certificate is asked for under the only name that is known.
        for address in &addresses {
            config.host(address.to_string());
        }
    }
    let hosts = config.get_hosts().len();
    if hosts == 0 {
        return Err("it names no host; a socket directory is named by ?host=/directory".into());
    }
    if !addresses.is_empty() && addresses.len() != hosts {
        return Err(format!("hostaddr names {} addresses for {hosts} hosts", addresses.len()));
    }
    let ports = config.get_ports().len();
    if ports > 1 && ports != hosts {
        return Err(format!("it names {ports} ports for {hosts} hosts"));
    }
    Ok(())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| "a parameter is no UTF-8")?.into_owned())
}

fn whole(name: &str, value: Option<&str>) -> Result<Option<u32>, String> {
    let parsed = value.map(|value| value.parse::<u32>().ok().filter(|number| i32::try_from(*number).is_ok()));
    parsed
        .map(|number| number.ok_or_else(|| format!("{name} is a whole number from 0 to {}", i32::MAX)))
        .transpose()
}
