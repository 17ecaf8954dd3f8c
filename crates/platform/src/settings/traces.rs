//! The settings of traces, as OpenTelemetry names them.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::environment::{Environment, Secret};
use super::invalid::InvalidSetting;
use super::values::web_url;

/// The names of samplers (OpenTelemetry, "Environment Variable Specification", `OTEL_TRACES_SAMPLER`): whether a trace
/// that a caller has begun is recorded as the caller says, and the share of all others.
const SAMPLERS: [(&str, bool, Option<f64>); 6] = [
    ("parentbased_always_on", true, Some(1.0)),
    ("parentbased_always_off", true, Some(0.0)),
    ("parentbased_traceidratio", true, None),
    ("always_on", false, Some(1.0)),
    ("always_off", false, Some(0.0)),
    ("traceidratio", false, None),
];

/// Where traces are sent, and which of them.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where spans are posted to.
    pub collector: Url,
    /// Headers of each request to the collector, their values still percent-encoded.
    pub headers: HashMap<String, Secret>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// Whether a trace that a caller has begun is recorded as the caller says.
    pub follows_caller: bool,
    /// The share of all other traces that are recorded, 0 to 1.
    pub share: f64,
}

impl TraceSettings {
    /// Reads the variables of traces; `None` if `OTEL_EXPORTER_OTLP_ENDPOINT` is not set.
    ///
    /// # Errors
    /// If one of the variables has a value that can't be used.
    pub fn from_environment(environment: &Environment) -> Result<Option<Self>, InvalidSetting> {
        let Some(endpoint) = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") else { return Ok(None) };
        let (follows_caller, share) =
            sampler(environment.get("OTEL_TRACES_SAMPLER"), environment.get("OTEL_TRACES_SAMPLER_ARG"))?;
        Ok(Some(Self {
            collector: collector(&endpoint)?,
            headers: headers(&environment.get("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default())?,
            gzip: gzip(environment.get("OTEL_EXPORTER_OTLP_COMPRESSION").as_deref())?,
            follows_caller,
            share,
        }))
    }
}

fn collector(endpoint: &str) -> Result<Url, InvalidSetting> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let instead = "a key goes into OTEL_EXPORTER_OTLP_HEADERS, as authorization=Bearer%20…";
    let mut url = web_url(NAME, endpoint, "the URL of a collector, as http://127.0.0.1:4318", instead)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidSetting::secret(NAME, format!("it must not hold a query; {instead}")));
    }
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn headers(text: &str) -> Result<HashMap<String, Secret>, InvalidSetting> {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let decoded = percent_decode_str(value).decode_utf8().ok()?;
        let is_good = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(&*decoded).is_ok();
        is_good.then(|| (name.to_owned(), Secret::new(value)))
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(header).collect::<Option<_>>().ok_or_else(|| {
        InvalidSetting::secret(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "name=value, several separated by commas, percent-encoded",
        )
    })
}

fn gzip(word: Option<&str>) -> Result<bool, InvalidSetting> {
    let is = |known: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(known));
    match word {
        Some(other) if !is("none") && !is("gzip") => {
            Err(InvalidSetting::new("OTEL_EXPORTER_OTLP_COMPRESSION", other, "none or gzip"))
        }
        _ => Ok(is("gzip")),
    }
}

/// Returns whether a caller is followed, and the share of all others.
fn sampler(name: Option<String>, argument: Option<String>) -> Result<(bool, f64), InvalidSetting> {
    let name = name.unwrap_or_else(|| SAMPLERS[0].0.to_owned());
    let Some((_, follows_caller, share)) =
        SAMPLERS.into_iter().find(|(known, ..)| name.eq_ignore_ascii_case(known))
    else {
        let accepted = SAMPLERS.map(|(known, ..)| known).join(", ");
        return Err(InvalidSetting::new("OTEL_TRACES_SAMPLER", &name, format!("one of {accepted}")));
    };
    if let Some(share) = share {
        return Ok((follows_caller, share));
    }
    let argument = argument.unwrap_or_else(|| "1".to_owned());
    let share = argument.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.map(|share| (follows_caller, share)).ok_or_else(|| {
        InvalidSetting::new(
            "OTEL_TRACES_SAMPLER_ARG",
            &argument,
            "the share of traces that are recorded, 0 to 1, as 0.01",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, InvalidSetting> {
        let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
        let all = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        TraceSettings::from_environment(&Environment::from_variables(all).expect("no files are named"))
    }

    #[test]
    fn spans_are_posted_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://collector/otlp/", "https://collector/otlp/v1/traces"),
        ] {
            let settings = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).expect("good").expect("set");
            assert_eq!(settings.collector.as_str(), expected);
            assert!(settings.follows_caller && settings.share >= 1.0 && !settings.gzip);
        }
        let nothing = Environment::from_variables([]).expect("no files are named");
        assert!(TraceSettings::from_environment(&nothing).expect("good").is_none(), "none is named");
    }

    // Break: let `collector` name the value, or take a URL with a password.
    #[test]
    fn what_can_not_be_used_is_refused_and_no_secret_is_shown() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hush@collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/?api-key=hush"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hush"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a name=hush"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hush%0A"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let error = read(&[(name, value)]).expect_err(value).to_string();
            assert!(error.contains(name) && !error.contains("hush"), "{error}");
        }
        for share in ["1%", "0,01", "-0.1", "1.1", "NaN", "all"] {
            let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", share)];
            let error = read(&variables).expect_err(share).to_string();
            assert!(error.contains("OTEL_TRACES_SAMPLER_ARG") && error.contains(share), "{error}");
        }
    }

    #[test]
    fn a_sampler_says_whether_a_caller_is_followed_and_how_many_of_all_others_are_recorded() {
        for (name, expected) in [
            ("ALWAYS_ON", (false, 1.0)),
            ("always_off", (false, 0.0)),
            ("traceidratio", (false, 0.25)),
            ("parentbased_always_on", (true, 1.0)),
            ("parentbased_always_off", (true, 0.0)),
            ("parentbased_traceidratio", (true, 0.25_f64)),
        ] {
            let variables = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
            let settings = read(&variables).expect("good").expect("set");
            assert_eq!(settings.follows_caller, expected.0, "{name}");
            assert!((settings.share - expected.1).abs() < f64::EPSILON, "{name}: {}", settings.share);
        }
    }

    #[test]
    fn headers_are_pairs_that_commas_separate() {
        let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a=, x-team = stamps,")];
        let settings = read(&variables).expect("good").expect("set");
        let mut headers: Vec<(&str, &str)> =
            settings.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        headers.sort_unstable();
        assert_eq!(headers, [("authorization", "Bearer%20a="), ("x-team", "stamps")]);
    }
}
