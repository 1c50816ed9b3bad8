//! SDK for Rowgate plugins.
#[doc(hidden)]
pub mod bindings;
