//! One row with the buffered writes of a call on top: what a `lookup` answers before anything is
//! committed. Follows the same rules as the SQL of `store::tables`, one row at a time.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::batch::{key_text, no_owner, push_part};
use super::condition::order;
use super::reader::Reader;
use super::{Rejected, Role, Rows, TableSpec, Test, Value};
use super::{assignments, check, scope_key, tests};
use crate::model::{Existing, Scalar, Unseen, Write};

/// One row of a table, by its key.
#[derive(Debug)]
pub struct Overlay<'s> {
    spec: &'s TableSpec,
    owner: Option<&'s str>,
    key: Vec<Value<'s>>,
    row: Option<Vec<Value<'static>>>,
    brackets: BTreeMap<String, Bracketed>,
    /// As [`super::timestamp_text`] writes it.
    stale_before: Option<String>,
}

/// An open full listing, as far as the row is concerned.
#[derive(Debug)]
pub struct Bracketed {
    /// Its scope.
    pub scope: Vec<Test<'static>>,
    /// The row's key was presented since it began; only where it ends is that asked for.
    pub seen: bool,
}

impl<'s> Overlay<'s> {
    /// Looks at the row of an owner with this natural key (manifest order, no owner column).
    pub fn new(
        spec: &'s TableSpec,
        owner: Option<&'s str>,
        key: &'s [Scalar],
    ) -> Result<Self, Rejected> {
        check::check_lookup(spec, key, &[])?;
        if spec.owner.is_some() && owner.is_none() {
            return Err(no_owner(spec));
        }
        let key = check::key_values(spec, key)?;
        Ok(Self { spec, owner, key, row: None, brackets: BTreeMap::new(), stale_before: None })
    }

