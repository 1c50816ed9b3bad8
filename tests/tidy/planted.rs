//! For each rule a file that breaks it and must be found, and one like it that must not.

use crate::rules::problems;

/// A file of that path whose code is `code`.
#[track_caller]
fn check(path: &str, code: &str, expected: &[&str]) {
    let text = if path.ends_with(".rs") { format!("//! Doc.\n{code}\n") } else { code.to_owned() };
    assert_eq!(problems(path, &text), expected, "{path}: {code}");
}

#[test]
fn outside_crates_have_one_module_each() {
    for (path, code, word, owner) in [
        ("host/src/run.rs", "use sqlx::Row;", "sqlx", "store, delivery"),
        ("host/src/run/step.rs", "fn f() -> wasmtime::Result<()> {}", "wasmtime", "plugin"),
        ("host/src/webhook.rs", "let c = reqwest::Client::new();", "reqwest", "egress"),
        ("host/src/server.rs", "TcpStream::connect(a)", "TcpStream::connect", "egress"),
        ("host/src/store/inbox.rs", "let t = Instant::now();", "Instant::now", "clock"),
        ("host/src/run.rs", "jiff::Timestamp::now()", "Timestamp::now", "clock"),
    ] {
        check(path, code, &[&format!("{path}:2: `{word}` is for {owner} alone")]);
    }
    check("host/src/store.rs", "use sqlx::Row;", &[]);
    check("host/src/store/inbox.rs", "use sqlx::Row;", &[]);
    check("host/src/plugin/engine.rs", "use wasmtime::Engine;", &[]);
    check("host/src/egress/connect.rs", "use reqwest::Client;", &[]);
    check("host/src/clock.rs", "Timestamp::now()", &[]);
    check("host/src/run.rs", "// unlike sqlx\nlet s = \"sqlx\";", &[]);
    check("tests/simulator/src/lib.rs", "TcpStream::connect(a)", &[]);
}

#[test]
fn the_hosts_modules_know_those_below() {
    for (path, code, named) in [
        ("host/src/webhook.rs", "use crate::run;", "run"),
        ("host/src/webhook/body.rs", "use crate::{model, plugin::Engine};", "plugin"),
        ("host/src/webhook/body.rs", "fn f(x: &crate::egress::Client) {}", "egress"),
        ("host/src/schedule.rs", "use crate::plugin::Engine;", "plugin"),
        ("host/src/store/commit.rs", "use crate::run::Step;", "run"),
        ("host/src/store.rs", "use super::run::Step;", "run"),
        ("host/src/store/commit.rs", "use super::super::run::Step;", "run"),
        ("host/src/model.rs", "use crate::store;", "store"),
        ("host/src/plugin.rs", "use crate::store::Store;", "store"),
        ("host/src/run.rs", "use crate::{\n    schedule::Plan,\n};", "schedule"),
        ("host/src/webhook.rs", "use crate::cli;", "cli"),
    ] {
        let module = path["host/src/".len()..].split(['/', '.']).next().unwrap();
        check(path, code, &[&format!("{path}:2: `{module}` must not know `{named}`")]);
    }
    check("host/src/run.rs", "use crate::{model::Run, plugin, store};", &[]);
    check("host/src/store.rs", "use crate::store::inbox;", &[]);
    check("host/src/store/commit.rs", "use super::run;", &[]);
    check("host/src/webhook.rs", "use crate::{auth, store::{inbox, run}};", &[]);
    check("host/src/app.rs", "use crate::{run, schedule, server};", &[]);
    check("host/src/webhook/tests.rs", "use crate::server;", &[]);
    check("host/src/webhook/tests/load.rs", "TcpStream::connect(a)", &[]);
}

#[test]
fn packages_that_must_stay_small() {
    let path = "tests/xtask/Cargo.toml";
    let said = format!("{path}:2: this package must not depend on `wasmtime`");
    check(path, "[dependencies]\nwasmtime = \"48\"", &[&said]);
    let path = "plugins/google_calendar/Cargo.toml";
    let said = format!("{path}:2: this package must not depend on `rowgate`");
    check(path, "[dependencies]\nrowgate.workspace = true", &[&said]);
    check(path, "[dependencies]\nrowgate-plugin.workspace = true", &[]);
    check("host/Cargo.toml", "[dependencies]\nwasmtime = \"48\"", &[]);
}

#[test]
fn files_are_short() {
    let path = "host/src/run.rs";
    let said = format!("{path}:502: 502 lines without tests; 500 are the limit");
    check(path, &"let x = 1;\n".repeat(500), &[&said]);
    let with_tests =
        format!("{}#[cfg(test)]\nmod tests {{\n{}}}", "a\n".repeat(400), "b\n".repeat(400));
    check(path, &with_tests, &[]);
    let tests_elsewhere = format!("#[cfg(test)]\nmod tests;\n{}", "a\n".repeat(600));
    assert_eq!(problems(path, &format!("//! Doc.\n{tests_elsewhere}")).len(), 1);
    check("host/src/run/tests.rs", &"a\n".repeat(600), &[]);
}

#[test]
fn every_module_says_what_it_is() {
    let said = ["host/src/run.rs:1: begins without `//!`"];
    assert_eq!(problems("host/src/run.rs", "use x;\n//! Late.\n"), said);
    assert_eq!(problems("host/src/run.rs", "// Not a doc.\n"), said);
    // Its name says it.
    assert_eq!(problems("host/src/run/tests.rs", "use super::*;\n"), [""; 0]);
}

#[test]
fn unsafe_has_its_places() {
    for code in ["fn f() { unsafe { g() } }", "#[allow(unsafe_code)]"] {
        check("host/src/run.rs", code, &["host/src/run.rs:2: `unsafe` is not allowed here"]);
        check("host/src/plugin/cache.rs", code, &[]);
    }
    check("host/src/run.rs", "// unsafe\nlet s = \"unsafe\";", &[]);
}

#[test]
fn names_say_something() {
    for (path, name) in [("host/src/utils.rs", "utils"), ("host/src/run/mod.rs", "mod")] {
        let said = format!("{path}:1: `{name}` is no name for a module: say what is in it");
        check(path, "", &[&said]);
    }
    check(
        "host/src/run.rs",
        "pub(crate) mod helper {}",
        &["host/src/run.rs:2: `helper` is no name for a module"],
    );
    check("host/src/run.rs", "mod commonly;", &[]);
}

#[test]
fn no_place_of_one_machine() {
    let home = concat!("/ho", "me/");
    for path in ["README.md", "host/src/run.rs", "wit/types.wit"] {
        let text = format!("//! See {home}me/notes.");
        let said = format!("{path}:1: `{home}` is a place on one machine");
        assert_eq!(problems(path, &text), [said]);
    }
    check("README.md", &format!("https://example.com{home}page and a{home}b"), &[]);
}
