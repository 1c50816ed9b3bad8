//! Spans at an OpenTelemetry collector: the path's words, the run's id, no secret.

use simulator::Seen;
use tests::{LeakScanner, Settings, Vendor, VendorAnswer};

use crate::setup::{ANA, Case, OWNER};

/// How a span's name stands in its message: field 5, a text of that length.
fn name(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x2a, length], text.as_bytes()].concat()
}

/// How an attribute with a text stands in a message: a name, then a value that is that text.
fn attribute(key: &str, value: &str) -> Vec<u8> {
    let text = |tag: u8, text: &[u8]| [&[tag, u8::try_from(text.len()).unwrap()], text].concat();
    [text(0x0a, key.as_bytes()), text(0x12, &text(0x0a, value.as_bytes()))].concat()
}

fn holds(bodies: &[Vec<u8>], part: &[u8]) -> bool {
    bodies.iter().any(|body| body.windows(part.len()).any(|window| window == part))
}

/// Ids of the runs that the log speaks of.
fn runs(log: &str) -> Vec<&str> {
    let ids =
        log.lines().filter_map(|line| line.split_once("schedule{run=\"")?.1.split('"').next());
    ids.collect()
}

fn bearer(seen: &Seen) -> Option<String> {
    seen.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned)
}

#[tokio::test]
async fn a_collector_gets_the_path_and_no_secret() {
    let collector = Vendor::start(|_| VendorAnswer::reply(200, ""));
    let settings = Settings::default();
    let settings = settings.env("ROWGATE_TRACE_OTLP_ENDPOINT", collector.base_url());
    let mut case = Case::unlinked_with(settings).await;
    let refresh_token = case.simulator.model().create_user(ANA);
    case.host.post_with(&case.tree, "LINKED", OWNER, ANA, &refresh_token).await;
    case.settle().await;
    case.dead_token().await;
    let log = case.log();
    let runs = runs(&log);
    assert!(!runs.is_empty(), "{log}");
    // What is left is sent at the end.
    case.host.stop().await;

    let seen = collector.seen();
    assert!(seen.iter().all(|request| request.target == "/v1/traces"), "{seen:?}");
    let bodies: Vec<Vec<u8>> = seen.iter().map(|request| request.body.clone()).collect();
    for word in ["webhook", "auth", "inbox", "schedule", "run", "plugin", "egress", "rows", "store"]
    {
        assert!(holds(&bodies, &name(word)), "no span is called {word}");
    }
    assert!(holds(&bodies, &attribute("owner", OWNER)));
    assert!(holds(&bodies, &attribute("service", "google_calendar_event_v1")));
    assert!(runs.iter().all(|run| holds(&bodies, &attribute("run", run))), "{runs:?}");

    let tokens: Vec<String> = case.simulator.requests().iter().filter_map(bearer).collect();
    assert!(!tokens.is_empty(), "access tokens were used");
    let client_secret = case.simulator.model().client_secret.clone();
    let scanner = LeakScanner::new(
        [
            ("refresh token", refresh_token.as_str()),
            ("client secret", client_secret.as_str()),
            ("webhook secret", case.tree.list.secret.as_str()),
        ]
        .into_iter()
        .chain(tokens.iter().map(|token| ("access token", token.as_str()))),
    );
    let found: Vec<String> = bodies.iter().flat_map(|body| scanner.scan("traces", body)).collect();
    assert!(found.is_empty(), "{found:?}");
    // Calendars are named by people's addresses.
    assert!(!holds(&bodies, ANA.as_bytes()));
}
