//! The migrations are part of the program: a new one has to build it anew, which no macro can ask for.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
