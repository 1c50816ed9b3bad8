//! The rules, as functions of a file's path and text.

use crate::code::{self, has_word, lines_with};
use crate::imports;

/// Lines of a source file, without its tests.
const LINES_MAX: usize = 500;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] =
    ["utils", "util", "common", "manager", "helper", "helpers", "misc", "mod"];
/// Where `unsafe` may stand: to load a precompiled component, and around generated bindings.
const UNSAFE: [&str; 3] = ["host/src/plugin/", "plugins/sdk/src/", "tests/guests/"];
/// Beginnings of paths that are one machine's.
const HOMES: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// What is wrong with a file, one `path:line: what` each.
pub(crate) fn problems(path: &str, text: &str) -> Vec<String> {
    let mut found = words(text);
    if path.ends_with("Cargo.toml") {
        found.extend(imports::in_manifest(path, text));
    }
    if path.ends_with(".rs") {
        let code = code::only_code(text);
        found.extend(name(path));

        found.extend(memory_safety(path, &code));
        found.extend(empty_modules(&code));
        // Tests set up whatever they need, and their names say what they are.
        if !is_test(path) {
            found.extend(module_doc(text));
            found.extend(length(text, &code));
            found.extend(imports::in_code(path, &code));
        }
    }
    found.sort();
    found.into_iter().map(|(line, what)| format!("{path}:{line}: {what}")).collect()
}

fn words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for home in HOMES.iter().filter(|home| is_absolute(line, home)) {
            found.push((at + 1, format!("`{home}` is a place on one machine")));
        }
    }
    found
}

/// Does a path begin there, rather than go on?
fn is_absolute(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| code::is_word(c) || "./-}*~:".contains(c))
    })
}

fn name(path: &str) -> Option<(usize, String)> {
    let modules = path.trim_end_matches(".rs").split('/');
    let empty = modules.into_iter().find(|module| EMPTY_NAMES.contains(module))?;
    Some((1, format!("`{empty}` is no name for a module: say what is in it")))
}

fn empty_modules(code: &str) -> Vec<(usize, String)> {
    let names = EMPTY_NAMES.iter().filter(|name| **name != "mod");
    let declared = names.flat_map(|name| {
        let lines = code.lines().enumerate();
        let lines = lines.filter(move |(_, line)| line.contains("mod ") && has_word(line, name));
        lines.map(move |(at, _)| (at + 1, format!("`{name}` is no name for a module")))
    });
    declared.collect()
}

fn module_doc(text: &str) -> Option<(usize, String)> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    (!first.starts_with("//!")).then(|| (1, "begins without `//!`".to_owned()))
}

fn length(text: &str, code: &str) -> Option<(usize, String)> {
    let generated = text.contains(concat!("@gener", "ated"));
    let lines = code.lines().count() - test_lines(code);
    let too_long = !generated && lines > LINES_MAX;
    too_long.then(|| (lines, format!("{lines} lines without tests; {LINES_MAX} are the limit")))
}

/// A module of a crate that is there for its tests alone.
fn is_test(path: &str) -> bool {
    let inside = path.split_once("/src/").map_or("", |(_, inside)| inside);
    inside.contains("tests/") || inside.ends_with("tests.rs")
}

/// Lines from `#[cfg(test)]` with a module in place to the file's end, where tests stand.
fn test_lines(code: &str) -> usize {
    let lines: Vec<_> = code.lines().collect();
    let in_place = |at: usize| {
        let mut after = lines[at + 1..].iter().take_while(|line| !line.trim_end().ends_with(';'));
        lines[at].starts_with("#[cfg(test)]") && after.any(|line| line.starts_with("mod "))
    };
    let first = (0..lines.len()).find(|at| in_place(*at));
    first.map_or(0, |first| lines.len() - first)
}

fn memory_safety(path: &str, code: &str) -> Vec<(usize, String)> {
    if UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
        return Vec::new();
    }
    let found = ["unsafe", "unsafe_code"].into_iter().flat_map(|word| lines_with(code, word));
    found.map(|line| (line, "`unsafe` is not allowed here".to_owned())).collect()
}
