//! The example of a backend, run as its users run it.

use std::process::Output;

use tokio::process::Command;

use crate::setup::{ANA, Case, OWNER};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/backend/backend.py");

async fn run(case: &Case, secret: &str, arguments: &[&str]) -> Output {
    let endpoint = format!("{}{}", case.base_url(), case.tree.list.path);
    let mut command = Command::new("python3");
    command.arg(SCRIPT).args(arguments);
    command.env("ROWGATE_ENDPOINT", endpoint).env("ROWGATE_SECRET", secret);
    command.output().await.expect("python3 is on the path")
}

#[tokio::test]
async fn each_verb_of_the_example_has_its_effect() {
    let case = Case::unlinked().await;
    let token = case.simulator.model().create_user(ANA);
    let secret = case.tree.list.secret.clone();
    for (arguments, rows) in [
        (vec!["linked", OWNER, token.as_str()], true),
        (vec!["refreshed", OWNER, token.as_str()], true),
        (vec!["resync", OWNER], true),
        (vec!["unlinked", OWNER], false),
    ] {
        let output = run(&case, &secret, &arguments).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "202\n", "{output:?}");
        case.settle().await;
        assert_eq!(case.row_count(&case.tree, OWNER).await > 0, rows, "{arguments:?}");
    }
}

#[tokio::test]
async fn the_example_tells_what_is_wrong() {
    let case = Case::unlinked().await;
    let secret = case.tree.list.secret.clone();
    let refused = run(&case, "wrong", &["resync", OWNER]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401: "), "{refused:?}");
    let misused = run(&case, &secret, &["linked", OWNER]).await;
    assert_eq!(misused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misused.stderr).contains("backend.py linked"), "{misused:?}");
}
