//! The rules of the house.

use tidy::imports::{Imports, circles};
use tidy::sources::crates;

#[test]
fn no_files_take_names_from_each_other_in_a_circle() {
    let mut all = Vec::new();
    for name in crates() {
        all.extend(circles(&Imports::of(&name).arrows()));
    }
    assert!(all.is_empty(), "{all:#?}");
}
