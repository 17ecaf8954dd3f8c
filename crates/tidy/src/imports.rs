//! Which file of a crate takes names from which other one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::{code, read, sources};

/// A path of names, such as `crate::stamps::intake` without the first one.
type Names = Vec<String>;

/// The files of a crate and what each takes from the others.
pub struct Imports {
    /// Every file by the path of its module.
    modules: BTreeMap<Names, PathBuf>,
    /// Names that a module hands on: from the module and the name to the path they stand for.
    exports: BTreeMap<(Names, String), Names>,
}

impl Imports {
    /// Reads a crate.
    pub fn of(name: &str) -> Self {
        let modules: BTreeMap<Names, PathBuf> =
            sources(name).into_iter().filter_map(|path| Some((module(name, &path)?, path))).collect();
        let mut imports = Self { modules, exports: BTreeMap::new() };
        let mut exports = BTreeMap::new();
        for (module, path) in &imports.modules {
            for statement in statements(&code(&read(path))) {
                if !statement.public {
                    continue;
                }
                for target in statement.paths {
                    let Some(target) = imports.absolute(module, target) else { continue };
                    if let Some(last) = target.last().cloned() {
                        exports.insert((module.clone(), last), target);
                    }
                }
            }
        }
        imports.exports = exports;
        imports
    }

    /// Returns a path from the root of the crate; `None` for one of another crate.
    fn absolute(&self, module: &Names, path: Names) -> Option<Names> {
        let (mut base, mut path) = (module.clone(), path.into_iter().peekable());
        match path.peek().map(String::as_str)? {
            "crate" => {
                base.clear();
                path.next();
            }
            "self" => drop(path.next()),
            "super" => {
                while path.next_if(|name| name == "super").is_some() {
                    base.pop()?;
                }
            }
            // A module of this one may be named without `self`.
            child => {
                let child: Names = base.iter().cloned().chain([child.to_owned()]).collect();
                self.modules.contains_key(&child).then_some(())?;
            }
        }
        Some(base.into_iter().chain(path).collect())
    }

    /// Returns each file with the files from which it takes names.
    pub fn arrows(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut arrows = BTreeMap::new();
        for (module, path) in &self.modules {
            let mut taken = BTreeSet::new();
            for statement in statements(&code(&read(path))) {
                // What a folder only hands on, it does not take.
                if statement.public {
                    continue;
                }
                for target in statement.paths {
                    let Some(target) = self.absolute(module, target) else { continue };
                    taken.extend(self.file_of(&target).filter(|file| *file != path).cloned());
                }
            }
            arrows.insert(path.clone(), taken);
        }
        arrows
    }

    /// Returns the file in which what a path names is defined.
    fn file_of(&self, path: &[String]) -> Option<&PathBuf> {
        for length in (0..=path.len()).rev() {
            let Some(file) = self.modules.get(&path[..length]) else { continue };
            let Some(name) = path.get(length) else { return Some(file) };
            return match self.exports.get(&(path[..length].to_vec(), name.clone())) {
                Some(target) if target.as_slice() != path => self.file_of(target),
                _ => Some(file),
            };
        }
        None
    }
}

/// Returns the groups of files that take names from each other, directly or around a corner.
pub fn circles(arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<PathBuf>> =
        arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut circles: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, others) in &reached {
        let circle: BTreeSet<PathBuf> =
            others.iter().filter(|other| reached[*other].contains(*file)).cloned().collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// Returns all files that are reached from one by at least one arrow.
fn reach(arrows: &BTreeMap<PathBuf, BTreeSet<PathBuf>>, from: &PathBuf) -> BTreeSet<PathBuf> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for target in &arrows[file] {
            if reached.insert(target.clone()) {
                next.push(target);
            }
        }
    }
    reached
}

/// Returns the path of the module that a file is.
fn module(name: &str, path: &Path) -> Option<Names> {
    let below = path.strip_prefix(format!("crates/{name}/src")).ok()?.with_extension("");
    let mut names: Names =
        below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    match names.last().map(String::as_str) {
        Some("mod") => drop(names.pop()),
        Some("lib") if names.len() == 1 => names.clear(),
        Some("main") if names.len() == 1 => return None,
        _ if names.first().is_some_and(|first| first == "bin") => return None,
        _ => {}
    }
    Some(names)
}

/// A `use` statement, or a path that stands in the code by itself.
struct Statement {
    public: bool,
    paths: Vec<Names>,
}

/// Finds all `use` statements and all paths that begin with `crate::`, `super::` or `self::`.
fn statements(code: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let is_use = trimmed.starts_with("use ") || trimmed.starts_with("pub") && trimmed.contains("use ");
        if !is_use || trimmed.contains("fn ") {
            rest.push_str(line);
            rest.push('\n');
            continue;
        }
        let mut statement = trimmed.to_owned();
        while !statement.contains(';') {
            statement.push_str(lines.next().expect("a statement ends"));
        }
        let (head, tree) = statement.split_once("use ").expect("it begins so");
        let tree: String =
            tree.split(';').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        statements.push(Statement { public: head.starts_with("pub"), paths: leaves(&tree) });
    }
    for start in ["crate::", "super::", "self::"] {
        for (index, _) in rest.match_indices(start) {
            let is_start = index == 0 || !is_of_a_name(rest.as_bytes()[index - 1]);
            let path: String = rest[index..]
                .chars()
                .take_while(|char| char.is_alphanumeric() || "_:".contains(*char))
                .collect();
            if is_start && !path.starts_with("crate::Result") {
                let names = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
                statements.push(Statement { public: false, paths: vec![names] });
            }
        }
    }
    statements
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// Returns the paths of a tree such as `a::{b, c::{self, D}}`.
fn leaves(tree: &str) -> Vec<Names> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        let names: Names = path
            .split("::")
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty() && name != "*")
            .collect();
        return if names.is_empty() { Vec::new() } else { vec![names] };
    };
    let prefix: Names =
        prefix.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (index, char) in inner.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    let mut all = Vec::new();
    for leaf in parts.into_iter().flat_map(leaves) {
        let leaf = if leaf == ["self"] { Vec::new() } else { leaf };
        all.push(prefix.iter().cloned().chain(leaf).collect());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(of: &[(&str, &[&str])]) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        of.iter().map(|(from, to)| (PathBuf::from(from), to.iter().map(PathBuf::from).collect())).collect()
    }

    #[test]
    fn a_circle_is_found_around_a_corner_and_a_chain_is_none() {
        let chain = arrows(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
        assert_eq!(circles(&chain), Vec::<BTreeSet<PathBuf>>::new());
        let around = arrows(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]);
        assert_eq!(circles(&around), [["a", "b", "c"].map(PathBuf::from).into()]);
    }

    #[test]
    fn every_leaf_of_a_tree_of_imports_is_a_path() {
        let paths: Vec<String> =
            leaves("crate::{a, b::{self, C as D}, e::*}").iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["crate::a", "crate::b", "crate::b::C", "crate::e"]);
    }
}