    /// The value of the row's unique key.
    pub fn unique_key(&self) -> Value<'static> {
        self.part(self.spec.unique_key).into_owned()
    }

    fn part(&self, column: usize) -> Value<'_> {
        match &self.spec.columns[column].role {
            Role::Owner => self.owner.map_or(Value::Null, |owner| Value::Text(owner.into())),
            Role::Computed(parts) => {
                let mut text = String::new();
                for (at, part) in parts.iter().enumerate() {
                    push_part(&key_text(&self.part(*part)), at + 1 == parts.len(), &mut text);
                }
                Value::Text(Cow::Owned(text))
            }
            _ => {
                let at = self.spec.key.iter().position(|key| *key == column);
                at.map_or(Value::Null, |at| self.key[at].by_ref())
            }
        }
    }

    /// Puts the committed row, one value for each column of the table, the open brackets, and since when
    /// a row must have been stale for them to pass over it.
    pub fn begin(
        &mut self,
        row: Option<Vec<Value<'static>>>,
        brackets: BTreeMap<String, Bracketed>,
        stale_before: Option<String>,
    ) {
        self.row = row;
        self.brackets = brackets;
        self.stale_before = stale_before;
    }

    /// The row as it stands.
    pub fn row(&self) -> Option<&[Value<'static>]> {
        self.row.as_deref()
    }

    /// Applies a buffered write of this table.
    pub fn apply(&mut self, write: &Write) -> Result<(), Rejected> {
        match write {
            Write::Upsert(batch) | Write::Patch(batch) => {
                let readers = check::readers(self.spec, batch, usize::MAX)?;
                let rows = self.matching(&readers, batch.rows)?;
                let rows = Rows::select(self.spec, &readers, self.owner, &rows)?;
                for row in 0..rows.rows {
                    self.present(&rows, row, matches!(write, Write::Patch(_)));
                }
            }
            Write::Update { set, conditions, .. } => {
                let (set, tests) = (assignments(self.spec, set)?, tests(self.spec, conditions)?);
                if self.meets(&tests) {
                    self.set(set);
                }
            }
            Write::Delete { conditions, .. } => {
                if self.meets(&tests(self.spec, conditions)?) {
                    self.row = None;
                }
            }
            Write::BeginFull { scope, .. } => {
                let scope = tests(self.spec, scope)?;
                let key = scope_key(self.spec, &scope);
                let scope = scope.into_iter().map(owned).collect();
                self.brackets.insert(key, Bracketed { scope, seen: false });
            }
            Write::EndFull { scope, unseen, .. } => {
                let scope = tests(self.spec, scope)?;
                let bracket = self.brackets.remove(&scope_key(self.spec, &scope));
                if bracket.is_none_or(|bracket| bracket.seen) || !self.meets(&scope) {
                    return Ok(());
                }
                match unseen {
                    Unseen::Delete => self.row = None,
                    Unseen::Set(set) => self.set(assignments(self.spec, set)?),
                }
            }
        }
        Ok(())
    }

    /// Rows of a batch with the overlay's key.
    fn matching(&self, readers: &[Reader<'_>], rows: usize) -> Result<Vec<usize>, Rejected> {
        let mut matching: Vec<usize> = (0..rows).collect();
        for (position, key) in self.spec.key.iter().zip(&self.key) {
            let Some(reader) = readers.iter().find(|reader| reader.position == *position) else {
                return Ok(Vec::new());
            };
            let mut kept = Vec::new();
            for row in matching {
                if reader.value(row)? == *key {
                    kept.push(row);
                }
            }
            matching = kept;
        }
        Ok(matching)
    }

    fn passes_over(&self, rows: &Rows<'_>, row: usize) -> bool {
        let Some(before) = &self.stale_before else { return false };
        let in_scope = |open: &Bracketed| rows.in_scope(self.spec, &open.scope, row);
        rows.is_long_stale(self.spec, before, row) && self.brackets.values().any(in_scope)
    }

    fn present(&mut self, rows: &Rows<'_>, row: usize, patch: bool) {
        if !patch && self.passes_over(rows, row) {
            return;
        }
        for bracket in self.brackets.values_mut() {
            bracket.seen |= rows.in_scope(self.spec, &bracket.scope, row);
        }
        let insert = self.row.is_none();
        if insert && patch {
            return;
        }
        let old = self.row.get_or_insert_with(|| {
            let empty = |role: &Role| match role {
                Role::Data => Value::Text(Cow::Borrowed("{}")),
                _ => Value::Null,
            };
            self.spec.columns.iter().map(|column| empty(&column.role)).collect()
        });
        let newer = rows.columns.iter().find(|presented| Some(presented.column) == self.spec.newer);
        if newer.is_some_and(|newer| is_older(newer.cell(row), &old[newer.column])) {
            return;
        }
        for presented in &rows.columns {
            let column = &self.spec.columns[presented.column];
            let value = presented.cell(row);
            let existing = match (insert, &column.role) {
                (false, Role::Guest | Role::Data) => presented.existing,
                (false, _) => Existing::Keep,
                // What an insert leaves out is null, and `data` is never null.
                (true, Role::Data) => Existing::Merge,
                (true, _) => Existing::Replace,
            };
            let old = &mut old[presented.column];
            match existing {
                Existing::Merge if value.is_null() => {}
                Existing::Keep if !old.is_null() => {}
                _ => *old = value.by_ref().into_owned(),
            }
        }
    }

    fn meets(&self, tests: &[Test<'_>]) -> bool {
        let Some(row) = &self.row else { return false };
        tests.iter().all(|test| test.holds(&row[test.column]))
    }

    fn set(&mut self, set: Vec<(usize, Value<'_>)>) {
        let Some(row) = &mut self.row else { return };
        let newer = set.iter().find(|(column, _)| Some(*column) == self.spec.newer);
        if newer.is_some_and(|(column, value)| is_older(value, &row[*column])) {
            return;
        }
        for (column, value) in set {
            row[column] = value.into_owned();
        }
    }
}

/// Strictly older; null is neither older nor newer.
fn is_older(new: &Value<'_>, old: &Value<'_>) -> bool {
    order(new, old) == Some(Ordering::Less)
}

fn owned(test: Test<'_>) -> Test<'static> {
    Test { column: test.column, op: test.op, value: test.value.into_owned() }
}
