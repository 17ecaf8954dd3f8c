//! TLS to PostgreSQL, with the checks of libpq's `sslmode` (PostgreSQL manual, 32.19 "SSL Support").

use std::sync::Arc;

use anyhow::anyhow;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is checked of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing is checked: the link is encrypted, and may lead to anybody.
    Nothing,
    /// An authority that is trusted has signed the certificate.
    Authority,
    /// An authority that is trusted has signed the certificate for the host that was asked for.
    Host,
}

/// Returns what makes TLS connections. Each asks for the name of its own host.
///
/// # Errors
/// If there is no root certificate that can be read.
pub(super) fn connector(check: Check, root_file: Option<&str>) -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match check {
        Check::Nothing => None,
        Check::Authority | Check::Host => Some(Trust::new(roots(root_file)?, &provider)?),
    };
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier = CertificateVerifier { provider, trust, asks_for_host: check == Check::Host };
    let config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Returns the certificates of a file, or the system's where none is named.
fn roots(file: Option<&str>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    match file {
        None | Some("system") => Ok(rustls_native_certs::load_native_certs().certs),
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| anyhow!("sslrootcert={file} can't be read: {error}")),
    }
}

/// The certificates that are trusted.
#[derive(Debug)]
struct Trust {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Trust {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        if store.is_empty() {
            return Err(anyhow!("no root certificate found; name a file with sslrootcert"));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
        Ok(Self { certificates, authorities: verifier.build()? })
    }
}

/// A verifier of certificates that checks what the `sslmode` asks for, and no more.
#[derive(Debug)]
struct CertificateVerifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    asks_for_host: bool,
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        match trust.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.asks_for_host => Ok(ServerCertVerified::assertion()),
            Err(error) if is_an_authority_s(&error) => self.verify_itself(trust, end_entity, server_name),
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

impl CertificateVerifier {
    /// Verifies a certificate that is an authority's own, such as the one that PostgreSQL's manual has people sign by
    /// themselves: it is trusted if it is itself among those that are. So does OpenSSL, and with it libpq.
    fn verify_itself(
        &self,
        trust: &Trust,
        certificate: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !trust.certificates.iter().any(|trusted| trusted == certificate) {
            return Err(rustls::Error::General(
                "the server shows an authority's own certificate (CA:TRUE), which is none of those in sslrootcert; \
                 add it there, or give the server a certificate that is no authority's"
                    .to_owned(),
            ));
        }
        if self.asks_for_host {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

/// Tells whether all is well with a certificate, its dates too, but that it is an authority's own.
fn is_an_authority_s(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(why))
        if why.to_string().contains("CaUsedAsEndEntity"))
}
