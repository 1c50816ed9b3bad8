//! A row type for each table.

use std::collections::BTreeSet;

use rowgate_manifest::{ColumnType, Manifest, Table};

use crate::{begin, constant, line};

/// Column names that can't be field names as they are.
const KEYWORDS: &str = "\
    abstract as async await become box break const continue crate do dyn else enum extern \
    false final fn for gen if impl in let loop macro match mod move mut override priv pub ref \
    return self static struct super trait true try type typeof unsafe unsized use virtual \
    where while yield";

pub(crate) fn tables(out: &mut String, manifest: &Manifest) {
    begin(out, "tables", "Tables and their rows; columns that the host fills are left out.");
    line(out, "    use rowgate_plugin::{Cell, Row, Table, Value};");
    for (name, table) in &manifest.tables {
        let filled = filled_by_host(manifest, name);
        let written: Vec<_> = columns(table)
            .filter(|(column, _)| {
                !filled.contains(column) && !table.never_written.iter().any(|n| n == column)
            })
            .collect();
        one_table(out, name, table, &written);
    }
    line(out, "}");
}

/// Columns of push channels.
fn filled_by_host<'a>(manifest: &'a Manifest, table: &str) -> BTreeSet<&'a str> {
    let of_table = |service: &str| {
        manifest.services.get(service).is_some_and(|service| service.table == table)
    };
    let fills = manifest.push.values().filter(|push| of_table(&push.row.table)).map(|p| &p.fills);
    fills.flat_map(|f| [&f.channel, &f.vendor, &f.expires]).map(String::as_str).collect()
}

fn columns(table: &Table) -> impl Iterator<Item = (&str, ColumnType)> {
    let declared = table.columns.iter().map(|(name, kind)| (name.as_str(), *kind));
    declared.chain([("data", ColumnType::Json)])
}

fn one_table(out: &mut String, name: &str, table: &Table, columns: &[(&str, ColumnType)]) {
    let (marker, row) = (camel(name), format!("{}Row", camel(name)));
    let all: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
    let has_lifetime = columns.iter().any(|(_, kind)| rust_type(*kind).contains('\''));
    let lifetime = if has_lifetime { "<'a>" } else { "" };
    let anonymous = if has_lifetime { "<'_>" } else { "" };

    line(out, &format!("\n    /// Table `{name}`."));
    line(out, "    #[derive(Clone, Copy, Debug)]");
    line(out, &format!("    pub struct {marker};"));
    line(out, &format!("    impl Table for {marker} {{"));
    line(out, &format!("        type Row<'a> = {row}{lifetime};"));
    line(out, &format!("        const NAME: &'static str = {name:?};"));
    line(out, &format!("        const COLUMNS: &'static [&'static str] = &{all:?};"));
    line(out, &format!("        const KEY: &'static [&'static str] = &{:?};", table.key));
    line(out, "    }");
    line(out, &format!("    impl {marker} {{"));
    for column in &all {
        line(out, &format!("        /// Column `{column}`."));
        line(out, &format!("        pub const {}: &'static str = {column:?};", constant(column)));
    }
    line(out, "    }");

    line(out, &format!("    /// A row of `{name}`; what isn't set isn't said."));
    line(out, "    #[derive(Clone, Copy, Debug, Default, PartialEq)]");
    line(out, &format!("    pub struct {row}{lifetime} {{"));
    for (column, kind) in columns {
        line(out, &format!("        {}: Cell<{}>,", field(column), rust_type(*kind)));
    }
    line(out, "    }");
    line(out, &format!("    impl{lifetime} {row}{lifetime} {{"));
    for (column, kind) in columns {
        let (field, rust) = (field(column), rust_type(*kind));
        line(out, &format!("        /// Sets `{column}`; none is null."));
        line(
            out,
            &format!(
                "        pub fn {field}(mut self, value: impl Into<Option<{rust}>>) -> Self {{"
            ),
        );
        line(out, &format!("            self.{field} = value.into().into();"));
        line(out, "            self");
        line(out, "        }");
    }
    line(out, "    }");
    line(out, &format!("    impl Row for {row}{anonymous} {{"));
    line(out, "        fn cells(&self, set: &mut dyn FnMut(usize, Option<Value<'_>>)) {");
    for (at, (column, kind)) in columns.iter().enumerate() {
        let (field, variant) = (field(column), variant(*kind));
        line(out, &format!("            if let Some(value) = self.{field}.said() {{"));
        line(out, &format!("                set({at}, value.map(Value::{variant}));"));
        line(out, "            }");
    }
    line(out, "        }");
    line(out, "    }");
}

fn rust_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "bool",
        ColumnType::Int | ColumnType::Timestamptz => "i64",
        ColumnType::Double => "f64",
        ColumnType::Date => "i32",
        ColumnType::Bytes => "&'a [u8]",
        ColumnType::Decimal | ColumnType::Text | ColumnType::Json => "&'a str",
    }
}

fn variant(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "Bool",
        ColumnType::Int => "Int",
        ColumnType::Double => "Double",
        ColumnType::Decimal => "Decimal",
        ColumnType::Text => "Text",
        ColumnType::Json => "Json",
        ColumnType::Date => "Date",
        ColumnType::Timestamptz => "Timestamp",
        ColumnType::Bytes => "Bytes",
    }
}

fn camel(name: &str) -> String {
    let upper = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    name.split('_').map(upper).collect()
}

fn field(column: &str) -> String {
    let keyword = KEYWORDS.split(' ').any(|keyword| keyword == column);
    format!("{column}{}", if keyword { "_" } else { "" })
}
