//! What both services stand on, on a real Kafka.

mod tls;
