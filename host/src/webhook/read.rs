//! Reading a request's body, with limits in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use crate::clock::Clock;

/// So much of a body that nobody wants is still read: a sender that is cut off while it writes
/// sees a reset connection instead of the answer.
const DISCARD_MAX_BYTES: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_millis(500);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unread {
    TooLarge,
    TooSlow,
    /// The sender is gone, or sends nonsense.
    Broken,
}

/// The whole body, or why not. Nothing beyond the limit is kept.
pub(crate) async fn body(
    clock: &Clock,
    headers: &HeaderMap,
    body: &mut Body,
    max_bytes: usize,
    timeout: Duration,
) -> Result<Vec<u8>, Unread> {
    if content_length(headers).is_some_and(|length| length > max_bytes) {
        return Err(Unread::TooLarge);
    }
    let mut bytes = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Unread::Broken) };
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > max_bytes {
                return Err(Unread::TooLarge);
            }
            bytes.extend_from_slice(data);
        }
        Ok(())
    };
    tokio::select! {
        read = read => read?,
        () = clock.sleep(timeout) => return Err(Unread::TooSlow),
    }
    Ok(bytes)
}

/// Reads on for a moment, unless the sender waits for our word before it sends, or would send more
/// than we are ready to take.
pub(crate) async fn discard(clock: &Clock, headers: &HeaderMap, body: &mut Body) {
    let length = content_length(headers);
    if headers.contains_key(header::EXPECT) || length.is_some_and(|l| l > DISCARD_MAX_BYTES) {
        return;
    }
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len());
            if bytes > DISCARD_MAX_BYTES {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = clock.sleep(DISCARD_TIME) => {}
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
