//! Tells events to a receiver of HTTP requests, signed after Standard Webhooks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::courier::TRY;
use domain::delivery::event::MEDIA_TYPE;
use domain::delivery::schedule::TryOutcome;
use platform::http_client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use rustls::RootCertStore;

use super::outgoing::{OutgoingEvent, Tried};
use super::settings::Signer;

/// How long it may take to reach the receiver.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take that has begun.
const REST: Duration = Duration::from_secs(1);

/// A receiver of HTTP requests.
pub(super) struct ToReceiver {
    client: Client,
    url: Url,
    signers: Vec<Signer>,
}

impl ToReceiver {
    /// Prepares requests; connections are opened when they are needed. Trusted is whom the system trusts.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub(super) fn new(url: Url, signers: Vec<Signer>) -> anyhow::Result<Self> {
        Self::trusting(http_client::system_roots(), url, signers)
    }

    fn trusting(roots: RootCertStore, url: Url, signers: Vec<Signer>) -> anyhow::Result<Self> {
        let client = http_client::builder(roots)?.connect_timeout(CONNECT).build()?;
        Ok(Self { client, url, signers })
    }

    /// Makes a try.
    pub(super) async fn tell(&self, outgoing: OutgoingEvent, now: DateTime<Utc>) -> Tried {
        let timestamp = now.timestamp();
        let sign = |signer: &Signer| signer.sign(&outgoing.id, timestamp, &outgoing.body);
        let signatures: Vec<String> = self.signers.iter().filter_map(sign).collect();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header("webhook-id", outgoing.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(outgoing.body);
        let response = match tokio::time::timeout(TRY, request.send()).await {
            Ok(Ok(response)) => response,
            // The URL is not shown: it may hold a secret.
            Ok(Err(error)) => return (TryOutcome::Again(None), Some(http_client::reason(error))),
            Err(_elapsed) => {
                return (TryOutcome::Again(None), Some(format!("no answer within {} s", TRY.as_secs())));
            }
        };
        let status = response.status();
        let pause = retry_after(response.headers(), now);
        // What the receiver says is known, however much of its answer comes.
        let _too_long = tokio::time::timeout(REST, http_client::read(response)).await;
        if status.is_success() {
            return (TryOutcome::Delivered, None);
        }
        let error = Some(format!("the receiver answered {}", status.as_u16()));
        if status == StatusCode::GONE {
            (TryOutcome::Refused, error)
        } else {
            (TryOutcome::Again(pause), error)
        }
    }
}

/// Returns the pause that a receiver asks for (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use test_support::tls::{Authority, Identity};

    use super::*;

    /// Answers one request over TLS. Returns the port.
    fn receiver(identity: &Identity) -> u16 {
        let certificate = CertificateDer::from_pem_slice(identity.certificate().as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(identity.key().as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream);
            // A client that does not trust the certificate goes away.
            if stream.read(&mut [0; 1_024]).is_ok() {
                let _gone = stream.write_all(b"HTTP/1.1 204 Yes\r\nconnection: close\r\n\r\n");
            }
        });
        port
    }

    async fn told(port: u16, authority: &Authority) -> Tried {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM")).expect("a root");
        let url = Url::parse(&format!("https://localhost:{port}/token")).expect("a URL");
        let receiver = ToReceiver::trusting(roots, url, Vec::new()).expect("a client");
        let outgoing = OutgoingEvent { id: "batch-1".to_owned(), batch: 1, body: b"{}".to_vec() };
        receiver.tell(outgoing, DateTime::UNIX_EPOCH).await
    }

    // Break: let the client of `ToReceiver::trusting` accept any certificate.
    #[tokio::test]
    async fn only_who_is_trusted_under_the_name_in_the_url_is_told() {
        let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
        let right = receiver(&trusted.certify(&["localhost"]));
        assert_eq!(told(right, &trusted).await, (TryOutcome::Delivered, None));
        for (identity, says) in [
            (trusted.certify(&["example.org"]), "not valid for name"),
            (other.certify(&["localhost"]), "UnknownIssuer"),
        ] {
            let (outcome, error) = told(receiver(&identity), &trusted).await;
            let error = error.expect("what went wrong");
            assert_eq!(outcome, TryOutcome::Again(None));
            assert!(error.contains(says) && !error.contains("token"), "{error}");
        }
    }

    #[test]
    fn a_pause_is_read_in_seconds_and_as_a_date() {
        let now = DateTime::from_timestamp(1_445_412_480, 0).expect("a valid time");
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().expect("a header"));
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:29:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }
}
