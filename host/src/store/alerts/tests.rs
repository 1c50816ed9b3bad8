use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened, on_both};

on_both! { the_same_is_told_once_a_day, posts_are_given_up, a_flood_is_cut_off }

const NOW: Micros = 10 * QUIET;

async fn filled(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    store
}

async fn raise_at(store: &Opened, subject: &'static str, now: Micros) {
    let write = store.control().write(move |connection| {
        Box::pin(async move {
            let raised = Raised {
                error_type: "grant_dead",
                integration_id: "svi_1",
                subject,
                message: "it was revoked",
                details: json!({ "external_owner_id": subject }),
            };
            raise(connection, raised, now).await
        })
    });
    write.await.unwrap();
}

async fn handler(store: &Opened) -> ErrorHandler {
    let url = Zeroizing::new("https://u:hush@a.example/".to_owned());
    store.create_error_handler(1, &url, "shown".into()).await.unwrap()
}

async fn the_same_is_told_once_a_day(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    raise_at(&store, "ana", NOW).await;
    assert_eq!(next_due(control).await.unwrap(), None, "nobody wants to hear");
    let made = handler(&store).await;
    assert_eq!(store.error_handlers(1).await.unwrap(), std::slice::from_ref(&made));
    raise_at(&store, "ana", NOW).await;
    raise_at(&store, "ana", NOW + 1).await;
    let claimed = claim(control, NOW).await.unwrap().unwrap();
    assert_eq!((&claimed.handler_id, claimed.attempts), (&made.id, 1));
    assert_eq!(claim(control, NOW).await.unwrap(), None, "once, and by one host");
    let (url, body) = store.alert_post(&claimed).await.unwrap().unwrap();
    assert_eq!(*url, "https://u:hush@a.example/");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["error_type"], &body["organization_key"]),
        (&json!("grant_dead"), &json!("default"))
    );
    assert_eq!(body["service_integration_table"], "t");
    settle(control, &claimed).await.unwrap();
    raise_at(&store, "bob", NOW + 2).await;
    let of_bob = claim(control, NOW + 2).await.unwrap().unwrap();
    assert_ne!(of_bob.alert_id, claimed.alert_id, "somebody else's");
    settle(control, &of_bob).await.unwrap();
    raise_at(&store, "ana", NOW + QUIET).await;
    assert!(claim(control, NOW + QUIET).await.unwrap().is_some(), "it lasts");
    assert_eq!(forget(control, NOW + 3 * QUIET).await.unwrap(), 1);
    let left: i64 = query_scalar("select count(*) from alerts").fetch_one(control).await.unwrap();
    assert_eq!(left, 1, "one is still to be told");
    assert!(store.delete_error_handler(1, &made.id).await.unwrap());
    assert!(!store.delete_error_handler(1, &made.id).await.unwrap());
    assert_eq!(next_due(control).await.unwrap(), None);
}

async fn posts_are_given_up(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    handler(&store).await;
    raise_at(&store, "ana", NOW).await;
    for attempt in 1..=TRIES {
        let at = next_due(control).await.unwrap().unwrap();
        assert_eq!(at, NOW + (attempt - 1) * TRY_AGAIN);
        assert_eq!(claim(control, at).await.unwrap().unwrap().attempts, attempt);
    }
}

async fn a_flood_is_cut_off(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    handler(&store).await;
    let flood = format!(
        "with recursive n (n) as (select 1 union all select n + 1 from n where n < {A_DAY_MAX})
         insert into alerts (organization_id, signature, body, raised_at)
         select 1, cast(n as text), '{{}}', {NOW} from n"
    );
    fixture::run(&store, flood).await;
    raise_at(&store, "ana", NOW + 1).await;
    assert_eq!(next_due(control).await.unwrap(), None);
    raise_at(&store, "ana", NOW + QUIET).await;
    assert_eq!(next_due(control).await.unwrap(), Some(NOW + QUIET), "the day after");
    let forgotten = forget(control, NOW + 2 * QUIET).await.unwrap();
    assert_eq!(forgotten, A_DAY_MAX.unsigned_abs());
}
