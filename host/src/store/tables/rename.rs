//! Tables that get another name, or go.

use super::create;
use super::ddl::{alone, move_layout, must_stand};
use super::dialect::quoted;
use crate::rows::TableSpec;
use crate::store::{Connection, Database, Dialect, Error, query, query_scalar};

/// Entries of the feed that one statement deletes.
const SLICE: i64 = 1_000;

/// Renames a table with its indexes, its entries in the change feed and its brackets. One that was
/// renamed before stays. Until [`forget_rename`] nobody makes one of the old name.
pub async fn rename_table(
    conn: &mut Connection,
    old: &TableSpec,
    new: &TableSpec,
) -> Result<(), Error> {
    alone(conn).await?;
    let (from, to) = (&old.table_name, &new.table_name);
    if renamed(conn, from).await?.as_ref() == Some(to) {
        return Ok(());
    }
    query("delete from rowgate_renames where old_name = $1").bind(to).execute(&mut *conn).await?;
    let sql = format!("alter table {} rename to {}", quoted(from), quoted(to));
    query(sql).execute(&mut *conn).await?;
    for (index, renamed) in old.indexes.iter().zip(&new.indexes) {
        let name = quoted(&index.name);
        let sql = match conn.dialect() {
            // It is made again below.
            Dialect::Sqlite => format!("drop index if exists {name}"),
            Dialect::Postgres => {
                format!("alter index if exists {name} rename to {}", quoted(&renamed.name))
            }
        };
        query(sql).execute(&mut *conn).await?;
    }
    create(conn, new).await?;
    for table in ["rowgate_feed", "rowgate_brackets"] {
        let sql = format!("update {table} set table_name = $1 where table_name = $2");
        query(sql).bind(to).bind(from).execute(&mut *conn).await?;
    }
    query("insert into rowgate_renames (old_name, new_name) values ($1, $2)")
        .bind(from)
        .bind(to)
        .execute(&mut *conn)
        .await?;
    move_layout(conn).await?;
    Ok(())
}

/// The control database knows the new name: who reads it from now on doesn't find the old one, and who has
/// read it before is told by the layout.
pub async fn forget_rename(conn: &mut Connection, old_name: &str) -> Result<(), Error> {
    alone(conn).await?;
    let gone = query("delete from rowgate_renames where old_name = $1").bind(old_name);
    if gone.execute(&mut *conn).await?.rows_affected() > 0 {
        move_layout(conn).await?;
    }
    Ok(())
}

/// What a table is called now, if it was renamed.
pub(super) async fn renamed(conn: &mut Connection, name: &str) -> sqlx::Result<Option<String>> {
    let sql = "select new_name from rowgate_renames where old_name = $1";
    query_scalar(sql).bind(name).fetch_optional(conn).await
}

/// Takes a slice of the entries of a table that is about to go out of the change feed: there may be more
/// than one statement gets through in its time; false: it was the last. Of what comes meanwhile
/// [`drop_table`] takes care.
pub async fn forget_changes(database: &Database, table_name: &str) -> Result<bool, Error> {
    let slice = query(
        "delete from rowgate_feed where table_name = $1 and pk in (
           select pk from rowgate_feed where table_name = $1 limit $2)",
    );
    let gone = database.execute(slice.bind(table_name.to_owned()).bind(SLICE)).await?;
    Ok(gone.rows_affected() >= SLICE.unsigned_abs())
}

/// Drops tables. `layout` was read before it was sure that their names are theirs.
///
/// # Errors
/// [`Error::Superseded`]: tables were renamed or dropped since, others may be called so.
pub async fn drop_all(database: &Database, names: Vec<String>, layout: i64) -> Result<(), Error> {
    let dropped = database.write(move |connection| {
        Box::pin(async move {
            alone(connection).await?;
            must_stand(connection, layout).await?;
            // Who has read one of the names before doesn't make the table again.
            move_layout(connection).await?;
            for name in &names {
                drop_table(connection, name).await?;
            }
            Ok(())
        })
    });
    dropped.await
}

/// Drops a table with its entries in the change feed and its brackets; also one that it is being renamed to.
/// Under [`alone`].
async fn drop_table(conn: &mut Connection, table_name: &str) -> Result<(), Error> {
    let renamed = renamed(conn, table_name).await?;
    for name in renamed.iter().map(String::as_str).chain([table_name]) {
        query(format!("drop table if exists {}", quoted(name))).execute(&mut *conn).await?;
        query(
            "delete from rowgate_bracket_keys
             where bracket_id in (select id from rowgate_brackets where table_name = $1)",
        )
        .bind(name)
        .execute(&mut *conn)
        .await?;
        for table in ["rowgate_feed", "rowgate_brackets"] {
            let sql = format!("delete from {table} where table_name = $1");
            query(sql).bind(name).execute(&mut *conn).await?;
        }
    }
    query("delete from rowgate_renames where old_name = $1 or new_name = $1")
        .bind(table_name)
        .execute(conn)
        .await?;
    Ok(())
}
