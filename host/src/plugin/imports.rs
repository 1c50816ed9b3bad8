//! The interfaces that a guest imports: writes and changes are buffered in call order, the rest
//! goes to the `Environment`, everything is counted.

use std::sync::Arc;

use super::bindings::rowgate::plugin::{db, http, log, owners, streams, types};
use super::convert;
use super::environment::{DbError, LogLevel};
use super::state::{State, Stop};
use crate::model::{OwnerChange, Scalar, StreamChange, StreamId, Write};

/// Longest key of a stream, bytes.
const STREAM_KEY_BYTES: usize = 4_096;

/// Fields of one log line; more are dropped.
const LOG_FIELDS: usize = 32;

type Hosted<T> = wasmtime::Result<T>;
type DbResult<T> = Hosted<Result<T, db::Error>>;

impl types::Host for State {}

impl http::Host for State {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> Hosted<Result<http::Response, http::Error>> {
        self.count_host_call()?;
        self.meters.http_requests += 1;
        if self.meters.http_requests > self.budget.http_requests {
            let limit = self.budget.http_requests;
            return Err(Stop::Limit(format!("more than {limit} requests in one call")).into());
        }
        let environment = Arc::clone(&self.environment);
        let sent = environment.send(convert::from_request(request));
        match self.cpu.outside(sent).await {
            Ok(response) => {
                self.meters.http_bytes += response.body.len() as u64;
                Ok(Ok(convert::to_response(response)))
            }
            Err(error) => Ok(Err(convert::to_http_error(error).map_err(Stop::Ended)?)),
        }
    }

    async fn secret(&mut self, name: String, wait: bool) -> Hosted<http::Presence> {
        self.count_host_call()?;
        self.known_secret(&name)?;
        let environment = Arc::clone(&self.environment);
        let presence = self.cpu.outside(environment.secret(&name, wait)).await;
        Ok(convert::to_presence(presence))
    }

    async fn forget(&mut self, name: String) -> Hosted<()> {
        self.count_host_call()?;
        self.known_secret(&name)?;
        let environment = Arc::clone(&self.environment);
        self.cpu.outside(environment.forget(&name)).await;
        Ok(())
    }
}

impl db::Host for State {
    fn upsert(&mut self, batch: db::Batch) -> DbResult<()> {
        let rows = batch.rows;
        self.write(rows, Write::Upsert(convert::from_batch(batch)))
    }

    fn patch(&mut self, batch: db::Batch) -> DbResult<()> {
        let rows = batch.rows;
        self.write(rows, Write::Patch(convert::from_batch(batch)))
    }

    fn update(
        &mut self,
        table: String,
        set: Vec<(String, db::Scalar)>,
        conditions: Vec<db::Condition>,
    ) -> DbResult<()> {
        let set = convert::from_set(set);
        self.write(
            1,
            Write::Update { table, set, conditions: convert::from_conditions(conditions) },
        )
    }

    fn delete(&mut self, table: String, conditions: Vec<db::Condition>) -> DbResult<()> {
        self.write(1, Write::Delete { table, conditions: convert::from_conditions(conditions) })
    }

    async fn lookup(
        &mut self,
        table: String,
        key: Vec<db::Scalar>,
        columns: Vec<String>,
    ) -> DbResult<Option<Vec<db::Scalar>>> {
        self.count_host_call()?;
        if let Err(error) = self.count_rows(1) {
            return self.refuse(error);
        }
        self.effects.looked_up = true;
        let key: Vec<Scalar> = key.into_iter().map(convert::from_scalar).collect();
        let environment = Arc::clone(&self.environment);
        let found = environment.lookup(&table, key, columns, &self.effects.writes);
        // What it costs to look through the call's own writes is the call's.
        match found.await {
            Ok(row) => Ok(Ok(row.map(|row| row.into_iter().map(convert::to_scalar).collect()))),
            Err(error) => self.refuse(error),
        }
    }

    fn begin_full(&mut self, table: String, scope: Vec<db::Condition>) -> DbResult<()> {
        self.write(0, Write::BeginFull { table, scope: convert::from_conditions(scope) })
    }

    fn end_full(
        &mut self,
        table: String,
        scope: Vec<db::Condition>,
        unseen: db::Unseen,
    ) -> DbResult<()> {
        let scope = convert::from_conditions(scope);
        self.write(0, Write::EndFull { table, scope, unseen: convert::from_unseen(unseen) })
    }
}

impl streams::Host for State {
    fn activate(&mut self, stream: types::StreamId, at: Option<types::Timestamp>) -> Hosted<()> {
        self.count_change()?;
        let stream = self.known_stream(stream)?;
        self.effects.streams.push(StreamChange::Activate { stream, at });
        Ok(())
    }

    fn reset(&mut self, stream: types::StreamId) -> Hosted<()> {
        self.count_change()?;
        let stream = self.known_stream(stream)?;
        if self.own_stream.as_ref() == Some(&stream) {
            let text = "a call can't reset its own stream: return no cursor, or fail with \
                        `cursor-expired`";
            return Err(Stop::Contract(text.into()).into());
        }
        self.effects.streams.push(StreamChange::Reset(stream));
        Ok(())
    }

