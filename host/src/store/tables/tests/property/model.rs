//! The contract of db.wit, one row and one cell at a time, values as the text that is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::DOCUMENTS;
use crate::model::{Batch, Column, Condition, Existing, Op, Scalar, Unseen, Utf8, Values, Write};
use crate::rows::timestamp_text;
use crate::store::tables::ApplyScope;

type Cell = Option<String>;

#[derive(Clone, Default)]
pub(super) struct Model {
    /// By unique key.
    pub(super) rows: BTreeMap<String, Row>,
    /// Deleted, commit.
    pub(super) feed: BTreeMap<String, (bool, i64)>,
    /// As the database chose them.
    pub(super) pk: BTreeMap<String, i64>,
    /// By owner and scope: what was presented.
    brackets: BTreeMap<(String, String), Bracket>,
}

#[derive(Clone)]
struct Bracket {
    scope: Vec<Condition>,
    seen: BTreeSet<String>,
}

#[derive(Clone)]
pub(super) struct Row {
    key: String,
    owner: String,
    cells: BTreeMap<String, Cell>,
    created_at: String,
    updated_at: String,
}

impl Row {
    pub(super) fn text(&self) -> String {
        let cells = ["shelf", "id", "version", "color", "notes", "data"]
            .map(|name| self.cell(name).unwrap_or_else(|| "-".to_owned()));
        let Self { key, owner, created_at, updated_at, .. } = self;
        format!("{key}|{owner}|{}|{created_at}|{updated_at}", cells.join("|"))
    }

    fn cell(&self, name: &str) -> Cell {
        self.cells.get(name).cloned().flatten()
    }
}

impl Model {
    /// The keys of rows that changed and are still there; none: the call is refused.
    pub(super) fn apply(
        &mut self,
        scope: &ApplyScope,
        writes: &[Write],
    ) -> Option<BTreeSet<String>> {
        let owner = scope.external_owner_id.as_deref().unwrap();
        let mut changed = BTreeSet::new();
        for write in writes {
            match write {
                Write::Upsert(batch) | Write::Patch(batch) => {
                    let patch = matches!(write, Write::Patch(_));
                    for row in 0..batch.rows {
                        self.present(scope, owner, batch, row, patch, &mut changed);
                    }
                }
                Write::Update { set, conditions, .. } => {
                    for key in self.matching(owner, conditions) {
                        self.set(scope, &key, set, &mut changed);
                    }
                }
                Write::Delete { conditions, .. } => {
                    for key in self.matching(owner, conditions) {
                        self.delete(scope, &key, &mut changed);
                    }
                }
                Write::BeginFull { scope: conditions, .. } => {
                    let bracket = Bracket { scope: conditions.clone(), seen: BTreeSet::new() };
                    self.brackets.insert((owner.to_owned(), format!("{conditions:?}")), bracket);
                }
                Write::EndFull { scope: conditions, unseen, .. } => {
                    let id = (owner.to_owned(), format!("{conditions:?}"));
                    let bracket = self.brackets.remove(&id)?;
                    for key in self.matching(owner, conditions) {
                        match unseen {
                            _ if bracket.seen.contains(&key) => {}
                            Unseen::Delete => self.delete(scope, &key, &mut changed),
                            Unseen::Set(set) => self.set(scope, &key, set, &mut changed),
                        }
                    }
                }
            }
        }
        Some(changed)
    }

    pub(super) fn pks(&self, keys: &BTreeSet<String>) -> Vec<i64> {
        let mut pks: Vec<i64> = keys.iter().map(|key| self.pk[key]).collect();
        pks.sort_unstable();
        pks
    }

