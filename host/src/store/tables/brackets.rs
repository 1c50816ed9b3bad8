//! Full listings in progress (R8): which keys were presented since each began.

use std::collections::BTreeMap;

use sqlx::{Row as _, SqliteConnection};

use super::query::Query;
use super::{ApplyError, ApplyScope};
use crate::model::{Condition, OwnerId};
use crate::rows::json::push_string;
use crate::rows::{
    Bracketed, Rejected, Rows, TableSpec, Test, Value, parse_scope, scope_key, tests,
};

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
        conn: &mut SqliteConnection,
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

    /// Notes the keys of rows in scope, whether they will be written or not.
    pub(super) fn present(&mut self, spec: &TableSpec, rows: &Rows<'_>) {
        for open in self.open.iter_mut().filter(|open| open.table_name == spec.table_name) {
            for row in 0..rows.rows {
                if !rows.in_scope(spec, &open.scope, row) {
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
        conn: &mut SqliteConnection,
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
        let mut query = Query::new(
            "insert into rowgate_brackets (owner_id, table_name, scope, id, mapping_version) \
             values (?, ?, ?, ?, ?)",
        );
        query.bind_integer(scope.owner_id)?;
        query.bind_text(spec.table_name.as_str())?;
        query.bind_text(scope_key.as_str())?;
        query.bind_integer(id)?;
        query.bind_integer(scope.mapping_version)?;
        query.execute(conn).await?;
        let scope =
            tests.iter().map(|test| Test { value: test.value.clone().into_owned(), ..*test });
        let scope = scope.collect();
        let table_name = spec.table_name.clone();
        self.open.push(Open { id, table_name, scope_key, scope, keys: String::new() });
        Ok(())
    }

    /// Takes the open bracket with this scope, all its keys stored.
    pub(super) async fn end(
        &mut self,
        conn: &mut SqliteConnection,
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
    pub(super) async fn store(
        self,
        conn: &mut SqliteConnection,
        scope: &ApplyScope,
    ) -> sqlx::Result<()> {
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
    async fn store(&self, conn: &mut SqliteConnection, scope: &ApplyScope) -> sqlx::Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let mut query = Query::new(
            "insert into rowgate_bracket_keys (bracket_id, commit_no, keys) values (?, ?, ?)",
        );
        query.bind_integer(self.id)?;
        query.bind_integer(scope.commit_id)?;
        query.bind_text(format!("[{}]", self.keys))?;
        query.execute(conn).await.map(drop)
    }
}

/// Abandons the owner's full listings of a table: all, or the one with this scope.
pub async fn drop_brackets(
    conn: &mut SqliteConnection,
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

/// The open brackets as far as one key is concerned.
pub(super) async fn seen(
    conn: &mut SqliteConnection,
    scope: &ApplyScope,
    spec: &TableSpec,
    key: &Value<'_>,
) -> sqlx::Result<BTreeMap<String, Bracketed>> {
    let mut brackets = BTreeMap::new();
    for (id, text, mapping_version) in stored(conn, scope.owner_id, &spec.table_name).await? {
        let Some(tests) = parse_scope(spec, &text) else { continue };
        if mapping_version != scope.mapping_version {
            continue;
        }
        let mut query = Query::new(
            "select 1 from rowgate_bracket_keys as page, json_each(page.keys) as seen \
             where page.bracket_id = ",
        );
        query.push_integer(id)?;
        query.push(" and seen.value = ");
        query.push_value(key)?;
        query.push(" limit 1");
        let seen = !query.fetch(conn).await?.is_empty();
        brackets.insert(text, Bracketed { scope: tests, seen });
    }
    Ok(brackets)
}

/// Id, scope and mapping version of the owner's open brackets of a table.
async fn stored(
    conn: &mut SqliteConnection,
    owner_id: OwnerId,
    table_name: &str,
) -> sqlx::Result<Vec<(i64, String, i64)>> {
    let mut query = Query::new(
        "select id, scope, mapping_version from rowgate_brackets \
         where owner_id = ? and table_name = ? order by scope",
    );
    query.bind_integer(owner_id)?;
    query.bind_text(table_name)?;
    let rows = query.fetch(conn).await?;
    let brackets = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    brackets.collect()
}

/// Forgets a bracket and its keys.
pub(super) async fn delete(conn: &mut SqliteConnection, id: i64) -> sqlx::Result<()> {
    for table in ["rowgate_bracket_keys where bracket_id", "rowgate_brackets where id"] {
        let mut query = Query::new(format!("delete from {table} = "));
        query.push_integer(id)?;
        query.execute(conn).await?;
    }
    Ok(())
}
