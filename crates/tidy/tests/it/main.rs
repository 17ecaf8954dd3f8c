//! What can drift apart, held together.

mod house;
