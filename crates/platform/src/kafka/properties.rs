//! librdkafka's properties as an operator sets them, by `KAFKA_CONF_…` variables. None of their values is ever shown.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::settings::{Environment, InvalidSetting, Secret, content_of};

/// What the name of a variable for librdkafka begins with.
const PREFIX: &str = "KAFKA_CONF_";
const FILE: &str = "_FILE";

/// Properties that carry a promise of the services, and the reason a person is told.
const PROMISES: [(&str, &str); 17] = [
    ("acks", "an event counts as published once all in-sync replicas have it"),
    ("enable.idempotence", "a retry must not publish an event twice"),
    (
        "message.timeout.ms",
        "an event waits for Kafka as long as it takes, and a message no longer than its sender",
    ),
    ("delivery.report.only.error", "the outbox is told of every acknowledgement"),
    ("transactional.id", "PostgreSQL is where things are made atomic"),
    ("enable.auto.commit", "an offset is committed once its record is processed"),
    ("enable.auto.offset.store", "an offset is committed once its record is processed"),
    ("auto.commit.interval.ms", "an offset is committed once its record is processed"),
    ("auto.offset.reset", "nothing that is in a topic is skipped"),
    ("partition.assignment.strategy", "partitions move one by one, cooperative-sticky"),
    ("group.protocol", "partitions move one by one, cooperative-sticky"),
    ("group.remote.assignor", "partitions move one by one, cooperative-sticky"),
    ("group.instance.id", "a listener that is gone must not hold its partitions"),
    ("group.id", "KAFKA_GROUP_ID and MESSAGE_GROUP_ID name the groups"),
    ("enable.partition.eof", "the end of a partition tells when a backlog is read"),
    ("statistics.interval.ms", "they tell a listener which offsets are committed"),
    ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS names the brokers"),
];

/// Second names of properties, and the names by which the services set them (librdkafka 2.12, `CONFIGURATION.md`).
const ALIASES: [(&str, &str); 10] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("retries", "message.send.max.retries"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanisms", "sasl.mechanism"),
];

const MECHANISM: &str = "sasl.mechanism";
/// librdkafka fetches tokens with libcurl, which its build as a part of this program does not find.
const NO_OAUTH: &str =
    "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or a client's certificate; OAUTHBEARER is not built in";

/// A property that an operator has set.
#[derive(Debug, Clone)]
pub(super) struct Property {
    /// Name of the variable.
    pub(super) variable: String,
    /// Value of the property.
    pub(super) value: Secret,
}

/// The properties that an operator has set, each under the one name by which the services set it.
pub(super) type Properties = BTreeMap<String, Property>;

/// Reads the `KAFKA_CONF_…` variables.
///
/// # Errors
/// If librdkafka does not know a property or its value, a property would break a promise, or two variables set one
/// property to different values.
pub(super) fn read(environment: &Environment) -> Result<Properties, InvalidSetting> {
    let mut all = Properties::new();
    for (variable, value) in environment.beginning_with(PREFIX) {
        let property = of_variable(&variable, value)?;
        let name = name(&property.variable);
        check(&name, &property)?;
        let key = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(&*name, |(_, key)| key).to_owned();
        if let Some((_, promise)) = PROMISES.iter().find(|(promised, _)| *promised == key) {
            return Err(InvalidSetting::secret(&variable, format!("{name} can't be changed: {promise}")));
        }
        if key == MECHANISM && property.value.expose().eq_ignore_ascii_case("OAUTHBEARER") {
            return Err(InvalidSetting::secret(&variable, NO_OAUTH));
        }
        match all.get(&key) {
            Some(other) if other.value != property.value || other.variable == property.variable => {
                let why = format!("it sets the same property as {}; set one of them", other.variable);
                return Err(InvalidSetting::secret(&variable, why));
            }
            _ => _ = all.insert(key, property),
        }
    }
    Ok(all)
}

/// Takes a variable's value for that of the property, or for the name of a file that holds it.
fn of_variable(variable: &str, value: String) -> Result<Property, InvalidSetting> {
    // Some properties end in `file` themselves.
    match variable.strip_suffix(FILE).filter(|_| !is_known(&name(variable))) {
        None => Ok(Property { variable: variable.to_owned(), value: Secret::new(value) }),
        Some(property) => {
            let content = content_of(&value).map_err(|why| InvalidSetting::secret(variable, why))?;
            Ok(Property { variable: property.to_owned(), value: Secret::new(content) })
        }
    }
}

/// Returns librdkafka's name of a variable: `KAFKA_CONF_SASL_PASSWORD` is `sasl.password`.
fn name(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_lowercase().replace('_', ".")
}

fn set(name: &str, value: &str) -> Result<(), KafkaError> {
    ClientConfig::new().set(name, value).create_native_config().map(drop)
}

fn is_known(name: &str) -> bool {
    !matches!(set(name, ""), Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)))
}

fn check(name: &str, property: &Property) -> Result<(), InvalidSetting> {
    let Err(error) = set(name, property.value.expose()) else { return Ok(()) };
    let why = match error {
        KafkaError::ClientConfig(_, why, ..) => why,
        other => other.to_string(),
    };
    let why = without_values(&why, [&property.value]);
    let accepted = format!("a property of librdkafka and a value that it takes ({why})");
    Err(InvalidSetting::secret(&property.variable, accepted))
}

/// Returns a text in one line and without these values, where they stand by themselves.
pub(super) fn without_values<'a>(text: &str, values: impl IntoIterator<Item = &'a Secret>) -> String {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    values.into_iter().fold(line, |line, value| without(&line, value.expose()))
}

