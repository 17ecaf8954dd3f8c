//! The client for requests that a service makes by itself, as to a receiver or a collector.

use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};

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
