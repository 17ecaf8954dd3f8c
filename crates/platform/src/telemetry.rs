//! Logs on standard output, by `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use crate::settings::{Environment, InvalidSetting};

/// The target of lines that are written whatever `RUST_LOG` says: without the address of a port that the system
/// picked, nobody could reach the service.
pub const ALWAYS: &str = "address";

/// Starts logging as `RUST_LOG` (default `info`) and `LOG_FORMAT` (`text` or `json`) say.
///
/// # Errors
/// If one of the two variables has a value that can't be understood.
pub fn init(environment: &Environment) -> Result<(), InvalidSetting> {
    let rust_log = environment.get("RUST_LOG").unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::builder().parse(&rust_log).map_err(|_| {
        InvalidSetting::new("RUST_LOG", &rust_log, "directives such as info or info,stamp_api=debug")
    })?;
    let always = format!("{ALWAYS}=info").parse().map_err(|_| {
        InvalidSetting::new("RUST_LOG", &rust_log, "directives such as info or info,stamp_api=debug")
    })?;
    let registry = tracing_subscriber::registry().with(filter.add_directive(always));
    let log_format = environment.get("LOG_FORMAT").unwrap_or_else(|| "text".to_owned());
    let colours = std::io::stdout().is_terminal();
    // A second start in one process, as in tests, keeps the first subscriber.
    let _kept = match log_format.as_str() {
        "text" => registry.with(tracing_subscriber::fmt::layer().with_ansi(colours)).try_init(),
        "json" => registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true)).try_init(),
        _ => return Err(InvalidSetting::new("LOG_FORMAT", &log_format, "text or json")),
    };
    Ok(())
}

/// Logs where a server can be reached.
pub fn announce(what: &str, address: std::net::SocketAddr) {
    tracing::info!(target: ALWAYS, "{what} on http://{address}");
}
