//! Google Calendar as SQL tables: a Rowgate plugin.
