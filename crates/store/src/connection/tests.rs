//! What a `DATABASE_URL` may say.

use std::time::Duration;

use platform::settings::{InvalidSetting, Secret};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Check;
use super::url::DatabaseUrl;

fn parsed(url: &str) -> Result<DatabaseUrl, InvalidSetting> {
    DatabaseUrl::parse(&Secret::new(url))
}

fn hosts(url: &str) -> Vec<Config> {
    parsed(url).unwrap_or_else(|error| panic!("{url}: {error}")).hosts
}

/// Returns how the last host is connected to.
fn config(url: &str) -> Config {
    hosts(url).pop().expect("a host")
}

fn tcp(name: &str) -> Host {
    Host::Tcp(name.to_owned())
}

#[test]
fn every_sslmode_of_the_contract_is_understood() {
    let modes = [("disable", SslMode::Disable), ("prefer", SslMode::Prefer), ("require", SslMode::Require)];
    for (mode, expected) in modes {
        assert_eq!(config(&format!("postgres://u:p@h/d?sslmode={mode}")).get_ssl_mode(), expected, "{mode}");
    }
    assert_eq!(config("postgres://u:p@h/d").get_ssl_mode(), SslMode::Prefer);
    let check = |url| parsed(url).expect(url).check;
    assert_eq!(check("postgres://u:p@h/d?sslmode=verify-ca"), Some(Check::Authority));
    assert_eq!(check("postgres://u:p@h/d?sslmode=require&sslrootcert=/r"), Some(Check::Authority));
    assert_eq!(check("postgres://u:p@h/d?sslmode=verify-full"), Some(Check::Host));
    assert_eq!(check("postgres://u:p@/d?sslmode=verify-full&host=/run/pg"), None);
}

#[test]
fn hosts_and_ports_stand_before_the_path_or_among_the_parameters() {
    for (url, hosts, ports) in [
        ("postgres://u@a:1,b:2/d", vec![tcp("a"), tcp("b")], vec![1, 2]),
        ("postgres://u@a,b:2/d", vec![tcp("a"), tcp("b")], vec![5432, 2]),
        ("postgres://u@[::1]:7/d", vec![tcp("::1")], vec![7]),
        ("postgres://u@a:1/d?host=b,c&port=3", vec![tcp("b"), tcp("c")], vec![3, 3]),
        ("postgres://u@a/d?port=6432", vec![tcp("a")], vec![6432]),
        ("postgres:///d?host=/run/pg", vec![Host::Unix("/run/pg".into())], vec![]),
        ("postgres://u@%2Frun%2Fpg:7/d", vec![Host::Unix("/run/pg".into())], vec![7]),
        ("postgres://u@/d?hostaddr=127.0.0.1", vec![tcp("127.0.0.1")], vec![]),
    ] {
        let each = self::hosts(url);
        let seen: Vec<_> = each.iter().flat_map(Config::get_hosts).cloned().collect();
        let seen_ports: Vec<_> = each.iter().flat_map(Config::get_ports).copied().collect();
        assert_eq!((seen, seen_ports), (hosts, ports), "{url}");
    }
    let addresses = hosts("postgres://u@a,b/d?hostaddr=127.0.0.1,127.0.0.2");
    let addresses: Vec<_> =
        addresses.iter().flat_map(Config::get_hostaddrs).map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2"]);
    let mixed: Vec<_> = hosts("postgres://u@a/d?host=/s,b&sslmode=require");
    assert_eq!(
        mixed.iter().map(Config::get_ssl_mode).collect::<Vec<_>>(),
        [SslMode::Disable, SslMode::Require]
    );
    let cloud = config("postgres://u@/d?host=%2Fcloudsql%2Fa%3Ab%3Ac");
    assert_eq!(cloud.get_hosts(), [Host::Unix("/cloudsql/a:b:c".into())]);
}

