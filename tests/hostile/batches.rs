//! Batches that lie about themselves, and values that are none of their types.

use serde_json::Value;

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
        ])
        .await;
}

#[tokio::test]
async fn values_that_are_none() {
    let arena = Arena::start().await;
    arena.refused(&[("deep-json", "data"), ("not-json", "data"), ("not-a-decimal", "price")]).await;
    // Numbers of any length are text to us.
    arena.contained(&[("endless-json-number", "()"), ("endless-decimal", "()")]).await;
    // No database stores it.
    arena.contained(&[("lone-surrogate", "()")]).await;
    let items = arena.items("lone-surrogate").await;
    let bent = items.iter().find(|item| item["item_id"] == "bent").unwrap();
    assert_eq!(bent["data"], "\u{fffd}");
    let nulls = [("not-a-number", "ratio"), ("far-timestamp", "at"), ("far-date", "day")];
    arena.contained(&nulls.map(|(attack, _)| (attack, "()"))).await;
    for (attack, column) in nulls {
        let items = arena.items(attack).await;
        let bent = items.iter().find(|item| item["item_id"] == "bent").unwrap();
        assert_eq!(bent[column], Value::Null, "{attack}");
    }
}
