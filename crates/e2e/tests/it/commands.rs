//! Usage, bad configuration, and the commands beside serving.

use test_support::TestDatabase;

use e2e::process::command;

/// Runs a program and returns exit code, standard output and standard error.
fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = command(program, variables).args(arguments).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_need_no_environment() {
    for program in ["stamp-api", "queue-listener"] {
        for argument in ["--help", "--version"] {
            let (code, out, _) = run(program, &[argument], &[]);
            assert_eq!(code, Some(0), "{program} {argument}");
            assert!(out.contains(program), "{out}");
        }
    }
}

#[test]
fn a_bad_configuration_is_exit_2_and_one_line_that_names_the_variable() {
    let url = ("DATABASE_URL", "postgres://u:canary@127.0.0.1:1/d");
    let (tls, ssl) = (("KAFKA_CONF_SECURITY_PROTOCOL", "SASL_SSL"), ("KAFKA_CONF_SECURITY_PROTOCOL", "SSL"));
    let ca = ("KAFKA_CONF_SSL_CA_LOCATION", "/no/canary");
    let sink = ("BATCH_SINK", "webhook");
    let receiver = ("BATCH_WEBHOOK_URL", "https://example.org/canary");
    for (program, variables, expected) in [
        ("stamp-api", vec![], "DATABASE_URL is not set"),
        ("queue-listener", vec![], "DATABASE_URL is not set"),
        ("queue-listener", vec![url, ("MIN_BATCH_SIZE", "11"), ("MAX_BATCH_SIZE", "10")], "MAX_BATCH_SIZE"),
        ("queue-listener", vec![url, ("MIN_BATCH_SIZE", "0")], "MIN_BATCH_SIZE=\"0\""),
        ("stamp-api", vec![url, ("HTTP_ADDR", "nowhere")], "HTTP_ADDR=\"nowhere\""),
        ("stamp-api", vec![url, ("KAFKA_CONF_ACKS", "canary")], "KAFKA_CONF_ACKS (not shown)"),
        ("queue-listener", vec![url, ("KAFKA_CONF_SASL_PASWORD", "canary")], "KAFKA_CONF_SASL_PASWORD"),
        (
            "queue-listener",
            vec![url, ("KAFKA_CONF_SASL_JAAS_CONFIG", "canary")],
            "KAFKA_CONF_SASL_JAAS_CONFIG",
        ),
        ("stamp-api", vec![url, ("KAFKA_CONF_METADATA_BROKER_LIST", "canary")], "KAFKA_BOOTSTRAP_SERVERS"),
        ("stamp-api", vec![url, ("KAFKA_BOOTSTRAP_SERVERS", "a:b")], "KAFKA_BOOTSTRAP_SERVERS=\"a:b\""),
        // What librdkafka refuses only when a client is made.
        ("stamp-api", vec![url, ("KAFKA_CONF_LINGER_MS", "1000")], "KAFKA_CONF_LINGER_MS (not shown)"),
        ("stamp-api", vec![url, tls], "KAFKA_CONF_SECURITY_PROTOCOL (not shown)"),
        ("queue-listener", vec![url, tls], "KAFKA_CONF_SECURITY_PROTOCOL (not shown)"),
        ("queue-listener", vec![url, ssl, ca], "KAFKA_CONF_SSL_CA_LOCATION (not shown)"),
        (
            "queue-listener",
            vec![url, ("KAFKA_CONF_MAX_POLL_INTERVAL_MS", "1000")],
            "KAFKA_CONF_MAX_POLL_INTERVAL_MS",
        ),
        ("queue-listener", vec![url, ("BATCH_SINK", "mail")], "BATCH_SINK=\"mail\""),
        ("queue-listener", vec![url, sink], "BATCH_WEBHOOK_URL is not set"),
        ("queue-listener", vec![url, sink, receiver], "BATCH_WEBHOOK_SECRET is not set"),
        (
            "queue-listener",
            vec![url, sink, receiver, ("BATCH_WEBHOOK_SECRET", "whsec_canary!")],
            "BATCH_WEBHOOK_SECRET (not shown)",
        ),
        (
            "queue-listener",
            vec![url, sink, ("BATCH_WEBHOOK_URL", "http://u:canary@h/")],
            "BATCH_WEBHOOK_URL (not shown)",
        ),
        ("stamp-api", vec![url, ("LOG_FORMAT", "xml")], "LOG_FORMAT=\"xml\""),
        ("stamp-api", vec![("DATABASE_URL", "canary")], "DATABASE_URL (not shown)"),
    ] {
        let (code, out, error) = run(program, &[], &variables);
        assert_eq!(code, Some(2), "{program} {variables:?}: {error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.trim().lines().count(), 1, "{error}");
        assert!(!error.contains("canary") && !out.contains("canary"), "{error}");
    }
    assert_eq!(run("stamp-api", &["serf"], &[]).0, Some(2), "wrong usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_says_what_it_did_and_a_service_on_an_older_schema_says_what_to_run() {
    let database = TestDatabase::empty().await;
    let variables =
        [("DATABASE_URL", database.url()), ("ADMIN_ADDR", "127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0")];
    for program in ["stamp-api", "queue-listener"] {
        let (code, _, error) = run(program, &[], &variables);
        assert_eq!(code, Some(1), "{program}: {error}");
        assert!(error.contains("stamp-api migrate"), "{error}");
    }
    let (code, out, error) = run("stamp-api", &["migrate"], &variables);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("create_stamps"), "{out}");
    let (code, out, _) = run("stamp-api", &["migrate"], &variables);
    assert_eq!((code, out.contains("nothing to do")), (Some(0), true), "{out}");
}

#[test]
fn a_healthcheck_of_nobody_fails() {
    let variables = [("ADMIN_ADDR", "127.0.0.1:1")];
    for program in ["stamp-api", "queue-listener"] {
        assert_eq!(run(program, &["healthcheck"], &variables).0, Some(1), "{program}");
    }
}
