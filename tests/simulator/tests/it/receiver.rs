//! A little receiver of notifications, on a socket of its own.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::{Answer, Service};

/// Keeps what arrives, and answers 200 unless told otherwise.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self { url, received: Arc::default(), answers: Arc::default() };
        let (received, answers) = (Arc::clone(&receiver.received), Arc::clone(&receiver.answers));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (received, answers) = (Arc::clone(&received), Arc::clone(&answers));
                let service = service_fn(move |request| {
                    let (received, answers) = (Arc::clone(&received), Arc::clone(&answers));
                    async move {
                        let request = Received::read(request).await;
                        received.lock().unwrap().push(request);
                        let status = answers.lock().unwrap().pop_front().unwrap_or(200);
                        let mut response = Response::new(Empty::<Bytes>::new());
                        *response.status_mut() = status.try_into().unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        receiver
    }

    /// Statuses of the next answers.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// Answers 200 again.
    pub(crate) fn forget_answers(&self) {
        self.answers.lock().unwrap().clear();
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Channel, state and message number of all that arrived, one text each.
    pub(crate) fn brief(&self) -> Vec<String> {
        let names = ["channel-id", "resource-state", "message-number"];
        let brief = |request: &Received| names.map(|name| request.goog(name).to_owned()).join(" ");
        self.received().iter().map(brief).collect()
    }
}

impl Received {
    async fn read(request: Request<hyper::body::Incoming>) -> Self {
        let (parts, body) = request.into_parts();
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = parts.headers.iter();
        Self {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// The header `x-goog-<name>`; empty if there is none.
    pub(crate) fn goog(&self, name: &str) -> &str {
        self.headers.get(&format!("x-goog-{name}")).map_or("", String::as_str)
    }
}

impl Service {
    /// A service that takes addresses without TLS and leaves no message numbers out.
    pub(crate) fn watchable() -> Self {
        let service = Self::start();
        {
            let rules = &mut service.simulator.model().push_rules;
            rules.allow_http = true;
            rules.gap_max = 0;
            rules.retry_ms = 1;
        }
        service
    }

    /// Watches as Ana; `what` is the path below the API root.
    pub(crate) async fn watch(&self, what: &str, body: Value) -> Answer {
        self.api("POST", &format!("{what}/watch"), &[], &body.to_string()).await.unwrap()
    }

    /// Watches the events of Ana's primary calendar and awaits the `sync` message.
    pub(crate) async fn open(&self, id: &str, receiver: &Receiver) -> Value {
        self.open_on("calendars/primary/events", id, receiver).await
    }

    pub(crate) async fn open_on(&self, what: &str, id: &str, receiver: &Receiver) -> Value {
        let answer = self.watch(what, channel(id, &receiver.url)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let wanted = json!({ "channel": id, "count": 1, "state": "sync" });
        let pushes = self.control("await_pushes", wanted).await.json();
        assert_eq!(pushes["pushes"][0]["outcome"], "delivered");
        answer.json()
    }
}

/// The smallest body of a watch.
pub(crate) fn channel(id: &str, address: &str) -> Value {
    json!({ "id": id, "type": "web_hook", "address": address })
}
