//! Parts of the contract that other suites show, and the tests that do. One that is renamed or gone is
//! found here.

use std::fs;
use std::path::Path;

/// What is shown, by which test of which file.
const SHOWN: [(&str, &str, &str); 27] = [
    ("seven spellings of four verbs", "tests/google_calendar/pairs.rs", "seven_spellings"),
    (
        "every pair of verbs",
        "tests/google_calendar/pairs.rs",
        "every_pair_of_verbs_on_linked_owners",
    ),
    ("UNLINK against a run", "tests/google_calendar/interrupted.rs", "during_a_later_page"),
    ("LINK against a run", "tests/google_calendar/interrupted.rs", "linked_again_at_once"),
    (
        "a change during a run",
        "tests/google_calendar/interrupted.rs",
        "a_change_during_a_run_is_not_lost",
    ),
    ("conditional upsert", "tests/google_calendar/rows.rs", "an_unchanged_resync_moves_nothing"),
    ("columns", "tests/google_calendar/rows.rs", "every_column_of_a_rich_event"),
    ("sparse bodies", "tests/google_calendar/rows.rs", "stubs_of_deleted_events_erase_nothing"),
    (
        "UNLINKED",
        "tests/google_calendar/verbs.rs",
        "unlinked_deletes_everywhere_and_the_feed_says_so",
    ),
    (
        "a revoked token",
        "tests/google_calendar/refusals.rs",
        "a_revoked_grant_stops_the_owner_and_keeps_its_rows",
    ),
    (
        "one refresh for all",
        "tests/google_calendar/refused_requests.rs",
        "a_refused_token_is_replaced_once_for_all_streams",
    ),
    (
        "an expired token",
        "tests/google_calendar/listings.rs",
        "expired_tokens_of_every_listing_are_replaced",
    ),
    (
        "what a full listing omits",
        "tests/google_calendar/calendars.rs",
        "calendars_that_a_full_list_omits_are_deleted",
    ),
    ("organizations apart", "tests/google_calendar/trees.rs", "organizations_keep_apart"),
    (
        "a dependent made later",
        "tests/google_calendar/trees.rs",
        "an_integration_made_later_gets_its_rows_without_a_post",
    ),
    (
        "the payload of HTTP Sync",
        "tests/delivery/contract.rs",
        "a_receiver_of_webhookdb_finds_what_it_knows",
    ),
    (
        "limits of targets",
        "tests/delivery/contract.rs",
        "what_cannot_be_a_target_is_refused_with_its_reason",
    ),
    (
        "delivery at once",
        "tests/delivery/contract.rs",
        "a_change_is_delivered_without_waiting_for_the_period",
    ),
    ("login step by step", "tests/api/login.rs", "a_login_step_by_step"),
    ("parents by number", "tests/api/integrations.rs", "a_service_stands_once_under_a_parent"),
    ("deletion below", "tests/api/integrations.rs", "what_is_deleted_is_gone_with_all_below"),
    ("reset", "tests/api/integrations.rs", "a_reset_endpoint_takes_nothing_until_it_is_set_up"),
    ("read-only queries", "tests/api/databases.rs", "nothing_else_is_reached"),
    ("large bodies", "tests/api/login.rs", "what_is_not_json_is_refused"),
    (
        "duplicate notifications",
        "tests/push/notifications.rs",
        "duplicates_and_late_ones_do_no_harm",
    ),
    ("a crash at any page", "tests/crash/main.rs", "no_accepted_post_is_lost"),
    ("commits that come late", "host/src/store/feed/tests.rs", "who_commits_late_is_not_missed"),
];

/// What a test fails by: a claim of its own, a comparison with the simulator's model, or a wait that must
/// come to an end.
const CLAIMS: [&str; 3] = ["assert", ".matches()", ".until("];

#[test]
fn each_is_still_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (what, file, test) in SHOWN {
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        shown(&text, test).unwrap_or_else(|why| panic!("{what}: {test} in {file} {why}"));
    }
}

