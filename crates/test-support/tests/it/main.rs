//! What other tests lean on: a slow link, and servers of one's own.

mod pooler;
mod proxy;
