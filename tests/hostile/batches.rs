//! Batches that lie about themselves, and values that are none of their types.

use serde_json::{Value, json};
use tests::is_on_postgres;

use crate::arena::Arena;

#[tokio::test]
async fn malformed_batches() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("rows-too-many", "column"),
            ("rows-too-few", "column"),
            ("twice-a-column", "is there twice"),
            ("no-key", "key column item_id is missing"),
            ("null-key", "key column item_id is null in row 0"),
            ("offsets-falling", "note"),
            ("offsets-beyond", "note"),
            ("offsets-short", "note"),
            ("offsets-none", "note"),
            ("offsets-late", "offsets don't begin with 0"),
            ("offsets-inside-a-letter", "note"),
            ("not-utf8", "note"),
            ("validity-short", "note"),
            ("validity-long", "note"),
            ("values-short", "flag"),
            ("not-boolean", "flag"),
            ("wrong-type", "note"),
            ("end-without-begin", "end-full"),
            ("long-key", "lookup with 1000 key values, not 1"),
            ("endless-key", "key that begins with \"endless%2Dkey-"),
        ])
        .await;
}

/// PostgreSQL's indexes end at 2,704 bytes.
#[tokio::test]
async fn a_row_that_the_database_cannot_store() {
    let arena = Arena::start().await;
    match is_on_postgres() {
        true => arena.refused(&[("endless-label", "can't store a row: index row")]).await,
        false => arena.contained(&[("endless-label", "()")]).await,
    }
}

#[tokio::test]
async fn values_that_are_none() {
    let arena = Arena::start().await;
    arena.refused(&[("deep-json", "data"), ("not-json", "data"), ("not-a-decimal", "price")]).await;
    // No database stores these.
    let stored = [
        ("lone-surrogate", "data", json!("\u{fffd}")),
        ("endless-json-number", "data", json!(["1e999999999"])),
        ("endless-decimal", "price", Value::Null),
        ("not-a-number", "ratio", Value::Null),
        ("far-timestamp", "at", Value::Null),
        ("far-date", "day", Value::Null),
    ];
    for (attack, column, value) in stored {
        arena.contained(&[(attack, "()")]).await;
        let items = arena.items(attack).await;
        let bent = items.iter().find(|item| item["item_id"] == "bent").unwrap();
        assert_eq!(bent[column], value, "{attack}");
    }
}
