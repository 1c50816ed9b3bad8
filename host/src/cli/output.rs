//! Results as JSON, CSV (RFC 4180) or an aligned table.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::model::Micros;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// An array of objects
    Json,
    /// RFC 4180, with a header line
    Csv,
    /// Aligned columns
    Table,
}

/// Writes rows to standard output.
pub(super) fn print<C: AsRef<str>>(
    format: Format,
    columns: &[C],
    rows: &[Vec<Value>],
) -> anyhow::Result<()> {
    let columns: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
    print_text(&match format {
        Format::Json => json(&columns, rows),
        Format::Csv => csv(&columns, rows),
        Format::Table => table(&columns, rows),
    })
}

/// Writes one object: its fields below each other in the table format.
pub(super) fn print_object(format: Format, fields: &[(&str, Value)]) -> anyhow::Result<()> {
    let (columns, row): (Vec<&str>, Vec<Value>) = fields.iter().cloned().unzip();
    match format {
        Format::Json => print_text(&format!("{}\n", object(&unique(&columns), &row))),
        Format::Csv => print(format, &columns, &[row]),
        Format::Table => {
            let width = columns.iter().map(|name| name.len()).max().unwrap_or(0);
            let lines = columns.iter().zip(&row);
            let lines = lines.map(|(name, value)| format!("{name:width$}  {}\n", plain(value)));
            print_text(&lines.collect::<String>())
        }
    }
}

/// Writes text to standard output; whoever reads it may stop reading.
pub(super) fn print_text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tells whoever sits there what takes a while; a file or a pipe isn't told.
pub(super) fn takes_a_while(what: &str) {
    if io::stderr().is_terminal() {
        eprintln!("{what} ..");
    }
}

/// A time as people read it.
pub(super) fn time(at: Option<Micros>) -> Value {
    let timestamp = at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    timestamp.map_or(Value::Null, |timestamp| Value::from(timestamp.to_string()))
}

fn json(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let names = unique(columns);
    let objects: Vec<String> = rows.iter().map(|row| object(&names, row)).collect();
    match objects.is_empty() {
        true => "[]\n".into(),
        false => format!("[\n{}\n]\n", objects.join(",\n")),
    }
}

/// In the order of the columns, which `serde_json::Map` would lose.
fn object(names: &[String], row: &[Value]) -> String {
    let members = names.iter().zip(row);
    let members = members.map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// `id, id` becomes `id, id_2`: an object can't hold a name twice.
fn unique(columns: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let numbered = (2..).map(|n| format!("{column}_{n}"));
        let free = std::iter::once((*column).to_owned()).chain(numbered);
        names.extend(free.into_iter().find(|name| !names.contains(name)));
    }
    names
}

fn csv(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let head = columns.iter().map(|name| csv_field(name)).collect::<Vec<_>>();
    let lines = rows.iter().map(|row| row.iter().map(|value| csv_field(&text(value))).collect());
    let lines = std::iter::once(head).chain(lines);
    lines.map(|fields: Vec<String>| format!("{}\r\n", fields.join(","))).collect()
}

fn csv_field(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn table(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(plain).collect()).collect();
    let width = |at: usize| {
        let widest = cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        widest.max(columns[at].chars().count())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let is_number = |at: usize| rows.iter().any(|row| row[at].is_number());
    let line = |row: &[String]| {
        let fields = row.iter().enumerate().map(|(at, text)| match is_number(at) {
            true => format!("{text:>width$}", width = widths[at]),
            false => format!("{text:width$}", width = widths[at]),
        });
        format!("{}\n", fields.collect::<Vec<_>>().join("  ").trim_end())
    };
    let head: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let lines = [head, rule].into_iter().chain(cells.iter().cloned());
    lines.map(|row| line(&row)).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    escaped(&text(value))
}

/// A word as a shell takes it, whatever is in it.
pub(super) fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The same as [`escaped`], line by line.
pub(super) fn lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// On one line, and with nothing that steers a terminal or turns the direction of text.
pub(super) fn escaped(text: &str) -> String {
    let steers = |letter: char| {
        letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let escaped = |letter: char| match steers(letter) {
        true => letter.escape_default().collect::<String>(),
        false => letter.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, typed) in [
            ("./rowgate-data", "./rowgate-data"),
            ("my data", "'my data'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(word), typed);
        }
    }

    #[test]
    fn the_three_formats() {
        let columns = ["id", "name", "data", "id"];
        let rows = [
            vec![json!(1), json!("a,\"b\"\nc"), json!({"k": [true]}), json!(null)],
            vec![json!(22), json!("\u{1b}[31m"), json!(null), json!(false)],
        ];
        assert_eq!(
            json(&columns, &rows),
            "[\n{\"id\":1,\"name\":\"a,\\\"b\\\"\\nc\",\"data\":{\"k\":[true]},\"id_2\":null},\n\
             {\"id\":22,\"name\":\"\\u001b[31m\",\"data\":null,\"id_2\":false}\n]\n"
        );
        assert_eq!(
            csv(&columns, &rows),
            "id,name,data,id\r\n1,\"a,\"\"b\"\"\nc\",\"{\"\"k\"\":[true]}\",\r\n\
             22,\u{1b}[31m,,false\r\n"
        );
        assert_eq!(
            table(&columns, &rows),
            "id  name        data          id\n\
             --  ----------  ------------  -----\n \
             1  a,\"b\"\\nc    {\"k\":[true]}\n\
             22  \\u{1b}[31m                false\n"
        );
        assert_eq!(json(&columns, &[]), "[]\n");
    }
}