fn without(text: &str, value: &str) -> String {
    let (mut rest, mut kept) = (text, String::with_capacity(text.len()));
    while let Some(at) = rest.find(value).filter(|_| !value.is_empty()) {
        let (before, found) = rest.split_at(at);
        let after = &found[value.len()..];
        let goes_on = |text: Option<char>| text.is_some_and(char::is_alphanumeric);
        let is_part = goes_on(before.chars().next_back()) || goes_on(after.chars().next());
        kept += before;
        kept += if is_part { value } else { "…" };
        rest = after;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(variables: &[(&str, &str)]) -> Result<Properties, InvalidSetting> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        read(&Environment::from_variables(owned).expect("no files are named"))
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        read_all(variables).expect_err(variables[0].0).to_string()
    }

    #[test]
    fn second_names_are_those_of_librdkafka() {
        // What the topics' own property of that name says, the client's overrules.
        for (alias, key) in ALIASES.into_iter().filter(|(alias, _)| *alias != "auto.commit.enable") {
            let (mut one, mut other) = (ClientConfig::new(), ClientConfig::new());
            // One of these each of them takes, and none has it already.
            let value =
                ["3", "lz4", "false"].into_iter().find(|value| set(alias, value).is_ok()).expect(alias);
            let changed = one.set(alias, value).create_native_config().expect(alias);
            let expected = other.set(key, value).create_native_config().expect(key);
            let get = |config: &rdkafka::config::NativeClientConfig| config.get(key).unwrap_or_default();
            assert_eq!(get(&changed), get(&expected), "{alias}");
        }
    }

    #[test]
    fn what_breaks_a_promise_is_refused_under_each_of_its_names() {
        for (variable, named) in [
            ("KAFKA_CONF_ACKS", "in-sync replicas"),
            ("KAFKA_CONF_REQUEST_REQUIRED_ACKS", "in-sync replicas"),
            ("KAFKA_CONF_AUTO_COMMIT_ENABLE", "once its record is processed"),
            ("KAFKA_CONF_METADATA_BROKER_LIST", "KAFKA_BOOTSTRAP_SERVERS"),
            ("KAFKA_CONF_DELIVERY_TIMEOUT_MS", "as long as it takes"),
            ("KAFKA_CONF_GROUP_INSTANCE_ID", "must not hold its partitions"),
        ] {
            let error = refused(&[(variable, "1")]);
            assert!(error.starts_with(variable) && error.contains(named), "{error}");
        }
    }

    #[test]
    fn two_names_of_one_property_have_to_agree() {
        let names = ["KAFKA_CONF_SASL_MECHANISM", "KAFKA_CONF_SASL_MECHANISMS"];
        let error = refused(&[(names[0], "PLAIN"), (names[1], "SCRAM-SHA-256")]);
        assert!(
            refused(&[("KAFKA_CONF_SASL_PASSWORD", "x"), ("KAFKA_CONF_SASL_PASSWORD_FILE", "/dev/null")])
                .contains("set one")
        );
        assert!(names.iter().all(|name| error.contains(name)) && !error.contains("PLAIN"), "{error}");
        let agreed = read_all(&[(names[0], "PLAIN"), (names[1], "PLAIN")]).expect("the same twice");
        assert_eq!(agreed.len(), 1);
    }

    #[test]
    fn no_value_is_shown_whatever_is_wrong() {
        for (variable, value) in [
            ("KAFKA_CONF_SASL_PASWORD", "canary"),
            ("KAFKA_CONF_SASL_JAAS_CONFIG", "password=canary;"),
            ("KAFKA_CONF_SOCKET_TIMEOUT_MS", "canary"),
            ("KAFKA_CONF_SOCKET_TIMEOUT_MS", "99999999999999999999"),
            ("KAFKA_CONF_SECURITY_PROTOCOL", "canary"),
            ("KAFKA_CONF_SASL_PASSWORD_FILE", "/no/canary"),
            ("KAFKA_CONF_ACKS", "canary"),
        ] {
            let error = refused(&[(variable, value)]);
            assert!(error.starts_with(variable) && !error.contains('\n'), "{error}");
            assert!(!error.contains("canary") && !error.contains("99999"), "{error}");
        }
    }

    #[test]
    fn a_value_comes_from_a_file_unless_the_property_is_a_file_itself() {
        let file = std::env::temp_dir().join(format!("property-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "canary\n").expect("a temporary file");
        let path = file.to_string_lossy().into_owned();
        let read = read_all(&[("KAFKA_CONF_SASL_PASSWORD_FILE", path.as_str())]);
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(read.expect("known")["sasl.password"].value.expose(), "canary");
        // Nobody looks for that file: the property is known, and what it is for is not built in.
        let error = refused(&[("KAFKA_CONF_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE", "/no/canary")]);
        assert!(error.contains("not supported in this build") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn what_is_not_built_in_is_refused_with_what_is() {
        for variable in ["KAFKA_CONF_SASL_MECHANISM", "KAFKA_CONF_SASL_MECHANISMS"] {
            let error = refused(&[(variable, "OAUTHBEARER")]);
            assert!(error.starts_with(variable) && error.contains("SCRAM-SHA-256"), "{error}");
        }
    }

    #[test]
    fn a_value_is_taken_out_of_a_text_where_it_stands_by_itself() {
        let values = ["12", "a/b"].map(Secret::new);
        assert_eq!(without_values("12 of 120:\n a/b is \"a/b\"", &values), "… of 120: … is \"…\"");
    }
}
