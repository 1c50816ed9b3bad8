//! Mirrors that lack what they had, or that somebody wrote to.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_put_right_from_the_beginning() {
    let case = Case::linked(4).await;
    let mirror = Mirror::start();
    let created = mirror.created(&case, &[]).await;
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    let (events, id) = (case.tree.events(), id(&created));
    let sql = format!(
        "delete from {events} where google_id = 'event-1';
         update {events} set status = 'other', pk = pk + 1000 where google_id = 'event-2';
         update {events} set compound_identity = 'nobody' where google_id = 'event-3'"
    );
    mirror.database.connect().unwrap().query(&sql).unwrap();
    assert!(!mirror.is_table(&case).await);
    assert!(case.command(&["dbsync", "rewind", id, "--beginning"]).await.status.success());
    case.until("it is the table again", async || mirror.is_table(&case).await).await;
    // A mirror that is gone comes back whole.
    mirror.database.connect().unwrap().query(&format!("drop table {events}")).unwrap();
    case.add("five", 5);
    case.catch_up().await;
    case.until("it is there again", async || mirror.is_table(&case).await).await;
    assert_eq!(mirror.rows(events).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_to_an_older_copy_gets_what_it_lost() {
    let case = Case::linked(3).await;
    let mirror = Mirror::start();
    mirror.created(&case, &[]).await;
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    let events = case.tree.events();
    let mut client = mirror.database.connect().unwrap();
    let backup = format!(
        "create table kept as table {events}; create table kept_mirrors as table rowgate_mirrors"
    );
    client.query(&backup).unwrap();
    case.add("four", 4);
    case.simulator.model().cancel_event(ANA, "event-1").unwrap();
    case.catch_up().await;
    case.until("it follows", async || mirror.is_table(&case).await).await;
    let restore = format!(
        "truncate {events}, rowgate_mirrors; insert into {events} table kept;
         insert into rowgate_mirrors table kept_mirrors"
    );
    client.query(&restore).unwrap();
    assert!(!mirror.is_table(&case).await);
    case.add("five", 5);
    case.catch_up().await;
    case.until("it is the table again", async || mirror.is_table(&case).await).await;
}

/// It would copy the whole table without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_put_back_again_and_again_waits_for_its_copy() {
    let hour = "3600000";
    let settings = settings()
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", hour)
        .env("ROWGATE_DELIVERY_BACK_OFF_MAX_MS", hour);
    let case = Case::with(settings).await;
    case.add("one", 1);
    case.link_ana().await;
    let mirror = Mirror::start();
    let created = mirror.created(&case, &[]).await;
    let id = id(&created);
    case.until("it has everything", async || !shown(&case, id).await["last_synced_at"].is_null())
        .await;
    let put_back = async |event: &str, day: usize| {
        let older = "update rowgate_mirrors set bookmark = 'older', since = 'older still'";
        mirror.database.connect().unwrap().query(older).unwrap();
        case.add(event, day);
        case.catch_up().await;
    };
    put_back("two", 2).await;
    case.until("it is copied at once", async || mirror.is_table(&case).await).await;
    case.until("it is well", async || shown(&case, id).await["state"] == "ok").await;
    put_back("three", 3).await;
    case.until("it waits", async || shown(&case, id).await["state"] == "failing").await;
    let reason = shown(&case, id).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("it hasn't what it had before"), "{reason}");
    assert_eq!(mirror.rows(case.tree.events()).len(), 2, "nothing is written before");
    assert!(case.command(&["dbsync", "trigger", id]).await.status.success());
    case.until("it is copied then", async || mirror.is_table(&case).await).await;
    case.until("it is well", async || shown(&case, id).await["state"] == "ok").await;
}
