//! Who may name whom: outside crates by the module that wraps them, the host's modules by layer,
//! packages by what they are for.

use crate::code::{has_word, is_word, lines_with};

const HOST: &str = "host/src/";

/// Words of outside crates, and the host's modules that may use them.
const WRAPPED: [(&str, &[&str]); 20] = [
    ("sqlx", &["store", "delivery"]),
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("reqwest", &["egress"]),
    ("tokio_rustls", &["egress"]),
    ("webpki_roots", &["egress"]),
    ("TcpStream::connect", &["egress"]),
    ("lookup_host", &["egress"]),
    ("Instant::now", &["clock"]),
    ("SystemTime::now", &["clock"]),
    ("Timestamp::now", &["clock"]),
    ("Zoned::now", &["clock"]),
    ("clap", &["cli", "config", "main"]),
    ("clap_complete", &["cli"]),
    ("prometheus_client", &["metrics"]),
    ("opentelemetry", &["trace"]),
    ("opentelemetry_http", &["trace"]),
    ("opentelemetry_otlp", &["trace"]),
    ("opentelemetry_sdk", &["trace"]),
    ("tracing_opentelemetry", &["trace"]),
];

/// The host's modules from the ground up: a module names those of layers below its own only.
const LAYERS: [&[&str]; 13] = [
    &["model"],
    &["clock", "chance", "failpoint", "metrics"],
    &["rows", "auth", "secrets", "config", "tasks"],
    &["store"],
    &["egress"],
    &["plugin"],
    &["run"],
    &["schedule", "delivery", "mail", "trace"],
    &["webhook"],
    &["server"],
    &["app"],
    &["api"],
    &["cli"],
];

/// What a lower layer is kept from all the same.
const KEPT_APART: [(&str, &[&str]); 3] = [
    // Untrusted bytes stop here.
    ("webhook", &["run", "plugin", "egress"]),
    ("schedule", &["plugin", "egress"]),
    ("plugin", &["store"]),
];

/// Dependencies that a package must not have: start of its path, words.
const PACKAGES: [(&str, &[&str]); 5] = [
    // It must be there a minute after a clone.
    ("tests/xtask/", &["rowgate", "simulator", "wasmtime", "tokio", "reqwest"]),
    ("tests/postgres/", &["rowgate", "simulator", "sqlx", "tokio"]),
    ("tests/simulator/", &["rowgate", "rowgate-manifest", "rowgate-plugin", "wasmtime"]),
    ("tests/guests/", &["rowgate", "rowgate-manifest", "simulator", "tokio"]),
    ("plugins/", &["rowgate", "simulator", "wasmtime", "tokio", "reqwest", "sqlx"]),
];

/// Problems of a source file of the host.
pub(crate) fn in_code(path: &str, code: &str) -> Vec<(usize, String)> {
    let Some(inside) = path.strip_prefix(HOST) else { return Vec::new() };
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let mut found = Vec::new();
    for (word, allowed) in WRAPPED {
        if !allowed.contains(&module) {
            let say = format!("`{word}` is for {} alone", allowed.join(", "));
            found.extend(lines_with(code, word).into_iter().map(|line| (line, say.clone())));
        }
    }
    if let Some(own) = layer(module) {
        for (line, named) in named_modules(inside, code) {
            let apart = KEPT_APART.iter().any(|(m, kept)| *m == module && kept.contains(&named));
            let above = layer(named) >= Some(own) && named != module;
            if above || apart {
                found.push((line, format!("`{module}` must not know `{named}`")));
            }
        }
    }
    found
}

/// Problems of a package's Cargo.toml.
pub(crate) fn in_manifest(path: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (_, words) in PACKAGES.iter().filter(|(start, _)| path.starts_with(start)) {
        for (at, line) in text.lines().enumerate() {
            let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if line.contains('=') && words.contains(&key) {
                found.push((at + 1, format!("this package must not depend on `{key}`")));
            }
        }
    }
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The host's modules that code names, with the line.
fn named_modules(inside: &str, code: &str) -> Vec<(usize, &'static str)> {
    let depth = inside.trim_end_matches(".rs").split('/').count();
    let roots = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut named = Vec::new();
    for root in roots.iter().flat_map(|root| code.match_indices(root.as_str())) {
        let (at, root) = root;
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == ':') {
            continue;
        }
        let line = code[..at].lines().count().max(1);
        let after = &code[at + root.len()..];
        let all = LAYERS.iter().copied().flatten().copied();
        named.extend(
            all.filter(|module| heads(after).any(|head| head == *module)).map(|m| (line, m)),
        );
    }
    named
}

/// First segments of a path or of a group of paths: `a::b` has `a`, `{a::{x, y}, b}` has `a`, `b`.
fn heads(path: &str) -> impl Iterator<Item = &str> {
    let end = path.find(';').unwrap_or(path.len());
    let group = path[..end].strip_prefix('{');
    let mut depth = 0_i32;
    let pieces = group.unwrap_or(path).split(move |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let pieces = pieces.take(if group.is_some() { usize::MAX } else { 1 });
    pieces.map(|piece| {
        let piece = piece.trim_start();
        &piece[..piece.find(|c| !is_word(c)).unwrap_or(piece.len())]
    })
}

#[test]
fn heads_of_paths() {
    let heads = |path| heads(path).collect::<Vec<_>>();
    assert_eq!(heads("store::commit(x, run)"), ["store"]);
    assert_eq!(heads("{model::{Row, Key}, store};"), ["model", "store"]);
    assert!(has_word("use crate::run;", "run"));
}
