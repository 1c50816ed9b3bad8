//! The faults that hit one request, sorted by the moment they act at.

use crate::fault::{Fault, Moment, Then};
use crate::hold::Held;
use crate::preset;
use crate::shared::Shared;
use crate::wall;

use super::{Call, Reply};

/// What will happen to one request.
#[derive(Default)]
pub(crate) struct Plan {
    hits: Vec<(u64, Fault)>,
    pub(crate) no_answer: bool,
    pub(crate) page: PageTricks,
    pub(crate) transport: Transport,
    pub(crate) headers: Vec<(String, String)>,
}

/// What is done to a page of a listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageTricks {
    pub(crate) items_max: Option<usize>,
    pub(crate) empty: bool,
    pub(crate) cycle: bool,
    pub(crate) duplicate: bool,
    pub(crate) duplicate_across: bool,
    pub(crate) no_sync_token: bool,
}

/// What is done to the bytes of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transport {
    pub(crate) truncate: bool,
    pub(crate) reset: bool,
    pub(crate) chunk_bytes: Option<usize>,
    pub(crate) pause_ms: u64,
}

impl Plan {
    pub(crate) fn new(hits: Vec<(u64, Fault)>) -> Self {
        let mut plan = Self::default();
        for (_, fault) in &hits {
            let headers = fault.headers.iter();
            plan.headers.extend(headers.map(|(name, value)| (name.clone(), value.clone())));
            plan.take(&fault.then);
        }
        plan.hits = hits;
        plan
    }

    fn take(&mut self, then: &Then) {
        match then {
            Then::NoAnswer => self.no_answer = true,
            Then::TruncatedJson => self.transport.truncate = true,
            Then::ResetMidBody => self.transport.reset = true,
            Then::SlowBody { chunk_bytes, pause_ms } => {
                self.transport.chunk_bytes = Some(*chunk_bytes);
                self.transport.pause_ms = *pause_ms;
            }
            Then::ChunkedBody { chunk_bytes } => self.transport.chunk_bytes = Some(*chunk_bytes),
            Then::ShortPage(items) => self.page.items_max = Some((*items).max(1)),
            Then::EmptyPage => self.page.empty = true,
            Then::PageTokenCycle => self.page.cycle = true,
            Then::DuplicateEvent => self.page.duplicate = true,
            Then::DuplicateAcrossPages => self.page.duplicate_across = true,
            Then::NoSyncToken => self.page.no_sync_token = true,
            Then::Error(_)
            | Then::Answer { .. }
            | Then::Hold(_)
            | Then::DelayMs(_)
            | Then::Echo(_)
            | Then::Redirect { .. } => {}
        }
    }

    pub(crate) async fn wait_before(&self, shared: &Shared, held: impl Fn(u64) -> Held) {
        for (id, fault) in &self.hits {
            match fault.then {
                Then::DelayMs(ms) => wall::pause(ms).await,
                Then::Hold(Moment::Before) => shared.holds.hold(held(*id)).await,
                _ => {}
            }
        }
    }

    pub(crate) async fn wait_after(&self, shared: &Shared, held: impl Fn(u64) -> Held) {
        for (id, fault) in &self.hits {
            if fault.then == Then::Hold(Moment::After) {
                shared.holds.hold(held(*id)).await;
            }
        }
    }

    /// The answer that a fault gives in place of the service.
    pub(crate) fn answer(&self, call: &Call) -> Option<Reply> {
        self.hits.iter().find_map(|(_, fault)| match &fault.then {
            Then::Error(name) => Some(preset::reply(name).unwrap_or_else(|| {
                Reply::text(500, &format!("The simulator knows no error named {name:?}."))
            })),
            Then::Answer { status, body } => Some(Reply::json(*status, body.as_str())),
            Then::Echo(status) => Some(echo(call, *status)),
            Then::Redirect { status, location } => {
                let mut reply = Reply::empty(*status);
                reply.header("location", location);
                Some(reply)
            }
            _ => None,
        })
    }
}

/// Repeats what must stay secret wherever a careless server might.
fn echo(call: &Call, status: u16) -> Reply {
    let authorization = call.header("authorization").unwrap_or_default();
    let sent = String::from_utf8_lossy(&call.body);
    let body = serde_json::json!({
        "error": { "code": status, "message": format!("refused: {authorization} {sent}") },
        "request": { "authorization": authorization, "body": sent },
    });
    let mut reply = Reply::json(status, body.to_string());
    reply.header("x-echo-authorization", authorization);
    reply.header("www-authenticate", authorization);
    let quoted = authorization.replace(' ', "%20");
    reply.header("location", &format!("/echo?authorization={quoted}"));
    reply
}
