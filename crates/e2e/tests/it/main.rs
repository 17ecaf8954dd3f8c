//! HTTP to row, with both programs as processes of their own.

mod backlog;
mod clocks;
mod commands;
mod connections;
mod crashes;
mod databases;
mod deliveries;
mod intake;
mod load;
mod losses;
mod messages;
mod outages;
mod overdue;
mod partitions;
mod poolers;
mod receiver;
mod replicas;
mod rights;
mod traces;
mod transactions;
mod truncation;
