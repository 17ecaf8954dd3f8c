//! What the containers of the Compose stack may do.

use std::collections::{BTreeMap, BTreeSet};

use tidy::documents::first_column;
use tidy::sources::read;

/// The services of docker-compose.yml with their lines.
fn services(compose: &str) -> BTreeMap<&str, String> {
    let (_, rest) = compose.split_once("\nservices:\n").expect("services");
    let mut services: BTreeMap<&str, String> = BTreeMap::new();
    let mut last = None;
    for line in rest.lines().take_while(|line| *line != "volumes:") {
        if let Some(name) = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'))
            && !name.starts_with([' ', '#'])
        {
            last = Some(name);
        }
        if let Some(name) = last {
            services.entry(name).or_default().extend([line, "\n"]);
        }
    }
    services
}

// Break: let both images in deploy/docker/Dockerfile have the user 10001.
#[test]
fn each_image_has_a_user_of_its_own_who_reads_its_secrets() {
    let (dockerfile, compose) = (read("deploy/docker/Dockerfile"), read("docker-compose.yml"));
    let stages = dockerfile.split("\nFROM runtime AS ").skip(1);
    let images: BTreeMap<&str, &str> = stages.filter_map(|stage| stage.split_once('\n')).collect();
    let mut users = BTreeSet::new();
    for (image, lines) in &images {
        let user = lines.lines().find_map(|line| line.strip_prefix("USER ")).expect(image);
        let (user, group) = user.split_once(':').expect("a user and a group");
        assert_eq!(user, group, "{image}");
        let owner = format!("{}={user}", image.replace('-', "_"));
        assert!(services(&compose)["secrets"].contains(&owner), "the secrets know {owner}");
        users.insert(user);
    }
    assert_eq!((images.len(), users.len()), (2, 2), "{images:?}");
}

// Break: take `<<: *hardened` from the service `kafka`.
#[test]
fn every_container_has_bounds() {
    let compose = read("docker-compose.yml");
    let (_, hardened) = compose.split_once("x-hardened: &hardened\n").expect("what all share");
    let (hardened, _) = hardened.split_once("\n\n").expect("its end");
    for bound in
        ["cap_drop: [ALL]", "no-new-privileges", "mem_limit", "pids_limit", "nofile", "max-size", "max-file"]
    {
        assert!(hardened.contains(bound), "{bound} for all");
    }
    let services = services(&compose);
    assert_eq!(services.len(), 8, "{:?}", services.keys());
    for (name, lines) in &services {
        let shared = ["<<: *hardened", "<<: *service"].iter().any(|shared| lines.contains(shared));
        assert!(shared, "{name} has what all share");
        for taken_away in ["pids_limit:", "ulimits:", "logging:", "privileged:"] {
            assert!(!lines.contains(taken_away), "{name} has {taken_away} of its own");
        }
    }
}

// Break: take `profiles` from the service `grafana`.
#[test]
fn what_shows_graphs_starts_only_where_it_is_wanted_and_can_be_reached_from_this_machine_alone() {
    let compose = read("docker-compose.yml");
    let services = services(&compose);
    let wanted = services.iter().filter(|(_, lines)| lines.contains("    profiles: [observability]\n"));
    let wanted: BTreeMap<&&str, &String> = wanted.collect();
    assert_eq!(wanted.keys().collect::<Vec<_>>(), [&&"grafana", &&"prometheus"]);
    for (name, lines) in wanted {
        assert!(lines.contains("    read_only: true\n"), "{name} writes to its image");
        assert!(lines.contains("    ports: [\"127.0.0.1:${STACK_"), "{name} is published on one address");
    }
}

// Break: take the row of `STACK_LOG_SIZE` out of docs/settings.md.
#[test]
fn every_variable_of_compose_stands_in_the_table_of_settings_and_in_the_example() {
    let (compose, example) = (read("docker-compose.yml"), read(".env.example"));
    let table = first_column("docs/settings.md", "## Of the stacks and `make`");
    let names: BTreeSet<&str> = compose
        .split("${STACK_")
        .skip(1)
        .filter_map(|rest| rest.split(|char: char| !char.is_ascii_uppercase() && char != '_').next())
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names.iter().map(|name| format!("STACK_{name}")) {
        assert!(table.contains(&name), "{name} in the table");
        assert!(example.contains(&format!("#{name}=")), "{name} in the example");
    }
}
