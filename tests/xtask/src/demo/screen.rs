//! How the demo looks: headings, wrapped text, tables, commands that can be copied into a shell.

use serde_json::Value;

/// Columns of text.
const WIDTH: usize = 88;
/// Of a longer value (a digest, an error) the beginning is enough.
const CELL_MAX: usize = 40;

/// The beginning of a step.
pub(super) fn heading(title: &str) {
    println!("\n\n== {title} {}", "=".repeat(WIDTH.saturating_sub(title.chars().count() + 4)));
}

/// A paragraph; words come in any layout.
pub(super) fn say(text: &str) {
    println!("\n{}", wrapped(text));
}

/// A command, and below it what it said, if anything.
pub(super) fn command(line: &str, said: &str) {
    println!("\n$ {line}");
    if !said.trim().is_empty() {
        println!("{}", said.trim_end());
    }
}

/// A request as a person would send it.
pub(super) fn curl(url: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut line = format!("curl -X POST {url}");
    for (name, value) in headers.iter().chain(&[("Content-Type", "application/json")]) {
        line += &format!(" \\\n    -H {}", quoted(&format!("{name}: {value}")));
    }
    line + &format!(" \\\n    -d {}", quoted(body))
}

/// A word for the shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    // SQL is full of single quotes; between double ones the shell leaves it alone.
    if word.contains('\'') && !word.contains(['"', '$', '`', '\\', '!']) {
        return format!("\"{word}\"");
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Some columns of rows, aligned.
pub(super) fn table(columns: &[&str], rows: &[Value]) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.chars().count() > CELL_MAX => {
            text.chars().take(CELL_MAX / 2).chain("...".chars()).collect()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|name| (*name).into()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name])).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect());
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell() {
        for (word, typed) in [
            ("a-b_c", "a-b_c"),
            ("", "''"),
            ("select 1", "'select 1'"),
            ("a = 'b' and c->>'d'", r#""a = 'b' and c->>'d'""#),
            (r#"{"a":"it's"}"#, r#"'{"a":"it'\''s"}'"#),
            ("$HOME 'x'", r"'$HOME '\''x'\'''"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }

    #[test]
    fn tables_of_some_columns() {
        let rows = [
            serde_json::json!({ "a": 1, "b": "x", "c": "not asked" }),
            serde_json::json!({ "a": null, "b": "0123456789".repeat(5) }),
        ];
        let lines = ["b                        a", "-----------------------  -"];
        let lines = [lines, ["x                        1", "01234567890123456789..."]].concat();
        assert_eq!(table(&["b", "a"], &rows), lines.join("\n"));
    }

    #[test]
    fn requests() {
        let line = curl("http://a/b", &[("Secret", "s")], r#"{"a":1}"#);
        assert_eq!(
            line,
            "curl -X POST http://a/b \\\n    -H 'Secret: s' \\\n    \
             -H 'Content-Type: application/json' \\\n    -d '{\"a\":1}'"
        );
    }

    #[test]
    fn text_is_wrapped() {
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("word")));
        assert_eq!(text.lines().count(), 3);
    }
}
