//! What error handlers are told of targets that fail.

use super::*;
use crate::store::alerts;

on_both! {
    long_failures_are_told_once_until_it_works,
}

async fn long_failures_are_told_once_until_it_works(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let made = target(&store).await;
    let url = Zeroizing::new("https://a.example/".to_owned());
    store.create_error_handler(1, &url, "shown".into()).await.unwrap();
    let day = alerts::QUIET;
    let told = async || -> Vec<String> {
        let bodies = "select body from alerts order by id";
        let bodies: Vec<(String,)> = query_as(bodies).fetch_all(control.readers()).await.unwrap();
        bodies.into_iter().map(|(body,)| body).collect()
    };
    let fail = async |at: Micros, alert: bool, pause: Option<&str>| {
        let held = claim_at(&store, at).await.unwrap();
        let pause = pause.map(str::to_owned);
        let failed = Failed { alert, pause, ..failed_until(at + 1) };
        settle_failure(control, &held, failed, at).await.unwrap();
    };
    fail(NOW, false, None).await;
    assert_eq!(told().await, [""; 0], "it may pass by itself");
    fail(NOW + 10, true, None).await;
    let first = told().await;
    assert!(first[0].contains("\"target_failing\""), "{first:?}");
    assert!(first[0].contains("it has failed since 1970-01-01T00:16:40"), "{first:?}");
    assert!(first[0].contains("answered 500"), "{first:?}");
    // The same failure, a day later too.
    fail(NOW + 20, true, None).await;
    fail(NOW + 2 * day, true, None).await;
    assert_eq!(told().await, first);
    fail(NOW + 2 * day + 10, false, Some("for too long")).await;
    let paused = told().await;
    assert!(paused.len() == 2 && paused[1].contains("\"target_paused\""), "{paused:?}");
    // Somebody has looked, and it fails again.
    store.resume_target(&made.id).await.unwrap();
    fail(NOW + 2 * day + 20, false, None).await;
    fail(NOW + 2 * day + 30, true, None).await;
    let again = told().await;
    assert!(again.len() == 3 && again[2].contains("\"target_failing\""), "{again:?}");
}
