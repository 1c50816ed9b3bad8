//! Streams that have been unreadable, or have failed, for long. They are looked for now and then, since one
//! that is unreadable may not run again. One alert tells of all of a table that were found together, and of
//! each stream once until it comes to an end again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::FromRow;

use super::{Raised, raise};
use crate::model::Micros;
use crate::rows::timestamp_text;
use crate::store::{Connection, Database, Dialect, Error, query, query_as};

/// Before that it may pass by itself.
const PATIENCE: Micros = 24 * 3_600_000_000;

/// Streams that go in one transaction.
const SLICE: i64 = 500;

/// Owners and streams that an alert names.
const NAMED_MAX: usize = 20;

/// Keys aren't told: a vendor's may be personal.
#[derive(FromRow)]
struct Failing {
    id: i64,
    integration_id: String,
    external_owner_id: String,
    failing_since: Micros,
    reason: Option<String>,
}

/// Arguments: time, limit. Of an owner whose grant is dead, and of an integration whose credentials are
/// refused, that is told instead.
pub(super) fn failing_sql(dialect: Dialect) -> String {
    // Else SQLite looks at the streams of each owner that is linked. One that somebody else writes just now is
    // looked at the next time.
    let (by, skip) = match dialect {
        Dialect::Sqlite => ("indexed by streams_failing", ""),
        Dialect::Postgres => ("", "for no key update of s skip locked"),
    };
    format!(
        "select s.id, i.id as integration_id, o.external_owner_id, s.failing_since,
           coalesce(s.unreadable, s.last_error) as reason
         from streams s {by}
           join owners o on o.id = s.owner_id
           join integrations r on r.id = o.root_id
           join integrations i on i.root_id = o.root_id and i.service = s.service
         where s.failing_since <= $1 and not s.failing_told and o.state = 'linked'
           and r.misconfigured is null
         order by s.failing_since, s.id limit $2 {skip}"
    )
}

/// Raises alerts of what has failed for long and isn't told yet.
pub(in crate::store) async fn tell_unreadable(
    control: &Database,
    now: Micros,
) -> Result<(), Error> {
    loop {
        let slice = control.write(move |connection| Box::pin(tell_slice(connection, now)));
        if slice.await? < SLICE {
            return Ok(());
        }
    }
}

/// Answers how many there were.
async fn tell_slice(connection: &mut Connection, now: Micros) -> Result<i64, Error> {
    let all: Vec<Failing> = query_as(failing_sql(connection.dialect()))
        .bind(now.saturating_sub(PATIENCE))
        .bind(SLICE)
        .fetch_all(&mut *connection)
        .await?;
    let mut tables: BTreeMap<&str, Vec<&Failing>> = BTreeMap::new();
    for one in &all {
        tables.entry(&one.integration_id).or_default().push(one);
    }
    for (integration_id, streams) in tables {
        tell(connection, integration_id, &streams, now).await?;
    }
    for one in &all {
        query("update streams set failing_told = true where id = $1")
            .bind(one.id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(i64::try_from(all.len()).unwrap_or(i64::MAX))
}

/// Raises one alert of streams that failed first to last.
async fn tell(
    connection: &mut Connection,
    integration_id: &str,
    streams: &[&Failing],
    now: Micros,
) -> Result<(), Error> {
    let Some(first) = streams.first() else { return Ok(()) };
    let since = timestamp_text(first.failing_since).unwrap_or_default();
    let reason = first.reason.as_deref().unwrap_or("unknown");
    let message = match streams.len() {
        1 => format!("a stream could not be read to its end since {since}: {reason}"),
        count => format!(
            "{count} streams could not be read to their end for a day or longer, one since {since}: \
             {reason}"
        ),
    };
    tracing::error!(integration = integration_id, "{message}");
    let named = &streams[..streams.len().min(NAMED_MAX)];
    let raised = Raised {
        error_type: "streams_unreadable",
        integration_id,
        // Those that are found later are another matter.
        subject: &format!("{} {}", first.id, first.failing_since),
        message: &message,
        details: json!({
            "count": streams.len(),
            "since": since,
            "external_owner_ids":
                named.iter().map(|one| one.external_owner_id.as_str()).collect::<BTreeSet<_>>(),
            "stream_ids": named.iter().map(|one| one.id).collect::<Vec<_>>(),
        }),
    };
    raise(connection, raised, now).await
}
