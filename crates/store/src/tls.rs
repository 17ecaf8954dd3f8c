//! `DATABASE_URL`, with `sslmode` and `sslrootcert` as libpq has them (PostgreSQL manual, 32.19 "SSL Support").

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use platform::settings::{InvalidSetting, Secret};

const ACCEPTED: &str = "postgres://user:password@host:port/database, with sslmode = disable, prefer, require, \
                        verify-ca or verify-full and sslrootcert as query parameters where needed";

/// A server to connect to, and how.
#[derive(Clone)]
pub(crate) struct Target {
    config: tokio_postgres::Config,
    /// How TLS is set up; `None` where `sslmode=disable`.
    tls: Option<MakeRustlsConnect>,
}

impl Target {
    /// Understands a `DATABASE_URL`.
    pub(crate) fn parse(url: &Secret, application_name: &str) -> Result<Self, InvalidSetting> {
        let invalid = |why: &dyn std::fmt::Display| {
            InvalidSetting::secret("DATABASE_URL", format!("{ACCEPTED} ({why})"))
        };
        let mut parsed = url::Url::parse(url.expose()).map_err(|error| invalid(&error))?;
        let (mut sslmode, mut sslrootcert, mut others) = (None, None, Vec::new());
        for (name, value) in parsed.query_pairs() {
            match &*name {
                "sslmode" => sslmode = Some(value.into_owned()),
                "sslrootcert" => sslrootcert = Some(value.into_owned()),
                _ => others.push((name.into_owned(), value.into_owned())),
            }
        }
        parsed.set_query(None);
        if !others.is_empty() {
            parsed.query_pairs_mut().extend_pairs(others);
        }
        let mut config =
            tokio_postgres::Config::from_str(parsed.as_str()).map_err(|error| invalid(&error))?;
        let mode = sslmode.as_deref().unwrap_or("prefer");
        let roots = sslrootcert.as_deref();
        let (ssl_mode, check) = match (mode, roots) {
            ("disable", _) => (SslMode::Disable, None),
            ("prefer", _) => (SslMode::Prefer, Some(Check::Nothing)),
            // As libpq does: a root certificate that is given is used.
            ("require", None) => (SslMode::Require, Some(Check::Nothing)),
            ("require" | "verify-ca", _) => (SslMode::Require, Some(Check::Authority)),
            ("verify-full", _) => (SslMode::Require, Some(Check::Host)),
            (other, _) => return Err(invalid(&format!("sslmode={other} is none of these"))),
        };
        let tls = check.map(|check| tls(check, roots)).transpose().map_err(|error| invalid(&error))?;
        let options = config.get_options().unwrap_or_default().to_owned();
        config
            .ssl_mode(ssl_mode)
            .application_name(application_name)
            .connect_timeout(Duration::from_secs(2))
            // A link that went half open is noticed within five seconds, whichever side has something to say.
            .keepalives_idle(Duration::from_secs(3))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(5))
            .options(format!(
                "{options} -c statement_timeout=15s -c lock_timeout=3s -c idle_in_transaction_session_timeout=5s \
                 -c default_transaction_isolation=read\\ committed"
            ));
        Ok(Self { config, tls })
    }

    /// Returns the same server without limits on how long a statement takes.
    pub(crate) fn without_timeouts(mut self) -> Self {
        self.config.options("");
        self
    }

    /// Returns what the pool for bulk statements connects with.
    pub(crate) fn bulk_manager(&self) -> deadpool_postgres::Manager {
        // A bulk statement looks up as many rows as it is given, never a share of a table: without these the
        // planner reads whole tables of middling size, or compiles what runs for milliseconds. Planning anew
        // each time lets it see how many rows there are.
        let planning =
            "-c enable_seqscan=off -c enable_mergejoin=off -c jit=off -c plan_cache_mode=force_custom_plan";
        let mut config = self.config.clone();
        config.options(format!("{} {planning}", self.config.get_options().unwrap_or_default()));
        let method = deadpool_postgres::ManagerConfig {
            recycling_method: deadpool_postgres::RecyclingMethod::Verified,
        };
        match &self.tls {
            Some(tls) => deadpool_postgres::Manager::from_config(config, tls.clone(), method),
            None => deadpool_postgres::Manager::from_config(config, NoTls, method),
        }
    }

    /// Opens a connection for Diesel.
    pub(crate) async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let failed = |error: tokio_postgres::Error| {
            ConnectionError::BadConnection(super::DatabaseError::Postgres(error).to_string())
        };
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(failed)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
        }
    }
}

/// What is checked of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Authority,
    Host,
}

fn tls(check: Check, root_file: Option<&str>) -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match check {
        Check::Host => builder.with_root_certificates(roots(root_file)?).with_no_client_auth(),
        Check::Authority | Check::Nothing => {
            let authorities = match check {
                Check::Authority => {
                    let roots = Arc::new(roots(root_file)?);
                    Some(WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build()?)
                }
                _ => None,
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(LenientVerifier { provider, authorities }))
                .with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

/// Returns the certificates of a file, or the system's where none is named.
fn roots(file: Option<&str>) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match file {
        None | Some("system") => rustls_native_certs::load_native_certs().certs,
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| anyhow!("sslrootcert={file} can't be read: {error}"))?,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(anyhow!("no root certificate found; name a file with sslrootcert"));
    }
    Ok(store)
}

/// A verifier for two modes: `require` checks nothing, `verify-ca` all but the host name, as the two are defined.
#[derive(Debug)]
struct LenientVerifier {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, InvalidSetting> {
        Target::parse(&Secret::new(url), "test")
    }

    #[test]
    fn every_sslmode_of_the_contract_is_understood() {
        let modes =
            [("disable", SslMode::Disable), ("prefer", SslMode::Prefer), ("require", SslMode::Require)];
        for (mode, expected) in modes {
            let target = parse(&format!("postgres://u:p@h/d?sslmode={mode}")).expect(mode);
            assert_eq!(target.config.get_ssl_mode(), expected, "{mode}");
        }
        assert_eq!(parse("postgres://u:p@h/d").expect("a URL").config.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        for url in [
            "canary",
            "postgres://u:canary@h/d?sslmode=maybe",
            "postgres://u:canary@h/d?sslmode=verify-full&sslrootcert=/none",
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(error.starts_with("DATABASE_URL") && !error.contains("canary"), "{error}");
        }
    }
}
