//! Stamps: from Kafka's records to batches.

mod batching;
mod dead_letters;
mod distant;
mod missed;
mod offsets;
mod poison;
mod replays;
mod wire;
