use super::*;

#[test]
fn the_text_is_open_metrics() {
    let metrics = Metrics::default();
    metrics.webhook(202);
    metrics.run("done");
    metrics.failure("retry");
    let used = Used { cpu_s: 0.5, wall_s: 2.0, memory_peak_bytes: 2e6, http_requests: 3 };
    metrics.call("google_calendar", "sync", "ok", used);
    metrics.rows_changed("google_calendar_v1", 7);
    metrics.rows_changed("google_calendar_event_v1", 0);
    metrics.commit("page", Duration::from_millis(3));
    metrics.limit_wait("owner", Duration::from_millis(500));
    metrics.limit_refusal("integration");
    metrics.delivery("taken", 5);
    metrics.delivery("failed", 0);
    let load = Load {
        owners: Owners { grant_dead: 2, ..Owners::default() },
        owners_due: 4,
        oldest_due_s: 1.5,
        leases: 3,
        runs_in_flight: 1,
        streams_due: 6,
        channels: Channels { live: 9, expiring: 1 },
        targets: Targets { failing: 2, paused: 3, behind: 4, feed_lag_s: 2.5, oldest_due_s: 0.5 },
        control: Connections { open: 4, busy: 2, writes_waiting: 7 },
        ..Load::default()
    };
    let text = metrics.text(&load);
    for line in [
        "rowgate_webhooks_total{status=\"202\"} 1",
        "rowgate_runs_total{outcome=\"done\"} 1",
        "rowgate_failures_total{cause=\"retry\"} 1",
        "rowgate_calls_total{plugin=\"google_calendar\",call=\"sync\",outcome=\"ok\"} 1",
        "rowgate_guest_cpu_seconds_total{plugin=\"google_calendar\"} 0.5",
        "rowgate_call_seconds_bucket{le=\"5.0\",plugin=\"google_calendar\"} 1",
        "rowgate_vendor_requests_total{plugin=\"google_calendar\"} 3",
        "rowgate_rows_changed_total{service=\"google_calendar_v1\"} 7",
        "rowgate_owners_due 4",
        "rowgate_oldest_due_seconds 1.5",
        "rowgate_owners{state=\"grant_dead\"} 2",
        "rowgate_streams_due 6",
        "rowgate_channels{state=\"live\"} 9",
        "rowgate_channels{state=\"expiring\"} 1",
        "rowgate_leases 3",
        "rowgate_runs_in_flight 1",
        "rowgate_connections{database=\"control\",state=\"busy\"} 2",
        "rowgate_connections{database=\"control\",state=\"idle\"} 2",
        "rowgate_writes_waiting{database=\"control\"} 7",
        "rowgate_commit_seconds_bucket{le=\"0.0025\",what=\"page\"} 0",
        "rowgate_commit_seconds_bucket{le=\"0.005\",what=\"page\"} 1",
        "rowgate_limit_waits_total{scope=\"owner\"} 1",
        "rowgate_limit_wait_seconds_total{scope=\"owner\"} 0.5",
        "rowgate_limit_refusals_total{scope=\"integration\"} 1",
        "rowgate_deliveries_total{outcome=\"taken\"} 1",
        "rowgate_deliveries_total{outcome=\"failed\"} 1",
        "rowgate_delivered_rows_total 5",
        "rowgate_targets{state=\"failing\"} 2",
        "rowgate_targets{state=\"paused\"} 3",
        "rowgate_targets{state=\"behind\"} 4",
        "rowgate_feed_lag_seconds 2.5",
        "rowgate_oldest_target_due_seconds 0.5",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} isn't in\n{text}");
    }
    assert!(!text.contains("google_calendar_event_v1"), "nothing changed there");
    assert!(text.ends_with("# EOF\n"));
}
