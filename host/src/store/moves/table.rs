//! One table of a replication database, as catalogues have it, and its rows in slices by its primary key.

use std::collections::BTreeMap;

use rowgate_manifest::ColumnType;

use super::Hold;
use crate::rows::Value;
use crate::store::tables::{array, array_type, columns, quoted, value};
use crate::store::{Argument, Connection, Database, Dialect, Error, query, query_scalar};

/// Rows that one statement counts.
const COUNTED: i64 = 20_000;

/// A table that both databases have: the columns that are copied.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<Column>,
    /// Of its primary key, in order.
    key: Vec<(String, ColumnType)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    name: String,
    /// What it is called where it is read.
    from: String,
    kind: ColumnType,
}

/// Rows that follow each other.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) rows: Vec<Vec<Value<'static>>>,
    /// The key of the last one.
    pub(super) last: Option<Vec<String>>,
    pub(super) bytes: usize,
}

/// Names of the tables that the database's path leads to.
pub(super) async fn names(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let sql = match connection.dialect() {
        Dialect::Sqlite => "select name from sqlite_master where type = 'table' order by name",
        Dialect::Postgres => {
            "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind = 'r' and n.nspname = any (current_schemas(false)) order by 1"
        }
    };
    Ok(query_scalar(sql).fetch_all(connection).await?)
}

/// Columns of a table, as far as we know their types.
pub(super) async fn kinds(
    connection: &mut Connection,
    name: &str,
) -> Result<BTreeMap<String, ColumnType>, Error> {
    let dialect = connection.dialect();
    let columns = columns(connection, name).await?;
    let known = columns.into_iter().filter_map(|(name, kind)| Some((name, dialect.kind(&kind)?)));
    Ok(known.collect())
}

async fn key(connection: &mut Connection, name: &str) -> Result<Vec<String>, Error> {
    let sql = match connection.dialect() {
        Dialect::Sqlite => "select name from pragma_table_info($1) where pk > 0 order by pk",
        Dialect::Postgres => {
            "select a.attname::text from pg_index i
               cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, nth)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where i.indrelid = to_regclass(quote_ident($1)) and i.indisprimary order by k.nth"
        }
    };
    Ok(query_scalar(sql).bind(name).fetch_all(connection).await?)
}

