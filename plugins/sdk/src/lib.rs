//! SDK for Rowgate plugins.
