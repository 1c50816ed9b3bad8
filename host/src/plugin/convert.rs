//! Between the bindings and the host's own types. What a guest made is moved, never copied; nothing
//! here can fail, what is wrong inside (lengths, UTF-8) is found by `Environment::take`.

use super::bindings::exports::rowgate::plugin::integration as guest;
use super::bindings::rowgate::plugin::{db, http, log, types};
use super::environment::{DbError, LogLevel};
use crate::egress::{Body, HttpError, HttpRequest, HttpResponse, Part, Presence};
use crate::model::{
    Batch, CallContext, Channel, Column, Condition, Existing, Failure, Op, Progress, RetryScope,
    Scalar, Step, StreamId, Subscription, Topic, Unseen, Utf8, Values, Webhook,
};

/// A reason or a log line of a guest is cut to so many bytes.
const TEXT_BYTES: usize = 4_096;

/// A rest that a guest asks for is cut to a year.
const REST_MS: u64 = 366 * DAY_MS;
/// A pause after a failure is cut to a day: it may hold up a whole integration, and quotas that last
/// longer can be asked once a day.
const PAUSE_MS: u64 = DAY_MS;
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Cuts a guest's text to what a log line or a database column should bear.
pub(super) fn clip(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push_str("...");
    }
    text
}

pub(super) fn to_context(context: &CallContext) -> types::Context {
    types::Context {
        now: context.now,
        integration: context.integration.clone(),
        service: context.service.clone(),
        owner: context.external_owner_id.clone(),
        config: context.config.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

pub(super) fn to_webhook(webhook: &Webhook) -> guest::Webhook {
    guest::Webhook {
        received_at: webhook.received_at,
        method: webhook.method.clone(),
        path: webhook.path.clone(),
        query: webhook.query.clone(),
        headers: webhook.headers.clone(),
        body: webhook.body.clone(),
        topic: None,
    }
}

pub(super) fn to_stream(stream: &StreamId) -> types::StreamId {
    types::StreamId {
        service: stream.service.clone(),
        kind: stream.kind.clone(),
        key: stream.key.clone(),
    }
}

pub(super) fn from_stream(stream: types::StreamId) -> StreamId {
    StreamId { service: stream.service, kind: stream.kind, key: stream.key }
}

pub(super) fn to_topic(topic: &Topic) -> types::Topic {
    types::Topic { push: topic.push.clone(), key: topic.key.clone() }
}

pub(super) fn to_channel(channel: &Channel) -> guest::Channel {
    guest::Channel {
        id: channel.id.clone(),
        address: channel.address.clone(),
        token: channel.token.clone(),
        ttl_ms: channel.ttl_ms,
    }
}

pub(super) fn to_subscription(subscription: &Subscription) -> guest::Subscription {
    guest::Subscription {
        channel_id: subscription.channel_id.clone(),
        vendor_id: subscription.vendor_id.clone(),
        expires_at: subscription.expires_at,
    }
}

pub(super) fn from_subscription(subscription: guest::Subscription) -> Subscription {
    Subscription {
        channel_id: clip(subscription.channel_id),
        vendor_id: subscription.vendor_id.map(clip),
        expires_at: subscription.expires_at,
    }
}

pub(super) fn from_step(step: guest::Step) -> Step {
    let progress = match step.progress {
        guest::Progress::More => Progress::More,
        guest::Progress::Done(rest_ms) => Progress::Done(rest_ms.map(|ms| ms.min(REST_MS))),
        guest::Progress::Unreadable(reason) => Progress::Unreadable(clip(reason)),
    };
    Step { cursor: step.cursor, progress }
}

pub(super) fn from_failure(failure: types::Failure) -> Failure {
    use types::Failure as Guest;
    match failure {
        Guest::Retry(retry) => Failure::Retry {
            reason: clip(retry.reason),
            after_ms: retry.after_ms.map(|ms| ms.min(PAUSE_MS)),
            scope: match retry.scope {
                types::RetryScope::ThisStream => RetryScope::ThisStream,
                types::RetryScope::Owner => RetryScope::Owner,
                types::RetryScope::Integration => RetryScope::Integration,
            },
        },
        Guest::CursorExpired(reason) => Failure::CursorExpired(clip(reason)),
        Guest::Reauthorise(reason) => Failure::Reauthorise(clip(reason)),
        Guest::Misconfigured(reason) => Failure::Misconfigured(clip(reason)),
        Guest::TooLarge(reason) => Failure::TooLarge(clip(reason)),
        Guest::TooSlow(reason) => Failure::TooSlow(clip(reason)),
        Guest::Bug(reason) => Failure::Bug(clip(reason)),
    }
}

pub(super) fn from_batch(batch: db::Batch) -> Batch {
    Batch {
        table: batch.table,
        rows: batch.rows as usize,
        columns: batch.columns.into_iter().map(from_column).collect(),
    }
}

fn from_column(column: db::Column) -> Column {
    Column {
        name: column.name,
        validity: column.validity,
        values: from_values(column.values),
        existing: match column.existing {
            db::Existing::Replace => Existing::Replace,
            db::Existing::Merge => Existing::Merge,
            db::Existing::Keep => Existing::Keep,
        },
    }
}

fn from_values(values: db::Values) -> Values {
    let utf8 = |text: db::Utf8| Utf8 { offsets: text.offsets, data: text.data };
    match values {
        db::Values::Boolean(values) => Values::Boolean(values),
        db::Values::Integer(values) => Values::Integer(values),
        db::Values::Double(values) => Values::Double(values),
        db::Values::Decimal(values) => Values::Decimal(utf8(values)),
        db::Values::Text(values) => Values::Text(utf8(values)),
        db::Values::Json(values) => Values::Json(utf8(values)),
        db::Values::Date(values) => Values::Date(values),
        db::Values::Timestamp(values) => Values::Timestamp(values),
        db::Values::Bytes(values) => Values::Bytes(utf8(values)),
        db::Values::Constant(value) => Values::Constant(from_scalar(value)),
    }
}

pub(super) fn from_scalar(scalar: db::Scalar) -> Scalar {
    match scalar {
        db::Scalar::Null => Scalar::Null,
        db::Scalar::Boolean(value) => Scalar::Boolean(value),
        db::Scalar::Integer(value) => Scalar::Integer(value),
        db::Scalar::Double(value) => Scalar::Double(value),
        db::Scalar::Text(value) => Scalar::Text(value),
        db::Scalar::Date(value) => Scalar::Date(value),
        db::Scalar::Timestamp(value) => Scalar::Timestamp(value),
        db::Scalar::Decimal(value) => Scalar::Decimal(value),
        db::Scalar::Json(value) => Scalar::Json(value),
        db::Scalar::Bytes(value) => Scalar::Bytes(value),
    }
}

pub(super) fn to_scalar(scalar: Scalar) -> db::Scalar {
    match scalar {
        Scalar::Null => db::Scalar::Null,
        Scalar::Boolean(value) => db::Scalar::Boolean(value),
        Scalar::Integer(value) => db::Scalar::Integer(value),
        Scalar::Double(value) => db::Scalar::Double(value),
        Scalar::Text(value) => db::Scalar::Text(value),
        Scalar::Date(value) => db::Scalar::Date(value),
        Scalar::Timestamp(value) => db::Scalar::Timestamp(value),
        Scalar::Decimal(value) => db::Scalar::Decimal(value),
        Scalar::Json(value) => db::Scalar::Json(value),
        Scalar::Bytes(value) => db::Scalar::Bytes(value),
    }
}

pub(super) fn from_set(set: Vec<(String, db::Scalar)>) -> Vec<(String, Scalar)> {
    set.into_iter().map(|(column, value)| (column, from_scalar(value))).collect()
}

pub(super) fn from_unseen(unseen: db::Unseen) -> Unseen {
    match unseen {
        db::Unseen::Delete => Unseen::Delete,
        db::Unseen::Set(set) => Unseen::Set(from_set(set)),
    }
}

pub(super) fn from_conditions(conditions: Vec<db::Condition>) -> Vec<Condition> {
    let op = |op| match op {
        db::Op::Equal => Op::Equal,
        db::Op::NotEqual => Op::NotEqual,
        db::Op::Less => Op::Less,
        db::Op::LessOrEqual => Op::LessOrEqual,
        db::Op::Greater => Op::Greater,
        db::Op::GreaterOrEqual => Op::GreaterOrEqual,
        db::Op::StartsWith => Op::StartsWith,
    };
    conditions
        .into_iter()
        .map(|condition| Condition {
            column: condition.column,
            op: op(condition.op),
            value: from_scalar(condition.value),
        })
        .collect()
}

/// The error as the guest sees it, or the failure that ends its call.
pub(super) fn to_db_error(error: DbError) -> Result<db::Error, Failure> {
    Ok(match error {
        DbError::UnknownTable(text) => db::Error::UnknownTable(text),
        DbError::UnknownColumn(text) => db::Error::UnknownColumn(text),
        DbError::WrongType(text) => db::Error::WrongType(text),
        DbError::Limit(text) => db::Error::Limit(text),
        DbError::Other(text) => db::Error::Other(text),
        DbError::Ended(failure) => return Err(failure),
    })
}

pub(super) fn from_request(request: http::Request) -> HttpRequest {
    let parts = |parts: Vec<http::Part>| parts.into_iter().map(from_part).collect();
    let pairs = |pairs: Vec<(String, http::Part)>| {
        pairs.into_iter().map(|(name, part)| (name, from_part(part))).collect()
    };
    HttpRequest {
        method: request.method,
        url: request.url,
        query: pairs(request.query),
        headers: request.headers.into_iter().map(|(name, value)| (name, parts(value))).collect(),
        body: match request.body {
            http::Body::None => Body::None,
            http::Body::Bytes(bytes) => Body::Bytes(bytes),
            http::Body::Form(form) => Body::Form(pairs(form)),
            http::Body::Json(json) => Body::Json(parts(json)),
        },
        timeout_ms: request.timeout_ms,
    }
}

fn from_part(part: http::Part) -> Part {
    match part {
        http::Part::Text(text) => Part::Text(text),
        http::Part::Secret(name) => Part::Secret(name),
        http::Part::Basic((user, password)) => Part::Basic { user, password },
    }
}

pub(super) fn to_response(response: HttpResponse) -> http::Response {
    http::Response { status: response.status, headers: response.headers, body: response.body }
}

/// The error as the guest sees it, or the failure that ends its call.
pub(super) fn to_http_error(error: HttpError) -> Result<http::Error, Failure> {
    Ok(match error {
        HttpError::Denied(text) => http::Error::Denied(text),
        HttpError::Connect(text) => http::Error::Connect(text),
        HttpError::Timeout => http::Error::Timeout,
        HttpError::TooLarge(limit) => http::Error::TooLarge(limit),
        HttpError::Transfer(text) => http::Error::Transfer(text),
        HttpError::Other(text) => http::Error::Other(text),
        HttpError::Ended(failure) => return Err(failure),
    })
}

pub(super) fn to_presence(presence: Presence) -> http::Presence {
    match presence {
        Presence::Present => http::Presence::Present,
        Presence::Missing => http::Presence::Missing,
    }
}

pub(super) fn from_level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_and_pauses_are_cut() {
        let failure = from_failure(types::Failure::Retry(types::Retry {
            reason: "ä".repeat(10_000),
            after_ms: Some(u64::MAX),
            scope: types::RetryScope::Owner,
        }));
        let Failure::Retry { reason, after_ms, scope } = failure else { panic!("{failure:?}") };
        assert!(reason.len() <= TEXT_BYTES + 3 && reason.ends_with("ä..."));
        assert_eq!((after_ms, scope), (Some(PAUSE_MS), RetryScope::Owner));
        let step = guest::Step { cursor: None, progress: guest::Progress::Done(Some(u64::MAX)) };
        assert_eq!(from_step(step).progress, Progress::Done(Some(REST_MS)));
    }
}
