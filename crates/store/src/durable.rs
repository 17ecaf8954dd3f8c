//! A commit that outlasts a crash of the server, whatever the server, its databases and roles have as defaults.
//!
//! A promise that was given rests on such a commit: a stamp that was answered with 201, an offset that is committed in
//! Kafka. So every statement that writes sets `synchronous_commit` for its own transaction. A setting of the session
//! would do as long as there is no pooler between, which may drop it or hand the transaction to another session.
//!
//! Whoever reads a row may rest a promise on it too, a 409 or the offset of an event that was read twice. That is why
//! no writing statement is left out: while every commit waits for the disk, what can be seen is on it.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types::Bool;

/// A condition, always true, for the rows that a statement writes, or for those that they are made of.
///
/// The server decides it once for a statement, before the first of these rows. `remote_apply` stays, because it
/// promises more; what promises less becomes `on`.
pub(crate) const DURABLE: &str = "(SELECT set_config('synchronous_commit', \
     CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)) \
     IS NOT NULL";

/// Returns [`DURABLE`] for Diesel's queries.
pub(crate) fn durable() -> SqlLiteral<Bool> {
    sql::<Bool>(DURABLE)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    /// Returns the functions of a file without comments and tests, each with what comes after it and before the next.
    fn functions(text: &str) -> Vec<String> {
        let mut functions = vec![String::new()];
        for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
            let line = line.trim();
            let starts = ["fn ", "async fn "].iter().any(|word| {
                line.starts_with(word)
                    || line.starts_with("pub")
                        && line.split_once(' ').is_some_and(|rest| rest.1.starts_with(word))
            });
            if starts {
                functions.push(String::new());
            }
            if !line.starts_with("//") {
                let function = functions.last_mut().expect("one was pushed");
                function.push_str(line);
                function.push('\n');
            }
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

    // Break: leave `{DURABLE}` out of a statement.
    #[test]
    fn no_function_writes_without_a_durable_commit() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crates");
        let (mut writing, mut careless) = (0, Vec::new());
        for name in ["store", "platform", "stamp-api", "queue-listener"] {
            for file in files(&crates.join(name).join("src")) {
                let text = std::fs::read_to_string(&file).expect("a source file");
                for function in functions(&text).into_iter().filter(|function| writes(function)) {
                    writing += 1;
                    if !function.contains("{DURABLE}") && !function.contains("durable()") {
                        let name = function.lines().next().unwrap_or_default().to_owned();
                        careless.push(format!("{}: {name}", file.display()));
                    }
                }
            }
        }
        assert!(writing > 10, "the words that write are still these: {writing}");
        assert_eq!(careless, Vec::<String>::new());
    }
}
