//! The fuzz targets, one test each. `cargo test` runs each with its seeds and a few random bytes, `make fuzz` for a minute
//! with an engine that looks for new ways through the code.
//!
//! The seeds of a target are the files in `__fuzz__/<module>__<target>/corpus`. What `make fuzz` finds lands beside them,
//! in `crashes`, and every `cargo test` tries it from then on.

mod bodies;
mod records;
mod texts;

use std::path::Path;

/// How many random inputs `cargo test` tries: they seldom get far.
const RANDOM: usize = 500;

// Break: remove the folder of any target's seeds.
#[test]
fn each_target_has_seeds_which_is_how_make_fuzz_finds_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut targets = 0;
    for module in ["bodies", "records", "texts"] {
        let text = std::fs::read_to_string(here.join(module).with_extension("rs")).expect("a module");
        for test in text.split("#[test]\nfn ").skip(1) {
            let (name, _) = test.split_once('(').expect("a function");
            let seeds = here.join(format!("__fuzz__/{module}__{name}/corpus"));
            let has_some = std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some());
            assert!(has_some, "{} has no seeds", seeds.display());
            targets += 1;
        }
    }
    assert!(targets >= 10, "targets are found: {targets}");
}
