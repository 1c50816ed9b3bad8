//! Streams that follow from rows: a `per_row` kind has one stream for each row of its parent's
//! table. Both are of one owner, so the two sets are compared whole: few rows, and nothing that
//! changed them can be missed.

use rowgate_manifest::StreamKind;
use serde_json::Value;

use super::step::SLICE;
use super::{Message, TreeTables, apply_error, key, prepare, row_error};
use crate::model::{Condition, Op, OwnerId, Scalar, StreamId, Write};
use crate::rows::TableSpec;
use crate::store::tables::{self, ApplyScope, quoted};
use crate::store::{Connection, Error, query};

/// Brings the streams under `parents` (services whose rows changed) in line with the rows.
pub(super) async fn streams(
    connection: &mut Connection,
    scope: &ApplyScope,
    tree: &TreeTables,
    parents: &[&str],
    message: &mut Message,
) -> Result<(), Error> {
    let services = tree.manifest.services.keys().filter(|name| tree.tables.contains_key(*name));
    for service in services {
        for (name, kind) in tree.manifest.streams(service) {
            let parent = kind.per_row.table.as_str();
            let Some(spec) = tree.tables.get(parent).filter(|_| parents.contains(&parent)) else {
                continue;
            };
            let wanted = wanted(connection, scope, spec, kind).await?;
            let have = have(connection, scope.owner_id, service, name).await?;
            let stream = |key: &String| StreamId {
                service: service.clone(),
                kind: name.to_owned(),
                key: key.clone(),
            };
            for gone in have.iter().filter(|key| !wanted.contains(key)).map(stream) {
                end(connection, scope.owner_id, tree, &gone).await?;
                settle_rows(connection, scope, tree, kind, &gone).await?;
                message.removed.push(key(&gone));
            }
            for new in wanted.iter().filter(|key| !have.contains(key)).map(stream) {
                begin(connection, scope.owner_id, &new).await?;
                message.added.push((key(&new), kind.page_limit));
            }
        }
    }
    Ok(())
}

/// Ends a stream: cursor and bracket go, so that a run in flight can't commit any more.
pub(super) async fn end(
    connection: &mut Connection,
    owner_id: OwnerId,
    tree: &TreeTables,
    stream: &StreamId,
) -> Result<(), Error> {
    query(
        "delete from rowgate_cursors
         where owner_id = $1 and service = $2 and kind = $3 and key = $4",
    )
    .bind(owner_id)
    .bind(&stream.service)
    .bind(&stream.kind)
    .bind(&stream.key)
    .execute(&mut *connection)
    .await?;
    drop_brackets(connection, owner_id, tree, stream).await
}

/// Drops the full listing that a stream has open.
pub(super) async fn drop_brackets(
    connection: &mut Connection,
    owner_id: OwnerId,
    tree: &TreeTables,
    stream: &StreamId,
) -> Result<(), Error> {
    let kind = tree.manifest.streams(&stream.service).find(|(name, _)| *name == stream.kind);
    let (Some((_, kind)), Some(spec)) = (kind, tree.tables.get(&stream.service)) else {
        return Ok(());
    };
    let rows = rows_of(kind, stream);
    tables::drop_brackets(connection, owner_id, spec, Some(&rows)).await.map_err(apply_error)
}

async fn begin(
    connection: &mut Connection,
    owner_id: OwnerId,
    stream: &StreamId,
) -> Result<(), Error> {
    query(
        "insert into rowgate_cursors (owner_id, service, kind, key, version)
         values ($1, $2, $3, $4, 1)",
    )
    .bind(owner_id)
    .bind(&stream.service)
    .bind(&stream.kind)
    .bind(&stream.key)
    .execute(connection)
    .await
    .map(drop)
    .map_err(row_error)
}

/// What the manifest says becomes of the rows of a stream whose parent row left.
async fn settle_rows(
    connection: &mut Connection,
    scope: &ApplyScope,
    tree: &TreeTables,
    kind: &StreamKind,
    stream: &StreamId,
) -> Result<(), Error> {
    let Some(removed) = &kind.removed else { return Ok(()) };
    let set = removed.set.iter().map(|(column, value)| (column.clone(), scalar(value))).collect();
    let update =
        Write::Update { table: stream.service.clone(), set, conditions: rows_of(kind, stream) };
    let update = prepare(scope.external_owner_id.as_deref(), tree, &update)?;
    tables::apply(connection, scope, update.as_slice(), SLICE).await.map(drop).map_err(apply_error)
}

/// The rows that are a stream's, as conditions.
fn rows_of(kind: &StreamKind, stream: &StreamId) -> Vec<Condition> {
    let condition = |(column, value): (&String, &String)| Condition {
        column: column.clone(),
        op: Op::Equal,
        value: Scalar::Text(value.replace("{key}", &stream.key)),
    };
    kind.rows.iter().map(condition).collect()
}

/// Keys that the parent's rows ask streams for.
async fn wanted(
    connection: &mut Connection,
    scope: &ApplyScope,
    parent: &TableSpec,
    kind: &StreamKind,
) -> Result<Vec<String>, Error> {
    let key = kind.per_row.key.as_deref().map_or("''".to_owned(), quoted);
    let owner = match parent.owner {
        Some(owner) => format!("{} = $1", quoted(&parent.columns[owner].name)),
        None => "$1 is not null".to_owned(),
    };
    let mut sql = format!(
        "select cast({key} as text) as key from {} where {owner}",
        quoted(&parent.table_name)
    );
    for (at, column) in kind.per_row.unless.keys().enumerate() {
        sql.push_str(&format!(" and {} is distinct from ${}", quoted(column), at + 2));
    }
    let mut select = query(sql).bind(&scope.external_owner_id);
    for value in kind.per_row.unless.values() {
        select = match value {
            Value::Bool(flag) => select.bind(*flag),
            Value::Number(number) => select.bind(number.as_i64()),
            Value::String(text) => select.bind(text),
            _ => select.bind(None::<String>),
        };
    }
    let rows = select.fetch_all(connection).await?;
    Ok(rows.iter().filter_map(|row| row.get::<Option<String>>("key")).collect())
}

/// Keys of the streams that there are.
async fn have(
    connection: &mut Connection,
    owner_id: OwnerId,
    service: &str,
    kind: &str,
) -> Result<Vec<String>, Error> {
    let rows =
        query("select key from rowgate_cursors where owner_id = $1 and service = $2 and kind = $3")
            .bind(owner_id)
            .bind(service)
            .bind(kind)
            .fetch_all(connection)
            .await?;
    Ok(rows.iter().map(|row| row.get("key")).collect())
}

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(flag) => Scalar::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Scalar::Integer(whole),
            None => Scalar::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Scalar::Text(text.clone()),
        nested => Scalar::Json(nested.to_string()),
    }
}
