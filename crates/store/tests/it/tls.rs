//! What each `sslmode` asks of a server, over both pools.

use std::path::Path;

use diesel_async::RunQueryDsl;
use platform::settings::Secret;
use store::Database;
use store::settings::DatabaseSettings;
use test_support::tls::{Authority, TlsPostgres};
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

/// Asks one question over each of the two pools.
async fn ask(url: &str) -> [Result<(), String>; 2] {
    let settings = DatabaseSettings { url: Secret::new(url), pool_size: 2 };
    let database = match Database::new(&settings, "test") {
        Ok(database) => database,
        Err(error) => return [Err(error.to_string()), Err(error.to_string())],
    };
    let question = database.ask(|connection| {
        Box::pin(async move { diesel::sql_query("SELECT 1").execute(connection).await.map(drop) })
    });
    let diesel = question.await.map_err(|error| error.to_string());
    let bulk = store::clock::ClockSample::of(&database).await.map(drop).map_err(|error| error.to_string());
    [diesel, bulk]
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
    for (pool, answer) in ["Diesel's", "the bulk"].into_iter().zip(ask(url.as_str()).await) {
        match (expected, &answer) {
            (Served, Ok(())) => {}
            (Refused(cause), Err(error)) if error.contains(cause) => {}
            _ => panic!(
                "sslmode={sslmode} to {host} with {roots:?} over {pool} pool: {answer:?}, not {expected:?}"
            ),
        }
    }
}

// Break: use `Check::Authority` for `Check::Host` in tls.rs.
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
