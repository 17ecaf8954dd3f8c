//! Documents that say what the sources say.

use std::collections::BTreeSet;
use std::path::Path;

use domain::record::Reason;
use tidy::documents::{dead_links, documents, first_column, missing_sources};
use tidy::sources::{code, crates, read, sources};

/// The crates that are the product.
const PRODUCT: [&str; 5] = ["domain", "platform", "queue-listener", "stamp-api", "store"];

/// The names of settings, as the structs list them that are filled from the environment, and as they are asked for.
fn settings() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in PRODUCT.iter().flat_map(|name| sources(name)) {
        let text = code(&read(path));
        for section in text.split("struct Raw {").skip(1) {
            let fields = section.split('}').next().unwrap_or_default().lines();
            names.extend(
                fields.filter_map(|line| Some(line.trim().split_once(": Option<String>")?.0.to_uppercase())),
            );
        }
        let asked = text.split("environment.get(\"").skip(1);
        names.extend(asked.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    names
}

// Break: take the row of `INSTANCE_ID` out of docs/settings.md.
#[test]
fn every_setting_stands_in_the_table_of_settings_and_nothing_else_does() {
    let mut table = first_column("docs/settings.md", "## Of the services");
    assert!(table.remove("KAFKA_CONF_<NAME>"), "the open end of the table");
    assert_eq!(table, settings());
}

// Break: take `INSTANCE_ID` out of .env.example.
#[test]
fn every_setting_stands_in_the_example_of_an_env_file() {
    let example = read(".env.example");
    // The stacks give each service an operators' address of its own.
    let names: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| Some(line.trim_start_matches(['#', ' ']).split_once('=')?.0))
        .collect();
    let known = |name: &String| {
        names.contains(name.as_str()) || names.contains(&*format!("{name}_FILE")) || name == "ADMIN_ADDR"
    };
    let missing: Vec<String> = settings().into_iter().filter(|name| !known(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}

// Break: take the row of `queue_listener_lag` out of docs/operating.md.
#[test]
fn every_metric_stands_in_the_table_of_metrics_and_nothing_else_does() {
    let services = ["stamp_api", "queue_listener"];
    let mut metrics = BTreeSet::new();
    for path in PRODUCT.iter().flat_map(|name| sources(name)) {
        let text = code(&read(path));
        let texts = text.split('"').skip(1).step_by(2);
        let is_metric = |text: &&str| services.iter().any(|service| text.starts_with(&format!("{service}_")));
        metrics.extend(
            texts.filter(is_metric).filter(|text| !text.contains([' ', '{', '='])).map(str::to_owned),
        );
    }
    for name in ["database_connections", "build_info"] {
        metrics.extend(services.map(|service| format!("{service}_{name}")));
    }
    // Those of the process are a library's.
    let mut table = first_column("docs/operating.md", "## Metrics");
    table.retain(|name| !name.starts_with("process_"));
    assert_eq!(table, metrics);
}

// Break: take the row of `invalid_key` out of docs/events.md.
#[test]
fn every_reason_of_dead_letters_stands_in_the_table_of_reasons() {
    let reasons: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    assert_eq!(reasons.len(), Reason::ALL.len(), "each has a code of its own");
    let arms = read("crates/domain/src/record/reason.rs").matches("=> \"").count();
    assert_eq!(arms, reasons.len(), "`as_str` has an arm for each, so `ALL` has them all");
    let mut table = first_column("docs/events.md", "## Dead letters");
    table.remove("reason");
    assert_eq!(table, reasons);
}

// Break: take the row of `crates/store/src/stamps` out of ARCHITECTURE.md.
#[test]
fn every_room_stands_on_the_map_and_nothing_else_does() {
    let below = ["docker", "grafana", "postgres", "prometheus", "stack"].map(|name| format!("deploy/{name}"));
    let mut rooms: BTreeSet<String> = below.into();
    rooms.extend(["docs", "migrations"].map(str::to_owned));
    for name in crates() {
        rooms.insert(format!("crates/{name}"));
        let folders = sources(&name).into_iter().filter_map(|path| path.parent().map(Path::to_owned));
        let below = folders.filter(|folder| !folder.ends_with("src"));
        rooms.extend(below.map(|folder| folder.display().to_string()));
    }
    let map: BTreeSet<String> = first_column("ARCHITECTURE.md", "## Rooms");
    assert_eq!(map, rooms);
}

// Break: name crates/store/src/stamp.rs in a document.
#[test]
fn what_a_document_names_exists_and_its_links_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let found = dead_links(&document).into_iter().chain(missing_sources(&document));
        wrong.extend(found.map(|what| format!("{}: {what}", document.display())));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

// Break: append fifty lines to README.md.
#[test]
fn the_door_and_the_map_can_be_read_at_once() {
    for document in ["README.md", "ARCHITECTURE.md"] {
        let lines = read(document).lines().count();
        assert!(lines <= 200, "{document} has {lines} lines");
    }
}

// Break: name a test in docs/guarantees.md that does not exist.
#[test]
fn the_tests_that_prove_a_guarantee_exist() {
    let sources: String =
        ["crates"].iter().flat_map(|folder| tidy::sources::files(folder, ".rs")).map(read).collect();
    let named = tidy::documents::quoted(&read("docs/guarantees.md"));
    let is_test = |name: &&String| {
        name.matches('_').count() >= 4
            && name.chars().all(|char| char.is_lowercase() || char.is_ascii_digit() || char == '_')
    };
    let tests: Vec<&String> = named.iter().filter(is_test).collect();
    assert!(tests.len() >= 10, "tests are named: {tests:?}");
    let missing: Vec<&&String> =
        tests.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert_eq!(missing, Vec::<&&String>::new());
}
