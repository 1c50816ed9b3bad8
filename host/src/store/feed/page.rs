//! One page: of changes, or of a copy. One statement each, so feed and rows are of one moment.

use super::{Bookmark, Change, CopyPart, Head, Page, PageLimits, Position};
use crate::rows::{TableSpec, Value};
use crate::store::tables::{key_text, literal, quoted, select_list, values};
use crate::store::{Database, Dialect, Error, query};

/// Where a copy stands.
pub(super) struct Copying<'a> {
    pub(super) epoch: &'a str,
    pub(super) number: i64,
    pub(super) id: &'a str,
    pub(super) after_pk: Option<i64>,
}

/// The next rows of a copy, by their numbers: a row that changes meanwhile comes again in the feed.
pub(super) async fn copied(
    database: &Database,
    spec: &TableSpec,
    copying: &Copying<'_>,
    limits: PageLimits,
) -> Result<Page, Error> {
    let sql = format!(
        "select {}, {} as rowgate_key from {} as live where live.pk > $1 order by live.pk limit $2",
        select_list(database.dialect(), spec, "live."),
        key_text(spec, "live."),
        quoted(&spec.table_name),
    );
    let rows = query(sql)
        .bind(copying.after_pk.unwrap_or(i64::MIN))
        .bind(integer(limits.rows))
        .fetch_all(database.readers())
        .await?;
    let changes = rows.iter().map(|row| {
        let pk = row.get("pk");
        let after = Bookmark::Copying {
            epoch: copying.epoch.to_owned(),
            number: copying.number,
            id: copying.id.to_owned(),
            after_pk: Some(pk),
        };
        Change { pk, key: row.get("rowgate_key"), row: Some(values(row, spec)), after }
    });
    let (changes, more) = cut(changes, limits);
    let end = match changes.last() {
        Some(last) if more => last.after.clone(),
        _ => Bookmark::behind(copying.epoch, copying.number),
    };
    let (id, after_pk) = (copying.id.to_owned(), copying.after_pk);
    // Behind a copy the feed goes on with what changed meanwhile.
    Ok(Page { changes, copy: Some(CopyPart { id, after_pk, last: !more }), end, more: true })
}

/// The next changes of the feed.
pub(super) async fn changed(
    database: &Database,
    spec: &TableSpec,
    epoch: &str,
    position: &Position,
    head: &Head,
    limits: PageLimits,
) -> Result<Page, Error> {
    let sql = changed_sql(database.dialect(), spec, position.within.is_some());
    let mut statement = query(sql).bind(integer(limits.rows)).bind(position.number);
    if let Some((deleted, pk)) = position.within {
        statement = statement.bind(deleted).bind(pk);
    }
    let rows = statement.fetch_all(database.readers()).await?;
    let last = rows.last().map_or(0, |row| row.get("rowgate_number"));
    let changes = rows.iter().map(|row| {
        let (pk, deleted): (i64, bool) = (row.get("rowgate_pk"), row.get("rowgate_deleted"));
        let live = row.get::<Option<i64>>("pk").is_some();
        let position = Position { number: row.get("rowgate_number"), within: Some((deleted, pk)) };
        Change {
            pk,
            key: row.get("rowgate_key"),
            row: live.then(|| values(row, spec)),
            after: Bookmark::At { epoch: epoch.to_owned(), position },
        }
    });
    let (changes, more) = cut(changes, limits);
    let end = match changes.last() {
        Some(last) if more => last.after.clone(),
        // All that was visible was read: also what got its number after the head was looked at.
        _ => Bookmark::behind(epoch, head.number.max(last)),
    };
    Ok(Page { changes, copy: None, end, more })
}

/// Arguments: rows, number; `within`: also whether it was a deletion, and its pk.
pub(super) fn changed_sql(dialect: Dialect, spec: &TableSpec, within: bool) -> String {
    let (number, feed) = match dialect {
        // Else it takes the primary key, and sorts all changes of the table.
        Dialect::Sqlite => ("feed.commit_id", "rowgate_feed as feed indexed by rowgate_feed_order"),
        Dialect::Postgres => (
            "one.number",
            "rowgate_commits as one join rowgate_feed as feed on feed.commit_id = one.id",
        ),
    };
    let behind = match within {
        false => format!("{number} > $2"),
        true => format!(
            "{number} >= $2 and ({number} > $2 or feed.deleted < $3 \
             or feed.deleted = $3 and feed.pk > $4)"
        ),
    };
    format!(
        "with page as (
           select feed.pk as rowgate_pk, feed.unique_key, feed.deleted as rowgate_deleted, {number} as rowgate_number
           from {feed} where feed.table_name = {table_name} and {behind}
           order by {number}, feed.deleted desc, feed.pk limit $1
         )
         select page.rowgate_pk, page.rowgate_deleted, page.rowgate_number,
           coalesce(page.unique_key, {key}) as rowgate_key, {columns}
         from page left join {table} as live on live.pk = page.rowgate_pk
         order by rowgate_number, rowgate_deleted desc, rowgate_pk",
        table_name = literal(&spec.table_name),
        columns = select_list(dialect, spec, "live."),
        table = quoted(&spec.table_name),
        key = key_text(spec, "live."),
    )
}

/// As many as fit, and whether more may follow.
fn cut(changes: impl Iterator<Item = Change>, limits: PageLimits) -> (Vec<Change>, bool) {
    let (mut kept, mut bytes) = (Vec::new(), 0_usize);
    for change in changes {
        bytes = bytes.saturating_add(size(&change));
        if bytes > limits.bytes && !kept.is_empty() {
            return (kept, true);
        }
        kept.push(change);
    }
    let more = kept.len() >= limits.rows;
    (kept, more)
}

fn size(change: &Change) -> usize {
    let values = change.row.iter().flatten().map(|value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    });
    change.key.len() + values.sum::<usize>()
}

fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
