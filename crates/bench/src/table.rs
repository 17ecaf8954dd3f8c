//! The table that a run ends with.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::figures::{Figure, Figures};

const HEAD: [&str; 8] =
    ["what", "min / median / max", "unit", "limit", "ratio", "also", "CPU µs a stamp", "peak MiB"];

/// Returns all figures as a table for people.
pub fn table(figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(HEAD);
    for figure in figures.all() {
        table.add_row(row(figure));
    }
    for column in [1, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(figure: &Figure) -> [String; 8] {
    let value = match (&figure.missing, figure.spread()) {
        (Some(why), _) => why.clone(),
        (None, Some(spread)) => [spread.min, spread.median, spread.max].map(short).join(" / "),
        (None, None) => String::new(),
    };
    let named =
        |pairs: Vec<(&'static str, f64)>| lines(pairs, |name, value| format!("{name} {}", short(value)));
    [
        format!("{}: {}", figure.part, figure.what),
        value,
        figure.unit.to_owned(),
        named(figure.limits()),
        lines(figure.ratios(), |_, ratio| short(ratio)),
        named(figure.also()),
        named(with_sum(figure.cpu())),
        named(figure.peak()),
    ]
}

/// Adds the sum of what processes took.
fn with_sum(mut pairs: Vec<(&'static str, f64)>) -> Vec<(&'static str, f64)> {
    let sum = pairs.iter().map(|(_, value)| value).sum();
    if pairs.len() > 1 {
        pairs.push(("all", sum));
    }
    pairs
}

fn lines(pairs: Vec<(&'static str, f64)>, line: impl Fn(&str, f64) -> String) -> String {
    pairs.into_iter().map(|(name, value)| line(name, value)).collect::<Vec<_>>().join("\n")
}

/// Returns a number of things in words.
pub fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", thousands(count as i64))
}

/// Returns a number with three digits, or whole with its thousands apart.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => thousands(value.round() as i64),
        size if size >= 9.995 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;

    #[test]
    fn numbers_are_as_long_as_their_digits_mean_something() {
        let shown = [0.0, 0.254, 2.345, 9.999, 13.26, 99.96, 1_234_567.8, -1_000.0].map(short);
        assert_eq!(shown, ["0", "0.25", "2.35", "10.0", "13.3", "100", "1,234,568", "-1,000"]);
    }

    #[test]
    fn one_thing_is_no_more_than_one() {
        assert_eq!([1, 2, 1_000].map(|count| counted(count, "row")), ["1 row", "2 rows", "1,000 rows"]);
    }

    #[test]
    fn a_row_has_the_value_beside_its_limit_and_their_ratio() {
        let mut figures = Figures::default();
        for value in [12_800.0, 13_400.0, 13_300.0] {
            figures.add(
                "intake",
                "64 connections",
                "stamps/s",
                Sample::new(value).limit("does nothing", 66_500.0).also("p99 ms", 17.7),
            );
        }
        figures.missing("bulk", "1 connection", "stamps/s", "not available");
        let table = table(&figures);
        for part in [
            "intake: 64 connections",
            "12,800 / 13,300 / 13,400",
            "does nothing 66,500",
            "0.20",
            "p99 ms 17.7",
        ] {
            assert!(table.contains(part), "{part}:\n{table}");
        }
        assert!(table.contains("not available"), "{table}");
    }
}
