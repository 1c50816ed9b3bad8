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

#[test]
fn each_is_still_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (what, file, test) in SHOWN {
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let stands = text.contains(&format!("async fn {test}()"));
        assert!(stands, "{what}: there is no {test} in {file}");
    }
}
