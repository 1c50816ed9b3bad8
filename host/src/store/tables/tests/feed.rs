use super::*;
use crate::chance::Chance;
use crate::rows::fixture::sample;

on_both! {
    a_row_that_comes_back_has_its_pk_again, number_keys_stand_in_the_feed_as_text, what_has_the_longest_key_can_be_deleted
}

async fn a_row_that_comes_back_has_its_pk_again(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let feed = "select pk, unique_key, deleted, commit_id from rowgate_feed order by 1";
    let three = [Write::Upsert(things(&[("x", None), ("y", None), ("z", None)]))];
    let delete =
        |id: &str| Write::Delete { table: "thing_v1".into(), conditions: vec![is("id", id)] };
    fixture.apply("a", &three).await.unwrap();
    fixture.apply("a", &[delete("y"), delete("z")]).await.unwrap();
    assert_eq!(fixture.rows(feed).await, ["1|-|0|1", "2|a-s-y|1|2", "3|a-s-z|1|2"]);
    // The highest pk is free, but never used for another row.
    fixture.apply("a", &[Write::Upsert(things(&[("new", None)]))]).await.unwrap();
    assert_eq!(fixture.apply("a", &three).await.unwrap().changed_pks["thing_v1"], [2, 3]);
    assert_eq!(fixture.rows(feed).await, ["1|-|0|1", "2|-|0|4", "3|-|0|4", "4|-|0|3"]);
    // Also within a call.
    let there_and_back = [delete("x"), Write::Upsert(things(&[("x", None)]))];
    let applied = fixture.apply("a", &there_and_back).await.unwrap();
    assert_eq!((applied.deleted, applied.changed_pks["thing_v1"].as_slice()), (1, &[1][..]));
    assert_eq!(
        fixture.rows("select pk, id from thing_v1 order by 1").await,
        ["1|x", "2|y", "3|z", "4|new"]
    );
}

async fn number_keys_stand_in_the_feed_as_text(dialect: Dialect) {
    let mut fixture = Fixture::new(dialect).await;
    let ticket =
        || Write::Upsert(batch("ticket_v1", 1, vec![column("number", Values::Integer(vec![-7]))]));
    let delete = Write::Delete { table: "ticket_v1".into(), conditions: Vec::new() };
    fixture.apply("a", &[ticket()]).await.unwrap();
    fixture.apply("a", &[delete]).await.unwrap();
    let feed = "select unique_key || '', pk, deleted from rowgate_feed";
    assert_eq!(fixture.rows(feed).await, ["-7|1|1"]);
    fixture.apply("a", &[ticket()]).await.unwrap();
    assert_eq!(fixture.rows(feed).await, ["-|1|0"]);
}

/// In a table of the longest name, since a tombstone's entry holds it, too.
async fn what_has_the_longest_key_can_be_deleted(dialect: Dialect) {
    let mut fixture = Fixture::with_services(dialect, &[]).await;
    let spec = TableSpec::new(&sample(), "thing_v1", &"t".repeat(63)).unwrap();
    create(&mut fixture.conn, &spec).await.unwrap();
    fixture.tables.insert("thing_v1".to_owned(), Arc::new(spec));
    // Nothing that an index could compress.
    let chance = Chance::seeded(7);
    let random: String = (0..200).map(|_| chance.base36(16)).collect();
    let thing = |key_bytes: usize| {
        let id = &random[..key_bytes - "a-s-".len()];
        [Write::Upsert(things(&[(id, Some("red"))]))]
    };
    let pk = fixture.apply("a", &thing(2_500)).await.unwrap().changed_pks["thing_v1"].clone();
    let delete = Write::Delete { table: "thing_v1".into(), conditions: Vec::new() };
    assert_eq!(fixture.apply("a", &[delete]).await.unwrap().deleted, 1);
    let feed = "select length(unique_key), deleted from rowgate_feed";
    assert_eq!(fixture.rows(feed).await, ["2500|1"]);
    assert_eq!(fixture.apply("a", &thing(2_500)).await.unwrap().changed_pks["thing_v1"], pk);
    // UNLINK goes another way.
    let scope = fixture.scope("a");
    let spec = Arc::clone(&fixture.tables["thing_v1"]);
    fixture.conn.run("begin").await.unwrap();
    let count = delete_owner_rows(&mut fixture.conn, &scope, &spec, 9).await.unwrap();
    fixture.conn.run("commit").await.unwrap();
    assert_eq!((count, fixture.rows(feed).await), (1, vec!["2500|1".to_owned()]));
    let error = fixture.apply("a", &thing(2_501)).await.unwrap_err();
    assert!(matches!(error, ApplyError::Rejected(Rejected::Limit(_))), "{error}");
}
