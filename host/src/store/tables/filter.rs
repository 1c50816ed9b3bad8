//! Which of an owner's rows a guest's conditions mean, as SQL that finds them by an index.

use std::borrow::Cow;

use rowgate_manifest::ColumnType;

use super::dialect::quoted;
use super::query::Query;
use crate::model::Op;
use crate::rows::{Role, TableSpec, Test, Value, key_prefix, upper_bound};

/// Appends ` where` with the owner and all conditions. SQLite knows nothing of how selective an
/// index is before an `analyze`, so we choose: an indexed column outside of the key, else the range
/// of the unique key that owner and conditions span; the rest is kept from the planner.
pub(super) fn push_where<'q>(
    query: &mut Query<'q>,
    spec: &'q TableSpec,
    owner: Option<&'q str>,
    tests: &'q [Test<'q>],
) {
    let indexed = tests.iter().position(|test| is_selective(spec, test));
    let range = if indexed.is_none() { key_prefix(spec, owner, tests) } else { None };
    let chosen = indexed.is_some() || range.is_some();
    query.push("\nwhere true");
    if let Some(prefix) = range {
        let key = quoted(&spec.unique_column().name);
        push_prefix(query, &key, Cow::Owned(prefix));
    }
    if let (Some(owner), Some(column)) = (owner, spec.owner) {
        let name = quoted(&spec.columns[column].name);
        let name = if chosen { query.dialect.unindexed(&name) } else { name };
        query.push_fmt(format_args!(" and {name} = "));
        query.push_text(owner);
    }
    for (at, test) in tests.iter().enumerate() {
        let name = quoted(&spec.columns[test.column].name);
        let name =
            if chosen && Some(at) != indexed { query.dialect.unindexed(&name) } else { name };
        push_test(query, &name, test, spec.columns[test.column].kind);
    }
}

/// Equality with a value, on a column that leads an index and isn't owner or key.
fn is_selective(spec: &TableSpec, test: &Test<'_>) -> bool {
    let column = &spec.columns[test.column];
    test.op == Op::Equal
        && !test.value.is_null()
        && !matches!(column.role, Role::Owner | Role::Key)
        && matches!(column.kind, ColumnType::Text | ColumnType::Int)
        && spec.indexes.iter().any(|index| index.finds(test.column))
}

fn push_test<'q>(query: &mut Query<'q>, name: &str, test: &'q Test<'q>, kind: ColumnType) {
    let op = match (test.op, &test.value) {
        (Op::Equal, Value::Null) => {
            query.push_fmt(format_args!(" and {name} is null"));
            return;
        }
        (Op::NotEqual, Value::Null) => {
            query.push_fmt(format_args!(" and {name} is not null"));
            return;
        }
        (Op::StartsWith, Value::Text(prefix)) => {
            return push_prefix(query, name, Cow::Borrowed(prefix));
        }
        (Op::NotEqual, _) => "is distinct from",
        (Op::Less, _) => "<",
        (Op::LessOrEqual, _) => "<=",
        (Op::Greater, _) => ">",
        (Op::GreaterOrEqual, _) => ">=",
        (Op::Equal | Op::StartsWith, _) => "=",
    };
    query.push_fmt(format_args!(" and {name} {op} "));
    query.push_value(&test.value, kind);
}

fn push_prefix<'q>(query: &mut Query<'q>, name: &str, prefix: Cow<'q, str>) {
    let bound = upper_bound(&prefix);
    query.push_fmt(format_args!(" and {name} >= "));
    query.push_text(prefix);
    if let Some(bound) = bound {
        query.push_fmt(format_args!(" and {name} < "));
        query.push_text(bound);
    }
}
