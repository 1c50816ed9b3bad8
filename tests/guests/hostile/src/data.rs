//! Attacks on tables: other tables, other owners, names that are SQL, batches that lie.

use crate::bindings::rowgate::plugin::db::{self, Batch, Condition, Op, Scalar, Utf8, Values};
use crate::bindings::rowgate::plugin::{owners, streams, types};
use crate::resources::{HUGE, LONG};
use crate::{ACCOUNTS, Attack, ITEMS, Outcome, batches};

/// A table and an owner that aren't ours.
const OTHER_TABLE: &str = "google_calendar_event_v1";
const OTHER_OWNER: &str = "victim";
const OWNER_COLUMN: &str = "external_owner_id";

pub(crate) const ATTACKS: &[Attack] = &[
    ("other-table", |_| bent(|batch| batch.table = OTHER_TABLE.to_owned())),
    ("sql-table", |_| bent(|batch| batch.table = format!("{ITEMS}\"; drop table {ITEMS}; --"))),
    ("sql-column", |_| set_column("note\" = 'x'; --", Scalar::Text("x".to_owned()))),
    ("owner-column", |_| set_column(OWNER_COLUMN, Scalar::Text(OTHER_OWNER.to_owned()))),
    ("computed-column", |_| {
        set_column("compound_identity", Scalar::Text("victim-seen".to_owned()))
    }),
    ("pk-column", |_| set_column("pk", Scalar::Integer(1))),
    ("updated-at-column", |_| set_column("row_updated_at", Scalar::Timestamp(0))),
    ("wrong-type", |_| set_column("note", Scalar::Integer(7))),
    ("update-other-owner", |_| {
        let set = [("note".to_owned(), Scalar::Text("stolen".to_owned()))];
        told(db::update(ITEMS, &set, &[of_other_owner()]))
    }),
    ("update-owner-column", |_| {
        let set = [(OWNER_COLUMN.to_owned(), Scalar::Text(OTHER_OWNER.to_owned()))];
        told(db::update(ITEMS, &set, &[]))
    }),
    ("delete-other-owner", |_| told(db::delete(ITEMS, &[of_other_owner()]))),
    // Allowed, and means one's own rows alone.
    ("delete-all", |_| told(db::delete(ITEMS, &[]))),
    ("delete-other-table", |_| told(db::delete(OTHER_TABLE, &[]))),
    ("sweep-all", |_| {
        told(db::begin_full(ITEMS, &[]))?;
        told(db::end_full(ITEMS, &[], &db::Unseen::Delete))
    }),
    ("sweep-to-other-owner", |_| {
        told(db::begin_full(ITEMS, &[]))?;
        let set = vec![(OWNER_COLUMN.to_owned(), Scalar::Text(OTHER_OWNER.to_owned()))];
        told(db::end_full(ITEMS, &[], &db::Unseen::Set(set)))
    }),
    ("end-without-begin", |_| told(db::end_full(ITEMS, &[], &db::Unseen::Delete))),
    ("long-key", |_| {
        let key = vec![Scalar::Text("seen".to_owned()); 1000];
        told(db::lookup(ITEMS, &key, &["note".to_owned()]))
    }),
    ("endless-key", |_| set_column("item_id", Scalar::Text(uneven(20_000)))),
    ("endless-label", |_| set_column("label", Scalar::Text(uneven(20_000)))),
    ("huge-table", |_| told(db::delete(&"x".repeat(HUGE), &[]))),
    ("long-table", |_| told(db::delete(&"x".repeat(LONG), &[]))),
    ("long-column", |_| set_column(&"x".repeat(LONG), Scalar::Null)),
    ("many-conditions", |_| {
        let condition = Condition {
            column: "note".to_owned(),
            op: Op::NotEqual,
            value: Scalar::Text("x".to_owned()),
        };
        told(db::delete(ITEMS, &vec![condition; 100_000]))
    }),
    ("many-settings", |_| {
        let set = vec![("note".to_owned(), Scalar::Text("x".to_owned())); 100_000];
        told(db::update(ITEMS, &set, &[]))
    }),
    ("many-brackets", |_| {
        for at in 0..40_000 {
            let value = Scalar::Text(format!("scope {at}"));
            let scope = Condition { column: "note".to_owned(), op: Op::Equal, value };
            told(db::begin_full(ITEMS, &[scope]))?;
        }
        Ok("begun".to_owned())
    }),
    // A note of 2 MiB, asked for half a million times at once.
    ("lookup-bomb", |_| {
        refused(batches::item("long", &"x".repeat(LONG)))?;
        let key = [Scalar::Text("long".to_owned())];
        told(db::lookup(ITEMS, &key, &vec!["note".to_owned(); 500_000]))
    }),
    // The host looks through the call's own writes for each.
    ("lookup-grind", |_| {
        for at in 0..8 {
            let notes = vec![(format!("{at}"), "x".repeat(LONG)); 4];
            refused(batches::items(notes.iter().map(|(id, note)| (id.as_str(), note.as_str()))))?;
        }
        let key = [Scalar::Text("none".to_owned())];
        for _ in 0..900 {
            told(db::lookup(ITEMS, &key, &["note".to_owned()]))?;
        }
        Ok("looked up".to_owned())
    }),
    // A few bytes here, and 2 MiB in each of many rows.
    ("constant-bomb", |_| {
        let ids: Vec<_> = (0..900).map(|id| id.to_string()).collect();
        let mut batch = batches::items(ids.iter().map(|id| (id.as_str(), "")));
        let note = Scalar::Text("x".repeat(LONG));
        *batches::column(&mut batch, "note") = batches::constant("note", note);
        refused(batch)
    }),
    ("update-bomb", |_| {
        let ids: Vec<_> = (0..900).map(|id| id.to_string()).collect();
        refused(batches::items(ids.iter().map(|id| (id.as_str(), ""))))?;
        let set = [("note".to_owned(), Scalar::Text("x".repeat(LONG)))];
        told(db::update(ITEMS, &set, &[]))
    }),
    ("sweep-bomb", |_| {
        told(db::begin_full(ITEMS, &[]))?;
        let set = vec![("note".to_owned(), Scalar::Text("x".repeat(LONG)))];
        told(db::end_full(ITEMS, &[], &db::Unseen::Set(set)))
    }),
    ("unlink", |_| {
        owners::unlink();
        Ok("unlinked".to_owned())
    }),
    ("link", |_| {
        owners::link();
        Ok("linked".to_owned())
    }),
    ("resync", |_| {
        owners::resync();
        Ok("resynced".to_owned())
    }),
    // The row that the call's stream comes from.
    ("delete-parent", |_| told(db::delete(ACCOUNTS, &[]))),
    ("remove-self", |_| {
        streams::remove(&item_stream());
        Ok("removed".to_owned())
    }),
    ("reset-self", |_| {
        streams::reset(&item_stream());
        Ok("reset".to_owned())
    }),
    ("activate-long-ago", |_| {
        streams::activate(&item_stream(), Some(i64::MIN));
        Ok("activated".to_owned())
    }),
    ("activate-far-away", |_| {
        streams::activate(&item_stream(), Some(i64::MAX));
        Ok("activated".to_owned())
    }),
    ("long-stream-key", |_| {
        let stream = types::StreamId { key: "x".repeat(1 << 20), ..item_stream() };
        streams::activate(&stream, None);
        Ok("activated".to_owned())
    }),
    ("nul-in-stream-key", |_| {
        let stream = types::StreamId { key: "a\0b".to_owned(), ..item_stream() };
        streams::activate(&stream, None);
        Ok("activated".to_owned())
    }),
    ("other-stream", |_| {
        let service = OTHER_TABLE.to_owned();
        let key = "primary".to_owned();
        streams::activate(&types::StreamId { service, kind: "events".to_owned(), key }, None);
        Ok("activated".to_owned())
    }),
    ("many-rows", |_| {
        let ids: Vec<_> = (0..10_000).map(|id| id.to_string()).collect();
        refused(batches::items(ids.iter().map(|id| (id.as_str(), "one of many"))))
    }),
    ("many-batches", |_| {
        for id in 0..10_000 {
            batches::write_item(&id.to_string(), "one of many")?;
        }
        Ok("written".to_owned())
    }),
    // A few bytes that say they are four billion rows.
    ("rows-from-nothing", |_| {
        bent(|batch| {
            batch.rows = u32::MAX;
            for name in ["item_id", "note"] {
                let text = Scalar::Text("x".repeat(1000));
                *batches::column(batch, name) = batches::constant(name, text);
            }
        })
    }),
    ("rows-too-many", |_| bent(|batch| batch.rows = 2)),
    ("rows-too-few", |_| bent(|batch| batch.rows = 0)),
    ("twice-a-column", |_| bent(|batch| batch.columns.push(batch.columns[1].clone()))),
    ("no-key", |_| bent(|batch| batch.columns.retain(|column| column.name != "item_id"))),
    ("offsets-falling", |_| offsets(vec![4, 0])),
    ("offsets-beyond", |_| offsets(vec![0, u32::MAX])),
    ("offsets-short", |_| offsets(vec![0])),
    ("offsets-none", |_| offsets(vec![])),
    ("offsets-late", |_| offsets(vec![2, 4])),
    ("offsets-inside-a-letter", |_| {
        let data = "ää".as_bytes().to_vec();
        let notes = Utf8 { offsets: vec![0, 1, 4], data };
        let mut batch = batches::items([("a", ""), ("b", "")]);
        batches::column(&mut batch, "note").values = Values::Text(notes);
        refused(batch)
    }),
    ("not-utf8", |_| note(Utf8 { offsets: vec![0, 2], data: vec![0xff, 0xfe] })),
    ("validity-short", |_| {
        let ids: Vec<_> = (0..20).map(|id| id.to_string()).collect();
        let mut batch = batches::items(ids.iter().map(|id| (id.as_str(), "")));
        batches::column(&mut batch, "note").validity = vec![0xff];
        refused(batch)
    }),
    ("validity-long", |_| bent(|batch| batches::column(batch, "note").validity = vec![1; 1 << 20])),
    ("null-key", |_| bent(|batch| batches::column(batch, "item_id").validity = vec![0])),
    ("values-short", |_| {
        bent(|batch| batches::column(batch, "flag").values = Values::Boolean(vec![]))
    }),
    ("not-boolean", |_| {
        bent(|batch| batches::column(batch, "flag").values = Values::Boolean(vec![7]))
    }),
    ("endless-decimal", |_| set_column("price", Scalar::Decimal("1e999999999".to_owned()))),
    ("not-a-decimal", |_| set_column("price", Scalar::Decimal("1; drop table x".to_owned()))),
    // No values of their types: they become null.
    ("not-a-number", |_| set_column("ratio", Scalar::Double(f64::NAN))),
    ("far-timestamp", |_| set_column("at", Scalar::Timestamp(i64::MAX))),
    ("far-date", |_| set_column("day", Scalar::Date(i32::MIN))),
    ("lone-surrogate", |_| set_column("data", Scalar::Json("\"\\ud800\"".to_owned()))),
    ("endless-json-number", |_| set_column("data", Scalar::Json("[1e999999999]".to_owned()))),
    ("not-json", |_| {
        bent(|batch| {
            let text = batches::one_text("{\"a\": ");
            batches::column(batch, "data").values = Values::Json(text);
        })
    }),
];

