//! The streams of the call's owner. Buffered until the call returns ok.

use crate::{StreamId, imports};

/// Due now, or at `at` (microseconds since the epoch) if that is earlier than it already is.
pub fn activate(stream: &StreamId, at: Option<i64>) {
    imports::activate(stream, at);
}

/// Forget the cursor, then activate. Not for the call's own stream.
pub fn reset(stream: &StreamId) {
    imports::reset(stream);
}

/// Stop and forget; rows stay.
pub fn remove(stream: &StreamId) {
    imports::remove(stream);
}

impl StreamId {
    /// A stream of a kind that has one stream an owner has the key "".
    pub fn new(service: &str, kind: &str, key: &str) -> Self {
        Self { service: service.to_owned(), kind: kind.to_owned(), key: key.to_owned() }
    }
}
