//! The project's documents: their tables, links and paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::sources::{files, read, root};

/// Returns all documents, as paths relative to the root.
pub fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from);
    let below = ["docs", "crates", "migrations"].into_iter().flat_map(|folder| files(folder, ".md"));
    top.into_iter().chain(below).collect()
}

/// Returns the names in the first column of a section's table: what stands there between backticks. The section is found
/// by its heading and ends with the next one.
pub fn first_column(document: &str, heading: &str) -> BTreeSet<String> {
    let text = read(document);
    let section = text.split_once(&format!("\n{heading}\n")).map(|(_, section)| section);
    let section = section.unwrap_or_else(|| panic!("{document} has no heading {heading:?}"));
    let lines =
        section.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    lines.flat_map(|line| quoted(line.split(" | ").next().unwrap_or_default())).collect()
}

/// Returns what stands between backticks, code blocks left out.
pub fn quoted(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut all = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            all.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all
}

/// Returns the targets of a document's links that lead into the project and to nothing.
pub fn dead_links(document: &Path) -> Vec<String> {
    let text = read(document);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_dead = |target: &&str| !target.contains("://") && !leads_somewhere(document, target);
    targets.filter(is_dead).map(str::to_owned).collect()
}

/// Tells whether a path that stands in a document, with or without an anchor, leads to a file of the project and to a
/// heading in it.
pub fn leads_somewhere(document: &Path, target: &str) -> bool {
    let document = root().join(document);
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { document } else { document.parent().expect("a folder").join(path) };
    if anchor.is_empty() {
        return file.exists();
    }
    let Ok(text) = std::fs::read_to_string(&file) else { return false };
    text.lines().filter(|line| line.starts_with('#')).any(|line| self::anchor(line) == anchor)
}

/// Returns the anchor of a heading: lower case, hyphens for spaces, and without punctuation.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// Returns what a document names of the sources and is not there: a file between backticks that ends in `.rs`, with or
/// without the folders in front, and after a colon a name in it, as in `batch/policy.rs: decide`.
pub fn missing_sources(document: &Path) -> Vec<String> {
    let all = files("crates", ".rs");
    let is_missing = |text: &String| {
        let (file, name) = text.split_once(": ").unwrap_or((text, ""));
        if Path::new(file).extension().is_none_or(|ending| ending != "rs") || file.contains(' ') {
            return false;
        }
        // Documents leave `crates/` and `src/` out of a path.
        let is_meant = |path: &&PathBuf| {
            let path = format!("/{}", path.display());
            [path.clone(), path.replace("/src/", "/")].iter().any(|path| path.ends_with(&format!("/{file}")))
        };
        let names: Vec<&str> = name.split("::").filter(|name| !name.is_empty()).collect();
        !all.iter().filter(is_meant).any(|path| {
            let text = read(path);
            names.iter().all(|name| is_defined(&text, name))
        })
    };
    quoted(&read(document)).into_iter().filter(is_missing).collect()
}

/// Tells whether a source defines this name, or implements something for it.
fn is_defined(source: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "impl", "impl<X>", "impl<P>"];
    let ends = |rest: &str| !rest.starts_with(|char: char| char.is_alphanumeric() || char == '_');
    kinds.iter().any(|kind| {
        let text = format!("{kind} {name}");
        source.match_indices(&text).any(|(index, _)| ends(&source[index + text.len()..]))
    })
}
