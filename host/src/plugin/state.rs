//! What the store of one call holds.

use std::mem::size_of;
use std::sync::Arc;

use rowgate_manifest::Manifest;

use super::budget::{Budget, Memory, Meters};
use super::environment::Environment;
use super::meter::CpuMeter;
use crate::model::{
    Batch, Condition, Effects, Failure, Scalar, StreamId, Unseen, Utf8, Values, Write,
};

/// State of one call.
pub(super) struct State {
    pub(super) environment: Arc<dyn Environment>,
    pub(super) manifest: Arc<Manifest>,
    /// The stream that the call is a step of.
    pub(super) own_stream: Option<StreamId>,
    pub(super) budget: Budget,
    pub(super) effects: Effects,
    pub(super) meters: Meters,
    pub(super) memory: Memory,
    pub(super) cpu: Arc<CpuMeter>,
    pub(super) write_bytes: u64,
    pub(super) changes: u64,
    pub(super) log_lines: u64,
    pub(super) log_bytes: u64,
    /// The first write or lookup that was refused: the call can't commit any more.
    pub(super) refused: Option<String>,
    /// The last line of level error: a guest's panic hook leaves the panic's message there.
    pub(super) last_error: Option<String>,
}

impl State {
    pub(super) fn new(
        environment: Arc<dyn Environment>,
        manifest: Arc<Manifest>,
        own_stream: Option<StreamId>,
        budget: Budget,
        cpu: Arc<CpuMeter>,
    ) -> Self {
        Self {
            environment,
            manifest,
            own_stream,
            memory: Memory::new(budget.memory_bytes),
            budget,
            effects: Effects::default(),
            meters: Meters::default(),
            cpu,
            write_bytes: 0,
            changes: 0,
            log_lines: 0,
            log_bytes: 0,
            refused: None,
            last_error: None,
        }
    }
}

/// Why the host ends a call at an import.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Not the guest's fault.
    #[error("the host ends the call: {0}")]
    Ended(Failure),
    /// More than the budget.
    #[error("{0}")]
    Limit(String),
    /// Against the contract.
    #[error("{0}")]
    Contract(String),
}

/// Roughly what a write holds in memory.
pub(super) fn bytes_of(write: &Write) -> u64 {
    let bytes = match write {
        Write::Upsert(batch) | Write::Patch(batch) => batch_bytes(batch),
        Write::Update { table, set, conditions } => {
            table.len() + set_bytes(set) + conditions_bytes(conditions)
        }
        Write::Delete { table, conditions } => table.len() + conditions_bytes(conditions),
        Write::BeginFull { table, scope } => table.len() + conditions_bytes(scope),
        Write::EndFull { table, scope, unseen } => {
            let set = if let Unseen::Set(set) = unseen { set_bytes(set) } else { 0 };
            table.len() + conditions_bytes(scope) + set
        }
    };
    (size_of::<Write>() + bytes) as u64
}

fn batch_bytes(batch: &Batch) -> usize {
    let columns = batch.columns.iter().map(|column| {
        size_of_val(column)
            + column.name.len()
            + column.validity.len()
            + values_bytes(&column.values, batch.rows)
    });
    batch.table.len() + columns.sum::<usize>()
}

fn values_bytes(values: &Values, rows: usize) -> usize {
    let utf8 = |text: &Utf8| size_of_val(text.offsets.as_slice()) + text.data.len();
    match values {
        Values::Boolean(values) => values.len(),
        Values::Integer(values) | Values::Timestamp(values) => size_of_val(values.as_slice()),
        Values::Double(values) => size_of_val(values.as_slice()),
        Values::Date(values) => size_of_val(values.as_slice()),
        Values::Decimal(text) | Values::Text(text) | Values::Json(text) | Values::Bytes(text) => {
            utf8(text)
        }
        // Its text is here once, and goes into every row of the table.
        Values::Constant(value) => size_of::<Scalar>() + content_bytes(value) * rows,
    }
}

fn set_bytes(set: &[(String, Scalar)]) -> usize {
    set.iter().map(|(column, value)| size_of::<String>() + column.len() + scalar_bytes(value)).sum()
}

fn conditions_bytes(conditions: &[Condition]) -> usize {
    let bytes = |condition: &Condition| condition.column.len() + scalar_bytes(&condition.value);
    conditions.iter().map(|condition| size_of_val(condition) + bytes(condition)).sum()
}

fn scalar_bytes(scalar: &Scalar) -> usize {
    size_of::<Scalar>() + content_bytes(scalar)
}

fn content_bytes(scalar: &Scalar) -> usize {
    match scalar {
        Scalar::Text(text) | Scalar::Decimal(text) | Scalar::Json(text) => text.len(),
        Scalar::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Existing};

    #[test]
    fn a_constant_counts_in_every_row() {
        let of = |rows, length| {
            let values = Values::Constant(Scalar::Text("x".repeat(length)));
            let existing = Existing::Replace;
            let column = Column { name: "note".into(), validity: Vec::new(), values, existing };
            let batch = Batch { table: "item_v1".into(), rows, columns: vec![column] };
            bytes_of(&Write::Upsert(batch))
        };
        assert!((1_000_000..1_100_000).contains(&of(1_000, 1_000)));
        assert!(of(u32::MAX as usize, 1_000) > 4_000_000_000_000);
    }
}
