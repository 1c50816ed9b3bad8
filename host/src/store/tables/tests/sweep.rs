use super::*;
use crate::model::{Condition, Op};
use crate::store::query_scalar;

on_both! {
    an_update_moves_only_the_owners_rows_that_change, conditions_mean_what_the_contract_says, prefixes_end_at_any_character, a_row_upserted_and_deleted_in_one_call_is_deleted, an_owner_is_deleted_in_slices_with_tombstones, bookkeeping_moves_nothing
}

fn update(set: &[(&str, Scalar)], conditions: Vec<Condition>) -> Vec<Write> {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    vec![Write::Update { table: "thing_v1".to_owned(), set, conditions }]
}

fn delete(conditions: Vec<Condition>) -> Vec<Write> {
    vec![Write::Delete { table: "thing_v1".to_owned(), conditions }]
}

async fn filled(dialect: Dialect) -> Fixture {
    let mut fixture = Fixture::new(dialect).await;
    let rows =
        [("abc", Some("red")), ("abc_1", Some("blue")), ("abc_2", None), ("abd", Some("red"))];
    for owner in ["a", "b"] {
        fixture.apply(owner, &[Write::Upsert(things(&rows))]).await.unwrap();
    }
    fixture
}

async fn an_update_moves_only_the_owners_rows_that_change(dialect: Dialect) {
    let mut fixture = filled(dialect).await;
    let applied = fixture.apply("a", &update(&[("color", text("red"))], Vec::new())).await.unwrap();
    assert_eq!((applied.rows_changed, applied.rows_presented), (2, 0));
    assert_eq!(applied.changed_pks["thing_v1"], [2, 3]);
    let moved = "select owner_id, id from thing_v1 where cast(row_updated_at as text) like '%:03%' order by 2";
    assert_eq!(fixture.rows(moved).await, ["a|abc_1", "a|abc_2"]);
    assert_eq!(fixture.rows("select count(*) from rowgate_feed where commit_id = 3").await, ["2"]);
}

async fn conditions_mean_what_the_contract_says(dialect: Dialect) {
    let mut fixture = filled(dialect).await;
    let cases: [(Vec<Condition>, &[&str]); 12] = [
        (vec![is("color", "red")], &["abc", "abd"]),
        (vec![condition("color", Op::Equal, Scalar::Null)], &["abc_2"]),
        (vec![condition("color", Op::NotEqual, Scalar::Null)], &["abc", "abc_1", "abd"]),
        (vec![condition("color", Op::NotEqual, text("red"))], &["abc_1", "abc_2"]),
        (vec![condition("color", Op::Less, text("red"))], &["abc_1"]),
        (vec![condition("color", Op::GreaterOrEqual, text("red"))], &["abc", "abd"]),
        (vec![condition("id", Op::StartsWith, text("abc_"))], &["abc_1", "abc_2"]),
        (vec![condition("id", Op::StartsWith, text("ABC"))], &[]),
        (vec![condition("id", Op::StartsWith, text(""))], &["abc", "abc_1", "abc_2", "abd"]),
        (vec![is("shelf", "s"), condition("id", Op::StartsWith, text("abc_1"))], &["abc_1"]),
        (vec![is("shelf", "other")], &[]),
        (vec![is("owner_id", "b")], &[]),
    ];
    for (conditions, expected) in cases {
        let shown = format!("{conditions:?}");
        let gone = deleted(&mut fixture, &delete(conditions)).await;
        let expected: Vec<String> = expected.iter().map(|id| format!("a-s-{id}")).collect();
        assert_eq!(gone, expected, "{shown}");
    }
}

