//! The values of variables: every error names the variable, its value and what is accepted.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

use super::invalid::InvalidSetting;

/// Parses a number within a range.
///
/// # Errors
/// If the value is no number, or lies outside the range.
pub fn number<N>(
    name: &str,
    value: Option<String>,
    default: N,
    range: RangeInclusive<N>,
) -> Result<N, InvalidSetting>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(value) = value else { return Ok(default) };
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        InvalidSetting::new(name, &value, format!("a whole number from {} to {}", range.start(), range.end()))
    })
}

/// Parses a time in whole seconds within a range.
///
/// # Errors
/// If the value is no number, or lies outside the range.
pub fn seconds(
    name: &str,
    value: Option<String>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, InvalidSetting> {
    number(name, value, default, range).map(Duration::from_secs)
}

/// Parses `true` or `false`.
///
/// # Errors
/// If the value is something else.
pub fn flag(name: &str, value: Option<String>, default: bool) -> Result<bool, InvalidSetting> {
    let Some(value) = value else { return Ok(default) };
    value.parse().map_err(|_| InvalidSetting::new(name, &value, "true or false"))
}

/// Parses the URL of a web server. A URL may hold a secret anywhere, so no error shows it.
///
/// * `accepted`: what the variable should hold.
/// * `instead`: where what proves who asks belongs, which is not the URL.
///
/// # Errors
/// If the value is no URL, has another scheme than http and https, or holds a user or a password.
pub fn web_url(name: &str, value: &str, accepted: &str, instead: &str) -> Result<Url, InvalidSetting> {
    let url =
        Url::parse(value).map_err(|error| InvalidSetting::secret(name, format!("{accepted} ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidSetting::secret(name, "its scheme must be http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidSetting::secret(
            name,
            format!("it must not hold a user or a password; {instead}"),
        ));
    }
    Ok(url)
}

/// Parses an address to listen on.
///
/// # Errors
/// If the value is not an IP address with a port.
pub fn address(name: &str, value: Option<String>, default: &str) -> Result<SocketAddr, InvalidSetting> {
    let value = value.unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|_| {
        InvalidSetting::new(
            name,
            &value,
            "an IP address and a port, such as 127.0.0.1:8000; port 0 picks a free one",
        )
    })
}
