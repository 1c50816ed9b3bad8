//! Logs as JSON: an object a line, and a run's lines with its id.

use serde_json::{Map, Value};
use simulator::{Moment, Then};
use tests::Settings;

use crate::setup::{ANA, Case, OWNER, expanded_feed, first};

#[tokio::test]
async fn each_line_is_an_object_and_a_runs_line_carries_the_runs_id() {
    let settings = Settings::default().env("ROWGATE_LOG_FORMAT", "json");
    let mut case = Case::unlinked_with(settings).await;
    // The request is held, then answered with what must not make lines of its own.
    case.fault(first(expanded_feed()).times(1), Then::Hold(Moment::Before));
    let down = Then::Answer { status: 503, body: "down\n{\"forged\":true}\n".to_owned() };
    let down = case.fault(first(expanded_feed()).times(1), down);
    case.link(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    let status: Value = serde_json::from_str(&case.get("/statusz").await).unwrap();
    let run = &status["runs_in_flight"][0];
    assert_eq!(run["owner"], OWNER, "{status}");
    case.simulator.release_held(None);
    case.settle().await;
    assert_eq!(case.hits(down), 1);
    // Its log is whole when it has ended.
    case.host.stop().await;

    let log = case.log();
    let lines: Vec<Map<String, Value>> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for word in ["timestamp", "level", "target", "fields"] {
            assert!(line.contains_key(word), "no {word}: {line:?}");
        }
    }
    let said = |what: &'static str| {
        lines.iter().filter(move |line| line["fields"]["message"] == what).collect::<Vec<_>>()
    };
    assert_eq!(said("serving").len(), 1, "{log}");
    let failed = said("call failed");
    assert_eq!(failed.len(), 1, "{log}");
    let spans = failed[0]["spans"].as_array().unwrap();
    let schedule = spans.iter().find(|span| span["name"] == "schedule").unwrap();
    assert!(run["run"].is_string(), "{status}");
    assert_eq!((&schedule["run"], &schedule["owner"]), (&run["run"], &run["owner"]), "{failed:?}");
    let stream = spans.iter().find(|span| span["name"] == "run").unwrap();
    assert_eq!(stream["service"], "google_calendar_event_v1", "{failed:?}");
}
