//! The endpoint over real sockets, on a real store.

mod contract;
mod limits;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowgate_manifest::Manifest;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::*;
use crate::chance::Chance;
use crate::config::DataDir;
use crate::run::InFlight;
use crate::schedule::Wake;
use crate::secrets::Keyring;
use crate::server::{self, Status, StatusOptions};
use crate::store::inbox::StoredItem;
use crate::store::integrations::NewIntegration;

const SECRET: &str = "planted0webhook0secret";
const RESYNC: &str = r#"{"type":"RESYNC","external_owner_id":"owner"}"#;

/// A served store with the tree list <- calendar <- event.
struct Host {
    dir: TempDir,
    store: Arc<Store>,
    address: SocketAddr,
    woken: Arc<AtomicUsize>,
    list: String,
    calendar: String,
    event: String,
}

impl Host {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(dir.path());
        data_dir.create().unwrap();
        let chance = Chance::seeded(7);
        let keyring = Keyring::new([7; 32], chance.clone());
        let store = Arc::new(Store::open(data_dir, Clock::System, keyring, chance).await.unwrap());
        install(&store).await;
        let list = create(&store, "google_calendar_list_v1", None).await;
        let calendar = create(&store, "google_calendar_v1", Some(&list)).await;
        let event = create(&store, "google_calendar_event_v1", Some(&calendar)).await;
        let stopping = watch::Sender::new(false);
        let status = Status::new(StatusOptions {
            store: store.clone(),
            metrics: Arc::default(),
            wake: Wake::default(),
            in_flight: InFlight::default(),
            host: "here".into(),
            stopping: stopping.subscribe(),
        });
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let webhooks = Webhooks {
            store: store.clone(),
            wake: Arc::new(move |_owner| {
                count.fetch_add(1, Ordering::Relaxed);
            }),
            metrics: Arc::default(),
            limits: Limits {
                body_max_bytes: 1 << 20,
                body_timeout: Duration::from_millis(300),
                accept_timeout: Duration::from_millis(1_500),
            },
        };
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits =
            server::Limits { connections_max: 100, header_timeout: Duration::from_millis(300) };
        let served = server::serve(
            listener,
            server::router(webhooks, status, axum::Router::new()),
            limits,
            Clock::System,
            std::future::pending(),
        );
        tokio::spawn(served);
        Self { dir, store, address, woken, list, calendar, event }
    }

    /// A request with the right secret.
    async fn post(&self, integration: &str, body: &str) -> Reply {
        let secret = [("Whdb-Webhook-Secret", SECRET)];
        self.request("POST", &format!("/v1/service_integrations/{integration}"), &secret, body)
            .await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        send(&mut stream, method, path, headers, body).await
    }

    async fn items(&self) -> Vec<StoredItem> {
        self.store.stored_items().await
    }
}

async fn install(store: &Store) {
    let manifest: Manifest =
        toml::from_str(include_str!("../../tests/fixtures/google_calendar.toml")).unwrap();
    store.install_plugin(b"component", "c0ffee", &manifest).await.unwrap();
    store.activate_plugin("c0ffee").await.unwrap();
}

async fn create(store: &Store, service: &str, depends_on: Option<&str>) -> String {
    let secret = ("webhook_secret".to_owned(), Zeroizing::new(SECRET.to_owned()));
    let new = NewIntegration {
        organization: store.organization("default").await.unwrap().id,
        plugin: "google_calendar".into(),
        service: service.into(),
        depends_on: depends_on.map(str::to_owned),
        config: BTreeMap::new(),
        secrets: if depends_on.is_none() { vec![secret] } else { Vec::new() },
        grants: Vec::new(),
    };
    store.create_integration(new).await.unwrap().id
}

#[derive(Debug)]
struct Reply {
    status: u16,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn send(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    receive(stream).await
}

/// Reads one answer with a Content-Length.
async fn receive(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let reply = parse(head, body);
            let length: usize = reply.headers["content-length"].parse().unwrap();
            if body.len() >= length {
                return reply;
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the connection ended after {text:?}");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn parse(head: &str, body: &str) -> Reply {
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    });
    Reply { status, headers: headers.collect(), body: body.to_owned() }
}
