//! Which rows a manifest calls stale: nobody needs them when they are old.

use rowgate_manifest::{ColumnType, Literal, Manifest, PartialCondition};

use super::index::{conditions, position};
use super::{Role, Rows, TableSpec, Value};

/// Which rows of a table are stale.
#[derive(Clone, Debug, PartialEq)]
pub struct StaleSpec {
    /// All hold for a stale row.
    pub conditions: Vec<(usize, PartialCondition)>,
    /// Column with the time of the vendor's last change. None: full listings bring old rows back.
    pub since: Option<usize>,
}

pub(super) fn resolve(
    manifest: &Manifest,
    service: &str,
    spec: &TableSpec,
) -> Result<Option<StaleSpec>, String> {
    let Some(stale) = manifest.services.get(service).and_then(|service| service.stale.as_ref())
    else {
        return Ok(None);
    };
    if stale.conditions.is_empty() {
        return Err("`stale` without a condition means every row".to_owned());
    }
    let since = stale.since.as_ref().map(|name| position(spec, name)).transpose()?;
    let is_time = |column: usize| {
        let column = &spec.columns[column];
        column.kind == ColumnType::Timestamptz && column.role == Role::Guest
    };
    if !since.is_none_or(is_time) {
        return Err("`stale.since` must name a timestamptz column of `columns`".to_owned());
    }
    Ok(Some(StaleSpec { conditions: conditions(spec, &stale.conditions)?, since }))
}

impl<'a> Rows<'a> {
    /// Is a row stale as it is presented, and older than `before` (as [`super::timestamp_text`] writes it)
    /// by the vendor's time? A row without such a time isn't.
    pub fn is_long_stale(&self, spec: &TableSpec, before: &str, row: usize) -> bool {
        let Some(StaleSpec { conditions, since: Some(since) }) = &spec.stale else { return false };
        let Some(Value::Text(since)) = self.presented(*since, row) else { return false };
        let since: &str = since;
        let holds = |(column, condition): &(usize, PartialCondition)| {
            holds(condition, self.presented(*column, row))
        };
        since < before && conditions.iter().all(holds)
    }

    fn presented(&self, column: usize, row: usize) -> Option<&Value<'a>> {
        let presented = self.columns.iter().find(|presented| presented.column == column)?;
        Some(presented.cell(row))
    }
}

/// What isn't presented is null.
fn holds(condition: &PartialCondition, value: Option<&Value<'_>>) -> bool {
    let value = value.filter(|value| !value.is_null());
    match condition {
        PartialCondition::Equal(literal) => value.is_some_and(|value| equals(value, literal)),
        PartialCondition::DistinctFrom(text) => {
            !matches!(value, Some(Value::Text(value)) if value == text.as_str())
        }
        PartialCondition::Null(null) => value.is_none() == *null,
    }
}

fn equals(value: &Value<'_>, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Boolean(value), Literal::Bool(literal)) => value == literal,
        (Value::Integer(value), Literal::Int(literal)) => value == literal,
        (Value::Text(value), Literal::Text(literal)) => value == literal.as_str(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "stale/tests.rs"]
mod tests;
