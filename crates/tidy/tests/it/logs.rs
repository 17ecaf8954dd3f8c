//! What programs that read logs rely on: the names of fields.

use tidy::sources::{code, read, sources};

/// Returns the arguments of a call whose text begins after its opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for char in text.chars() {
        match char {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth < 0 {
            break;
        }
        escaped = char == '\\' && !escaped;
        arguments.last_mut().expect("one is there").push(char);
    }
    arguments.into_iter().map(|argument| argument.trim().to_owned()).collect()
}

/// Returns the names of the fields of all lines that a source logs, in the macros of `tracing`.
fn fields(source: &str) -> Vec<String> {
    let levels = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "info_span!("];
    let calls = source.split("tracing::").skip(1);
    let calls = calls.filter_map(|call| levels.iter().find_map(|level| call.strip_prefix(level)));
    // What is to be said comes last; only its own arguments come after it.
    let of_call = |call| arguments(call).into_iter().take_while(|argument| !argument.starts_with('"'));
    let fields = calls.flat_map(of_call).filter(|argument| !argument.starts_with("target:"));
    let name = |field: String| field.split('=').next().unwrap_or_default().trim().to_owned();
    fields.map(name).collect()
}

// Break: log `topic` instead of `kafka.topic` in `tell_of` of store/src/dead_letters/mod.rs.
#[test]
fn a_field_of_the_log_is_named_after_what_it_belongs_to() {
    let products = ["platform", "queue-listener", "stamp-api", "store"];
    let all: Vec<String> =
        products.iter().flat_map(|name| sources(name)).flat_map(|path| fields(&code(&read(path)))).collect();
    assert!(all.len() > 100, "fields are found: {}", all.len());
    let wrong: Vec<&String> = all.iter().filter(|name| !name.contains('.') && *name != "error").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
