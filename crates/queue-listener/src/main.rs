//! The `queue-listener` program; what it does is in the library.

use std::process::ExitCode;

use clap::Parser;
use queue_listener::cli::ListenerCli;

fn main() -> ExitCode {
    let cli = ListenerCli::parse();
    platform::exit::run(cli.run())
}
