//! Tables in memory: what a plugin's writes come to, by the rules of `wit/db.wit`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{Batch, Column, Values, Write};
use crate::Table;
use crate::bindings::rowgate::plugin::db::Utf8;
use crate::db::{Condition, Existing, Op, Scalar, Unseen};

/// One row: column to value; a null is left out.
pub type Record = BTreeMap<String, Scalar>;

/// The tables of one owner.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    tables: BTreeMap<String, OneTable>,
}

#[derive(Clone, Debug, Default)]
struct OneTable {
    key: Vec<String>,
    rows: BTreeMap<String, Record>,
    /// Open full listings: scope, and the keys shown since.
    brackets: Vec<(Vec<Condition>, BTreeSet<String>)>,
}

impl Tables {
    /// No tables: writes are dropped, as for services that nobody configured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the table of a service.
    pub fn with<T: Table>(mut self, service: &str) -> Self {
        let key = T::KEY.iter().map(|&column| column.to_owned()).collect();
        self.tables.insert(service.to_owned(), OneTable { key, ..OneTable::default() });
        self
    }

    /// The rows of a service, in the order of their keys.
    pub fn rows(&self, service: &str) -> Vec<&Record> {
        self.tables.get(service).into_iter().flat_map(|table| table.rows.values()).collect()
    }

    /// Columns of the row with this key.
    pub(super) fn find(
        &self,
        service: &str,
        key: &[Scalar],
        columns: &[String],
    ) -> Option<Vec<Scalar>> {
        let row = self.tables.get(service)?.rows.get(&key_text(key))?;
        let column = |name| row.get(name).cloned().unwrap_or(Scalar::Null);
        Some(columns.iter().map(column).collect())
    }

    /// Applies the writes of a call, as its commit would.
    ///
    /// # Panics
    /// Where the host would refuse: a listing that ends without having begun.
    pub fn commit(&mut self, writes: &[Write]) {
        for write in writes {
            let service = match write {
                Write::Upsert(batch) | Write::Patch(batch) => &batch.table,
                Write::Update { table, .. }
                | Write::Delete { table, .. }
                | Write::BeginFull { table, .. }
                | Write::EndFull { table, .. } => table,
            };
            if let Some(table) = self.tables.get_mut(service) {
                table.apply(write);
            }
        }
    }
}

impl OneTable {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Upsert(batch) => self.put(batch, true),
            Write::Patch(batch) => self.put(batch, false),
            Write::Update { set, conditions, .. } => self.set(conditions, &BTreeSet::new(), set),
            Write::Delete { conditions, .. } => {
                self.rows.retain(|_, row| !conditions.iter().all(|c| holds(c, row)));
            }
            Write::BeginFull { scope, .. } => {
                self.brackets.retain(|(open, _)| open != scope);
                self.brackets.push((scope.clone(), BTreeSet::new()));
            }
            Write::EndFull { scope, unseen, .. } => {
                let at = self.brackets.iter().position(|(open, _)| open == scope);
                let (_, seen) = self.brackets.remove(at.expect("end-full has its begin-full"));
                match unseen {
                    Unseen::Set(set) => self.set(scope, &seen, set),
                    Unseen::Delete => self.rows.retain(|key, row| {
                        seen.contains(key) || !scope.iter().all(|c| holds(c, row))
                    }),
                }
            }
        }
    }

    fn put(&mut self, batch: &Batch, insert: bool) {
        for at in 0..batch.rows as usize {
            let value = |name: &str| {
                let column = batch.columns.iter().find(|column| column.name == name);
                column.map_or(Scalar::Null, |column| cell(column, at))
            };
            let key = key_text(&self.key.iter().map(|name| value(name)).collect::<Vec<_>>());
            for (_, seen) in &mut self.brackets {
                seen.insert(key.clone());
            }
            if !insert && !self.rows.contains_key(&key) {
                continue;
            }
            let row = self.rows.entry(key).or_default();
            for column in &batch.columns {
                let new = cell(column, at);
                let keeps = match column.existing {
                    Existing::Replace => false,
                    Existing::Merge => new == Scalar::Null,
                    Existing::Keep => row.contains_key(&column.name),
                };
                if !keeps {
                    assign(row, &column.name, new);
                }
            }
        }
    }

    fn set(&mut self, conditions: &[Condition], but: &BTreeSet<String>, set: &[(String, Scalar)]) {
        for (key, row) in &mut self.rows {
            if !but.contains(key) && conditions.iter().all(|c| holds(c, row)) {
                for (column, value) in set {
                    assign(row, column, value.clone());
                }
            }
        }
    }
}

fn key_text(key: &[Scalar]) -> String {
    format!("{key:?}")
}

fn assign(row: &mut Record, column: &str, value: Scalar) {
    if value == Scalar::Null {
        row.remove(column);
    } else {
        row.insert(column.to_owned(), value);
    }
}

fn cell(column: &Column, at: usize) -> Scalar {
    let present = column.validity.is_empty() || column.validity[at / 8] >> (at % 8) & 1 == 1;
    if !present {
        return Scalar::Null;
    }
    let bytes =
        |list: &Utf8| list.data[list.offsets[at] as usize..list.offsets[at + 1] as usize].to_vec();
    let text = |list: &Utf8| String::from_utf8(bytes(list)).expect("text columns hold UTF-8");
    match &column.values {
        Values::Boolean(list) => Scalar::Boolean(list[at] == 1),
        Values::Integer(list) => Scalar::Integer(list[at]),
        Values::Double(list) => Scalar::Double(list[at]),
        Values::Date(list) => Scalar::Date(list[at]),
        Values::Timestamp(list) => Scalar::Timestamp(list[at]),
        Values::Decimal(list) => Scalar::Decimal(text(list)),
        Values::Text(list) => Scalar::Text(text(list)),
        Values::Json(list) => Scalar::Json(text(list)),
        Values::Bytes(list) => Scalar::Bytes(bytes(list)),
        Values::Constant(value) => value.clone(),
    }
}

fn holds(condition: &Condition, row: &Record) -> bool {
    let found = row.get(&condition.column);
    let order = found.and_then(|found| compare(found, &condition.value));
    match condition.op {
        Op::Equal if condition.value == Scalar::Null => found.is_none(),
        Op::NotEqual if condition.value == Scalar::Null => found.is_some(),
        Op::Equal => order == Some(Ordering::Equal),
        Op::NotEqual => order != Some(Ordering::Equal),
        Op::Less => order == Some(Ordering::Less),
        Op::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Op::Greater => order == Some(Ordering::Greater),
        Op::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Op::StartsWith => match (found, &condition.value) {
            (Some(Scalar::Text(text)), Scalar::Text(start)) => text.starts_with(start.as_str()),
            _ => false,
        },
    }
}

fn compare(a: &Scalar, b: &Scalar) -> Option<Ordering> {
    match (a, b) {
        (Scalar::Boolean(a), Scalar::Boolean(b)) => Some(a.cmp(b)),
        (Scalar::Integer(a), Scalar::Integer(b)) => Some(a.cmp(b)),
        (Scalar::Timestamp(a), Scalar::Timestamp(b)) => Some(a.cmp(b)),
        (Scalar::Date(a), Scalar::Date(b)) => Some(a.cmp(b)),
        (Scalar::Text(a), Scalar::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Scalar::Double(a), Scalar::Double(b)) => a.partial_cmp(b),
        _ => None,
    }
}