#[test]
fn options_and_passwords_keep_every_character() {
    let url = "postgres://us%40er:p%3A%40%2F%20+w@h/d?options=-c%20search_path%3Dapp&user=other";
    assert_eq!(parsed(url).expect(url).options, "-c search_path=app");
    let config = config(url);
    assert_eq!(config.get_password(), Some("p:@/ +w".as_bytes()));
    assert_eq!(config.get_user(), Some("other"));
}

#[test]
fn times_are_those_of_the_url_where_it_has_them() {
    let own = config("postgres://u@h/d");
    assert_eq!(own.get_connect_timeout(), Some(&Duration::from_secs(2)));
    assert_eq!(own.get_tcp_user_timeout(), Some(&Duration::from_secs(5)));
    let url =
        "postgres://u@h/d?connect_timeout=9&tcp_user_timeout=1500&keepalives_count=7&keepalives_idle=60";
    let theirs = config(url);
    assert_eq!(theirs.get_connect_timeout(), Some(&Duration::from_secs(9)));
    assert_eq!(theirs.get_tcp_user_timeout(), Some(&Duration::from_millis(1_500)));
    assert_eq!(theirs.get_keepalives_retries(), Some(7));
    assert_eq!(theirs.get_keepalives_idle(), Duration::from_secs(60));
    assert_eq!(config("postgres://u@h/d?tcp_user_timeout=0").get_tcp_user_timeout(), None);
}

#[test]
fn what_can_t_be_honoured_is_named_and_no_value_is_shown() {
    for (rest, named) in [
        ("", "names no host"),
        ("u:canary@/d", "names no host"),
        ("u:canary@h/d?sslmode=canary", "sslmode"),
        ("u:canary@h/d?sslcert=canary", "sslcert"),
        ("u:canary@h/d?pgbouncer=canary", "pgbouncer"),
        ("u:canary@h/d?target_session_attrs=canary", "target_session_attrs"),
        ("u:canary@h/d?target_session_attrs=prefer-standby", "target_session_attrs"),
        ("u:canary@h/d?channel_binding=canary", "channel_binding"),
        ("u:canary@h/d?load_balance_hosts=canary", "load_balance_hosts"),
        ("u:canary@h/d?connect_timeout=canary", "connect_timeout"),
        ("u:canary@h/d?connect_timeout=99999999999999999999", "connect_timeout"),
        ("u:canary@h/d?keepalives=", "keepalives"),
        ("u:canary@h/d?keepalives_count=-1", "keepalives_count"),
        ("u:canary@h/d?tcp_user_timeout=canary", "tcp_user_timeout"),
        ("u:canary@h/d?tcp_user_timeout=", "tcp_user_timeout"),
        ("u:canary@h:canary/d", "port"),
        ("u:canary@h:99999/d", "port"),
        ("u:canary@a,b,c/d?port=1,2", "2 ports for 3 hosts"),
        ("u:canary@a,b/d?hostaddr=127.0.0.1", "1 addresses for 2 hosts"),
        ("u:canary@h/d?hostaddr=canary", "hostaddr"),
        ("u:ca?nary@h/d", "%3F"),
        ("u:ca/nary@h/d", "%2F"),
        ("u:ca@nary@h/d", "%40"),
        ("u:canary@h/d?canary", "no ="),
        ("u:%FFcanary@h/d?options=%FF", "options"),
    ] {
        let url = format!("postgres://{rest}");
        let error = parsed(&url).expect_err(&url).to_string();
        assert!(error.starts_with("DATABASE_URL") && error.contains(named), "{url}: {error}");
        assert!(!error.contains("canary") && !error.contains('\n'), "{url}: {error}");
    }
    for url in ["", "canary", "mysql://u:canary@h/d", "host=h user=u password=canary"] {
        let error = parsed(url).expect_err(url).to_string();
        assert!(error.starts_with("DATABASE_URL") && !error.contains("canary"), "{error}");
    }
}
