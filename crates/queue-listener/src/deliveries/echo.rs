//! `queue-listener webhook-echo`: a receiver for developers, who see what they will get.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use clap::Args;
use platform::settings::{Environment, InvalidSetting};
use serde_json::Value;

use super::settings::{Signer, signers};
use crate::output::line;
use crate::terminal::{escaped, json_line};

/// The most bytes of an event that are taken.
const LARGEST: usize = 1024 * 1024;

/// Takes batches as a receiver would: checks their signatures with `BATCH_WEBHOOK_SECRET` and prints what came.
///
/// A help for developers; it listens on 127.0.0.1.
#[derive(Debug, Args)]
pub(crate) struct WebhookEcho {
    /// The port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The share of requests that are answered 500, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    fail: f64,
    /// How long an answer takes, such as 2s.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    slow: Duration,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// How requests are answered.
#[derive(Clone)]
struct Answering {
    signers: Vec<Signer>,
    fail: f64,
    slow: Duration,
}

impl WebhookEcho {
    /// Takes batches until it is stopped.
    ///
    /// # Errors
    /// If the secret is missing or the port can't be bound.
    pub(crate) async fn run(self, environment: &Environment) -> anyhow::Result<()> {
        let signers = signers(environment.get("BATCH_WEBHOOK_SECRET"))?;
        let answering = Answering { signers, fail: self.fail, slow: self.slow };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(answering.clone()))
                .app_data(web::PayloadConfig::new(LARGEST))
                .default_service(web::to(take))
        });
        let server = server.workers(1).bind(address).map_err(|error| {
            InvalidSetting::new("--port", &self.port.to_string(), format!("a port that is free ({error})"))
        })?;
        let bound = server.addrs().first().copied().unwrap_or(address);
        line(&format!("batches are taken on http://{bound}"))?;
        Ok(server.run().await?)
    }
}

async fn take(
    request: HttpRequest,
    body: web::Bytes,
    answering: web::Data<Answering>,
) -> anyhow::Result<HttpResponse, actix_web::Error> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (id, timestamp, signatures) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let is_signed = answering.signers.iter().any(|signer| signer.verifies(id, timestamp, signatures, &body));
    tokio::time::sleep(answering.slow).await;
    let is_failing = rand::random::<f64>() < answering.fail;
    let status = match (is_signed, is_failing) {
        (false, _) => 401,
        (true, true) => 500,
        (true, false) => 204,
    };
    let event =
        serde_json::from_slice::<Value>(&body).map_or_else(|_| "(no JSON)".to_owned(), |it| json_line(&it));
    // Whoever reads may have stopped reading.
    let _unread = line(&format!("{status} {} {event}", escaped(id)));
    Ok(HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap_or_default()).finish())
}
