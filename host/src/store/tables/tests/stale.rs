use super::*;
use crate::model::{Condition, Unseen};
use crate::rows::fixture::validity;

on_both! {
    old_stale_rows_of_the_owner_go_in_slices, a_full_listing_passes_over_what_is_long_stale, what_is_long_stale_comes_where_nothing_is_listed_in_full, a_lookup_foresees_what_is_passed_over, a_lookup_amid_a_listing_reads_none_of_its_keys
}

const EXPANDED: &str = "google_calendar_event_v1";
const SOURCE: &str = "google_calendar_source_event_v1";
const SECOND: i64 = 1_000_000;

/// Id, status, series, and when it was last changed, in seconds.
type Event = (&'static str, &'static str, Option<&'static str>, Option<i64>);

/// Events of the calendar `c`.
fn events(service: &str, events: &[Event]) -> Write {
    let ids: Vec<_> = events.iter().map(|(id, ..)| Some(*id)).collect();
    let statuses: Vec<_> = events.iter().map(|(_, status, ..)| Some(*status)).collect();
    let series: Vec<_> = events.iter().map(|(.., series, _)| *series).collect();
    let updated: Vec<_> = events.iter().map(|(.., updated)| *updated).collect();
    let micros = updated.iter().map(|at| at.unwrap_or_default() * SECOND).collect();
    let columns = vec![
        texts("google_id", &ids),
        column("google_calendar_id", Values::Constant(text("c"))),
        texts("status", &statuses),
        texts("recurring_event_id", &series),
        Column { validity: validity(&updated), ..column("updated", Values::Timestamp(micros)) },
    ];
    Write::Upsert(batch(service, events.len(), columns))
}

fn calendar() -> Vec<Condition> {
    vec![is("google_calendar_id", "c")]
}

fn begin(service: &str) -> Write {
    Write::BeginFull { table: service.into(), scope: calendar() }
}

fn end(service: &str) -> Write {
    let unseen = Unseen::Set(vec![("status".into(), text("cancelled"))]);
    Write::EndFull { table: service.into(), scope: calendar(), unseen }
}

async fn fixture(dialect: Dialect) -> Fixture {
    Fixture::with_services(dialect, &[EXPANDED, SOURCE]).await
}

/// The next commit of the owner `a`, to which what was stale ten seconds after 1970 is long stale.
async fn commit(fixture: &mut Fixture, writes: &[Write]) -> Applied {
    let scope = ApplyScope { stale_before: Some(10 * SECOND), ..fixture.scope("a") };
    fixture.apply_in(&scope, writes).await.unwrap()
}

async fn shown(fixture: &mut Fixture, service: &str) -> String {
    let sql = format!(
        "select external_owner_id || ':' || google_id || '=' || status from {service} order by 1"
    );
    fixture.rows(&sql).await.join(" ")
}

async fn old_stale_rows_of_the_owner_go_in_slices(dialect: Dialect) {
    let mut fixture = fixture(dialect).await;
    let all = [
        ("1", "cancelled", None, None),
        ("2", "cancelled", Some("series"), None),
        ("3", "cancelled", None, None),
        ("live", "confirmed", None, None),
    ];
    for owner in ["a", "b"] {
        fixture.apply(owner, &[events(EXPANDED, &all), events(SOURCE, &all)]).await.unwrap();
    }
    let young = [("young", "cancelled", None, None)];
    fixture.apply("a", &[events(EXPANDED, &young), events(SOURCE, &young)]).await.unwrap();
    // The third commit is of the third second.
    let before = 3 * SECOND;
    for (service, slices) in [(EXPANDED, [2_u64, 1]), (SOURCE, [2, 0])] {
        let spec = Arc::clone(&fixture.tables[service]);
        let of_a = fixture.scope("a");
        assert!(has_stale_rows(&mut fixture.conn, &of_a, &spec, before).await.unwrap());
        for slice in slices {
            let scope = fixture.scope("a");
            let gone = delete_stale_rows(&mut fixture.conn, &scope, &spec, before, 2);
            assert_eq!(gone.await.unwrap(), slice, "{service}");
        }
        let of_b = fixture.scope("b");
        let nobody = ApplyScope { external_owner_id: None, ..of_a.clone() };
        let conn = &mut fixture.conn;
        assert!(!has_stale_rows(conn, &of_a, &spec, before).await.unwrap());
        assert!(has_stale_rows(conn, &of_b, &spec, before).await.unwrap());
        assert!(!has_stale_rows(conn, &nobody, &spec, before).await.unwrap());
        assert_eq!(delete_stale_rows(conn, &nobody, &spec, before, 2).await.unwrap(), 0);
        // A time that no row can be before.
        assert!(!has_stale_rows(conn, &of_b, &spec, i64::MIN).await.unwrap());
    }
    let of_b = "b:1=cancelled b:2=cancelled b:3=cancelled b:live=confirmed";
    assert_eq!(
        shown(&mut fixture, EXPANDED).await,
        format!("a:live=confirmed a:young=cancelled {of_b}")
    );
    assert_eq!(
        shown(&mut fixture, SOURCE).await,
        format!("a:2=cancelled a:live=confirmed a:young=cancelled {of_b}")
    );
    let tombstones = "select table_name, unique_key from rowgate_feed where deleted order by 1, 2";
    let keys = [(EXPANDED, "1"), (EXPANDED, "2"), (EXPANDED, "3"), (SOURCE, "1"), (SOURCE, "3")];
    let keys = keys.map(|(service, id)| format!("{service}|a-c-{id}"));
    assert_eq!(fixture.rows(tombstones).await, keys);
}

async fn a_full_listing_passes_over_what_is_long_stale(dialect: Dialect) {
    let mut fixture = fixture(dialect).await;
    for service in [EXPANDED, SOURCE] {
        let there = [
            ("kept", "confirmed", None, Some(1)),
            ("missed", "confirmed", None, Some(1)),
            ("known", "cancelled", None, Some(9)),
        ];
        commit(&mut fixture, &[events(service, &there)]).await;
        let first = [
            ("kept", "confirmed", None, Some(1)),
            ("gone", "cancelled", None, Some(9)),
            ("instance", "cancelled", Some("series"), Some(9)),
        ];
        commit(&mut fixture, &[begin(service), events(service, &first)]).await;
        // The listing goes on in another call.
        let last = [
            ("missed", "cancelled", None, Some(9)),
            ("known", "cancelled", None, Some(9)),
            ("late", "cancelled", None, Some(10)),
            ("stub", "cancelled", None, None),
            ("old", "confirmed", None, Some(2)),
        ];
        let applied = commit(&mut fixture, &[events(service, &last), end(service)]).await;
        assert_eq!(applied.rows_changed, 4, "late, old, stub, and what was missed: {service}");
    }
    let expanded = "a:kept=confirmed a:known=cancelled a:late=cancelled a:missed=cancelled \
                    a:old=confirmed a:stub=cancelled";
    assert_eq!(shown(&mut fixture, EXPANDED).await, expanded);
    let source = "a:instance=cancelled a:kept=confirmed a:known=cancelled a:late=cancelled \
                  a:missed=cancelled a:old=confirmed a:stub=cancelled";
    assert_eq!(shown(&mut fixture, SOURCE).await, source);
    // It was cancelled by the sweep, as what the listing didn't name.
    let missed = format!("select updated from {EXPANDED} where google_id = 'missed'");
    assert_eq!(fixture.rows(&missed).await, ["1970-01-01T00:00:01.000000Z"]);
}

async fn what_is_long_stale_comes_where_nothing_is_listed_in_full(dialect: Dialect) {
    let mut fixture = fixture(dialect).await;
    let gone = [("gone", "cancelled", None, Some(9))];
    // Another calendar is listed in full.
    let other = vec![is("google_calendar_id", "d")];
    let begun = Write::BeginFull { table: EXPANDED.into(), scope: other };
    commit(&mut fixture, &[begun, events(EXPANDED, &gone)]).await;
    assert_eq!(shown(&mut fixture, EXPANDED).await, "a:gone=cancelled");
    // A delta that cancels shows at once.
    let known = [("gone", "confirmed", None, Some(8))];
    commit(&mut fixture, &[events(EXPANDED, &known), events(EXPANDED, &gone)]).await;
    assert_eq!(shown(&mut fixture, EXPANDED).await, "a:gone=cancelled");
    // Where they are kept for ever, a full listing has them, too.
    let kept = [begin(SOURCE), events(SOURCE, &gone), end(SOURCE)];
    fixture.apply("a", &kept).await.unwrap();
    assert_eq!(shown(&mut fixture, SOURCE).await, "a:gone=cancelled");
}

async fn a_lookup_foresees_what_is_passed_over(dialect: Dialect) {
    let mut fixture = fixture(dialect).await;
    let gone = events(EXPANDED, &[("gone", "cancelled", None, Some(9))]);
    let spec = Arc::clone(&fixture.tables[EXPANDED]);
    let key = [text("c"), text("gone")];
    let status = ["status".to_owned()];
    let kept = fixture.scope("a");
    let scope = ApplyScope { stale_before: Some(10 * SECOND), ..kept.clone() };
    let (begun, found) = ([begin(EXPANDED), gone.clone()], Some(vec![text("cancelled")]));
    let conn = &mut fixture.conn;
    assert_eq!(lookup(conn, &scope, &spec, &key, &status, &begun).await.unwrap(), None);
    assert_eq!(lookup(conn, &kept, &spec, &key, &status, &begun).await.unwrap(), found);
    let alone = std::slice::from_ref(&gone);
    assert_eq!(lookup(conn, &scope, &spec, &key, &status, alone).await.unwrap(), found);
    // The listing was begun by an earlier call.
    commit(&mut fixture, &[begin(EXPANDED)]).await;
    let conn = &mut fixture.conn;
    assert_eq!(lookup(conn, &scope, &spec, &key, &status, alone).await.unwrap(), None);
}

/// There are as many of them as the listing has rows, and each page may look things up.
async fn a_lookup_amid_a_listing_reads_none_of_its_keys(dialect: Dialect) {
    let mut fixture = fixture(dialect).await;
    let first = events(EXPANDED, &[("first", "confirmed", None, Some(9))]);
    commit(&mut fixture, &[begin(EXPANDED), first]).await;
    fixture.conn.run("drop table rowgate_bracket_keys").await.unwrap();
    let gone = events(EXPANDED, &[("gone", "cancelled", None, Some(9))]);
    let spec = Arc::clone(&fixture.tables[EXPANDED]);
    let key = [text("c"), text("gone")];
    let status = ["status".to_owned()];
    let scope = ApplyScope { stale_before: Some(10 * SECOND), ..fixture.scope("a") };
    let conn = &mut fixture.conn;
    let amid = std::slice::from_ref(&gone);
    assert_eq!(lookup(conn, &scope, &spec, &key, &status, amid).await.unwrap(), None);
    let last = [gone, end(EXPANDED)];
    let swept = lookup(conn, &scope, &spec, &key, &status, &last).await;
    assert!(swept.is_err(), "what a listing sweeps hangs on its keys");
}
