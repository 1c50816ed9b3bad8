//! Looks for planted secrets in whatever leaves the host, in every encoding that is in use.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postgres_cluster::{Cluster, Row};

use crate::TestHost;

/// Secrets by what they are, and the forms that each may take.
pub struct LeakScanner {
    /// By their first byte: a database is large.
    forms: Vec<Vec<Form>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    secret: String,
    encoding: &'static str,
    bytes: Vec<u8>,
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl LeakScanner {
    /// Names and values of secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut by_first = (0..=u8::MAX).map(|_| Vec::new()).collect::<Vec<_>>();
        for (name, value) in secrets {
            assert!(value.len() >= 12, "{name} is too short to be looked for");
            for (encoding, bytes) in forms(value) {
                let first = usize::from(bytes[0]);
                by_first[first].push(Form { secret: name.to_owned(), encoding, bytes });
            }
        }
        Self { forms: by_first }
    }

    /// What is found in a text or file: `where: secret in base64`.
    pub fn scan(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len() {
            let forms = &self.forms[usize::from(bytes[at])];
            found.extend(forms.iter().filter(|form| bytes[at..].starts_with(&form.bytes)));
        }
        let named = |form: &Form| format!("{place}: {} in {}", form.secret, form.encoding);
        found.into_iter().map(named).collect()
    }

    /// The same in every file below a directory.
    pub fn scan_directory(&self, directory: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                found.extend(self.scan_directory(&path));
            } else if let Ok(bytes) = fs::read(&path) {
                // A WAL may have been removed meanwhile; what was in it is in its database.
                found.extend(self.scan(&path.display().to_string(), &bytes));
            }
        }
        found
    }
}

impl TestHost {
    /// What is found in everything that the host keeps: its files, and its databases on a server.
    pub fn scan_storage(&self, scanner: &LeakScanner) -> Vec<String> {
        let mut found = scanner.scan_directory(self.data_dir());
        let names = self.database().map(|database| database.all_names());
        for name in names.transpose().expect("the server runs").into_iter().flatten() {
            found.extend(scan_database(scanner, &name).expect("a readable database"));
        }
        found
    }
}

/// Every row of every table as text; bytes are in hex there.
fn scan_database(scanner: &LeakScanner, name: &str) -> anyhow::Result<Vec<String>> {
    let mut client = Cluster::shared().connect(name)?;
    let text = |rows: Vec<Row>| rows.into_iter().flatten().flatten().collect::<Vec<String>>();
    let tables = text(client.query(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname not in ('pg_catalog', 'information_schema')",
    )?);
    let mut found = Vec::new();
    for table in tables {
        for row in text(client.query(&format!("select t::text from {table} t"))?) {
            found.extend(scanner.scan(&format!("{name} {table}"), row.as_bytes()));
        }
    }
    Ok(found)
}

fn forms(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = value.as_bytes();
    let mut forms = vec![("plain", bytes.to_vec())];
    let mut add = |encoding, form: String| forms.push((encoding, form.into_bytes()));
    add("hex", bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    add("hex", bytes.iter().map(|byte| format!("{byte:02X}")).collect());
    add("percent", percent(bytes, "-._~", |byte| format!("%{byte:02X}")));
    add("percent", percent(bytes, "-._~", |byte| format!("%{byte:02x}")));
    add("percent", percent(bytes, "", |byte| format!("%{byte:02X}")));
    add("a form", percent(bytes, "*-._ ", |byte| format!("%{byte:02X}")).replace(' ', "+"));
    let json = serde_json::Value::from(value).to_string();
    add("JSON", json[1..json.len() - 1].to_owned());
    add("JSON", json[1..json.len() - 1].replace('/', "\\/"));
    let nested = serde_json::Value::from(&json[1..json.len() - 1]).to_string();
    add("JSON in JSON", nested[1..nested.len() - 1].to_owned());
    add("Debug", value.escape_debug().to_string());
    // The text that the secret stands in may begin at any of three places of a group; what its
    // neighbours decide too is cut off.
    for before in 0..3 {
        let mut text = vec![0; before];
        text.extend_from_slice(bytes);
        let form = &base64(&text)[[0, 2, 3][before]..text.len() * 8 / 6];
        add("base64", form.to_owned());
        add("base64", form.replace('+', "-").replace('/', "_"));
    }
    forms
}

/// Every byte but letters, digits and these escaped.
fn percent(bytes: &[u8], plain: &str, escape: impl Fn(u8) -> String) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || plain.contains(char::from(*byte));
    let one = |byte: &u8| {
        if is_plain(byte) { char::from(*byte).to_string() } else { escape(*byte) }
    };
    bytes.iter().map(one).collect()
}

fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=group.len() {
            out.push(char::from(BASE64[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    out
}
