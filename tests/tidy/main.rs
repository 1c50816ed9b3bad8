//! Rules about the sources that neither compiler nor clippy knows. A rule is a pure function of a
//! file's path and text (`rules`), so each is shown to find a planted violation (`planted`).

mod code;
mod deployment;
mod imports;
mod planted;
mod rules;

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", "node_modules", "rowgate-data", "__pycache__"];
/// What is read, by the end of its name.
const READ: [&str; 12] = [
    ".rs", ".toml", ".md", ".wit", ".sql", ".py", ".sh", ".js", ".yml", ".yaml", ".txt", ".ci/run",
];

#[test]
fn sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    let read = |path: &String| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        rules::problems(path, &text)
    };
    let problems: Vec<_> = files.iter().flat_map(read).collect();
    // A walk that finds nothing would find nothing wrong either.
    assert!(files.iter().any(|path| path == "host/src/lib.rs"), "host/src/lib.rs isn't read");
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Paths of the files that are read, relative to the root, with `/`.
fn collect(root: &Path, directory: &Path, into: &mut Vec<String>) {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
        if path.is_dir() {
            if !hidden && !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, into);
            }
            continue;
        }
        let relative =
            path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if READ.iter().any(|end| relative.ends_with(end)) {
            into.push(relative);
        }
    }
}
