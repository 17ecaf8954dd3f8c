//! The environment, read once at the start. Nothing else in the project looks at environment variables.
//!
//! A section is a struct of optional strings that [`envy`] fills; its values are then parsed by [`number`], [`seconds`],
//! [`flag`], [`address`] and [`web_url`], so that every error names the variable, its value and what is accepted.

mod environment;
mod invalid;
mod process;
#[cfg(test)]
mod tests;
mod traces;
mod values;

pub use self::environment::{Environment, Secret, content_of};
pub use self::invalid::InvalidSetting;
pub use self::process::ProcessSettings;
pub use self::traces::TraceSettings;
pub use self::values::{address, flag, number, seconds, web_url};
