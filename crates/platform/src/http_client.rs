//! The client for requests that a service makes by itself, as to a receiver or a collector.

use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Response};
use rustls::{ClientConfig, RootCertStore};

/// The most bytes that are read of an answer.
const MOST: usize = 64 * 1024;

/// Returns the authorities that the system trusts.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Returns what a client is made of that trusts these authorities, goes where it is sent and nowhere else: it follows no
/// redirect and uses no proxy of the environment.
///
/// # Errors
/// If TLS can't be set up.
pub fn builder(roots: RootCertStore) -> Result<ClientBuilder, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let user_agent = concat!("stamp-service/", env!("CARGO_PKG_VERSION"));
    Ok(ClientBuilder::new()
        .use_preconfigured_tls(tls)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(user_agent))
}

/// Reads an answer up to 64 KiB, and returns that. After one that was read to its end the connection can be used again.
pub async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MOST {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

/// Returns what kept a request from being answered, without its URL, which may hold a secret.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