impl Table {
    /// What of a table can go from one database to the other. None: one of them hasn't got it.
    pub(super) async fn of_both(
        source: &mut Connection,
        destination: &mut Connection,
        name: &str,
    ) -> Result<Option<Self>, Error> {
        let from = kinds(source, name).await?;
        let to = kinds(destination, name).await?;
        if from.is_empty() || to.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for (column, kind) in &to {
            let from_column = match column.as_str() {
                // One writer a file: there a commit's id is its number.
                "number" if name == "rowgate_commits" && !from.contains_key(column) => "id",
                other => other,
            };
            match from.get(from_column) {
                Some(known) if known == kind => columns.push(Column {
                    name: column.clone(),
                    from: from_column.to_owned(),
                    kind: *kind,
                }),
                Some(known) => {
                    return Err(Error::Inconsistent(format!(
                        "{name}: {column} is {known:?} here and {kind:?} there"
                    )));
                }
                None => {}
            }
        }
        let key = key(source, name).await?;
        let key: Option<Vec<_>> = (key.into_iter())
            .map(|column| from.get(&column).map(|kind| (column.clone(), *kind)))
            .collect();
        let key = key.filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| Error::Inconsistent(format!("{name} has no primary key")))?;
        Ok(Some(Self { name: name.to_owned(), columns, key }))
    }

    /// The rows behind a key, as many as that.
    pub(super) async fn read(
        &self,
        source: &Database,
        after: Option<&[String]>,
        limit: i64,
    ) -> Result<Slice, Error> {
        let dialect = source.dialect();
        let columns = self.columns.iter().map(|column| {
            let value = dialect.as_value(&quoted(&column.from), column.kind);
            format!("{value} as {}", quoted(&column.name))
        });
        let columns: Vec<String> = columns.collect();
        let keys = self.key_as_text();
        let what = format!("{}, {keys}", columns.join(", "));
        let (sql, key) = (self.behind(&what, after.is_some()), self.bound(after)?);
        let statement = query(format!("{sql} limit ${}", key.len() + 1)).bind_all(key);
        let rows = statement.bind(limit).fetch_all(source.readers()).await?;
        let mut slice = Slice::default();
        for row in &rows {
            let values = self.columns.iter().map(|column| value(row, &column.name, column.kind));
            let values: Vec<Value<'static>> = values.collect();
            slice.bytes += values.iter().map(size).sum::<usize>();
            slice.rows.push(values);
        }
        let last = rows.last();
        slice.last = last.map(|row| (0..self.key.len()).map(|at| row.get(&key_name(at))).collect());
        Ok(slice)
    }

    /// Writes rows that aren't there yet.
    pub(super) async fn write(
        &self,
        connection: &mut Connection,
        rows: &[Vec<Value<'static>>],
    ) -> Result<(), Error> {
        let arrays = self.columns.iter().enumerate();
        let arrays = arrays.map(|(at, column)| array(rows.iter().map(|row| &row[at]), column.kind));
        let written = query(self.insert()).bind_all(arrays.collect()).execute(connection).await?;
        match usize::try_from(written.rows_affected()) == Ok(rows.len()) {
            true => Ok(()),
            false => Err(Error::Inconsistent(format!("{}: not all rows were taken", self.name))),
        }
    }

    /// How many rows there are, in slices.
    pub(super) async fn count(&self, database: &Database, hold: &Hold<'_>) -> Result<i64, Error> {
        let (mut after, mut counted) = (None::<Vec<String>>, 0);
        loop {
            hold.renew().await?;
            let boundary = self.behind(&self.key_as_text(), after.is_some());
            let key = self.bound(after.as_deref())?;
            let boundary = query(format!("{boundary} limit 1 offset ${}", key.len() + 1));
            let boundary = boundary.bind_all(key.clone()).bind(COUNTED - 1);
            let Some(row) = boundary.fetch_optional(database.readers()).await? else {
                let rest = self.condition(after.is_some());
                let rest = format!("select count(*) from {}{rest}", quoted(&self.name));
                let rest = query_scalar::<i64>(rest).bind_all(key);
                return Ok(counted + rest.fetch_one(database.readers()).await?);
            };
            counted += COUNTED;
            after = Some((0..self.key.len()).map(|at| row.get(&key_name(at))).collect());
        }
    }

    fn key_as_text(&self) -> String {
        let parts = self.key.iter().enumerate();
        let parts = parts
            .map(|(at, (name, _))| format!("cast({} as text) as {}", quoted(name), key_name(at)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// In the order of the key, behind one if there is any.
    fn behind(&self, what: &str, after: bool) -> String {
        let (table, condition) = (quoted(&self.name), self.condition(after));
        format!("select {what} from {table}{condition} order by {}", self.key_list())
    }

    fn condition(&self, after: bool) -> String {
        if !after {
            return String::new();
        }
        let numbers: Vec<String> =
            (1..=self.key.len()).map(|number| format!("${number}")).collect();
        format!(" where ({}) > ({})", self.key_list(), numbers.join(", "))
    }

    /// A key as arguments of the columns' own types: with a cast around one, SQLite would look for the
    /// first column only.
    fn bound(&self, after: Option<&[String]>) -> Result<Vec<Argument<'static>>, Error> {
        let parts = after.into_iter().flatten().zip(&self.key);
        let bound = parts.map(|(part, (_, kind))| match kind {
            ColumnType::Int => {
                let number = part.parse::<i64>();
                let broken = |_| Error::Inconsistent(format!("{}: no key: {part}", self.name));
                number.map(Argument::from).map_err(broken)
            }
            _ => Ok(Argument::from(part.clone())),
        });
        bound.collect()
    }

    fn key_list(&self) -> String {
        let names: Vec<String> = self.key.iter().map(|(name, _)| quoted(name)).collect();
        names.join(", ")
    }

    /// Towards PostgreSQL: a column of values is one argument.
    fn insert(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        let values = self.columns.iter().map(|column| {
            format!("{}{}", quoted(&column.name), Dialect::Postgres.cast(column.kind))
        });
        let arrays = self.columns.iter().enumerate();
        let arrays = arrays.map(|(at, column)| format!("${}::{}", at + 1, array_type(column.kind)));
        let names = names.join(", ");
        format!(
            "insert into {} ({names}) overriding system value
             select {} from unnest({}) as page ({names})",
            quoted(&self.name),
            values.collect::<Vec<_>>().join(", "),
            arrays.collect::<Vec<_>>().join(", "),
        )
    }
}

/// What a part of a key is called in an answer.
fn key_name(at: usize) -> String {
    format!("rowgate_key_{at}")
}

fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_go_by_the_primary_key() {
        let table = Table {
            name: "rowgate_feed".into(),
            columns: vec![Column {
                name: "number".into(),
                from: "id".into(),
                kind: ColumnType::Int,
            }],
            key: vec![("table_name".into(), ColumnType::Text), ("pk".into(), ColumnType::Int)],
        };
        assert_eq!(
            table.behind("1", true),
            "select 1 from \"rowgate_feed\" where (\"table_name\", \"pk\") > ($1, $2) \
             order by \"table_name\", \"pk\""
        );
        assert_eq!(
            table.behind("1", false),
            "select 1 from \"rowgate_feed\" order by \"table_name\", \"pk\""
        );
        let key = ["t".to_owned(), "7".to_owned()];
        assert_eq!(table.bound(Some(&key)).unwrap(), [Argument::from("t"), Argument::from(7_i64)]);
        assert_eq!(
            table.insert().split_whitespace().collect::<Vec<_>>().join(" "),
            "insert into \"rowgate_feed\" (\"number\") overriding system value select \"number\" \
             from unnest($1::bigint[]) as page (\"number\")"
        );
    }
}
