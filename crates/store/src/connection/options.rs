//! The `options` of a session: `-c name=value` or `--name=value`, separated by spaces (PostgreSQL manual, 34.1).

/// What an answer must not depend on is no setting of the URL.
const OURS: &[&str] = &["client_encoding", "default_transaction_isolation", "standard_conforming_strings"];

/// Reads options into names and values.
///
/// # Errors
/// If something else than a setting is among them, or one that is not theirs to set.
pub(super) fn parse(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().unwrap_or_default(),
            Some(setting) => setting.to_owned(),
            None => return Err("options may hold -c name=value and --name=value, and nothing else".into()),
        };
        let (name, value) = setting.split_once('=').ok_or("options hold a setting without =")?;
        let name = name.replace('-', "_");
        if name.is_empty() || !name.chars().all(|it| it.is_ascii_alphanumeric() || "_.".contains(it)) {
            return Err("options hold a setting without a proper name".into());
        }
        if OURS.contains(&&*name.to_ascii_lowercase()) {
            return Err(format!("options may not set {name}"));
        }
        settings.push((name, value.to_owned()));
    }
    Ok(settings)
}

/// Splits at white space, which a backslash keeps together.
fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = options.chars();
    while let Some(character) = rest.next() {
        if character.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let character = if character == '\\' { rest.next().unwrap_or('\\') } else { character };
        word.get_or_insert_default().push(character);
    }
    words.extend(word);
    words
}

/// Writes settings as options.
pub(super) fn write<'a>(settings: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let escaped = |value: &str| {
        let escape =
            |it: char| if it.is_ascii_whitespace() || it == '\\' { vec!['\\', it] } else { vec![it] };
        value.chars().flat_map(escape).collect::<String>()
    };
    let options = settings.into_iter().map(|(name, value)| format!("-c {name}={}", escaped(value)));
    options.collect::<Vec<_>>().join(" ")
}

/// Returns the statement that sets settings until the end of a transaction, nothing where there are none.
pub(super) fn set_local(settings: &[(String, String)]) -> String {
    let quoted = |value: &str| value.replace('\'', "''");
    let set = |(name, value): &(String, String)| format!("set_config('{name}', '{}', true)", quoted(value));
    let all: Vec<String> = settings.iter().map(set).collect();
    if all.is_empty() { String::new() } else { format!("SELECT {}", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_both_forms_and_written_so_that_they_are_read_again() {
        let options = r"-c search_path=a,\ b --work-mem=4MB -cgeqo=off  -c x.y=it's\\";
        let read = parse(options).expect("settings");
        let expected = [("search_path", "a, b"), ("work_mem", "4MB"), ("geqo", "off"), ("x.y", r"it's\")];
        let read_as: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read_as, expected);
        assert_eq!(parse(&write(&read)).expect("settings"), read);
        assert_eq!(parse("").expect("none"), []);
        let local = set_local(&read);
        assert!(local.ends_with(r"set_config('x.y', 'it''s\', true)"), "{local}");
    }

    #[test]
    fn what_is_no_setting_is_refused_without_being_shown() {
        for options in
            ["-B 4", "canary", "-c", "-c canary", "-c =canary", "-c a'b=canary", "--client_encoding=canary"]
        {
            let error = parse(options).expect_err(options);
            assert!(error.contains("options") && !error.contains("canary"), "{options}: {error}");
        }
    }
}
