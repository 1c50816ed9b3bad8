//! A small well-behaved guest. Its `sync` takes three calls, each of which tries a part of the
//! contract: `requests` (a secret in every place that may hold one), `tables` (every type, every
//! way to write), `listing` (a full listing that sweeps). What came back stands in the items.

#![allow(unsafe_code, missing_docs, reason = "the bindings are generated")]

mod listing;
mod requests;
mod rows;
mod tables;

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin", generate_all });
}

use bindings::exports::rowgate::plugin::integration::{
    Channel, Guest, Progress, Step, Subscription, Webhook,
};
use bindings::rowgate::plugin::types::{Context, Failure, StreamId, Topic};
use bindings::rowgate::plugin::{log, owners, streams};

const ACCOUNTS: &str = "probe_account_v1";
const ITEMS: &str = "probe_item_v1";

struct Probe;

impl Guest for Probe {
    fn receive(context: Context, webhook: Webhook) -> Result<(), Failure> {
        let post: serde_json::Value = serde_json::from_slice(&webhook.body)
            .map_err(|error| Failure::Bug(format!("webhook body: {error}")))?;
        let fields = [("verb".to_owned(), post["type"].to_string())];
        log::write(log::Level::Info, "webhook", &fields);
        match post["type"].as_str() {
            Some("UNLINK" | "UNLINKED") => owners::unlink(),
            Some("RESYNC") => owners::resync(),
            verb => {
                // The note shows what the guest saw of a post: sealed fields are null.
                let headers = webhook.headers.iter().map(|(name, value)| format!("{name}={value}"));
                let headers: Vec<_> = headers.collect();
                let Webhook { method, path, query, .. } = &webhook;
                let line = format!("{method} path={path} query={query}");
                rows::write_account(&format!("{post} {line} {}", headers.join(" ")))?;
                owners::link();
                if matches!(verb, Some("LINK" | "LINKED")) {
                    streams::reset(&items_stream());
                }
            }
        }
        log::write(log::Level::Debug, &context.integration, &[]);
        Ok(())
    }

    fn sync(
        context: Context,
        _: StreamId,
        cursor: Option<Vec<u8>>,
        _: u32,
    ) -> Result<Step, Failure> {
        let (next, progress) = match cursor.as_deref() {
            None => {
                requests::send_all(&context)?;
                ("tables", Progress::More)
            }
            Some(b"tables") => {
                tables::write_and_read(&context)?;
                ("listing", Progress::More)
            }
            Some(b"listing" | b"done") => {
                listing::list(&context)?;
                ("done", Progress::Done(None))
            }
            Some(cursor) => {
                let cursor = String::from_utf8_lossy(cursor);
                return Err(Failure::CursorExpired(format!("a cursor of another time: {cursor}")));
            }
        };
        Ok(Step { cursor: Some(next.into()), progress })
    }

    fn subscribe(_: Context, _: Topic, _: Channel) -> Result<Option<Subscription>, Failure> {
        Ok(None)
    }

    fn unsubscribe(_: Context, _: Option<Topic>, _: Subscription) -> Result<(), Failure> {
        Ok(())
    }
}

bindings::export!(Probe with_types_in bindings);

fn items_stream() -> StreamId {
    StreamId { service: ITEMS.to_owned(), kind: "items".to_owned(), key: String::new() }
}

/// A configuration value; empty where there is none.
fn config<'a>(context: &'a Context, name: &str) -> &'a str {
    let value = context.config.iter().find(|(key, _)| key == name);
    value.map_or("", |(_, value)| value)
}
