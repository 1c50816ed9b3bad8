//! Build-script half.
