//! The host's functions, natively: they record, and answer what the test scripted.

use super::{STATE, State, StreamChange, Write, sent};
use crate::StreamId;
use crate::bindings::rowgate::plugin::db::{self, Batch, Condition, Scalar, Unseen};
use crate::bindings::rowgate::plugin::http::{self, Presence};
use crate::log::Level;

type Written = Result<(), db::Error>;

pub(crate) fn send(request: &http::Request) -> Result<http::Response, http::Error> {
    STATE.with_borrow_mut(|state| {
        let sent = sent(request);
        let Some(answer) = state.answers.pop_front() else {
            panic!("the test scripted no answer for {} {}", sent.method, sent.url)
        };
        let mut answer = answer;
        if let Ok(response) = &mut answer
            && (200..300).contains(&response.status)
        {
            capture(state, &sent.url, response);
        }
        state.requests.push(sent);
        answer
    })
}

fn capture(state: &mut State, url: &str, response: &mut http::Response) {
    let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&response.body) else { return };
    let mut captured = false;
    for (name, from, field) in &state.captures {
        let value = body.get_mut(field).filter(|value| value.is_string());
        if let Some(value) = value.filter(|_| url.starts_with(from)) {
            *value = serde_json::Value::Null;
            state.secrets.insert(name.clone());
            captured = true;
        }
    }
    if captured {
        response.body = body.to_string().into_bytes();
    }
}

pub(crate) fn secret(name: &str, _wait: bool) -> Presence {
    let present = STATE.with_borrow(|state| state.secrets.contains(name));
    if present { Presence::Present } else { Presence::Missing }
}

pub(crate) fn forget(name: &str) {
    STATE.with_borrow_mut(|state| {
        state.secrets.remove(name);
        state.did.forgotten.push(name.to_owned());
    });
}

fn write(write: Write) -> Written {
    STATE.with_borrow_mut(|state| state.did.writes.push(write));
    Ok(())
}

pub(crate) fn upsert(batch: &Batch) -> Written {
    write(Write::Upsert(batch.clone()))
}

pub(crate) fn patch(batch: &Batch) -> Written {
    write(Write::Patch(batch.clone()))
}

pub(crate) fn update(table: &str, set: &[(String, Scalar)], conditions: &[Condition]) -> Written {
    let (table, set) = (table.to_owned(), set.to_vec());
    write(Write::Update { table, set, conditions: conditions.to_vec() })
}

pub(crate) fn delete(table: &str, conditions: &[Condition]) -> Written {
    write(Write::Delete { table: table.to_owned(), conditions: conditions.to_vec() })
}

/// Finds what the test has shown; the call's own writes are only applied by the test.
pub(crate) fn lookup(
    table: &str,
    key: &[Scalar],
    columns: &[String],
) -> Result<Option<Vec<Scalar>>, db::Error> {
    STATE.with_borrow(|state| Ok(state.tables.find(table, key, columns)))
}

pub(crate) fn begin_full(table: &str, scope: &[Condition]) -> Written {
    write(Write::BeginFull { table: table.to_owned(), scope: scope.to_vec() })
}

pub(crate) fn end_full(table: &str, scope: &[Condition], unseen: &Unseen) -> Written {
    let (table, scope) = (table.to_owned(), scope.to_vec());
    write(Write::EndFull { table, scope, unseen: unseen.clone() })
}

fn change(change: StreamChange) {
    STATE.with_borrow_mut(|state| state.did.streams.push(change));
}

pub(crate) fn activate(stream: &StreamId, at: Option<i64>) {
    change(StreamChange::Activate { stream: stream.clone(), at });
}

pub(crate) fn reset(stream: &StreamId) {
    change(StreamChange::Reset(stream.clone()));
}

pub(crate) fn remove(stream: &StreamId) {
    change(StreamChange::Remove(stream.clone()));
}

fn owner(change: &'static str) {
    STATE.with_borrow_mut(|state| state.did.owners.push(change));
}

pub(crate) fn link() {
    owner("link");
}

pub(crate) fn unlink() {
    owner("unlink");
}

pub(crate) fn resync() {
    owner("resync");
}

pub(crate) fn log(level: Level, message: &str, _fields: &[(String, String)]) {
    STATE.with_borrow_mut(|state| state.did.logs.push((level, message.to_owned())));
}