    fn remove(&mut self, stream: types::StreamId) -> Hosted<()> {
        self.count_change()?;
        let stream = self.known_stream(stream)?;
        if self.own_stream.as_ref() == Some(&stream) {
            let text = "a call can't remove its own stream: return `unreadable`";
            return Err(Stop::Contract(text.into()).into());
        }
        self.effects.streams.push(StreamChange::Remove(stream));
        Ok(())
    }
}

impl owners::Host for State {
    fn link(&mut self) -> Hosted<()> {
        self.change_owner(OwnerChange::Link)
    }

    fn unlink(&mut self) -> Hosted<()> {
        self.change_owner(OwnerChange::Unlink)
    }

    fn resync(&mut self) -> Hosted<()> {
        self.change_owner(OwnerChange::Resync)
    }
}

impl log::Host for State {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Hosted<()> {
        self.count_host_call()?;
        let level = convert::from_level(level);
        let message = convert::clip(message);
        let fields: Vec<_> = fields
            .into_iter()
            .take(LOG_FIELDS)
            .map(|(name, value)| (convert::clip(name), convert::clip(value)))
            .collect();
        if level == LogLevel::Error {
            self.last_error = Some(message.clone());
        }
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.log_lines += 1;
        self.log_bytes += (message.len() + bytes) as u64;
        if self.log_lines <= self.budget.log_lines && self.log_bytes <= self.budget.log_bytes {
            self.environment.log(level, message, fields);
        }
        Ok(())
    }
}

impl State {
    fn count_host_call(&mut self) -> Result<(), Stop> {
        self.meters.host_calls += 1;
        if self.meters.host_calls > self.budget.host_calls {
            let limit = self.budget.host_calls;
            return Err(Stop::Limit(format!("more than {limit} calls of the host in one call")));
        }
        Ok(())
    }

    fn count_change(&mut self) -> Result<(), Stop> {
        self.count_host_call()?;
        self.changes += 1;
        if self.changes > self.budget.changes {
            let limit = self.budget.changes;
            let text = format!("more than {limit} changes of streams and owner in one call");
            return Err(Stop::Limit(text));
        }
        Ok(())
    }

    fn count_rows(&mut self, rows: u32) -> Result<(), DbError> {
        self.meters.rows = self.meters.rows.saturating_add(rows.into());
        if self.meters.rows <= self.budget.rows {
            return Ok(());
        }
        let (rows, limit) = (self.meters.rows, self.budget.rows);
        Err(DbError::Limit(format!(
            "{rows} rows in one call, {limit} are allowed: return `more` earlier, or raise \
             `limits.rows` in plugin.toml"
        )))
    }

    fn write(&mut self, rows: u32, write: Write) -> DbResult<()> {
        self.count_host_call()?;
        let write = Arc::new(write);
        if let Err(error) = self.admit(rows, &write) {
            return self.refuse(error);
        }
        self.effects.writes.push(write);
        Ok(Ok(()))
    }

    fn admit(&mut self, rows: u32, write: &Arc<Write>) -> Result<(), DbError> {
        self.count_rows(rows)?;
        self.write_bytes = self.write_bytes.saturating_add(super::state::bytes_of(write));
        if self.write_bytes > self.budget.write_bytes {
            let limit = self.budget.write_bytes;
            return Err(DbError::Limit(format!("more than {limit} bytes written in one call")));
        }
        self.environment.take(write)
    }

    /// Remembers that the call must not commit, whatever it returns.
    fn refuse<T>(&mut self, error: DbError) -> DbResult<T> {
        self.refused.get_or_insert_with(|| convert::clip(error.to_string()));
        Ok(Err(convert::to_db_error(error).map_err(Stop::Ended)?))
    }

    fn change_owner(&mut self, change: OwnerChange) -> Hosted<()> {
        self.count_change()?;
        if self.own_stream.is_some() {
            let text = "a `sync` can't link, unlink or resync its owner, only a `receive` can";
            return Err(Stop::Contract(text.into()).into());
        }
        self.effects.owner.push(change);
        Ok(())
    }

    fn known_secret(&self, name: &str) -> Result<(), Stop> {
        if self.manifest.secrets.contains_key(name) {
            return Ok(());
        }
        let name = convert::clip(name.to_owned());
        Err(Stop::Contract(format!("unknown secret `{name}`: add it to [secrets] in plugin.toml")))
    }

    fn known_stream(&self, stream: types::StreamId) -> Result<StreamId, Stop> {
        let stream = convert::from_stream(stream);
        if !self.manifest.services.contains_key(&stream.service) {
            let service = convert::clip(stream.service);
            let text = format!("a stream of the service `{service}`, which plugin.toml hasn't");
            return Err(Stop::Contract(text));
        }
        if !self.manifest.streams(&stream.service).any(|(kind, _)| kind == stream.kind) {
            let (service, kind) = (stream.service, convert::clip(stream.kind));
            let text = format!("a stream of the kind `{kind}`, which `{service}` hasn't");
            return Err(Stop::Contract(text));
        }
        if stream.key.len() > STREAM_KEY_BYTES {
            let text = format!("the key of a stream is longer than {STREAM_KEY_BYTES} bytes");
            return Err(Stop::Contract(text));
        }
        // PostgreSQL has no text with it.
        if stream.key.contains('\0') {
            return Err(Stop::Contract("the key of a stream has the character NUL".to_owned()));
        }
        Ok(stream)
    }
}
