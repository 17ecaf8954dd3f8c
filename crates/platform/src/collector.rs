//! The way of spans to their collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::Client;
use tokio::runtime::Handle;

use crate::http_client;

/// How long a collector may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends requests on this process's runtime: the exporter calls from a thread of its own.
#[derive(Debug)]
pub(crate) struct Collector {
    client: Client,
    runtime: Handle,
    /// Whether the last request has failed.
    is_failing: AtomicBool,
}

impl Collector {
    /// Prepares requests, on a runtime.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let client = http_client::builder(http_client::system_roots())?.timeout(LIMIT).build()?;
        Ok(Self { client, runtime: Handle::current(), is_failing: AtomicBool::new(false) })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), request.try_into()?);
        let sent = self.runtime.spawn(async move {
            let response = client.execute(request).await.map_err(http_client::reason)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = http_client::read(response).await;
            let mut answer = Response::builder().status(status).body(Bytes::from(body))?;
            *answer.headers_mut() = headers;
            Ok::<_, HttpError>(answer)
        });
        let sent = sent.await?;
        self.tell_of(match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        });
        sent
    }
}

impl Collector {
    /// Logs that spans are lost from now on, or no longer.
    fn tell_of(&self, error: Option<String>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                tracing::warn!(error, "the collector takes no spans; they are lost");
            }
            None if was_failing => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}
