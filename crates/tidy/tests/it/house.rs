//! The rules of the house.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tidy::imports::{Imports, circles};
use tidy::sources::{code, crates, files, read, sources};

/// The crates that are the product.
const PRODUCT: [&str; 5] = ["domain", "platform", "queue-listener", "stamp-api", "store"];

/// Returns the product's sources in which any of these words stands, outside of comments and tests.
fn with(words: &[&str]) -> Vec<String> {
    let all = PRODUCT.iter().flat_map(|name| sources(name));
    let has = |path: &PathBuf| {
        let code = code(&read(path));
        words.iter().any(|word| code.contains(word))
    };
    all.filter(has)
        .map(|path| path.display().to_string().replace("/src/", "/").replace("crates/", ""))
        .collect()
}

/// Asserts that these words stand only in files below these places.
fn only_in(words: &[&str], places: &[&str]) {
    let found = with(words);
    assert!(!found.is_empty(), "{words:?} are still the words");
    let elsewhere: Vec<&String> =
        found.iter().filter(|path| !places.iter().any(|place| path.starts_with(place))).collect();
    assert!(elsewhere.is_empty(), "{words:?} stand in {elsewhere:?}");
}

/// Returns the names in a section of a crate's `Cargo.toml`.
fn dependencies(name: &str, section: &str) -> Vec<String> {
    let manifest = read(format!("crates/{name}/Cargo.toml"));
    let Some((_, rest)) = manifest.split_once(&format!("\n[{section}]\n")) else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
}

// Break: add `use crate::app as _;` to stamp-api/src/settings.rs.
#[test]
fn no_files_take_names_from_each_other_in_a_circle() {
    let (mut all, mut arrows) = (Vec::new(), 0);
    for name in crates() {
        let taken = Imports::of(&name).arrows();
        arrows += taken.values().map(std::collections::BTreeSet::len).sum::<usize>();
        all.extend(circles(&taken));
    }
    assert!(arrows > 200, "imports are found: {arrows}");
    assert!(all.is_empty(), "{all:#?}");
}

// Break: add `queue-listener` to the dependencies of `stamp-api`.
#[test]
fn crates_depend_downwards_only() {
    for (name, below) in [
        ("domain", &[][..]),
        ("platform", &["domain"]),
        ("store", &["domain", "platform"]),
        ("stamp-api", &["domain", "platform", "store"]),
        ("queue-listener", &["domain", "platform", "store"]),
    ] {
        let ours = dependencies(name, "dependencies").into_iter().filter(|one| crates().contains(one));
        let wrong: Vec<String> = ours.filter(|one| !below.contains(&one.as_str())).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
    }
}

// Break: add `diesel` to the dependencies of `platform`.
#[test]
fn each_client_library_has_its_crates() {
    for (library, allowed) in [
        ("diesel", &["store"][..]),
        ("tokio-postgres", &["store"]),
        ("rdkafka", &["platform", "queue-listener", "stamp-api"]),
        ("actix-web", &["platform", "queue-listener", "stamp-api"]),
        ("jsonwebtoken", &["stamp-api"]),
        ("opentelemetry", &["platform"]),
    ] {
        let uses =
            |name: &&&str| dependencies(name, "dependencies").iter().any(|one| one.starts_with(library));
        let users: Vec<&&str> = PRODUCT.iter().filter(uses).collect();
        let wrong: Vec<_> = users.iter().filter(|name| !allowed.contains(**name)).collect();
        assert!(!users.is_empty() && wrong.is_empty(), "{library} is used by {users:?}");
    }
    for banned in ["tokio", "rdkafka", "diesel", "actix-web", "tracing"] {
        assert!(!dependencies("domain", "dependencies").contains(&banned.to_owned()), "domain has {banned}");
    }
}

