//! Full listings in progress (R8): which keys were presented since each began.

use std::collections::BTreeMap;

use super::query::Query;
use super::{ApplyError, ApplyScope};
use crate::model::{Condition, OwnerId};
use crate::rows::json::push_string;
use crate::rows::{
    Bracketed, Rejected, Rows, TableSpec, Test, Value, parse_scope, scope_key, tests,
    timestamp_text,
};
use crate::store::{Connection, Dialect, query, query_as, query_scalar};

/// Brackets that one call may begin; their ids are numbered within the commit's.
const BEGUN_MAX: i64 = 256;

/// The owner's open brackets, with the keys that this call presented.
pub(super) struct OpenBrackets {
    open: Vec<Open>,
    begun: i64,
}

struct Open {
    id: i64,
    table_name: String,
    scope_key: String,
    scope: Vec<Test<'static>>,
    /// JSON array of keys without its brackets.
    keys: String,
}

impl OpenBrackets {
    /// Loads those of the tables that the call writes. One of another mapping version is dropped.
    pub(super) async fn load<'s>(
        conn: &mut Connection,
        scope: &ApplyScope,
        specs: impl Iterator<Item = &'s TableSpec>,
    ) -> Result<Self, ApplyError> {
        let mut specs: Vec<&TableSpec> = specs.collect();
        specs.sort_by(|a, b| a.table_name.cmp(&b.table_name));
        specs.dedup_by(|a, b| a.table_name == b.table_name);
        let mut open = Vec::new();
        for spec in specs {
            for (id, text, mapping_version) in
                stored(conn, scope.owner_id, &spec.table_name).await?
            {
                match parse_scope(spec, &text) {
                    Some(tests) if mapping_version == scope.mapping_version => open.push(Open {
                        id,
                        table_name: spec.table_name.clone(),
                        scope_key: text,
                        scope: tests,
                        keys: String::new(),
                    }),
                    _ => delete(conn, id).await?,
                }
            }
        }
        Ok(Self { open, begun: 0 })
    }

    /// Which rows are in scope and have been stale for so long that they are deleted, or will be; ascending.
    /// To the listing they aren't there: each would bring them back.
    pub(super) fn passed_over(
        &self,
        scope: &ApplyScope,
        spec: &TableSpec,
        rows: &Rows<'_>,
    ) -> Vec<usize> {
        let of_table = |open: &&Open| open.table_name == spec.table_name;
        let open: Vec<&Open> = self.open.iter().filter(of_table).collect();
        let before = scope.stale_before.filter(|_| spec.stale.is_some() && !open.is_empty());
        let Some(before) = before.and_then(timestamp_text) else { return Vec::new() };
        let in_scope = |row| open.iter().any(|open| rows.in_scope(spec, &open.scope, row));
        let passed_over = |row: &usize| rows.is_long_stale(spec, &before, *row) && in_scope(*row);
        (0..rows.rows).filter(passed_over).collect()
    }

    /// Notes the keys of rows in scope, whether they will be written or not, but for those passed over.
    pub(super) fn present(&mut self, spec: &TableSpec, rows: &Rows<'_>, passed_over: &[usize]) {
        for open in self.open.iter_mut().filter(|open| open.table_name == spec.table_name) {
            for row in 0..rows.rows {
                if passed_over.binary_search(&row).is_ok() || !rows.in_scope(spec, &open.scope, row)
                {
                    continue;
                }
                if !open.keys.is_empty() {
                    open.keys.push(',');
                }
                match rows.key(row) {
                    Value::Integer(key) => open.keys.push_str(&key.to_string()),
                    Value::Text(key) => push_string(key, &mut open.keys),
                    _ => {}
                }
            }
        }
    }

    /// Begins a bracket; one that is open with this scope is forgotten.
    pub(super) async fn begin(
        &mut self,
        conn: &mut Connection,
        scope: &ApplyScope,
        spec: &TableSpec,
        tests: &[Test<'_>],
    ) -> Result<(), ApplyError> {
        let scope_key = scope_key(spec, tests);
        if let Some(at) = self.position(spec, &scope_key) {
            delete(conn, self.open.swap_remove(at).id).await?;
        }
        if self.begun == BEGUN_MAX {
            let text = format!("more than {BEGUN_MAX} full listings begun in a call");
            return Err(Rejected::Limit(text).into());
        }
        let id = scope.commit_id * BEGUN_MAX + self.begun;
        self.begun += 1;
        query(
            "insert into rowgate_brackets (owner_id, table_name, scope, id, mapping_version)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(scope.owner_id)
        .bind(&spec.table_name)
        .bind(&scope_key)
        .bind(id)
        .bind(scope.mapping_version)
        .execute(conn)
        .await?;
        let scope = tests.iter().cloned().map(Test::into_owned).collect();
        let table_name = spec.table_name.clone();
        self.open.push(Open { id, table_name, scope_key, scope, keys: String::new() });
        Ok(())
    }

    /// Takes the open bracket with this scope, all its keys stored.
    pub(super) async fn end(
        &mut self,
        conn: &mut Connection,
        scope: &ApplyScope,
        spec: &TableSpec,
        tests: &[Test<'_>],
    ) -> Result<i64, ApplyError> {
        let Some(at) = self.position(spec, &scope_key(spec, tests)) else {
            return Err(ApplyError::NotListed(spec.service.clone()));
        };
        let open = self.open.swap_remove(at);
        open.store(conn, scope).await?;
        Ok(open.id)
    }

    /// Stores what the call presented.
    pub(super) async fn store(self, conn: &mut Connection, scope: &ApplyScope) -> sqlx::Result<()> {
        for open in self.open {
            open.store(conn, scope).await?;
        }
        Ok(())
    }

    fn position(&self, spec: &TableSpec, scope_key: &str) -> Option<usize> {
        let same = |open: &Open| open.table_name == spec.table_name && open.scope_key == scope_key;
        self.open.iter().position(same)
    }
}

impl Open {
    async fn store(&self, conn: &mut Connection, scope: &ApplyScope) -> sqlx::Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        query("insert into rowgate_bracket_keys (bracket_id, commit_no, keys) values ($1, $2, $3)")
            .bind(self.id)
            .bind(scope.commit_id)
            .bind(format!("[{}]", self.keys))
            .execute(conn)
            .await
            .map(drop)
    }
}

/// Abandons the owner's full listings of a table: all, or the one with this scope.
pub async fn drop_brackets(
    conn: &mut Connection,
    owner_id: OwnerId,
    spec: &TableSpec,
    scope: Option<&[Condition]>,
) -> Result<(), ApplyError> {
    let scope = scope.map(|scope| tests(spec, scope)).transpose()?;
    let scope = scope.map(|scope| scope_key(spec, &scope));
    for (id, text, _) in stored(conn, owner_id, &spec.table_name).await? {
        if scope.as_ref().is_none_or(|scope| *scope == text) {
            delete(conn, id).await?;
        }
    }
    Ok(())
}

/// The open brackets, and whether they have seen a key, if one is given. That is looked for in all that they
/// have seen: not to be asked for page by page.
pub(super) async fn open(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    key: Option<&Value<'_>>,
) -> sqlx::Result<BTreeMap<String, Bracketed>> {
    let mut brackets = BTreeMap::new();
    for (id, text, mapping_version) in stored(conn, scope.owner_id, &spec.table_name).await? {
        let Some(tests) = parse_scope(spec, &text) else { continue };
        if mapping_version != scope.mapping_version {
            continue;
        }
        let seen = match key {
            Some(key) => has_seen(conn, id, spec, key).await?,
            None => false,
        };
        brackets.insert(text, Bracketed { scope: tests, seen });
    }
    Ok(brackets)
}

async fn has_seen(
    conn: &mut Connection,
    id: i64,
    spec: &TableSpec,
    key: &Value<'_>,
) -> sqlx::Result<bool> {
    let mut page = Query::new(conn.dialect(), "select page.bracket_id from ");
    page.push("rowgate_bracket_keys as page, ");
    page.push(conn.dialect().bracket_keys());
    page.push(" where page.bracket_id = ");
    page.push_integer(id);
    page.push(" and seen.value = ");
    match (conn.dialect(), key) {
        (Dialect::Postgres, Value::Integer(key)) => page.push_text(key.to_string()),
        _ => page.push_value(key, spec.unique_column().kind),
    }
    page.push(" limit 1");
    Ok(!page.fetch(conn, query_scalar::<i64>).await?.is_empty())
}

/// Id, scope and mapping version of the owner's open brackets of a table.
async fn stored(
    conn: &mut Connection,
    owner_id: OwnerId,
    table_name: &str,
) -> sqlx::Result<Vec<(i64, String, i64)>> {
    query_as(
        "select id, scope, mapping_version from rowgate_brackets
         where owner_id = $1 and table_name = $2 order by scope",
    )
    .bind(owner_id)
    .bind(table_name)
    .fetch_all(conn)
    .await
}

/// Forgets a bracket and its keys.
pub(super) async fn delete(conn: &mut Connection, id: i64) -> sqlx::Result<()> {
    for table in ["rowgate_bracket_keys where bracket_id", "rowgate_brackets where id"] {
        query(format!("delete from {table} = $1")).bind(id).execute(&mut *conn).await?;
    }
    Ok(())
}
