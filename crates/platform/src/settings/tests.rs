use super::{Environment, InvalidSetting, number};

fn environment(variables: &[(&str, &str)]) -> Environment {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::from_variables(owned).expect("no files are named")
}

#[test]
fn an_error_names_the_variable_its_value_and_what_is_accepted() {
    let error: Result<i32, InvalidSetting> =
        number("STAMP_TOPIC_PARTITIONS", Some("twelve".to_owned()), 12, 1..=10_000);
    assert_eq!(
        error.expect_err("not a number").to_string(),
        "STAMP_TOPIC_PARTITIONS=\"twelve\" is not accepted: a whole number from 1 to 10000"
    );
}

#[test]
fn a_secret_may_come_from_a_file() {
    let file = std::env::temp_dir().join(format!("secret-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "canary\n").expect("a temporary file");
    let environment = environment(&[("JWT_SECRET_FILE", &file.to_string_lossy())]);
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(environment.get("JWT_SECRET").as_deref(), Some("canary"));
}

#[test]
fn a_secret_given_both_ways_is_refused() {
    let both = [("JWT_SECRET", "a"), ("JWT_SECRET_FILE", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert!(Environment::from_variables(both).is_err());
}
