use super::*;
use crate::clock::Clock;
use crate::store::Dialect;
use crate::store::fixture::{self, Opened, on_both, plan};
use crate::store::leases::{self, Claimant};
use crate::store::streams::{self, Ended};

on_both! {
    the_same_is_told_once_a_day,
    posts_are_given_up,
    a_flood_of_one_type_is_cut_off,
    organizations_are_told_in_turn,
    a_claim_takes_the_first_of_an_index,
    posts_that_rest_take_no_turn,
    handlers_are_not_without_number,
    a_broken_integration_is_told_once_a_day,
    what_fails_for_long_is_told_once,
}

const NOW: Micros = 10 * QUIET;

async fn filled(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    store
}

async fn raise_at(store: &Opened, subject: &'static str, now: Micros) {
    raise_of(store, "svi_1", "grant_dead", subject, now).await;
}

async fn raise_of(
    store: &Opened,
    integration_id: &'static str,
    error_type: &'static str,
    subject: &'static str,
    now: Micros,
) {
    let write = store.control().write(move |connection| {
        Box::pin(async move {
            let raised = Raised {
                error_type,
                integration_id,
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
    handler_of(store, 1).await
}

async fn handler_of(store: &Opened, organization: OrganizationId) -> ErrorHandler {
    let url = Zeroizing::new("https://u:hush@a.example/".to_owned());
    store.create_error_handler(organization, &url, "shown".into()).await.unwrap()
}

async fn claim(control: &Database, now: Micros) -> Result<Option<Claimed>, Error> {
    super::claim(control, OrganizationId::MIN, now).await
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
        assert_eq!(at, NOW + (attempt - 1) * posts::TRY_AGAIN);
        assert_eq!(claim(control, at).await.unwrap().unwrap().attempts, attempt);
    }
}

async fn a_flood_of_one_type_is_cut_off(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    handler(&store).await;
    let flood = format!(
        "with recursive n (n) as (select 1 union all select n + 1 from n where n < {A_DAY_MAX})
         insert into alerts (organization_id, error_type, signature, body, raised_at)
         select 1, 'grant_dead', cast(n as text), '{{}}', {NOW} from n"
    );
    fixture::run(&store, flood).await;
    raise_at(&store, "ana", NOW + 1).await;
    assert_eq!(next_due(control).await.unwrap(), None);
    raise_of(&store, "svi_1", "target_paused", "syt_1", NOW + 2).await;
    let other = told(&store, NOW + 2).await.expect("it isn't crowded out");
    assert_eq!(other["error_type"], "target_paused");
    raise_at(&store, "ana", NOW + QUIET).await;
    assert_eq!(next_due(control).await.unwrap(), Some(NOW + QUIET), "the day after");
    let forgotten = forget(control, NOW + 2 * QUIET).await.unwrap();
    assert_eq!(forgotten, A_DAY_MAX.unsigned_abs() + 1);
}

/// One has many alerts, which are older.
async fn organizations_are_told_in_turn(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let quiet = store.create_organization("Quiet").await.unwrap().id;
    let integration = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
           created_at, number) values ('svi_2', {quiet}, 'p', 's', 't', 'svi_2', 0, 2)"
    );
    fixture::run(&store, integration).await;
    handler(&store).await;
    handler_of(&store, quiet).await;
    for (nth, subject) in ["ana", "bob", "cy", "di"].into_iter().enumerate() {
        raise_at(&store, subject, NOW + nth as i64).await;
    }
    for (nth, subject) in ["eve", "fay"].into_iter().enumerate() {
        raise_of(&store, "svi_2", "grant_dead", subject, NOW + 10 + nth as i64).await;
    }
    let (mut after, mut told) = (OrganizationId::MIN, Vec::new());
    while let Some(claimed) = super::claim(control, after, NOW + 20).await.unwrap() {
        let (_, body) = store.alert_post(&claimed).await.unwrap().unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        told.push(body["details"]["external_owner_id"].as_str().unwrap().to_owned());
        after = claimed.organization_id;
    }
    assert_eq!(told, ["ana", "eve", "bob", "fay", "cy", "di"]);
}

/// However many others have posts, due or not.
async fn a_claim_takes_the_first_of_an_index(dialect: Dialect) {
    let store = filled(dialect).await;
    for (sql, arguments, index) in [
        (posts::claim_sql(dialect), vec![NOW.into(), 1_i64.into()], "alert_posts_turn"),
        (posts::wake_sql(dialect), vec![NOW.into(), 9_i64.into()], "alert_posts_resting"),
    ] {
        let steps = plan(store.control(), &sql, arguments).await;
        assert!(steps.iter().any(|step| step.contains(index)), "{steps:#?}");
        let others = ["SCAN alert_posts", "TEMP B-TREE", "Seq Scan", "Sort", "Recursive"];
        assert!(!steps.iter().any(|step| others.iter().any(|o| step.contains(o))), "{steps:#?}");
    }
}

/// What is claimed rests, and nobody waits behind it.
async fn posts_that_rest_take_no_turn(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    handler(&store).await;
    raise_at(&store, "ana", NOW).await;
    raise_at(&store, "bob", NOW + 1).await;
    let ana = claim(control, NOW).await.unwrap().unwrap();
    let bob = claim(control, NOW).await.unwrap().unwrap();
    assert_ne!(ana.alert_id, bob.alert_id);
    assert_eq!(claim(control, NOW + posts::TRY_AGAIN - 1).await.unwrap(), None);
    settle(control, &bob).await.unwrap();
    let again = claim(control, NOW + posts::TRY_AGAIN).await.unwrap().unwrap();
    assert_eq!((again.alert_id, again.attempts), (ana.alert_id, 2));
    // Raised anew it doesn't rest, however it fared before.
    let day_after = NOW + QUIET;
    raise_at(&store, "ana", day_after).await;
    let anew = claim(control, day_after).await.unwrap().unwrap();
    assert_eq!((anew.alert_id, anew.attempts), (ana.alert_id, 1));
    assert_eq!(claim(control, day_after).await.unwrap(), None);
}

async fn handlers_are_not_without_number(dialect: Dialect) {
    let store = filled(dialect).await;
    for _ in 0..HANDLERS_MAX {
        handler(&store).await;
    }
    let url = Zeroizing::new("https://a.example/".to_owned());
    let refused = store.create_error_handler(1, &url, "shown".into()).await.unwrap_err();
    assert!(refused.to_string().contains("may have 20 error handlers"), "{refused}");
    let closed = store.create_organization("closed").await.unwrap().id;
    store.end_organization(closed).await.unwrap();
    let refused = store.create_error_handler(closed, &url, "shown".into()).await.unwrap_err();
    assert!(refused.to_string().contains("is being closed"), "{refused}");
}

/// What the post says that is due, if one is; it is taken.
async fn told(store: &Opened, now: Micros) -> Option<Value> {
    let claimed = claim(store.control(), now).await.unwrap()?;
    let (_, body) = store.alert_post(&claimed).await.unwrap().unwrap();
    settle(store.control(), &claimed).await.unwrap();
    Some(serde_json::from_str(&body).unwrap())
}

async fn a_broken_integration_is_told_once_a_day(dialect: Dialect) {
    let store = filled(dialect).await;
    handler(&store).await;
    let broken = async |now: Micros| {
        let reason = "invalid_client".to_owned();
        let control = store.control();
        streams::tree_is_misconfigured(control, "svi_1", now + 60, reason, now).await.unwrap();
    };
    broken(NOW).await;
    broken(NOW + 1).await;
    let alert = told(&store, NOW + 1).await.unwrap();
    assert_eq!(alert["error_type"], "integration_misconfigured");
    assert_eq!(alert["message"], "invalid_client");
    assert_eq!(
        (&alert["service_integration_id"], &alert["service_integration_table"]),
        (&json!("svi_1"), &json!("t"))
    );
    assert_eq!(told(&store, NOW + 1).await, None);
    broken(NOW + QUIET).await;
    assert!(told(&store, NOW + QUIET).await.is_some(), "it lasts");
}

/// However many owners are linked. PostgreSQL knows how many they are.
#[tokio::test]
async fn what_fails_is_found_by_its_index() {
    let store = filled(Dialect::Sqlite).await;
    let sql = unreadable::failing_sql(Dialect::Sqlite);
    let steps = plan(store.control(), &sql, vec![NOW.into(), 9_i64.into()]).await;
    assert!(steps[0].starts_with("SEARCH s USING INDEX streams_failing"), "{steps:#?}");
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:#?}");
}

async fn what_fails_for_long_is_told_once(dialect: Dialect) {
    const DAY: Micros = QUIET;
    let store = filled(dialect).await;
    let control = store.control();
    handler(&store).await;
    let streams = "
        insert into owners (organization_id, root_id, external_owner_id, due_at, state)
          values (1, 'svi_1', 'ana', 0, 'linked');
        insert into streams (owner_id, service, kind, key, page_limit)
          values (1, 's', 'k', 'ana@example.com', 10), (1, 's', 'k', 'b', 10), (1, 's', 'k', 'c', 10)";
    fixture::run(&store, streams.to_owned()).await;
    let by = Claimant { host: "host".into(), ttl: 30_000_000, organization_leases_max: 9 };
    let lease = leases::claim(control, &by, 1, NOW).await.unwrap().unwrap();
    let ends = async |stream: i64, at: Micros, how: Ended| {
        streams::take(control, &lease, vec![stream]).await.unwrap();
        let ended = Ended { at, ..how };
        streams::put_back(control, &lease, stream, ended).await.unwrap();
    };
    let unreadable = || Ended { unreadable: Some("it is forbidden".into()), ..Ended::default() };
    let failed = || Ended { error: Some("answered 500".into()), ..Ended::default() };
    let done = || Ended { succeeded: true, ..Ended::default() };
    ends(1, NOW, unreadable()).await;
    ends(2, NOW + 1, failed()).await;
    ends(2, NOW + 2, Ended::default()).await;
    ends(2, NOW + 3, unreadable()).await;
    ends(3, NOW, failed()).await;
    ends(3, NOW + 1, done()).await;
    tell_unreadable(control, NOW + DAY - 1).await.unwrap();
    assert_eq!(told(&store, NOW + DAY).await, None, "it may pass");
    tell_unreadable(control, NOW + DAY + 1).await.unwrap();
    let alert = told(&store, NOW + DAY + 1).await.unwrap();
    assert_eq!(alert["error_type"], "streams_unreadable");
    assert_eq!(alert["service_integration_id"], "svi_1");
    let of = &alert["details"];
    assert_eq!(
        (&of["count"], &of["stream_ids"], &of["external_owner_ids"]),
        (&json!(2), &json!([1, 2]), &json!(["ana"])),
    );
    assert!(alert["message"].as_str().unwrap().ends_with(": it is forbidden"), "{alert}");
    assert!(!alert.to_string().contains("ana@example.com"), "{alert}");
    // Not again while it lasts, and again when it comes back.
    ends(1, NOW + 2 * DAY, unreadable()).await;
    tell_unreadable(control, NOW + 3 * DAY).await.unwrap();
    assert_eq!(told(&store, NOW + 3 * DAY).await, None);
    ends(1, NOW + 3 * DAY, done()).await;
    ends(1, NOW + 3 * DAY + 1, failed()).await;
    fixture::run(&store, "update owners set state = 'grant_dead'".to_owned()).await;
    tell_unreadable(control, NOW + 5 * DAY).await.unwrap();
    assert_eq!(told(&store, NOW + 5 * DAY).await, None, "the dead grant is told");
    fixture::run(&store, "update owners set state = 'linked'".to_owned()).await;
    tell_unreadable(control, NOW + 5 * DAY).await.unwrap();
    let alert = told(&store, NOW + 5 * DAY).await.unwrap();
    assert_eq!(alert["details"]["stream_ids"], json!([1]));
    assert!(alert["message"].as_str().unwrap().ends_with(": answered 500"), "{alert}");
}
