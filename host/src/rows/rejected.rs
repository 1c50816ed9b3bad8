//! Why a write was refused.

/// Why the host refused a write of a guest: `error` of db.wit, case by case. Texts name table,
/// column and row, never a value, but of a key that is too long its beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No such service in the manifest.
    #[error("unknown table: {0}")]
    UnknownTable(String),
    /// No such column, or one that isn't the guest's to touch.
    #[error("unknown column: {0}")]
    UnknownColumn(String),
    /// A value of another type than the column's, or no value of that type at all.
    #[error("wrong type: {0}")]
    WrongType(String),
    /// More rows, conditions or brackets than a call may have, or a longer key than a row.
    #[error("over the limit: {0}")]
    Limit(String),
    /// Everything else, e.g. a batch whose columns have different lengths.
    #[error("{0}")]
    Other(String),
}
