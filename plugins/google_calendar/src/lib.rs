//! Google Calendar as SQL tables: a Rowgate plugin.
mod manifest { rowgate_plugin::include_manifest!(); }
