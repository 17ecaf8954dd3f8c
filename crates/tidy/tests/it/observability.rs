//! A dashboard and alerts that ask for what there is.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tidy::documents::{first_column, leads_somewhere};
use tidy::prometheus::{metrics, rules};
use tidy::sources::read;

const DASHBOARD: &str = "deploy/grafana/dashboards/stamp-service.json";
const RULES: &str = "deploy/prometheus/rules.yml";
const OPERATING: &str = "docs/operating.md";

/// What Prometheus itself makes, and what its clients usually have.
const USUAL: [&str; 8] = [
    "ALERTS",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "up",
];

/// Returns the series of the table of metrics: of a histogram those that it has.
fn series() -> BTreeSet<String> {
    let text = read(OPERATING);
    let is_histogram = |name: &String| {
        let is_its =
            |line: &&str| line.split(" | ").next().is_some_and(|first| first.contains(&format!("`{name}`")));
        let row = text.lines().find(is_its).expect("a row");
        row.contains("(histogram)")
    };
    let table = first_column(OPERATING, "## Metrics").into_iter().flat_map(|name| {
        if is_histogram(&name) {
            ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec()
        } else {
            vec![name]
        }
    });
    table.chain(USUAL.map(str::to_owned)).collect()
}

/// Returns the panels of the dashboard that show something: headings left out.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let all = dashboard["panels"].as_array().expect("panels").iter();
    all.filter(|panel| panel["type"] != "row").cloned().collect()
}

fn expressions(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.filter_map(|target| target["expr"].as_str()).collect()
}

// Break: ask for `queue_listener_lags` in the dashboard or in a rule.
#[test]
fn what_dashboard_and_rules_ask_for_stands_in_the_table_of_metrics() {
    let (known, panels, rules) = (series(), panels(), rules(RULES));
    let asked: BTreeSet<String> = panels.iter().flat_map(expressions).flat_map(metrics).collect();
    assert!(asked.len() > 40, "the dashboard asks for {asked:?}");
    assert_eq!(asked.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{DASHBOARD}");
    let recorded = rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.clone());
    let known: BTreeSet<String> = known.into_iter().chain(recorded).collect();
    let asked: BTreeSet<String> = rules.iter().flat_map(|rule| metrics(&rule.expression)).collect();
    assert!(asked.len() > 20, "the rules ask for {asked:?}");
    assert_eq!(asked.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "{RULES}");
}

// Break: take the only target from a panel, or move a panel onto another one.
#[test]
fn every_panel_asks_for_something_says_what_it_shows_and_has_a_place_of_its_own() {
    let panels = panels();
    assert!(panels.len() > 20, "{} panels", panels.len());
    let (mut places, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for panel in &panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(!expressions(panel).is_empty(), "{title} asks for nothing");
        assert!(expressions(panel).iter().all(|expression| !metrics(expression).is_empty()), "{title}");
        assert!(
            panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{title} says nothing"
        );
        assert!(numbers.insert(panel["id"].as_u64()), "{title} has the number of another one");
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a place"));
        assert!(x + width <= 24, "{title} is too wide");
        for (x, y) in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(places.insert((x, y)), "{title} lies on another one");
        }
    }
}

// Break: take the row of `NoListener` out of docs/operating.md, or call it `warn` there.
#[test]
fn every_alert_stands_in_the_table_of_alerts_and_nothing_else_does() {
    let rules = rules(RULES);
    let alerts = || rules.iter().filter(|rule| rule.is_alert);
    let names: BTreeSet<String> = alerts().map(|alert| alert.name.clone()).collect();
    assert_eq!(first_column(OPERATING, "### Alerts"), names);
    let text = read(OPERATING);
    for alert in alerts() {
        let severity = alert.field("labels").trim_matches(['{', '}']).replace("severity: ", "");
        assert!(["page", "warn"].contains(&severity.as_str()), "{}: {severity}", alert.name);
        assert!(text.contains(&format!("| `{}` | {severity} |", alert.name)), "{} is {severity}", alert.name);
    }
}

// Break: take the page to read from the description of an alert, or its name out of rules_test.yml.
#[test]
fn every_alert_says_what_to_do_and_where_to_read_on_and_is_tested() {
    let tests = read("deploy/prometheus/rules_test.yml");
    for alert in rules(RULES).iter().filter(|rule| rule.is_alert) {
        let name = &alert.name;
        assert!(!alert.field("summary").is_empty(), "{name} says nothing");
        let description = alert.field("description");
        let page = description.rsplit(' ').next().unwrap_or_default().trim_end_matches('.');
        assert!(
            page.starts_with("docs/") && page.contains('#'),
            "{name}: {description:?} ends with a page to read"
        );
        assert!(leads_somewhere(Path::new("README.md"), page), "{name} leads to {page}");
        let fires = format!("alertname=\"{name}\", alertstate=\"firing\"");
        assert!(tests.contains(&fires), "no test of {name}");
    }
}