/// Upsert a good item, bent.
fn bent(bend: impl FnOnce(&mut Batch)) -> Outcome {
    let mut batch = batches::item("bent", "note");
    bend(&mut batch);
    refused(batch)
}

/// Upsert what the host should refuse.
pub(crate) fn refused(batch: Batch) -> Outcome {
    told(db::upsert(&batch))
}

fn set_column(name: &str, value: Scalar) -> Outcome {
    bent(|batch| *batches::column(batch, name) = batches::constant(name, value))
}

/// So many digits that no compression gets much out of.
fn uneven(digits: usize) -> String {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'0' + (*state >> 24) as u8 % 10)
    };
    let mut state = 1;
    (0..digits).map(|_| step(&mut state)).collect()
}

fn offsets(offsets: Vec<u32>) -> Outcome {
    note(Utf8 { offsets, data: b"note".to_vec() })
}

fn note(text: Utf8) -> Outcome {
    bent(|batch| batches::column(batch, "note").values = Values::Text(text))
}

fn of_other_owner() -> Condition {
    let value = Scalar::Text(OTHER_OWNER.to_owned());
    Condition { column: OWNER_COLUMN.to_owned(), op: Op::Equal, value }
}

fn item_stream() -> types::StreamId {
    let (service, kind) = (ITEMS.to_owned(), "items".to_owned());
    types::StreamId { service, kind, key: String::new() }
}

fn told<T: std::fmt::Debug>(answer: Result<T, db::Error>) -> Outcome {
    answer.map(|seen| format!("{seen:?}")).map_err(|error| format!("{error:?}"))
}
