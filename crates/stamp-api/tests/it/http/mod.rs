//! HTTP: what clients send, and what they get.

mod budget;
mod hostile;
mod wire;
