//! A Google Calendar and OAuth server for demos, tests and plugin authors.