/// Whether a file has a test of this name that runs and may fail; else why not.
fn shown(text: &str, test: &str) -> Result<(), &'static str> {
    let lines = code(text);
    let head = format!("async fn {test}() {{");
    let at = lines.iter().position(|line| *line == head).ok_or("isn't there")?;
    let is_attribute = |line: &&&str| line.starts_with("#[");
    let attributes: Vec<&&str> = lines[..at].iter().rev().take_while(is_attribute).collect();
    if !attributes.iter().any(|line| line.starts_with("#[tokio::test")) {
        return Err("is no test");
    }
    if attributes.iter().any(|line| !line.starts_with("#[tokio::test")) {
        return Err("may not run: it has another attribute");
    }
    let body = body(&lines[at..]);
    let by_itself = claims(body);
    match by_itself || functions(&lines).any(|(name, of)| calls(body, name) && claims(of)) {
        true => Ok(()),
        false => Err("claims nothing"),
    }
}

/// Lines without those that are comments.
fn code(text: &str) -> Vec<&str> {
    let mut in_comment = false;
    let is_code = |line: &&str| {
        let trimmed = line.trim();
        in_comment |= trimmed.starts_with("/*");
        let is_code = !in_comment && !trimmed.is_empty() && !trimmed.starts_with("//");
        in_comment &= !trimmed.ends_with("*/");
        is_code
    };
    text.lines().filter(is_code).collect()
}

/// From the head of a function at the top of a file to its end, as rustfmt writes it.
fn body<'l, 't>(lines: &'l [&'t str]) -> &'l [&'t str] {
    let end = lines.iter().position(|line| *line == "}").unwrap_or(lines.len());
    &lines[1..end]
}

/// Functions at the top of a file, by name.
fn functions<'l, 't>(lines: &'l [&'t str]) -> impl Iterator<Item = (&'t str, &'l [&'t str])> {
    lines.iter().enumerate().filter_map(move |(at, line)| {
        let (before, after) = line.split_once("fn ")?;
        let is_function = ["", "async ", "pub(crate) ", "pub(crate) async "].contains(&before);
        let (name, _) = after.split_once('(').filter(|_| is_function)?;
        Some((name, body(&lines[at..])))
    })
}

fn calls(body: &[&str], name: &str) -> bool {
    body.iter().any(|line| line.contains(&format!("{name}(")))
}

fn claims(body: &[&str]) -> bool {
    body.iter().any(|line| CLAIMS.iter().any(|claim| line.contains(claim)))
}

#[test]
fn what_shows_nothing_is_found() {
    let helper = "fn help() {\n    assert!(true);\n}\n";
    for (text, found) in [
        ("#[tokio::test]\nasync fn t() {\n    assert!(x);\n}\n", Ok(())),
        ("#[tokio::test(flavor = \"x\")]\nasync fn t() {\n    a.matches().await;\n}\n", Ok(())),
        ("#[tokio::test]\nasync fn t() {\n    help();\n}\n", Ok(())),
        ("#[tokio::test]\nasync fn other() {\n    assert!(x);\n}\n", Err("isn't there")),
        ("// #[tokio::test]\n// async fn t() {\n//     assert!(x);\n// }\n", Err("isn't there")),
        ("/*\n#[tokio::test]\nasync fn t() {\n    assert!(x);\n}\n*/\n", Err("isn't there")),
        ("async fn t() {\n    assert!(x);\n}\n", Err("is no test")),
        ("// #[tokio::test]\nasync fn t() {\n    assert!(x);\n}\n", Err("is no test")),
        (
            "#[tokio::test]\n#[ignore]\nasync fn t() {\n    assert!(x);\n}\n",
            Err("may not run: it has another attribute"),
        ),
        ("#[tokio::test]\nasync fn t() {\n}\n", Err("claims nothing")),
        ("#[tokio::test]\nasync fn t() {\n    // assert!(x);\n}\n", Err("claims nothing")),
        ("#[tokio::test]\nasync fn t() {\n    run();\n}\n", Err("claims nothing")),
    ] {
        assert_eq!(shown(&format!("{helper}{text}"), "t"), found, "{text}");
    }
}
