//! All SQL on a real PostgreSQL, and the way of users' records from a real Kafka.

mod crashes;
mod databases;
mod deliveries;
mod durability;
mod messages;
mod migrations;
mod replays;
mod roles;
mod stamps;
mod tls;
mod values;
