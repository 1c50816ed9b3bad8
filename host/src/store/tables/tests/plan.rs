use super::*;
use crate::model::{Condition, Op, Scalar};
use crate::rows::Rows;
use crate::store::tables::query::Query;
use crate::store::tables::stale::push_stale;
use crate::store::tables::sweep::{Slice, update_query};
use crate::store::tables::upsert::sql as upsert_sql;

const EVENTS: &str = "google_calendar_event_v1";

async fn plan(fixture: &mut Fixture, sql: &str) -> String {
    let rows = fixture.rows(&format!("explain query plan {sql}")).await;
    let steps = rows.iter().filter_map(|row| row.rsplit('|').next());
    steps.collect::<Vec<_>>().join("\n")
}

async fn sweep_plan(conditions: &[Condition], slice: Option<Slice>) -> String {
    let mut fixture = Fixture::with_services(Dialect::Sqlite, &[EVENTS]).await;
    let (spec, scope) = (Arc::clone(&fixture.tables[EVENTS]), fixture.scope("a"));
    let set = [("status".to_owned(), text("cancelled"))];
    let (set, tests) = (assignments(&spec, &set).unwrap(), tests(&spec, conditions).unwrap());
    let query = update_query(Dialect::Sqlite, &scope, &spec, &set, &tests, slice);
    plan(&mut fixture, query.sql()).await
}

#[tokio::test]
async fn an_upsert_looks_rows_up_by_their_key() {
    let mut fixture = Fixture::with_services(Dialect::Sqlite, &[EVENTS]).await;
    let (spec, scope) = (Arc::clone(&fixture.tables[EVENTS]), fixture.scope("a"));
    let columns = vec![
        texts("google_id", &[Some("e"), Some("f")]),
        column("google_calendar_id", Values::Constant(text("c"))),
        texts("status", &[None, None]),
    ];
    let batch = batch(EVENTS, 2, columns);
    let rows = Rows::new(&spec, &batch, Some("a")).unwrap();
    for (patch, steps) in [(false, 0), (true, 1)] {
        let sql = upsert_sql(Dialect::Sqlite, &spec, &scope, &rows, patch).remove(0);
        let plan = plan(&mut fixture, &sql).await;
        assert!(!plan.contains("SCAN feed") && !plan.contains("SCAN live"), "{plan}");
        let by_key = "SEARCH feed USING INDEX rowgate_feed_deleted (table_name=? AND unique_key=?)";
        assert!(plan.contains(by_key), "{plan}");
        let live = plan.matches("(compound_identity=?)").count();
        assert_eq!(live, steps, "{plan}");
    }
}

/// What may fail half done and be taken back alone has SQLite copy each page that it changes.
#[tokio::test]
async fn an_upsert_is_never_taken_back_alone() {
    let mut fixture = Fixture::with_services(Dialect::Sqlite, &[EVENTS]).await;
    let (spec, scope) = (Arc::clone(&fixture.tables[EVENTS]), fixture.scope("a"));
    let ids = texts("google_id", &[Some("e"), Some("f")]);
    let same = [
        ("google_calendar_id", text("c")),
        ("status", text("confirmed")),
        ("data", Scalar::Json("{}".into())),
    ];
    let same = same.map(|(name, value)| column(name, Values::Constant(value)));
    let batch = batch(EVENTS, 2, std::iter::once(ids).chain(same).collect());
    let rows = Rows::new(&spec, &batch, Some("a")).unwrap();
    for patch in [false, true] {
        let sql = upsert_sql(Dialect::Sqlite, &spec, &scope, &rows, patch).remove(0);
        // addr|opcode|p1|p2|..: `Halt` and `HaltIfNull` have the error in p1, in p2 what it ends.
        let program = fixture.rows(&format!("explain {sql}")).await;
        let mut halts = Vec::new();
        for step in &program {
            let step: Vec<&str> = step.split('|').collect();
            assert!(!step[1].ends_with("Function"), "one may fail: {step:?}");
            let error: i64 = step[2].parse().unwrap();
            if step[1].starts_with("Halt") && error & 0xff == SQLITE_CONSTRAINT {
                halts.push(step[3]);
            }
        }
        assert!(!halts.is_empty() && halts.iter().all(|ends| *ends == OE_FAIL), "{halts:?}");
    }
}

const SQLITE_CONSTRAINT: i64 = 19;
/// (`OE_Fail` in `sqliteInt.h`; `OE_Abort` is 2.)
const OE_FAIL: &str = "3";

#[tokio::test]
async fn a_sweep_reads_the_range_of_its_scope() {
    let range = "USING INDEX sqlite_autoindex_google_calendar_event_v1_1 \
                 (compound_identity>? AND compound_identity<?)";
    for conditions in [
        vec![is("google_calendar_id", "c")],
        vec![],
        vec![is("google_calendar_id", "c"), condition("google_id", Op::StartsWith, text("m_1"))],
        vec![is("google_calendar_id", "c"), is("status", "confirmed")],
    ] {
        let plan = sweep_plan(&conditions, Some(Slice { bracket: 1, limit: 1 })).await;
        assert!(plan.contains(range), "{plan}");
        assert!(plan.contains("LIST SUBQUERY") && !plan.contains("CORRELATED"), "{plan}");
        let pages = "SEARCH page USING PRIMARY KEY (bracket_id=?)";
        assert!(plan.contains(pages), "{plan}");
    }
}

#[tokio::test]
async fn an_update_of_a_series_goes_by_the_series() {
    let conditions = [is("google_calendar_id", "c"), is("recurring_event_id", "m")];
    let plan = sweep_plan(&conditions, None).await;
    let index =
        "USING INDEX google_calendar_event_v1_recurring_event_id_idx (recurring_event_id=?)";
    assert!(plan.contains(index), "{plan}");
}

#[tokio::test]
async fn stale_rows_are_found_by_their_own_index() {
    for service in [EVENTS, "google_calendar_source_event_v1"] {
        let mut fixture = Fixture::with_services(Dialect::Sqlite, &[service]).await;
        let (spec, scope) = (Arc::clone(&fixture.tables[service]), fixture.scope("a"));
        let mut query = Query::new(Dialect::Sqlite, "");
        push_stale(&mut query, &scope, &spec, String::new(), 1);
        let plan = plan(&mut fixture, query.sql()).await;
        let index = stale_index(&spec);
        let index = format!("INDEX {index} (external_owner_id=? AND row_updated_at<?)");
        assert!(plan.contains(&index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