/// The keys that writes of owner `a` would delete; nothing is committed.
async fn deleted(fixture: &mut Fixture, writes: &[Write]) -> Vec<String> {
    let scope = fixture.scope("a");
    let writes = fixture.prepared(&scope, writes).unwrap();
    fixture.conn.run("begin").await.unwrap();
    let applied = apply(&mut fixture.conn, &scope, &writes, u32::MAX).await.unwrap();
    let sql = "select unique_key from rowgate_feed where deleted order by 1";
    let gone: Vec<String> = query_scalar(sql).fetch_all(&mut fixture.conn).await.unwrap();
    fixture.conn.run("rollback").await.unwrap();
    assert_eq!(applied.deleted, gone.len() as u64);
    gone
}

async fn prefixes_end_at_any_character(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let ids =
        ["a\u{7f}", "a\u{80}", "\u{d7ff}x", "\u{e000}", "\u{10ffff}", "\u{10ffff}\u{10ffff}b"];
    let rows: Vec<_> = ids.iter().map(|id| (*id, None)).collect();
    fixture.apply("a", &[Write::Upsert(things(&rows))]).await.unwrap();
    for prefix in ["a\u{7f}", "\u{d7ff}", "\u{10ffff}", "\u{10ffff}\u{10ffff}", "a"] {
        let expected = ids.iter().filter(|id| id.starts_with(prefix)).count();
        let writes = delete(vec![condition("id", Op::StartsWith, text(prefix))]);
        assert_eq!(deleted(&mut fixture, &writes).await.len(), expected, "{prefix:?}");
    }
}

async fn a_row_upserted_and_deleted_in_one_call_is_deleted(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let mut writes = vec![Write::Upsert(things(&[("x", None), ("y", None)]))];
    writes.extend(delete(vec![is("id", "x")]));
    let applied = fixture.apply("a", &writes).await.unwrap();
    assert_eq!((applied.rows_changed, applied.deleted), (1, 1));
    assert_eq!(applied.changed_pks["thing_v1"], [2]);
}

async fn an_owner_is_deleted_in_slices_with_tombstones(dialect: Dialect) {
    let mut fixture = filled(dialect).await;
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let mut counts = Vec::new();
    loop {
        let scope = fixture.scope("a");
        let count = delete_owner_rows(&mut fixture.conn, &scope, &spec, 3).await.unwrap();
        counts.push(count);
        if count < 3 {
            break;
        }
    }
    assert_eq!(counts, [3, 1]);
    let nobody = ApplyScope { external_owner_id: None, ..fixture.scope("a") };
    assert_eq!(delete_owner_rows(&mut fixture.conn, &nobody, &spec, 9).await.unwrap(), 0);
    assert_eq!(count_rows(&mut fixture.conn, &spec, Some("a")).await.unwrap(), 0);
    assert_eq!(count_rows(&mut fixture.conn, &spec, Some("b")).await.unwrap(), 4);
    assert_eq!(count_rows(&mut fixture.conn, &spec, None).await.unwrap(), 4);
    let tombstones =
        "select count(*), min(commit_id), max(commit_id) from rowgate_feed where deleted";
    assert_eq!(fixture.rows(tombstones).await, ["4|3|4"]);
}

async fn bookkeeping_moves_nothing(dialect: Dialect) {
    let mut fixture = filled(dialect).await;
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    let state =
        "select f.commit_id, t.row_updated_at from rowgate_feed f join thing_v1 t using (pk)";
    let before = fixture.rows(state).await;
    let key = [text("s"), text("abc")];
    let values = [("channel".to_owned(), text("c")), ("page_size".to_owned(), Scalar::Integer(50))];
    let conn = &mut fixture.conn;
    assert!(set_bookkeeping(conn, &spec, Some("a"), &key, &values).await.unwrap());
    assert!(!set_bookkeeping(conn, &spec, Some("c"), &key, &values).await.unwrap());
    let guest = [("color".to_owned(), text("c"))];
    assert!(set_bookkeeping(conn, &spec, Some("a"), &key, &guest).await.is_err());
    assert_eq!(fixture.rows(state).await, before);
    let rows =
        fixture.rows("select owner_id, id, page_size from thing_v1 where channel = 'c'").await;
    assert_eq!(rows, ["a|abc|50"]);
}
