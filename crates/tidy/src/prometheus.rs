//! Prometheus's rules and expressions.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use crate::sources::read;

/// A rule of a file of rules.
pub struct Rule {
    /// The name of the alert, or of the metric that is recorded.
    pub name: String,
    /// Whether it is an alert.
    pub is_alert: bool,
    /// What is asked of Prometheus.
    pub expression: String,
    /// The rule as it stands in its file.
    text: String,
}

impl Rule {
    /// Returns what stands in one of the rule's fields, or in one of its labels or annotations; empty where it has none.
    pub fn field(&self, name: &str) -> String {
        field(&self.text, name)
    }
}

/// Reads the rules of a file. It is no reader of YAML: it knows this project's way to write rules.
pub fn rules(path: &str) -> Vec<Rule> {
    let text = read(path);
    let rules = text.split("\n      - ").skip(1).map(|text| {
        let (kind, rest) = text.split_once(": ").expect("a kind");
        let name = rest.lines().next().unwrap_or_default().to_owned();
        Rule { name, is_alert: kind == "alert", expression: field(text, "expr"), text: text.to_owned() }
    });
    rules.collect()
}

/// Returns the value of a field: what follows in its line, and all lines below that are further in.
fn field(text: &str, name: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines();
    let start = format!("{name}: ");
    let Some(first) = lines.find(|line| line.trim_start().starts_with(&start)) else { return String::new() };
    let below = lines.take_while(|line| depth(line) > depth(first)).map(str::trim);
    let value = first.trim_start().strip_prefix(&start).into_iter().chain(below).filter(|part| *part != ">-");
    value.collect::<Vec<_>>().join(" ")
}

/// Returns the metrics for which an expression asks.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    let (mut found, mut chars) = (BTreeSet::new(), expression.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            // Ranges and matchers name no metric.
            '"' | '\'' | '{' | '[' => skip(&mut chars, char),
            _ if char.is_ascii_digit() => drop(word(char, &mut chars)),
            _ if is_of_a_name(char) => {
                let name = word(char, &mut chars);
                while chars.next_if(|next| next.is_whitespace()).is_some() {}
                match name.as_str() {
                    "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                        if chars.next_if_eq(&'(').is_some() {
                            skip(&mut chars, '(');
                        }
                    }
                    "and" | "or" | "unless" | "offset" | "bool" => {}
                    _ => {
                        // A function, or an aggregation, which may say first by what.
                        let rest: String = chars.clone().collect();
                        let is_called =
                            ["(", "by ", "by(", "without "].iter().any(|start| rest.starts_with(start));
                        if !is_called {
                            found.insert(name);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn is_of_a_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == ':'
}

/// Returns the rest of a word that begins so.
fn word(first: char, chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::from(first);
    while let Some(next) = chars.next_if(|next| is_of_a_name(*next)) {
        word.push(next);
    }
    word
}

/// Leaves out what was opened so, up to its end.
fn skip(chars: &mut Peekable<Chars<'_>>, opened: char) {
    let end = match opened {
        '{' => '}',
        '[' => ']',
        '(' => ')',
        quote => quote,
    };
    while let Some(char) = chars.next() {
        match char {
            _ if char == end => return,
            '\\' => drop(chars.next()),
            '"' => skip(chars, '"'),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_and_nothing_else() {
        for (expression, expected) in [
            ("up", &["up"][..]),
            (r#"sum by (le, a) (rate(b_bucket{le=~"1|1[.]0", c="}d"}[5m])) > 60"#, &["b_bucket"]),
            ("sum(x > 0 and on (job) time() - y < 300) or vector(0)", &["x", "y"]),
            (
                "sum(rate((a_count - ignoring (le) a_bucket{le=\"1\"})[$__range:])) * 60",
                &["a_bucket", "a_count"],
            ),
            ("a:b:c offset 5m / sum(d)", &["a:b:c", "d"]),
        ] {
            let expected: BTreeSet<String> = expected.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(metrics(expression), expected, "{expression}");
        }
    }

    #[test]
    fn a_field_ends_where_the_next_one_begins() {
        let text = "alert: A\n        expr: >-\n          x\n            > 1\n        for: 1m\n        annotations:\n          summary: b";
        assert_eq!(field(text, "expr"), "x > 1");
        assert_eq!((field(text, "summary"), field(text, "description")), ("b".to_owned(), String::new()));
    }
}
