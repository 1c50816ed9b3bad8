//! Deployment files name settings that exist: the host ignores a variable that it doesn't know, so
//! nothing else would notice a slip of the pen.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::code::is_word;

/// What the command line reads beside the settings: where a host is, and who is logged in there.
const OF_THE_COMMAND: [&str; 2] = ["ROWGATE_HOST", "ROWGATE_PROFILE"];

/// The variables that `host/config.default.toml` makes: see there.
fn known(defaults: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut known = BTreeSet::new();
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']');
            section = if name == "server" { String::new() } else { format!("{name}_") };
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            known.insert(format!("ROWGATE_{section}{key}").to_uppercase());
        }
    }
    known
}

/// The variables that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("ROWGATE_").map(|(at, _)| at);
    let starts = starts.filter(|at| !text[..*at].ends_with(is_word));
    let word = |at: usize| {
        let rest = &text[at..];
        &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]
    };
    starts.map(word).collect()
}

fn unknown<'t>(text: &'t str, known: &BTreeSet<String>) -> Vec<&'t str> {
    named(text).into_iter().filter(|name| !known.contains(*name)).collect()
}

#[test]
fn a_slip_of_the_pen_is_found() {
    let known = known("# a = 1\nkey = \"\"\n[server]\ndrain_ms = 0\n[log]\nlevel = \"info\"\n");
    let expected = ["ROWGATE_DRAIN_MS", "ROWGATE_KEY", "ROWGATE_LOG_LEVEL"];
    assert_eq!(known.iter().collect::<Vec<_>>(), expected);
    let text = "ROWGATE_KEY=x ROWGATE_DRAIN=1 \"${ROWGATE_LOG_LEVEL:?}\" NO_ROWGATE_X";
    assert_eq!(unknown(text, &known), ["ROWGATE_DRAIN"]);
}

#[test]
fn deployment_files_name_settings_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let mut known = known(&read(&root.join("host/config.default.toml")));
    known.extend(OF_THE_COMMAND.map(str::to_owned));
    let files = fs::read_dir(root.join("examples/deploy")).expect("it is there");
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.push(root.join("README.md"));
    let mut seen = 0;
    for file in files {
        let text = read(&file);
        seen += named(&text).len();
        assert_eq!(unknown(&text, &known), [""; 0], "{}", file.display());
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_image_has_the_toolchain_that_the_workspace_asks_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let workspace = read("Cargo.toml");
    let asked = workspace.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let asked = asked.expect("the workspace asks for one").trim_matches('"');
    let image = read("examples/deploy/Dockerfile");
    assert!(image.contains(&format!("FROM rust:{asked}-bookworm AS build")), "{asked}");
}