    fn present(
        &mut self,
        scope: &ApplyScope,
        owner: &str,
        batch: &Batch,
        row: usize,
        patch: bool,
        changed: &mut BTreeSet<String>,
    ) {
        let get = |name: &str| {
            let column = batch.columns.iter().find(|column| column.name == name)?;
            Some((cell(column, row), column.existing))
        };
        let (shelf, id) = (get("shelf").unwrap().0.unwrap(), get("id").unwrap().0.unwrap());
        let escape = |text: &str| text.replace('%', "%25").replace('-', "%2D");
        let key = format!("{}-{}-{id}", escape(owner), escape(&shelf));
        for (_, bracket) in self.brackets.iter_mut().filter(|((of, _), _)| of == owner) {
            let in_scope = bracket.scope.iter().all(|test| match get(&test.column) {
                None => true,
                Some((value, _)) if test.column == "shelf" => holds(&value, test),
                Some((_, Existing::Keep)) | Some((None, Existing::Merge)) => true,
                Some((value, _)) => holds(&value, test),
            });
            if in_scope {
                bracket.seen.insert(key.clone());
            }
        }
        let now = timestamp_text(scope.now).unwrap();
        let insert = !self.rows.contains_key(&key);
        if insert && patch {
            return;
        }
        let old = self.rows.get(&key).cloned().unwrap_or_else(|| Row {
            key: key.clone(),
            owner: owner.to_owned(),
            cells: BTreeMap::from([("data".to_owned(), Some("{}".to_owned()))]),
            created_at: now.clone(),
            updated_at: now.clone(),
        });
        let mut new = old.clone();
        if let Some((Some(version), _)) = get("version")
            && old.cell("version").is_some_and(|old| version < old)
        {
            return;
        }
        new.cells.insert("shelf".to_owned(), Some(shelf));
        new.cells.insert("id".to_owned(), Some(id));
        for name in ["version", "color", "notes", "data"] {
            let Some((value, mode)) = get(name) else { continue };
            let value = match (mode, old.cell(name)) {
                (Existing::Replace, _) => value,
                (Existing::Merge, old) => value.or(old),
                (Existing::Keep, old) if insert && name == "data" => value.or(old),
                (Existing::Keep, old) => old.or(value),
            };
            let value = if name == "data" { value.or(Some("{}".to_owned())) } else { value };
            new.cells.insert(name.to_owned(), value);
        }
        self.store(scope, old, new, insert, changed);
    }

    fn set(
        &mut self,
        scope: &ApplyScope,
        key: &str,
        set: &[(String, Scalar)],
        changed: &mut BTreeSet<String>,
    ) {
        let old = self.rows[key].clone();
        let mut new = old.clone();
        for (name, value) in set {
            let value = scalar(value);
            if name == "version" && old.cell("version").is_some_and(|old| value < Some(old)) {
                return;
            }
            new.cells.insert(name.clone(), value);
        }
        self.store(scope, old, new, false, changed);
    }

    fn store(
        &mut self,
        scope: &ApplyScope,
        old: Row,
        mut new: Row,
        insert: bool,
        changed: &mut BTreeSet<String>,
    ) {
        let names: BTreeSet<&String> = old.cells.keys().chain(new.cells.keys()).collect();
        if !insert && names.into_iter().all(|name| old.cell(name) == new.cell(name)) {
            return;
        }
        new.updated_at = timestamp_text(scope.now).unwrap();
        self.feed.insert(new.key.clone(), (false, scope.commit_id));
        changed.insert(new.key.clone());
        self.rows.insert(new.key.clone(), new);
    }

    fn delete(&mut self, scope: &ApplyScope, key: &str, changed: &mut BTreeSet<String>) {
        self.rows.remove(key);
        self.feed.insert(key.to_owned(), (true, scope.commit_id));
        changed.remove(key);
    }

    fn matching(&self, owner: &str, conditions: &[Condition]) -> Vec<String> {
        let matches = |row: &&Row| {
            row.owner == owner && conditions.iter().all(|test| holds(&row.cell(&test.column), test))
        };
        self.rows.values().filter(matches).map(|row| row.key.clone()).collect()
    }
}

fn holds(value: &Cell, test: &Condition) -> bool {
    let wanted = scalar(&test.value);
    match (test.op, value, &wanted) {
        (Op::Equal, value, wanted) => value == wanted,
        (Op::NotEqual, value, wanted) => value != wanted,
        (op, Some(value), Some(wanted)) => match op {
            Op::Less => value < wanted,
            Op::LessOrEqual => value <= wanted,
            Op::Greater => value > wanted,
            Op::GreaterOrEqual => value >= wanted,
            _ => value.starts_with(wanted.as_str()),
        },
        _ => false,
    }
}

fn cell(column: &Column, row: usize) -> Cell {
    if column.validity.get(row / 8).is_some_and(|bits| bits >> (row % 8) & 1 == 0) {
        return None;
    }
    let text = |values: &Utf8| {
        let bytes = &values.data[values.offsets[row] as usize..values.offsets[row + 1] as usize];
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    match &column.values {
        Values::Integer(values) => Some(values[row].to_string()),
        Values::Text(values) => Some(text(values)),
        Values::Json(values) => Some(canonical(&text(values))),
        Values::Constant(value) => scalar(value),
        _ => None,
    }
}

fn scalar(value: &Scalar) -> Cell {
    match value {
        Scalar::Integer(value) => Some(value.to_string()),
        Scalar::Text(value) => Some(value.clone()),
        Scalar::Json(value) => Some(canonical(value)),
        _ => None,
    }
}

fn canonical(document: &str) -> String {
    DOCUMENTS.iter().find(|(written, _)| *written == document).unwrap().1.to_owned()
}
