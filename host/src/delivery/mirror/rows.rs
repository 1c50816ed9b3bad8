//! A page as the statements of a mirror take it: an array a column.

use rowgate_manifest::ColumnType;

use crate::rows::{Role, TableSpec, Value};
use crate::store::Argument;
use crate::store::feed::Page;
use crate::store::tables::array;

/// What a page says, in the table's order of columns.
pub(super) struct PageRows<'p> {
    /// Of the rows that are there.
    pub(super) columns: Vec<Argument<'p>>,
    /// Keys of those that are gone.
    pub(super) gone: Argument<'p>,
    pub(super) has_rows: bool,
    pub(super) has_gone: bool,
    /// The last row's number, in the order of the page.
    pub(super) last_pk: Option<i64>,
    pk: usize,
    unique_key: usize,
}

impl<'p> PageRows<'p> {
    /// # Errors
    /// A key isn't what the table's keys are.
    pub(super) fn new(spec: &TableSpec, page: &'p Page) -> Result<Self, String> {
        let there: Vec<&'p Vec<Value<'static>>> =
            page.changes.iter().filter_map(|change| change.row.as_ref()).collect();
        let columns = spec.columns.iter().enumerate();
        let columns = columns.map(|(at, column)| {
            let values = there.iter().map(|row| -> &'p Value<'p> { &row[at] });
            array(values, column.kind)
        });
        let gone: Vec<&'p str> = page
            .changes
            .iter()
            .filter(|change| change.row.is_none())
            .map(|change| change.key.as_str())
            .collect();
        let pk = spec.columns.iter().position(|column| column.role == Role::Pk);
        Ok(Self {
            columns: columns.collect(),
            has_rows: !there.is_empty(),
            has_gone: !gone.is_empty(),
            gone: keys(&gone, spec.unique_column().kind)?,
            last_pk: page.changes.last().map(|change| change.pk),
            pk: pk.ok_or("its table has no numbers")?,
            unique_key: spec.unique_key,
        })
    }

    /// Of the rows that are there.
    pub(super) fn numbers(&self) -> &Argument<'p> {
        &self.columns[self.pk]
    }

    /// The same.
    pub(super) fn keys(&self) -> &Argument<'p> {
        &self.columns[self.unique_key]
    }
}

/// Keys as the feed writes them.
fn keys<'p>(texts: &[&'p str], kind: ColumnType) -> Result<Argument<'p>, String> {
    if kind != ColumnType::Int {
        return Ok(Argument::Texts(texts.iter().copied().map(Some).collect()));
    }
    let numbers: Result<Vec<Option<i64>>, _> =
        texts.iter().map(|text| text.parse().map(Some)).collect();
    numbers.map(Argument::Integers).map_err(|error| format!("a key is no number: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::fixture::spec;
    use crate::store::feed::{Bookmark, Change};

    fn page(changes: Vec<Change>) -> Page {
        Page { changes, copy: None, end: Bookmark::Start, more: false }
    }

    #[test]
    fn rows_become_columns_and_deletions_keys() {
        let mut spec = spec("ticket_v1");
        spec.columns.retain(|column| ["pk", "number", "title"].contains(&column.name.as_str()));
        spec.unique_key = spec.position("number").unwrap();
        let row = |pk, number, title: Option<&'static str>| {
            let title = title.map_or(Value::Null, |title| Value::Text(title.into()));
            let row = vec![Value::Integer(pk), Value::Integer(number), title];
            Change::new(pk, number.to_string(), Some(row))
        };
        let gone = |pk, key: &str| Change::new(pk, key.into(), None);
        let all = page(vec![gone(3, "30"), row(1, 10, Some("a")), row(2, 20, None)]);
        let rows = PageRows::new(&spec, &all).unwrap();
        assert_eq!(rows.numbers(), &Argument::Integers(vec![Some(1), Some(2)]));
        assert_eq!(rows.keys(), &Argument::Integers(vec![Some(10), Some(20)]));
        assert_eq!(rows.columns[2], Argument::Texts(vec![Some("a"), None]));
        assert_eq!(rows.gone, Argument::Integers(vec![Some(30)]));
        assert_eq!((rows.has_rows, rows.has_gone, rows.last_pk), (true, true, Some(2)));
        let nothing = page(Vec::new());
        let rows = PageRows::new(&spec, &nothing).unwrap();
        assert_eq!((rows.has_rows, rows.has_gone, rows.last_pk), (false, false, None));
        let broken = page(vec![gone(3, "x")]);
        assert!(PageRows::new(&spec, &broken).is_err());
    }
}
