//! What a guest wrote, made ready for a database: resolved tables, checks of hostile input, and
//! values in the one form that compares by value. Pure: no I/O, no SQL.

mod batch;
mod check;
mod condition;
#[cfg(test)]
pub(crate) mod fixture;
mod index;
pub mod json;
mod name;
mod number;
mod overlay;
mod reader;
mod rejected;
mod render;
mod scope;
mod spec;
mod stale;
mod value;

pub use batch::{Cells, Part, Presented, Rows};
pub use check::{check_batch, check_lookup, check_write};
pub use condition::{Test, assignments, bookkeeping, tests, upper_bound};
pub use index::IndexSpec;
pub use name::is_identifier;
pub use number::canonical_decimal;
pub use overlay::{Bracketed, Overlay};
pub use rejected::Rejected;
pub use render::{push_object, push_text};
pub use scope::{key_prefix, parse_scope, scope_key};
pub use spec::{ColumnSpec, Role, SpecError, TableSpec};
pub use stale::StaleSpec;
pub use value::{Value, date_text, text_date, text_timestamp, timestamp_text};
