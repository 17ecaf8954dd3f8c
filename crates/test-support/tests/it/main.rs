//! What other tests lean on: the stack, a slow link, and servers of one's own.

mod pooler;
mod proxy;
mod servers;
mod stack;
