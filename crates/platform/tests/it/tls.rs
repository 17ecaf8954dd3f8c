//! `KAFKA_CONF_…` reaches a Kafka that speaks TLS, and librdkafka checks whom it talks to.

use std::sync::Mutex;
use std::time::Duration;

use platform::kafka::KafkaSettings;
use platform::kafka::topics::{TopicError, TopicMaker, TopicSpec};
use platform::settings::Environment;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use test_support::tls::{Authority, TlsKafka};
use test_support::{Directory, eventually};

/// What librdkafka says of a certificate that it does not trust.
const NOT_VERIFIED: &str = "broker certificate could not be verified";

/// What librdkafka says about its connections.
#[derive(Default)]
struct Complaints(Mutex<Vec<String>>);

impl ClientContext for Complaints {
    fn error(&self, _: KafkaError, reason: &str) {
        self.0.lock().expect("nobody panics with it").push(reason.to_owned());
    }
}

impl ProducerContext for Complaints {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::producer::DeliveryResult<'_>, (): ()) {}
}

fn settings(address: &str, conf: &[(&str, &str)]) -> KafkaSettings {
    let variables = [("KAFKA_BOOTSTRAP_SERVERS", address), ("KAFKA_CONF_BROKER_ADDRESS_FAMILY", "v4")];
    let variables = variables.iter().chain(conf).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let environment = Environment::from_variables(variables).expect("no files are named");
    KafkaSettings::from_environment(&environment).expect("librdkafka knows them")
}

async fn ensure(settings: &KafkaSettings) -> Result<(), TopicError> {
    let name = "over-tls".to_owned();
    let retention = Duration::from_hours(1);
    let topic = TopicSpec { name, partitions: 1, replication_factor: 1, retention: Some(retention) };
    TopicMaker::new(settings).expect("a client").ensure(&topic).await
}

async fn expect_refused(settings: &KafkaSettings, cause: &str) {
    let config = settings.client_config();
    let producer: BaseProducer<Complaints> =
        config.create_with_context(Complaints::default()).expect("a client");
    let complaints = || {
        producer.poll(Duration::ZERO);
        std::future::ready(producer.context().0.lock().expect("nobody panics with it").clone())
    };
    eventually(cause, complaints, |complaints| complaints.iter().any(|said| said.contains(cause))).await;
    ensure(settings).await.expect_err(cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_conf_leads_over_tls_to_the_broker_that_the_certificate_names_and_to_no_other() {
    let authority = Authority::new("ours");
    let broker = TlsKafka::start(&authority.certify(&["localhost"]), &authority).await;
    let files = Directory::new();
    let (ours, another) = (
        files.write("ours.pem", authority.pem()),
        files.write("another.pem", Authority::new("another").pem()),
    );
    let (right, wrong) = (broker.address("localhost"), broker.address("127.0.0.1"));
    let ssl = ("KAFKA_CONF_SECURITY_PROTOCOL", "SSL");
    let ours = ("KAFKA_CONF_SSL_CA_LOCATION", ours.to_str().expect("a path that is text"));
    let another = ("KAFKA_CONF_SSL_CA_LOCATION", another.to_str().expect("a path that is text"));

    let reached = settings(&right, &[ssl, ours]);
    ensure(&reached).await.expect("the topic is made");
    ensure(&reached).await.expect("it is there");

    // librdkafka says the same of a wrong name and an unknown authority: that only the name is wrong here shows where
    // names don't matter.
    let any_name = ("KAFKA_CONF_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "none");
    let misnamed = settings(&wrong, &[ssl, ours, any_name]);
    ensure(&misnamed).await.expect("the certificate is right but for its name");

    let (unknown, other, misnamed, plain) = (
        settings(&right, &[ssl]),
        settings(&right, &[ssl, another]),
        settings(&wrong, &[ssl, ours]),
        settings(&right, &[]),
    );
    tokio::join!(
        expect_refused(&unknown, NOT_VERIFIED),
        expect_refused(&other, NOT_VERIFIED),
        expect_refused(&misnamed, NOT_VERIFIED),
        expect_refused(&plain, "brokers are down"),
    );
}
