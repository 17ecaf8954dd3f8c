//! What a commit rests on is set in every statement that writes.

use tidy::sources::{code, read, sources};

/// Returns the functions of a file without comments and tests, each with what comes after it and before the next.
fn functions(text: &str) -> Vec<String> {
    let mut functions = vec![String::new()];
    for line in code(text).lines().map(str::trim) {
        let starts = ["fn ", "async fn "].iter().any(|word| {
            line.starts_with(word)
                || line.starts_with("pub")
                    && line.split_once(' ').is_some_and(|rest| rest.1.starts_with(word))
        });
        if starts {
            functions.push(String::new());
        }
        let function = functions.last_mut().expect("one was pushed");
        function.push_str(line);
        function.push('\n');
    }
    functions
}

fn writes(function: &str) -> bool {
    let sql = ["INSERT INTO ", "DELETE FROM ", "MERGE INTO ", "TRUNCATE ", "COPY "];
    let diesel = ["diesel::update(", "diesel::delete(", "insert_into(", "replace_into("];
    // A lock is no write.
    let updates = function.matches("UPDATE ").count() > function.matches("FOR UPDATE ").count();
    updates || sql.iter().chain(&diesel).any(|word| function.contains(word))
}

// Break: leave `{DURABLE}` out of `store` in store/src/stamps/intake.rs.
#[test]
fn no_function_writes_without_a_durable_commit() {
    let (mut writing, mut careless) = (0, Vec::new());
    for path in ["store", "platform", "stamp-api", "queue-listener"].iter().flat_map(|name| sources(name)) {
        for function in functions(&read(&path)).into_iter().filter(|function| writes(function)) {
            writing += 1;
            if !function.contains("{DURABLE}") && !function.contains("durable()") {
                let name = function.lines().next().unwrap_or_default().to_owned();
                careless.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(writing > 10, "the words that write are still these: {writing}");
    assert_eq!(careless, Vec::<String>::new());
}
