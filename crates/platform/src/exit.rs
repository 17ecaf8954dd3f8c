//! How a program ends: what it says, and its exit code.

use std::process::ExitCode;
use std::time::Duration;

use crate::settings::InvalidSetting;
use crate::spans;

/// Exit code of a failure while running.
const FAILED: u8 = 1;
/// Exit code of bad configuration; wrong usage of the command line ends with the same code.
const BAD_CONFIGURATION: u8 = 2;

/// Runs a program to its end. If it fails, standard error gets one line with the error and its causes.
pub fn run(program: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(program);
            spans::flush();
            // What is left may wait for a broker that is away; nothing depends on it any more.
            runtime.shutdown_timeout(Duration::from_millis(100));
            outcome
        });
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {}", in_one_line(&error));
    ExitCode::from(code(&error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error>::is::<InvalidSetting>) { BAD_CONFIGURATION } else { FAILED }
}

fn in_one_line(error: &anyhow::Error) -> String {
    let chain = format!("{error:#}");
    chain.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_bad_setting_is_told_from_a_failure_while_running() {
        let setting: anyhow::Result<()> = Err(InvalidSetting::new("A", "b", "c").into());
        assert_eq!(code(&setting.context("while starting").expect_err("bad")), BAD_CONFIGURATION);
        assert_eq!(code(&anyhow!("the disk is full")), FAILED);
    }

    #[test]
    fn an_error_and_its_causes_take_one_line() {
        let error = anyhow!("no route\nto host").context("can't connect");
        assert_eq!(in_one_line(&error), "can't connect: no route to host");
    }
}
