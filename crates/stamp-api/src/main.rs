//! The `stamp-api` program; what it does is in the library.

use std::process::ExitCode;

use clap::Parser;
use stamp_api::cli::ApiCli;

fn main() -> ExitCode {
    let cli = ApiCli::parse();
    platform::exit::run(cli.run())
}
