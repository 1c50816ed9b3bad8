//! One mistake at a time, made to a manifest that is right.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::Manifest;

pub(crate) const SMALL: &str = "";
