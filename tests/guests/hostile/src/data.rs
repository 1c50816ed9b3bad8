//! Attacks on tables: other tables, other owners, names that are SQL, batches that lie.

use crate::bindings::rowgate::plugin::db::{self, Batch, Condition, Op, Scalar, Utf8, Values};
use crate::bindings::rowgate::plugin::{streams, types};
use crate::{Attack, ITEMS, Outcome, batches};

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
    ("end-without-begin", |_| told(db::end_full(ITEMS, &[], &db::Unseen::Delete))),
    ("long-key", |_| {
        let key = vec![Scalar::Text("seen".to_owned()); 1000];
        told(db::lookup(ITEMS, &key, &["note".to_owned()]))
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

fn told<T: std::fmt::Debug>(answer: Result<T, db::Error>) -> Outcome {
    answer.map(|seen| format!("{seen:?}")).map_err(|error| format!("{error:?}"))
}
