//! Small real components, called with a fake environment.
#![allow(clippy::unwrap_used, reason = "tests")]

mod budgets;
mod effects;
pub(crate) mod guest;
mod loading;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::*;
use crate::egress::{HttpError, HttpRequest, HttpResponse, Presence};
use crate::model::{Scalar, StreamId, Webhook, Write};

/// What an [`Outside`] does with a request.
#[derive(Clone, Copy)]
enum Vendor {
    Answers,
    Hangs,
    EndsTheCall,
}

/// Remembers what a guest asked for.
struct Outside {
    vendor: Vendor,
    lookups: Mutex<Vec<(String, usize)>>,
    log: Mutex<Vec<String>>,
    requests: Mutex<Vec<HttpRequest>>,
}

impl Outside {
    fn new(vendor: Vendor) -> Arc<Self> {
        let (lookups, log, requests) = Default::default();
        Arc::new(Self { vendor, lookups, log, requests })
    }
}

impl Environment for Outside {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        self.requests.lock().unwrap().push(request);
        Box::pin(async {
            match self.vendor {
                Vendor::Answers => {
                    let headers = vec![("x-a".into(), "b".into())];
                    Ok(HttpResponse { status: 200, headers, body: vec![1, 2, 3] })
                }
                Vendor::Hangs => std::future::pending().await,
                Vendor::EndsTheCall => Err(HttpError::Ended(Failure::TooSlow("bucket".into()))),
            }
        })
    }

    fn secret<'a>(&'a self, _name: &'a str, _wait: bool) -> BoxFuture<'a, Presence> {
        Box::pin(async { Presence::Missing })
    }

    fn forget<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn lookup<'a>(
        &'a self,
        table: &'a str,
        _key: Vec<Scalar>,
        _columns: Vec<String>,
        pending: &'a [Arc<Write>],
    ) -> BoxFuture<'a, Result<Option<Vec<Scalar>>, DbError>> {
        self.lookups.lock().unwrap().push((table.to_owned(), pending.len()));
        Box::pin(async { Ok(Some(vec![Scalar::Text("found".into())])) })
    }

    fn take(&self, write: &Arc<Write>) -> Result<(), DbError> {
        match write.as_ref() {
            Write::Delete { table, .. } if table != "item_v1" => {
                Err(DbError::UnknownTable(table.clone()))
            }
            _ => Ok(()),
        }
    }

    fn log(&self, level: LogLevel, message: String, _fields: Vec<(String, String)>) {
        self.log.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions { memories: 4, ..EngineOptions::new([7; 32]) }).unwrap()
}

async fn load(wasm: Vec<u8>) -> Arc<Component> {
    let dir = tempfile::tempdir().unwrap();
    engine().load(wasm, dir.path()).await.unwrap()
}

fn context() -> CallContext {
    CallContext {
        now: 1_700_000_000_000_000,
        integration: "svi_1".into(),
        service: "item_v1".into(),
        external_owner_id: Some("owner".into()),
        config: BTreeMap::from([("api_url".into(), "https://a.example".into())]),
    }
}

fn own_stream() -> StreamId {
    StreamId { service: "item_v1".into(), kind: "items".into(), key: "own".into() }
}

fn sync() -> Call {
    Call::Sync { stream: own_stream(), cursor: Some(vec![1, 2, 3]), page_limit: 100 }
}

fn receive() -> Call {
    Call::Receive(Webhook {
        received_at: 1,
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![("a".into(), "b".into())],
        body: b"{}".to_vec(),
    })
}

/// Loads a guest whose `sync` is this body, and calls it.
async fn run(imports: &str, body: &str, budget: &Budget) -> Called {
    run_with(imports, body, budget, Outside::new(Vendor::Answers)).await
}

async fn run_with(imports: &str, body: &str, budget: &Budget, outside: Arc<Outside>) -> Called {
    let component = load(guest::component(imports, body)).await;
    component.call(&context(), &sync(), outside, budget).await
}

fn cause(called: &Called) -> (TrapCause, &str) {
    match &called.result {
        Err(CallError::Trapped { cause, text }) => (*cause, text),
        other => panic!("not trapped: {other:?}"),
    }
}
