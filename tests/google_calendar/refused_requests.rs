//! Every documented refusal of the Calendar API and of the token endpoint, and what becomes of the
//! stream, the owner and the integration.

use serde_json::{Value, json};
use simulator::{Fault, Then, When};
use tests::Settings;

use crate::setup::{ANA, Case, OWNER, expanded_feed, live, single};

fn error(name: &str) -> Then {
    Then::Error(name.to_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Case {
    /// An event that the next catch-up brings.
    fn add_next(&self) -> usize {
        let count = self.simulator.model().expected().users[ANA][ANA].expanded.len();
        self.add(single(&format!("next{count}"), 4));
        count + 1
    }

    async fn stream(&self, service: &str) -> Value {
        let mut streams = self.streams().await.into_iter();
        streams.find(|stream| stream["service"] == service).unwrap_or_default()
    }
}

/// The owner's catch-up meets each of these twice and comes through.
async fn come_through(when: &When, answers: &[&str]) {
    let case = Case::linked().await;
    for answer in answers {
        let count = case.add_next();
        let fault = case.fault(when.clone().times(2), error(answer));
        case.refresh(&case.tree, OWNER, ANA).await;
        let through = async || live(&case.expanded().await).len() == count;
        case.until(&format!("{answer} passes"), through).await;
        case.settle().await;
        case.matches().await;
        assert_eq!(case.hits(fault), 2, "{answer}");
        assert_eq!(case.owner(OWNER).await["state"], "current", "{answer}");
        assert_eq!(case.integration_state(&case.tree.list).await.0, "ok", "{answer}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let answers = [
        "rateLimitExceeded",
        "resource-exhausted",
        "conditionNotMet",
        "internalError",
        "unavailable",
        "gateway-timeout",
        "html-500",
        "html-504",
        "empty-403",
        "empty-408",
        "empty-500",
    ];
    come_through(&expanded_feed(), &answers).await;
}

#[tokio::test]
async fn what_passes_at_the_token_endpoint_is_tried_again() {
    let answers = [
        "rate_limit_exceeded",
        "rate_limit_exceeded-429",
        "internal_failure",
        "internal_failure-400",
        "server_error",
        "temporarily_unavailable",
        "html-502",
        "empty-403",
        "empty-408",
        "empty-503",
    ];
    come_through(&When::path("/token"), &answers).await;
}

/// While Google answers so, the integration is marked and every grant is kept.
#[tokio::test]
async fn what_the_operator_must_mend_marks_the_integration() {
    let case = Case::linked().await;
    let token = When::path("/token");
    let api = When::path("*/calendarList");
    for (when, answer, said) in [
        (&token, "invalid_client", "invalid_client"),
        (&token, "invalid_client-unauthorized", "invalid_client"),
        (&token, "unauthorized_client", "unauthorized_client"),
        (&token, "unauthorized_client-400", "unauthorized_client"),
        (&token, "deleted_client", "deleted_client"),
        (&token, "disabled_client", "disabled_client"),
        (&api, "accessNotConfigured", "accessNotConfigured"),
        (&api, "billingDisabled", "accessNotConfigured"),
    ] {
        let count = case.add_next();
        let fault = case.fault(when.clone(), error(answer));
        case.refresh(&case.tree, OWNER, ANA).await;
        let marked = async || {
            let (state, reason) = case.integration_state(&case.tree.list).await;
            state == "misconfigured" && text(&reason).contains(said)
        };
        case.until(&format!("{answer} marks the integration"), marked).await;
        assert_ne!(case.owner(OWNER).await["state"], "grant dead", "{answer}");
        assert_eq!(live(&case.expanded().await).len(), count - 1, "{answer}: rows stay");
        case.simulator.clear_faults(Some(fault));
        let probed = async || live(&case.expanded().await).len() == count;
        case.until(&format!("a probe gets through after {answer}"), probed).await;
        case.settle().await;
        case.matches().await;
        assert_eq!(case.integration_state(&case.tree.list).await.0, "ok", "{answer}");
    }
}

/// The owner stops, with its rows, until it brings another token.
#[tokio::test]
async fn what_the_user_must_mend_stops_the_owner() {
    let case = Case::linked().await;
    let list = When::path("*/calendarList");
    for (when, answer, said, asked) in [
        (&list, "insufficientPermissions", "insufficientPermissions", 1),
        (&list, "notACalendarUser", "notACalendarUser", 1),
        // The token is replaced once; a fresh one that is refused too is a dead grant.
        (&list, "authError", "refused a fresh access token", 2),
        (&expanded_feed(), "insufficientPermissions", "insufficientPermissions", 1),
    ] {
        let count = case.add_next();
        let fault = case.fault(when.clone(), error(answer));
        case.catch_up().await;
        let owner = case.owner(OWNER).await;
        assert_eq!(owner["state"], "grant dead", "{answer}");
        assert!(text(&owner["reason"]).contains(said), "{owner}");
        assert_eq!(case.hits(fault), asked, "{answer}: it isn't asked again");
        assert_eq!(live(&case.expanded().await).len(), count - 1, "{answer}: rows stay");
        assert_eq!(case.integration_state(&case.tree.list).await.0, "ok", "{answer}");
        case.simulator.clear_faults(Some(fault));
        case.catch_up().await;
        case.matches().await;
    }
}

/// What only a mistake of ours can cause: that stream waits long, and nothing is thrown away.
#[tokio::test]
async fn what_we_did_wrong_stops_the_stream_alone() {
    let settings = Settings::default().env("ROWGATE_RUN_BACK_OFF_BASE_MS", "600000");
    let case = Case::unlinked_with(settings.env("ROWGATE_RUN_BACK_OFF_MAX_MS", "600000")).await;
    for answer in ["timeRangeEmpty", "required", "invalidParameter", "parseError", "loginRequired"]
    {
        let fault = case.fault(expanded_feed(), error(answer));
        case.link(&case.tree, OWNER, ANA).await;
        case.idle().await;
        assert_eq!(case.hits(fault), 1, "{answer}: it isn't asked again soon");
        let (failed, other) = (
            case.stream("google_calendar_event_v1").await,
            case.stream("google_calendar_source_event_v1").await,
        );
        assert_eq!((&failed["state"], &other["state"]), (&json!("failing"), &json!("current")));
        assert!(text(&failed["last_error"]).starts_with("bug: Google answered 4"), "{failed}");
        assert_eq!(case.token_requests(), 1, "{answer}: the access token is kept");
        let owner = case.owner(OWNER).await;
        assert_eq!(owner["state"], "syncing", "{answer}");
        case.simulator.clear_faults(Some(fault));
        case.unlink(&case.tree, OWNER).await;
        case.idle().await;
        case.simulator.clear_requests();
    }
    for answer in
        ["invalid_request", "invalid_request-no-client", "unsupported_grant_type", "invalid_scope"]
    {
        let fault = case.fault(When::path("/token"), error(answer));
        case.link(&case.tree, OWNER, ANA).await;
        case.idle().await;
        assert_eq!(case.hits(fault), 1, "{answer}");
        let owner = case.owner(OWNER).await;
        assert_eq!(owner["state"], "syncing", "{answer}: the grant isn't to blame");
        let failed = case.stream("google_calendar_v1").await;
        assert!(text(&failed["last_error"]).contains("bug: token endpoint"), "{failed}");
        assert_eq!(case.integration_state(&case.tree.list).await.0, "ok", "{answer}");
        case.simulator.clear_faults(Some(fault));
        case.unlink(&case.tree, OWNER).await;
        case.idle().await;
    }
}

/// A 400 is our mistake, unless a stored sync token may be what is wrong: that is dropped, once.
#[tokio::test]
async fn a_400_on_a_stored_sync_token_reads_in_full() {
    for (when, full) in
        [(expanded_feed(), "events full"), (When::path("*/calendarList"), "calendars full")]
    {
        let case = Case::linked().await;
        case.add(single("two", 4));
        let fault = case.fault(when.times(1), error("invalid"));
        case.catch_up().await;
        case.matches().await;
        assert_eq!(case.hits(fault), 1);
        let fulls: Vec<String> =
            case.listings().into_iter().filter(|listing| listing.ends_with("full")).collect();
        assert_eq!(fulls, [full], "one listing alone is read in full");
    }
}

/// One full listing may begin at once when a token has expired; after a second 410 it waits.
#[tokio::test]
async fn a_second_410_waits() {
    let settings = Settings::default().env("ROWGATE_RUN_BACK_OFF_BASE_MS", "600000");
    let case = Case::unlinked_with(settings.env("ROWGATE_RUN_BACK_OFF_MAX_MS", "600000")).await;
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    let gone = case.fault(expanded_feed(), error("fullSyncRequired"));
    case.refresh(&case.tree, OWNER, ANA).await;
    case.idle().await;
    assert_eq!(case.hits(gone), 2);
    let stream = case.stream("google_calendar_event_v1").await;
    assert_eq!(stream["state"], "failing", "{stream}");
    assert!(waits(&stream["next_due"], 400), "{stream}");
    assert_eq!(live(&case.expanded().await), ["one"], "rows stay");
}

/// Is this moment at least so many seconds away?
fn waits(due: &Value, seconds: i64) -> bool {
    tests::us_until(text(due)) >= seconds * 1_000_000
}

/// `Retry-After` counts wherever Google sends one, and nobody comes back before.
#[tokio::test]
async fn retry_after_is_heeded() {
    for (when, answer, of_owner) in [
        (expanded_feed(), "userRateLimitExceeded", true),
        (expanded_feed(), "unavailable", false),
        (When::path("/token"), "temporarily_unavailable", true),
    ] {
        let case = Case::linked().await;
        let fault = Fault {
            headers: [("Retry-After".to_owned(), "3600".to_owned())].into(),
            ..Fault::when(when.times(1), error(answer))
        };
        let fault = case.simulator.add_fault(fault);
        case.refresh(&case.tree, OWNER, ANA).await;
        case.idle().await;
        assert_eq!(case.hits(fault), 1, "{answer}");
        let told = async || match of_owner {
            true => case.owner(OWNER).await,
            false => case.stream("google_calendar_event_v1").await,
        };
        let before = told().await;
        assert!(waits(&before["next_due"], 3_500), "{answer}: {before}");
        // To read everything again is no reason to come before.
        case.resync(&case.tree, OWNER).await;
        case.idle().await;
        let after = told().await;
        assert!(waits(&after["next_due"], 3_500), "{answer}: {after}");
    }
}

/// Several streams find the token refused; one of them replaces it, and a token that was replaced
/// meanwhile isn't replaced again.
#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all_streams() {
    let case = Case::linked().await;
    case.read_again().await;
    assert_eq!(case.token_requests(), 0, "an access token is kept while it lives");
    let events = When::path("*/events");
    let refused = case.fault(events.times(2), error("authError"));
    case.add(single("two", 4));
    case.read_again().await;
    case.matches().await;
    assert_eq!(case.hits(refused), 2);
    assert_eq!(case.token_requests(), 1);
    // A token that has run out is noticed by the first who is refused.
    case.simulator.model().expire_access_tokens(Some(ANA));
    case.simulator.clear_requests();
    case.add(single("three", 4));
    case.read_again().await;
    case.matches().await;
    assert_eq!(case.token_requests(), 1);
}

#[tokio::test]
async fn a_grant_with_an_identity_is_as_good() {
    let case = Case::unlinked().await;
    let scopes = ["openid", "https://www.googleapis.com/auth/calendar.readonly"];
    case.simulator.model().create_user(ANA);
    case.simulator.model().set_scopes(ANA, scopes.map(str::to_owned).to_vec()).unwrap();
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    assert_eq!(case.owner(OWNER).await["state"], "current");
}

/// What Google asks of every client, to send compressed answers among others.
#[tokio::test]
async fn what_every_request_says() {
    let case = Case::linked().await;
    case.add(single("two", 4));
    case.catch_up().await;
    let requests = case.simulator.requests();
    let mut of_api = requests.iter().filter(|seen| seen.path.starts_with("/calendar/"));
    assert!(of_api.clone().count() >= 3);
    let says = |seen: &simulator::Seen| {
        let has = |name: &str| seen.header(name).is_some_and(|value| value.contains("gzip"));
        has("accept-encoding") && has("user-agent") && seen.query.contains("prettyPrint=false")
    };
    assert!(of_api.all(says), "{requests:?}");
    assert!(requests.iter().all(|seen| !seen.path.contains("primary")), "the real id is used");
}
