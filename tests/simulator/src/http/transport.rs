//! From an answer to bytes: gzip, chunks, and bodies that go wrong on the way.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};

use crate::wall;

use super::compressed::Compressed;
use super::plan::{Plan, Transport};
use super::{Call, Reply};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Smaller bodies aren't worth compressing.
const GZIP_FROM_BYTES: usize = 512;

/// Turns an answer into what goes over the wire.
pub(crate) fn send(
    mut reply: Reply,
    call: &Call,
    plan: &Plan,
    compressed: &Compressed,
) -> Response<Body> {
    if plan.transport.truncate {
        reply.body.truncate(reply.body.len() / 2);
    }
    let plain = std::mem::take(&mut reply.body);
    let bytes = if wants_gzip(call) && plain.len() >= GZIP_FROM_BYTES {
        reply.header("content-encoding", "gzip");
        compressed.gzip(plain)
    } else {
        plain.into()
    };
    let mut response = Response::new(body(bytes, plan.transport));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        // A header that can't be written is left out: the fault asked for nonsense.
        if let (Ok(name), Ok(value)) =
            (hyper::header::HeaderName::try_from(name), hyper::header::HeaderValue::try_from(value))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Drops `then` when the body has left, or never will.
pub(crate) fn before(body: Body, then: impl Send + 'static) -> Body {
    body.map_frame(move |frame| {
        let _kept = &then;
        frame
    })
    .boxed_unsync()
}

/// Google compresses only for clients whose User-Agent says so as well.
fn wants_gzip(call: &Call) -> bool {
    let says = |name| call.header(name).is_some_and(|value| value.contains("gzip"));
    says("accept-encoding") && says("user-agent")
}

fn body(bytes: Bytes, transport: Transport) -> Body {
    if transport.reset {
        let half = bytes.slice(..bytes.len() / 2);
        return streamed(vec![half], 0, true);
    }
    match transport.chunk_bytes {
        Some(size) => {
            let size = size.max(1);
            let chunks = (0..bytes.len()).step_by(size);
            let chunks = chunks.map(|at| bytes.slice(at..bytes.len().min(at + size)));
            streamed(chunks.collect(), transport.pause_ms, false)
        }
        None if bytes.is_empty() => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        // Without a known length, as the service sends it.
        None => streamed(vec![bytes], 0, false),
    }
}

fn streamed(chunks: Vec<Bytes>, pause_ms: u64, breaks: bool) -> Body {
    let steps = stream::unfold(chunks.into_iter().enumerate(), move |mut rest| async move {
        match rest.next() {
            Some((n, chunk)) => {
                if n > 0 && pause_ms > 0 {
                    wall::pause(pause_ms).await;
                }
                Some((Ok(Frame::data(chunk)), rest))
            }
            None => None,
        }
    });
    let end = stream::unfold(breaks, |breaks| async move {
        if !breaks {
            return None;
        }
        // What was written so far has to leave first.
        wall::pause(20).await;
        Some((Err(io::Error::other("cut on purpose")), false))
    });
    StreamBody::new(steps.chain(end)).boxed_unsync()
}
