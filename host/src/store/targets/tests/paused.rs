//! Pauses: for failures, and those that somebody asked for.

use super::*;

on_both! {
    a_pause_for_failures_ends_by_what_may_mend_them,
}

async fn a_pause_for_failures_ends_by_what_may_mend_them(dialect: Dialect) {
    let store = filled(dialect).await;
    let made = target(&store).await;
    let url = Zeroizing::new("https://u:new@b.example/".to_owned());
    let paused = Failed { pause: Some("for too long".into()), ..failed_until(NOW) };
    for moves in [false, true] {
        let mend = async || match moves {
            true => store.move_target(&made.id, &url, "shown".into()).await.unwrap(),
            false => store.trigger_target(&made.id).await.unwrap(),
        };
        let held = claim_at(&store, NOW + 99 * LEASE).await.unwrap();
        settle_failure(store.control(), &held, paused.clone(), NOW).await.unwrap();
        mend().await;
        let mended = again(&store, &made.id).await;
        assert_eq!(
            (mended.attempts, mended.health(NOW + 99 * LEASE, 10)),
            (0, Health::Ok),
            "{moves}"
        );
        let held = claim_at(&store, NOW + 99 * LEASE).await.unwrap();
        settle_failure(store.control(), &held, paused.clone(), NOW).await.unwrap();
        store.pause_target(&made.id, "by hand").await.unwrap();
        mend().await;
        let asked = again(&store, &made.id).await;
        assert_eq!(asked.paused.as_deref(), Some("for too long"), "{moves}");
        assert_eq!(
            (asked.pause_asked_at, claim_at(&store, NOW + 99 * LEASE).await),
            (Some(NOW), None)
        );
        store.resume_target(&made.id).await.unwrap();
        let resumed = again(&store, &made.id).await;
        assert_eq!((resumed.paused, resumed.pause_asked_at), (None, None), "{moves}");
    }
}
