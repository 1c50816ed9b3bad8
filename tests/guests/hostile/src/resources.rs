//! Attacks on CPU, memory, stack and the host's patience.

use std::hint::black_box;

use crate::bindings::rowgate::plugin::{db, log, streams, types};
use crate::{Attack, ITEMS, Outcome, batches, data};

/// More than any single text or list should be, and less than the guest's memory.
pub(crate) const HUGE: usize = 40 << 20;
/// More than anything small should be, and less than what may cross at once.
pub(crate) const LONG: usize = 2 << 20;
/// A line of a log as the host writes them, behind one that ends.
pub(crate) const FORGED: &str =
    "x\n2026-11-23T00:00:00Z  INFO forged line one\r\nforged line two\u{1b}[2J\u{9b}2J\u{2028}";

pub(crate) const ATTACKS: &[Attack] = &[
    ("loop", |_| spin()),
    ("hog", |_| hog()),
    ("recursion", |_| Ok(recurse(1).to_string())),
    ("trap", |_| panic!("planted panic")),
    ("huge-log", |_| {
        log::write(log::Level::Info, &"x".repeat(HUGE), &[]);
        Ok("logged".to_owned())
    }),
    ("long-log", |_| {
        let field = |at: usize| (format!("field {at}"), "x".repeat(100));
        let fields: Vec<_> = (0..10_000).map(field).collect();
        log::write(log::Level::Warn, &"x".repeat(LONG), &fields);
        Ok("logged".to_owned())
    }),
    ("forged-log", |_| {
        let field = (FORGED.to_owned(), FORGED.to_owned());
        log::write(log::Level::Info, FORGED, &[field]);
        Ok("logged".to_owned())
    }),
    ("log-flood", |_| log_flood()),
    ("stream-flood", |_| stream_flood()),
    ("lookup-flood", |_| lookup_flood()),
    ("huge-text", |_| data::refused(batches::item("huge", &"x".repeat(HUGE)))),
    ("deep-json", |_| data::refused(deep_json())),
];

fn spin() -> Outcome {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hog() -> Outcome {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "the attack")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

fn log_flood() -> Outcome {
    for line in 0..1_000_000 {
        log::write(log::Level::Error, &format!("line {line}"), &[]);
    }
    Ok("logged".to_owned())
}

fn stream_flood() -> Outcome {
    for key in 0..1_000_000 {
        let key = key.to_string();
        let stream = types::StreamId { service: ITEMS.to_owned(), kind: "items".to_owned(), key };
        streams::activate(&stream, None);
    }
    Ok("activated".to_owned())
}

fn lookup_flood() -> Outcome {
    for key in 0..1_000_000 {
        let key = [db::Scalar::Text(key.to_string())];
        db::lookup(ITEMS, &key, &["note".to_owned()]).map_err(|error| format!("{error:?}"))?;
    }
    Ok("looked up".to_owned())
}

/// A document so deep that to parse it by recursion needs more stack than a thread has.
fn deep_json() -> db::Batch {
    const DEPTH: usize = 1 << 20;
    let document = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    let mut batch = batches::item("deep", "");
    batches::column(&mut batch, "data").values = db::Values::Json(batches::one_text(&document));
    batch
}
