//! Attacks on other tables, other owners and other streams.

use crate::arena::Arena;

#[tokio::test]
async fn tables_and_owners_of_others() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("other-table", "UnknownTable(\"google_calendar_event_v1\")"),
            ("delete-other-table", "UnknownTable(\"google_calendar_event_v1\")"),
            ("sql-table", "UnknownTable("),
            ("sql-column", "UnknownColumn("),
            ("owner-column", "column external_owner_id is filled by the host"),
            ("computed-column", "column compound_identity is filled by the host"),
            ("pk-column", "pk"),
            ("updated-at-column", "row_updated_at"),
            ("update-owner-column", "external_owner_id"),
            ("sweep-to-other-owner", "external_owner_id"),
            // Also when the guest goes on as if nothing were.
            ("ignore:other-table", "it went on after a refused write"),
            ("ignore:owner-column", "it went on after a refused write"),
            ("receive:other-table", "UnknownTable(\"google_calendar_event_v1\")"),
        ])
        .await;
}

#[tokio::test]
async fn what_is_allowed_means_ones_own_rows_alone() {
    let arena = Arena::start().await;
    arena
        .contained(&[
            ("delete-all", "()"),
            ("sweep-all", "()"),
            ("update-other-owner", "()"),
            ("delete-other-owner", "()"),
            ("activate-far-away", "activated"),
        ])
        .await;
}

/// The row that the call's own stream comes from: the stream ends with the call.
#[tokio::test]
async fn a_parent_row_takes_its_stream_along() {
    let arena = Arena::start().await;
    arena.contained(&[("delete-parent", "()")]).await;
    let owner = arena.owner("delete-parent").await;
    assert_eq!(owner["stream_list"], serde_json::json!([]), "{owner}");
    assert_eq!(owner["rows"], 1, "what the call wrote besides stays: {owner}");
}

#[tokio::test]
async fn streams_of_others() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("other-stream", "a stream of the service `google_calendar_event_v1`"),
            ("long-stream-key", "the key of a stream is longer than 4096 bytes"),
            ("nul-in-stream-key", "the key of a stream has the character NUL"),
            ("reset-self", "a call can't reset its own stream"),
            ("remove-self", "a call can't remove its own stream"),
            ("link", "only a `receive` can"),
            ("unlink", "only a `receive` can"),
            ("resync", "only a `receive` can"),
        ])
        .await;
}

#[tokio::test]
async fn too_much_at_once() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("many-rows", "10000 rows in one call, 1000 are allowed"),
            ("many-batches", "1001 rows in one call, 1000 are allowed"),
            ("rows-from-nothing", "4294967295 rows in one call, 1000 are allowed"),
            ("many-conditions", "more than 32 conditions"),
            ("many-settings", "column note is set twice"),
            ("many-brackets", "more than 256 full listings begun in a call"),
            ("huge-text", "too many bytes at once: 33554432 are allowed"),
            ("huge-table", "too many bytes at once: 33554432 are allowed"),
            ("long-table", "UnknownTable("),
            ("long-column", "UnknownColumn("),
            ("ignore:long-table", "it went on after a refused write"),
            ("lookup-bomb", "lookup of 500000 columns"),
            ("constant-bomb", "more than 134217728 bytes written in one call"),
            ("update-bomb", "set to more than 65536 bytes"),
            ("sweep-bomb", "set to more than 65536 bytes"),
        ])
        .await;
    let log = arena.host.log();
    let longest = log.lines().map(str::len).max();
    assert!(longest < Some(20_000), "{longest:?} bytes in a line");
}
