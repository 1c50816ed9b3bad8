//! On a PostgreSQL server, as the role that may only read the organization's tables.

use futures_util::TryStreamExt as _;
use serde_json::{Number, Value};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{
    Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, TypeInfo as _,
    ValueRef as _,
};

use super::room::busy;
use super::{Answer, Error, QueryLimits, Rows, nested, refused, statement, too_long};
use crate::clock::Clock;

/// PostgreSQL's code for a statement that was cancelled.
const CANCELLED: &str = "57014";
/// And for a connection too many, of the role or of the server.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// While a statement runs, the server looks once a second whether whoever asked is still there. A customer's
/// may be older than PostgreSQL 14, or run on a system where that can't be seen.
const LOOK_FOR_US: &str = "select set_config('client_connection_check_interval', '1000', false)
    where current_setting('client_connection_check_interval', true) is not null";

pub(super) async fn query(
    reader: PgConnectOptions,
    text: &str,
    limits: QueryLimits,
    clock: &Clock,
) -> Result<Rows, Error> {
    statement::check_verb(text).map_err(Error::Refused)?;
    let timeout_ms = limits.time.as_millis().max(1).to_string();
    let reader = reader.options([("statement_timeout", timeout_ms)]);
    let connected = tokio::select! {
        connected = reader.connect() => connected,
        () = clock.sleep(limits.time) => return Err(too_long(limits)),
    };
    let mut connection = connected.map_err(unconnected)?;
    let answered = tokio::select! {
        answered = read(&mut connection, text, limits) => answered,
        // The server's own limit comes first, unless it is the answer that takes so long.
        () = clock.sleep(limits.time * 2) => return Err(too_long(limits)),
    };
    let _ = connection.close().await;
    answered.map_err(|error| match error {
        Error::Database(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(CANCELLED) =>
        {
            too_long(limits)
        }
        Error::Database(error) => refused(error),
        other => other,
    })
}

fn unconnected(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some(TOO_MANY_CONNECTIONS) => {
            busy("too many connections read these tables just now: try again in a moment".into())
        }
        _ => Error::Unavailable(error.to_string()),
    }
}

/// Prepared first: PostgreSQL prepares one statement only, so nothing can stand behind it. Then its
/// text is run, whose answer comes as text whatever the types are.
async fn read(
    connection: &mut PgConnection,
    text: &str,
    limits: QueryLimits,
) -> Result<Rows, Error> {
    let _may_fail = (&mut *connection).execute(LOOK_FOR_US).await;
    let described = (&mut *connection).prepare(text).await?;
    let columns = sqlx::Statement::columns(&described);
    let columns: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
    let mut answer = Answer::new(columns, limits);
    let mut rows = connection.fetch(text);
    while let Some(row) = rows.try_next().await? {
        let values: Result<Vec<Value>, sqlx::Error> =
            (0..row.len()).map(|at| value(&row, at, &mut answer.bytes)).collect();
        if !answer.push(values?)? {
            break;
        }
    }
    Ok(answer.rows)
}

fn value(row: &PgRow, at: usize, bytes: &mut usize) -> Result<Value, sqlx::Error> {
    use base64::Engine as _;
    let raw = row.try_get_raw(at)?;
    *bytes += 8;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let text = raw.as_str().map_err(sqlx::Error::Decode)?.to_owned();
    *bytes += text.len();
    Ok(match row.column(at).type_info().name() {
        "BOOL" => Value::from(text == "t"),
        "INT2" | "INT4" | "INT8" | "OID" => text.parse().map_or(Value::String(text), Value::Number),
        "FLOAT4" | "FLOAT8" => {
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map_or(Value::String(text), Value::Number)
        }
        "JSON" | "JSONB" => nested(text, bytes),
        "TIMESTAMPTZ" => Value::from(timestamp(&text)),
        "BYTEA" => match decode_hex(&text) {
            Some(bytes) => Value::from(base64::prelude::BASE64_STANDARD.encode(bytes)),
            None => Value::from(text),
        },
        _ => Value::from(text),
    })
}

/// `2026-03-20 16:00:00.5+00` as SQLite has it: `2026-03-20T16:00:00.500000Z`. What isn't of that
/// form (infinity, before Christ, another zone) stays as it is.
pub(in crate::store) fn timestamp(text: &str) -> String {
    let parts = text.strip_suffix("+00").and_then(|text| text.split_once(' '));
    let Some((date, time)) = parts else { return text.to_owned() };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{date}T{seconds}.{fraction:0<6}Z")
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_on_sqlite() {
        for (from, to) in [
            ("2026-03-20 16:00:00+00", "2026-03-20T16:00:00.000000Z"),
            ("2026-03-20 16:00:00.25+00", "2026-03-20T16:00:00.250000Z"),
            ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00.000000Z"),
            ("infinity", "infinity"),
            ("2026-03-20 16:00:00+01", "2026-03-20 16:00:00+01"),
            ("0044-03-15 00:00:00+00 BC", "0044-03-15 00:00:00+00 BC"),
        ] {
            assert_eq!(timestamp(from), to);
        }
    }

    #[test]
    fn bytes_are_read_from_hex() {
        assert_eq!(decode_hex("\\x00ff"), Some(vec![0, 255]));
        assert_eq!(decode_hex("00ff"), None);
    }
}
