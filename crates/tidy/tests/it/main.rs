//! What can drift apart, held together. Each test reads files and runs nothing of the project.

mod compose;
mod documents;
mod durability;
mod house;
mod logs;
mod observability;
