//! What each `sslmode` asks of a server.

use std::path::Path;

use platform::settings::Secret;
use store::Database;
use store::settings::DatabaseSettings;
use test_support::tls::{Authority, Identity, TlsPostgres};
use test_support::{Directory, stack};
use url::Url;

/// A name that the server's certificate does not have, with the way to the server beside it.
const WRONG_HOST: &str = "elsewhere.test";

/// What a person is told of a certificate by an unknown authority.
const UNKNOWN_AUTHORITY: &str = "invalid peer certificate: UnknownIssuer";
const WRONG_NAME: &str = "certificate not valid for name \"elsewhere.test\"";
const NO_TLS: &str = "server does not support TLS";
const NO_PLAINTEXT: &str = "no encryption";

#[derive(Debug)]
enum Expected {
    Served,
    Refused(&'static str),
}
use Expected::{Refused, Served};

/// Asks for the time.
async fn ask(url: &str) -> Result<(), String> {
    let settings = DatabaseSettings { url: Secret::new(url), pool_size: 2 };
    let database = match Database::new(&settings, "test") {
        Ok(database) => database,
        Err(error) => return Err(error.to_string()),
    };
    store::clock::ClockSample::of(&database).await.map(drop).map_err(|error| error.to_string())
}

async fn check(url: &str, sslmode: &str, roots: Option<&Path>, expected: &Expected) {
    let mut url = Url::parse(url).expect("a URL");
    url.query_pairs_mut().append_pair("sslmode", sslmode);
    if let Some(roots) = roots {
        url.query_pairs_mut().append_pair("sslrootcert", roots.to_str().expect("a path that is text"));
    }
    if url.host_str() == Some(WRONG_HOST) {
        url.query_pairs_mut().append_pair("hostaddr", "127.0.0.1");
    }
    // Not the whole URL: it holds a password.
    let host = url.host_str().unwrap_or_default();
    let answer = ask(url.as_str()).await;
    match (expected, &answer) {
        (Served, Ok(())) => {}
        (Refused(cause), Err(error)) if error.contains(cause) => {}
        _ => panic!("sslmode={sslmode} to {host} with {roots:?}: {answer:?}, not {expected:?}"),
    }
}

// Break: let `set_tls` in url.rs return `Check::Authority` for verify-full.
#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_checks_of_a_certificate_what_its_name_says() {
    let (ours, another) = (Authority::new("ours"), Authority::new("another"));
    let server = TlsPostgres::start(&ours.certify(&["localhost", "127.0.0.1"])).await;
    let files = Directory::new();
    let ours = &*files.write("ours.pem", ours.pem());
    let another = &*files.write("another.pem", another.pem());
    for (sslmode, host, roots, expected) in [
        ("disable", "localhost", None, Refused(NO_PLAINTEXT)),
        ("prefer", "localhost", None, Served),
        ("prefer", WRONG_HOST, Some(another), Served),
        ("require", "localhost", None, Served),
        ("require", WRONG_HOST, None, Served),
        // A root certificate that is given is used, by `require` too.
        ("require", WRONG_HOST, Some(ours), Served),
        ("require", "localhost", Some(another), Refused(UNKNOWN_AUTHORITY)),
        ("verify-ca", "localhost", Some(ours), Served),
        ("verify-ca", WRONG_HOST, Some(ours), Served),
        ("verify-ca", "localhost", Some(another), Refused(UNKNOWN_AUTHORITY)),
        // A name that does not matter must not hide an authority that does.
        ("verify-ca", WRONG_HOST, Some(another), Refused(UNKNOWN_AUTHORITY)),
        ("verify-full", "localhost", Some(ours), Served),
        ("verify-full", "127.0.0.1", Some(ours), Served),
        ("verify-full", WRONG_HOST, Some(ours), Refused(WRONG_NAME)),
        ("verify-full", "localhost", Some(another), Refused(UNKNOWN_AUTHORITY)),
    ] {
        check(&server.url(host), sslmode, roots, &expected).await;
    }
}

// Break: let `is_an_authority_s` in tls.rs return false.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_its_owner_has_signed_as_an_authority_is_trusted_where_it_is_named() {
    let own = Identity::of_its_own(&["localhost"]);
    let server = TlsPostgres::start(&own).await;
    let files = Directory::new();
    let named = &*files.write("own.pem", own.certificate());
    let another = &*files.write("another.pem", Authority::new("another").pem());
    for (sslmode, host, roots, expected) in [
        ("verify-ca", "localhost", named, Served),
        ("verify-ca", WRONG_HOST, named, Served),
        ("verify-full", "localhost", named, Served),
        ("verify-full", WRONG_HOST, named, Refused(WRONG_NAME)),
        ("verify-full", "localhost", another, Refused("add it there")),
    ] {
        check(&server.url(host), sslmode, Some(roots), &expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_on_the_server_only_disable_and_prefer_are_served() {
    let files = Directory::new();
    let ours = &*files.write("ours.pem", Authority::new("ours").pem());
    for (sslmode, roots, expected) in [
        ("disable", None, Served),
        ("prefer", None, Served),
        ("require", None, Refused(NO_TLS)),
        ("verify-ca", Some(ours), Refused(NO_TLS)),
        ("verify-full", Some(ours), Refused(NO_TLS)),
    ] {
        check(&stack().database_url, sslmode, roots, &expected).await;
    }
}
