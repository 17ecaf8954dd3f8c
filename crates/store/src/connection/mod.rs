//! Connections to PostgreSQL: where they lead ([`url`], [`tls`]), how one is opened ([`open`]), and how statements run
//! over it ([`session`], [`dsl`]).

mod dsl;
pub(crate) mod open;
mod options;
mod parameter;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod url;

pub use self::open::Plans;
pub(crate) use self::parameter::Parameter;
pub(crate) use self::session::Session;
