//! HTTP: what clients send, and what they get.

mod hostile;
mod wire;
