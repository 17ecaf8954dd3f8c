//! What both services stand on, on a real PostgreSQL and a real Kafka.

mod crashes;
mod durability;
mod intake;
mod message_records;
mod messages;
mod migrations;
mod processing;
mod replays;
mod sweeps;
mod tls_kafka;
mod tls_postgres;
mod values;
