//! What an operator sees: `/metrics`, `/statusz`, `doctor`.

use serde_json::Value;
use simulator::{Moment, Then};
use tests::Settings;

use crate::setup::{ANA, Case, OWNER, expanded_feed, first};

/// The value of a line of `/metrics`.
fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} isn't in\n{metrics}")).parse().unwrap()
}

/// Its owner's later posts wait for it until then.
#[tokio::test]
async fn a_post_that_makes_the_host_panic_is_parked_in_the_end() {
    let settings = Settings::default()
        .env("ROWGATE_FAILPOINT", "item_called:1:panic:8")
        .env("ROWGATE_RUN_BACK_OFF_BASE_MS", "1")
        .env("ROWGATE_RUN_BACK_OFF_MAX_MS", "5");
    let case = Case::unlinked_with(settings).await;
    let parked = async || value(&case.get("/metrics").await, "rowgate_inbox_parked");
    case.link(&case.tree, OWNER, ANA).await;
    let panics = "rowgate_task_panics_total{task=\"run\"} ";
    case.until("one panic", async || case.get("/metrics").await.contains(panics)).await;
    assert!(parked().await < 1.0 && case.row_count(&case.tree, OWNER).await == 0);
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.until("it is counted", async || parked().await >= 1.0).await;
    case.matches().await;
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let case = Case::linked().await;
    case.dead_token().await;
    let metrics = case.get("/metrics").await;
    assert!(value(&metrics, "rowgate_webhooks_total{status=\"202\"}") >= 2.0);
    assert!(value(&metrics, "rowgate_runs_total{outcome=\"done\"}") >= 3.0);
    assert!(value(&metrics, "rowgate_failures_total{cause=\"reauthorise\"}") >= 1.0);
    let calls = "rowgate_calls_total{plugin=\"google_calendar\",call=\"receive\",outcome=\"ok\"}";
    assert!(value(&metrics, calls) >= 2.0);
    assert!(value(&metrics, "rowgate_guest_cpu_seconds_total{plugin=\"google_calendar\"}") > 0.0);
    let rows = "rowgate_rows_changed_total{service=\"google_calendar_event_v1\"}";
    assert!(value(&metrics, rows) >= 1.0, "{metrics}");
    for none in [
        "rowgate_inbox_waiting",
        "rowgate_owners_due",
        "rowgate_streams_due",
        "rowgate_channels{state=\"live\"}",
        "rowgate_feed_lag_seconds",
        "rowgate_runs_in_flight",
    ] {
        assert!(value(&metrics, none).abs() < 0.5, "{none}");
    }
    for (what, least) in [("webhook", 2.0), ("item", 2.0), ("page", 3.0)] {
        let commits = format!("rowgate_commit_seconds_count{{what=\"{what}\"}}");
        assert!(value(&metrics, &commits) >= least, "{what}: {metrics}");
    }
    // An owner in a label would make as many series as there are owners.
    assert!(!metrics.contains(OWNER), "{metrics}");
    let status: Value = serde_json::from_str(&case.get("/statusz").await).unwrap();
    assert_eq!(status["load"]["inbox"]["waiting"], 0, "{status}");
    assert_eq!(status["load"]["streams_due"], 0, "{status}");
    assert_eq!(status["load"]["owners"]["grant_dead"], 1, "{status}");
    assert_eq!(status["load"]["plugins"][0]["name"], "google_calendar", "{status}");
    assert_eq!(status["database"]["state"], "ok");
}

#[tokio::test]
async fn what_runs_is_shown() {
    let case = Case::unlinked().await;
    let waits = case.fault(first(expanded_feed()).times(1), Then::Hold(Moment::Before));
    case.link(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    let status: Value = serde_json::from_str(&case.get("/statusz").await).unwrap();
    let runs = status["runs_in_flight"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{status}");
    assert_eq!(runs[0]["owner"], OWNER);
    assert_eq!(runs[0]["root"], case.tree.list.id);
    let streams = runs[0]["streams"].as_array().unwrap();
    let held = streams.iter().find(|one| one["service"] == "google_calendar_event_v1").unwrap();
    let listed = case.streams().await.into_iter().find(|one| one["id"] == held["stream"]).unwrap();
    assert_eq!(listed["state"], "running", "{listed}");
    // The keys of streams are people's addresses here.
    assert!(!status.to_string().contains(ANA), "{status}");
    assert_eq!(status["load"]["leases"], 1);
    assert_eq!(status["load"]["owners_due"], 0, "who runs isn't waiting: {status}");
    assert_eq!(value(&case.get("/metrics").await, "rowgate_runs_in_flight") as i64, 1);
    case.simulator.clear_faults(Some(waits));
    case.settle().await;
    case.matches().await;
}

/// The value of a field of a log line.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let (_, after) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{line}"));
    after.split([' ', '}']).next().unwrap().trim_matches('"')
}

#[tokio::test]
async fn lines_of_a_run_name_it() {
    let case = Case::unlinked().await;
    case.fault(first(expanded_feed()).times(1), Then::Error("empty-500".into()));
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.dead_token().await;
    let log = case.log();
    let told = |what: &str| log.lines().find(|line| line.contains(what)).unwrap_or_default();
    let (failed, dead) = (told("call failed"), told("the owner must link again"));
    for line in [failed, dead] {
        assert!(line.contains("schedule{run="), "{line}\n{log}");
        assert_eq!((field(line, "owner"), field(line, "root")), (OWNER, &*case.tree.list.id));
        assert!(!line.contains(ANA), "{line}");
    }
    assert_ne!(field(failed, "{run"), field(dead, "{run"), "two runs");
    assert_eq!(field(failed, "service"), "google_calendar_event_v1");
    let stream = field(failed, "stream").parse::<i64>().unwrap();
    let listed = case.streams().await.into_iter().find(|one| one["id"] == stream).unwrap();
    assert_eq!(listed["service"], "google_calendar_event_v1", "{listed}");
}

#[tokio::test]
async fn doctor_asks_the_vendor() {
    let case = Case::unlinked().await;
    let report = case.json(&["doctor"]).await;
    let rows = report.as_array().unwrap();
    let answers = |row: &&Value| row["detail"].as_str().is_some_and(|d| d.ends_with(" answers"));
    assert_eq!(rows.iter().filter(answers).count(), 1, "API and tokens have one origin: {report}");
    // Nothing listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api_url = format!("api_url=http://{gone}/calendar/v3");
    let token_url = format!("token_url=http://{gone}/token");
    let created = [
        "integrations",
        "create",
        "google_calendar_list_v1",
        "--yes",
        "--set",
        &api_url,
        "--set",
        &token_url,
        "--set",
        "client_id=a",
        "--set",
        "client_secret=b",
    ];
    let created = case.json(&created).await;
    // The post that `create` shows is one that the endpoint takes.
    let curl = created["curl"].as_str().unwrap();
    let body = curl.split_once(" -d '").unwrap().1.trim_end_matches('\'');
    let body: Value = serde_json::from_str(body).unwrap();
    let typed = (&body["type"], &body["refresh_token"]);
    assert_eq!(typed, (&"LINKED".into(), &"REFRESH_TOKEN".into()));
    let output = case.command(&["doctor"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_url =
        |row: &&Value| row["detail"].as_str().is_some_and(|d| d.contains(&gone.to_string()));
    let broken = report.as_array().unwrap().iter().find(of_url).expect("it is told of");
    assert_eq!(broken["state"], "broken", "{broken}");
}
