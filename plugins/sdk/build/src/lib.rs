//! The build-script half of the plugin SDK: typed rows and names out of `plugin.toml`, so that code
//! and schema can't drift apart.
//!
//! A plugin's `build.rs` is `fn main() { rowgate_plugin_build::generate() }`; its code brings the
//! result in with `rowgate_plugin::include_manifest!()`.

mod rows;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, process};

use rowgate_manifest::Manifest;

/// Reads `plugin.toml` beside the build script and writes the code that
/// `rowgate_plugin::include_manifest!()` includes. Ends the build with what is wrong and where, if
/// the manifest doesn't hold together.
pub fn generate() {
    let directory = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let path = directory.join("plugin.toml");
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|e| fail(&format!("can't read {}: {e}", path.display())));
    let manifest =
        Manifest::from_toml(&text).unwrap_or_else(|e| fail(&format!("{}: {e}", path.display())));
    let out = PathBuf::from(variable("OUT_DIR")).join("manifest.rs");
    if let Err(e) = fs::write(&out, source(&manifest)) {
        fail(&format!("can't write {}: {e}", out.display()));
    }
}

/// The code for a manifest.
pub fn source(manifest: &Manifest) -> String {
    let mut out = String::from("// Generated from plugin.toml.\n\n");
    let services = manifest.services.keys();
    names(
        &mut out,
        "services",
        "Names of the services; a table is named by its service.",
        services,
    );
    let streams = manifest.services.values().flat_map(|service| service.streams.keys());
    names(&mut out, "stream_kinds", "Kinds of streams.", streams);
    let config = manifest.services.values().flat_map(|service| &service.config);
    let config = config.filter(|(_, field)| !field.secret).map(|(name, _)| name);
    names(&mut out, "config", "Configuration values that the component may know.", config);
    names(&mut out, "secrets", "Secrets that requests may name.", manifest.secrets.keys());
    names(&mut out, "push", "Push channels.", manifest.push.keys());
    lists(&mut out, manifest);
    rows::tables(&mut out, manifest);
    out
}

fn names<'a>(out: &mut String, module: &str, doc: &str, names: impl Iterator<Item = &'a String>) {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    begin(out, module, doc);
    for name in names {
        line(out, &format!("    /// `{name}`."));
        line(out, &format!("    pub const {}: &str = {name:?};", constant(name)));
    }
    line(out, "}\n");
}

fn lists(out: &mut String, manifest: &Manifest) {
    begin(out, "lists", "The plugin's own lists.");
    for (name, items) in &manifest.lists {
        line(out, &format!("    /// `{name}`."));
        line(out, &format!("    pub const {}: &[&str] = &{items:?};", constant(name)));
    }
    line(out, "}\n");
}

fn begin(out: &mut String, module: &str, doc: &str) {
    line(out, &format!("/// {doc}"));
    line(
        out,
        "#[allow(dead_code, unreachable_pub, reason = \"not every plugin needs all names\")]",
    );
    line(out, &format!("pub mod {module} {{"));
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a String can't fail");
}

fn constant(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: not a build script?")))
}

fn fail(text: &str) -> ! {
    for line in text.lines() {
        println!("cargo::error={line}");
    }
    process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
[plugin]
name = "x"
version = "1.0.0"
cursor = { writes = 1, reads = [1] }
[services.root_v1.config]
key = { prompt = "Key:", secret = true }
api_url = { kind = "url", default = "https://x" }
[services.root_v1]
table = "the_things"
webhook = { auth = [{ kind = "channel", id = "i", token = "t" }] }
[tables.the_things]
owner = "owner_id"
key = ["type"]
never_written = ["unused"]
columns = { type = "text", count = "int", chan = "text", vendor = "text", ends = "timestamptz", unused = "json" }
[push.some-news]
endpoint = "root_v1"
row = { table = "root_v1", key = "type" }
fills = { channel = "chan", vendor = "vendor", expires = "ends" }
ttl_s = 9
renew_s = 1
[lists]
odd_ones = ["a\"b"]
"#;

    #[test]
    fn names_and_rows() {
        let source = source(&Manifest::from_toml(MANIFEST).unwrap());
        let present = [
            "pub const ROOT_V1: &str = \"root_v1\";",
            "pub const API_URL: &str = \"api_url\";",
            "pub const SOME_NEWS: &str = \"some-news\";",
            "pub const ODD_ONES: &[&str] = &[\"a\\\"b\"];",
            "pub struct TheThings;",
            "pub struct TheThingsRow<'a> {",
            "type_: Cell<&'a str>,",
            "const KEY: &'static [&'static str] = &[\"type\"];",
            "const COLUMNS: &'static [&'static str] = &[\"type\", \"count\", \"data\"];",
        ];
        for text in present {
            assert!(source.contains(text), "{text} is missing in\n{source}");
        }
        for absent in ["unused", "vendor", "\"key\"", "owner_id"] {
            assert!(!source.contains(absent), "{absent} is in\n{source}");
        }
    }
}
