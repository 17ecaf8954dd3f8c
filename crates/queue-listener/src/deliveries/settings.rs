//! Where batches are told.

use domain::delivery::Sink;
use domain::delivery::cut::LONGEST_SOURCE;
use platform::settings::{Environment, InvalidSetting, web_url};
use reqwest::Url;
use serde::Deserialize;
use standardwebhooks::Webhook;

/// What a sink is set to.
#[derive(Debug, Clone)]
pub(crate) struct SinkSettings {
    /// Who tells: `source` of the events.
    pub(crate) source: String,
    /// To whom.
    pub(crate) target: SinkTarget,
}

/// To whom batches are told.
#[derive(Clone)]
pub(crate) enum SinkTarget {
    /// To a topic.
    Kafka {
        /// Name of the topic.
        topic: String,
    },
    /// To a receiver of HTTP requests.
    Webhook {
        /// Where the receiver is.
        url: Url,
        /// What signs the requests: each secret, while they are rotated.
        signers: Vec<Signer>,
    },
}

impl std::fmt::Debug for SinkTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.sink().as_str())
    }
}

impl SinkTarget {
    /// Returns the kind of the sink.
    pub(crate) fn sink(&self) -> Sink {
        match self {
            Self::Kafka { .. } => Sink::Kafka,
            Self::Webhook { .. } => Sink::Webhook,
        }
    }
}

/// Signs requests with one secret.
#[derive(Clone)]
pub(crate) struct Signer(std::sync::Arc<Webhook>);

impl Signer {
    /// Reads a secret: `whsec_` and base64 (Standard Webhooks, "Signature scheme").
    pub(crate) fn new(secret: &str) -> Option<Self> {
        let key = secret.strip_prefix("whsec_").filter(|key| !key.is_empty())?;
        Some(Self(std::sync::Arc::new(Webhook::new(key).ok()?)))
    }

    /// Returns the signature of a request, `v1,…`.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        self.0.sign(id, timestamp, body).ok()
    }

    /// Tells whether one of the signatures of a request is of this secret, and its time is near the present.
    pub(crate) fn verifies(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
        let mut headers = http::HeaderMap::new();
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signatures)]
        {
            let Ok(value) = value.parse() else { return false };
            headers.insert(name, value);
        }
        self.0.verify(body, &headers).is_ok()
    }
}

impl SinkSettings {
    /// Reads where batches are told, `None` if they are not.
    ///
    /// # Errors
    /// If a variable is missing or has a value that can't be used.
    pub(crate) fn from_environment(environment: &Environment) -> Result<Option<Self>, InvalidSetting> {
        #[derive(Deserialize)]
        #[allow(clippy::struct_field_names, reason = "they are the variables' names")]
        struct Raw {
            batch_sink: Option<String>,
            batch_source: Option<String>,
            batch_topic: Option<String>,
            batch_webhook_url: Option<String>,
            batch_webhook_secret: Option<String>,
        }
        let raw: Raw = environment.section()?;
        let target = match raw.batch_sink.as_deref() {
            None | Some("none") => return Ok(None),
            Some("kafka") => {
                SinkTarget::Kafka { topic: raw.batch_topic.unwrap_or_else(|| "stamp_batches".into()) }
            }
            Some("webhook") => {
                let (url, signers) = (url(raw.batch_webhook_url)?, signers(raw.batch_webhook_secret)?);
                SinkTarget::Webhook { url, signers }
            }
            Some(other) => {
                return Err(InvalidSetting::new("BATCH_SINK", other, "none, kafka or webhook"));
            }
        };
        let source = raw.batch_source.unwrap_or_else(|| "/stamp-service".into());
        if !is_reference(&source) {
            let accepted = format!("a URI reference (RFC 3986) of 1 to {LONGEST_SOURCE} characters");
            return Err(InvalidSetting::new("BATCH_SOURCE", &source, accepted));
        }
        Ok(Some(Self { source, target }))
    }
}

fn url(value: Option<String>) -> Result<Url, InvalidSetting> {
    const NAME: &str = "BATCH_WEBHOOK_URL";
    let accepted = "where batches are posted to, such as https://example.org/batches";
    let value =
        value.ok_or_else(|| InvalidSetting::Missing { name: NAME.into(), accepted: accepted.into() })?;
    web_url(NAME, &value, accepted, "requests are signed with BATCH_WEBHOOK_SECRET")
}

/// Reads the secrets that sign requests.
///
/// # Errors
/// If there is none, or one of them is no secret.
pub(crate) fn signers(value: Option<String>) -> Result<Vec<Signer>, InvalidSetting> {
    const NAME: &str = "BATCH_WEBHOOK_SECRET";
    let accepted = "whsec_ and the secret in base64; several are separated by spaces";
    let value =
        value.ok_or_else(|| InvalidSetting::Missing { name: NAME.into(), accepted: accepted.into() })?;
    let signers: Option<Vec<Signer>> = value.split_whitespace().map(Signer::new).collect();
    signers.filter(|signers| !signers.is_empty()).ok_or_else(|| InvalidSetting::secret(NAME, accepted))
}

/// Tells whether a text has nothing but the characters of a URI reference (RFC 3986, appendix A).
fn is_reference(text: &str) -> bool {
    let is_its = |it: char| it.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(it);
    !text.is_empty() && text.len() <= LONGEST_SOURCE && text.chars().all(is_its)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn settings(variables: &[(&str, &str)]) -> Result<Option<SinkSettings>, InvalidSetting> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        SinkSettings::from_environment(&Environment::from_variables(owned).expect("no files are named"))
    }

    #[test]
    fn nothing_is_told_unless_a_sink_is_set() {
        assert!(settings(&[]).expect("defaults").is_none());
        assert!(settings(&[("BATCH_SINK", "none")]).expect("none").is_none());
        let kafka = settings(&[("BATCH_SINK", "kafka")]).expect("kafka").expect("a sink");
        assert_eq!(kafka.source, "/stamp-service");
        assert!(matches!(kafka.target, SinkTarget::Kafka { topic } if topic == "stamp_batches"));
    }

    #[test]
    fn what_no_request_can_be_made_of_is_refused_without_a_secret() {
        let webhook = |url: &str, secret: &str| {
            settings(&[
                ("BATCH_SINK", "webhook"),
                ("BATCH_WEBHOOK_URL", url),
                ("BATCH_WEBHOOK_SECRET", secret),
            ])
        };
        let both = format!("{SECRET} whsec_c2Vjb25k");
        let set = webhook("http://127.0.0.1:1/x?y", &both).expect("a webhook").expect("a sink");
        assert!(matches!(set.target, SinkTarget::Webhook { signers, .. } if signers.len() == 2));
        for (url, secret) in [
            ("", SECRET),
            ("http://h/", ""),
            ("ftp://canary/", SECRET),
            ("canary", SECRET),
            ("http://canary@h/", SECRET),
            ("http://u:canary@h/", SECRET),
            ("http://h/", "canary"),
            ("http://h/", "whsec_"),
            ("http://h/", "whsec_canary!"),
            ("http://h/", &format!("{SECRET} canary")),
        ] {
            let error = webhook(url, secret).expect_err(url).to_string();
            assert!(error.starts_with("BATCH_WEBHOOK_") && !error.contains("canary"), "{error}");
        }
        for (name, value) in [("BATCH_SINK", "mail"), ("BATCH_SOURCE", "a b"), ("BATCH_SOURCE", "\\")] {
            let error = settings(&[("BATCH_SINK", "kafka"), (name, value)]).expect_err(value).to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