// Break: call `std::env::var` in stamp-api/src/settings.rs.
#[test]
fn what_is_done_once_is_done_in_its_place() {
    only_in(&["std::env", "env::var"], &["platform/settings/"]);
    only_in(&["Utc::now", "Local::now", "SystemTime"], &["store/clock.rs"]);
    // The heart decides what is committed, the shell hands it on, and the intake commits to PostgreSQL.
    only_in(
        &[".commit(", "commit_message", "commit_consumer_state", "store_offset"],
        &[
            "domain/batch/heart/",
            "queue-listener/group/member.rs",
            "queue-listener/stamps/shell.rs",
            "stamp-api/stamps/intake.rs",
        ],
    );
    only_in(&["impl ResponseError"], &["stamp-api/http/error/mod.rs"]);
    only_in(&["jsonwebtoken::"], &["stamp-api/auth/"]);
    only_in(&["migrations::migrate("], &["stamp-api/cli.rs"]);
    only_in(&["INSERT INTO ", "UPDATE ", "DELETE FROM ", "SELECT "], &["store/"]);
    only_in(
        &["DELETE FROM pending_stamps", "INSERT INTO batches", "INSERT INTO processed_stamps"],
        &["store/stamps/processing/"],
    );
    only_in(
        &["actix_web::"],
        &["platform/", "queue-listener/deliveries/echo.rs", "stamp-api/app.rs", "stamp-api/http/"],
    );
    only_in(
        &["rdkafka::"],
        &[
            "platform/kafka/",
            "queue-listener/deliveries/kafka.rs",
            "queue-listener/dlq/publisher.rs",
            "queue-listener/group/",
            "queue-listener/messages/",
            "queue-listener/stamps/consumer/",
            "stamp-api/messages/",
            "stamp-api/stamps/publisher.rs",
        ],
    );
    let asynchronous: Vec<String> =
        with(&["async ", ".await"]).into_iter().filter(|path| path.starts_with("domain/")).collect();
    assert!(asynchronous.is_empty(), "{asynchronous:?}");
    assert_eq!(with(&["StreamConsumer"]), Vec::<String>::new());
}

// Break: name a second struct `PendingSet` in any crate of the product.
#[test]
fn a_name_of_a_type_stands_for_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in PRODUCT.iter().flat_map(|name| sources(name)) {
        for line in code(&read(&path)).lines() {
            let line = line
                .strip_prefix("pub")
                .map_or(line, |rest| rest.split_once(' ').map_or(rest, |(_, rest)| rest));
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else { continue };
            let name: String = rest.chars().take_while(|char| char.is_alphanumeric()).collect();
            places.entry(name).or_default().push(path.display().to_string());
        }
    }
    let twice: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(places.len() > 100 && twice.is_empty(), "{twice:#?}");
}

// Break: append a hundred lines to store/src/stamps/processing/mod.rs.
#[test]
fn files_and_functions_are_short_enough_to_hold_in_mind() {
    const FILE: usize = 350;
    const FUNCTION: usize = 60;
    // Flat lists: they have many lines and no turns.
    const LISTS: [&str; 4] = ["register", "choose", "commanded", "judge"];
    const CASES: &str = "http/hostile/cases.rs";
    let mut long = Vec::new();
    for path in files("crates", ".rs") {
        let (text, name) = (read(&path), path.display().to_string());
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE && !name.ends_with(CASES) {
            long.push(format!("{name}: {} lines", lines.len()));
        }
        // Tests have tables of cases.
        if name.contains("/tests") {
            continue;
        }
        for (start, line) in lines.iter().enumerate() {
            let Some((before, rest)) = line.split_once("fn ") else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            if !before
                .trim()
                .split(' ')
                .all(|word| word.is_empty() || word.starts_with("pub") || matches!(word, "async" | "const"))
            {
                continue;
            }
            if line.ends_with(';') {
                continue;
            }
            let end = lines[start..].iter().position(|end| *end == format!("{indent}}}"));
            let end = if line.ends_with('}') { 0 } else { end.expect("a function ends") };
            let function: String =
                rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
            if end >= FUNCTION && !LISTS.contains(&function.as_str()) {
                long.push(format!("{name}: {function} has {} lines", end + 1));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new());
    for path in files("crates", "main.rs").iter().filter(|path| path.ends_with("src/main.rs")) {
        assert!(read(path).lines().count() <= 50, "{}", path.display());
    }
}

// Break: name a version in a crate's Cargo.toml.
#[test]
fn versions_and_lints_stand_in_the_root_alone() {
    for name in crates() {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has lints of its own");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for dependency in dependencies(&name, section) {
                let line = format!("{dependency} = {{ workspace = true");
                assert!(manifest.contains(&line), "{name}: {dependency} names a version");
            }
        }
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
}

// Break: write `/// The same.` above a field.
#[test]
fn the_first_line_of_a_comment_makes_sense_alone() {
    let hangs = |line: &str| {
        let text = line.trim_start().strip_prefix("/// ").unwrap_or_default();
        text.starts_with("The same")
            || ["These.", "Those.", "All of them.", "Its number.", "As above."].contains(&text)
    };
    let mut hanging = Vec::new();
    for path in files("crates", ".rs") {
        let text = read(&path);
        let before = std::iter::once("").chain(text.lines());
        let firsts = before.zip(text.lines()).filter(|(before, _)| !before.trim_start().starts_with("///"));
        let found =
            firsts.filter(|(_, line)| hangs(line)).map(|(_, line)| format!("{}: {line}", path.display()));
        hanging.extend(found);
    }
    assert_eq!(hanging, Vec::<String>::new());
}
