//! Every layer against a server on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod requests;
mod server;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::*;
use server::{Reply, Server};

const MANIFEST: &str = r#"
[plugin]
name = "probe"
version = "0.1.0"
cursor = { writes = 1, reads = [1] }

[services.item_v1]
table = "item"
[services.item_v1.config]
api_url = { kind = "url", default = "https://api.example/v3" }
token_url = { kind = "url", default = "https://login.example/token" }

[secrets.access]
per = "owner"
to = ["{api_url}"]
captured = { from = "{token_url}", at = "/access_token", expires_in = "/expires_in", margin_s = 60 }
[secrets.refresh]
per = "owner"
to = ["{token_url}"]
captured = { from = "{token_url}", at = "/refresh_token" }
[secrets.client]
per = "owner"
to = ["{api_url}", "{token_url}"]
[secrets.broken]
per = "owner"
to = ["{api_url}"]
[secrets.absent]
per = "owner"
to = ["{api_url}"]

[[egress]]
url = "{api_url}"
methods = ["GET", "POST"]
[[egress]]
url = "{token_url}"
methods = ["POST"]

[tables.item]
owner = "owner_id"
key = ["id"]
columns = { id = "text" }
"#;

const ACCESS: &str = "ya29.a0/b+c=d~e";
const REFRESH: &str = "1//0gRefresh\"Token";
const CLIENT: &str = "client & s3cret";

/// The secrets of a test, and what was done to them.
#[derive(Default)]
struct Vault {
    captured: Mutex<Vec<String>>,
    capture: Notify,
    forgotten: Mutex<Vec<String>>,
    broken: bool,
}

impl SecretSource for Vault {
    fn value<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<SecretValue>, String>> {
        let value = match name {
            "access" => Some((ACCESS, 3)),
            "refresh" => Some((REFRESH, 5)),
            "client" => Some((CLIENT, 1)),
            "broken" => Some(("line\r\nbreak", 1)),
            _ => None,
        };
        let value = value
            .map(|(text, version)| SecretValue { text: Zeroizing::new(text.to_owned()), version });
        Box::pin(async { Ok(value) })
    }

    fn capture<'a>(
        &'a self,
        name: &'a str,
        value: &'a str,
        expires_in_s: Option<u64>,
        used: Vec<(String, i64)>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if self.broken {
                return Err("disk full".into());
            }
            let line = format!("{name}={value} {expires_in_s:?} {used:?}");
            self.captured.lock().unwrap().push(line);
            self.capture.notify_one();
            Ok(())
        })
    }

    fn presence<'a>(&'a self, name: &'a str, _wait: bool) -> BoxFuture<'a, Presence> {
        let present = name != "absent";
        Box::pin(async move { if present { Presence::Present } else { Presence::Missing } })
    }

    fn forget<'a>(&'a self, name: &'a str, version: Option<i64>) -> BoxFuture<'a, ()> {
        self.forgotten.lock().unwrap().push(format!("{name} {version:?}"));
        Box::pin(async {})
    }
}

/// Names of the test; each lookup takes the next answer, the last one stays.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    fn new(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let answers = |answers: &[&[&str]]| {
            let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
            answers.iter().map(parse).collect()
        };
        let names = names.iter().map(|(name, all)| ((*name).to_owned(), answers(all)));
        Arc::new(Self(Mutex::new(names.collect())))
    }
}

impl Lookup for Names {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut names = self.0.lock().unwrap();
        let answer = names
            .get_mut(&host)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A session whose API and token endpoint are on one server.
struct Test {
    server: Server,
    egress: Egress,
    session: Session,
    vault: Arc<Vault>,
}

impl Test {
    async fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Arc::default(), answer).await
    }

    async fn with(
        vault: Arc<Vault>,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let server = Server::start(answer).await;
        let lookup = Names::new(&[("api.test", &[&["127.0.0.1"]])]);
        let egress = Egress::new(EgressOptions { lookup, ..EgressOptions::default() }).unwrap();
        let base = server.url("api.test");
        let session = session(&base, &[(&base, true)], Arc::clone(&vault) as _);
        Self { server, egress, session, vault }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url("api.test"))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.egress.send(&self.session, request).await
    }
}

fn session(base: &str, grants: &[(&str, bool)], secrets: Arc<dyn SecretSource>) -> Session {
    let grants = grants.iter().map(|(origin, private_addresses)| Grant {
        origin: origin.parse().unwrap(),
        private_addresses: *private_addresses,
    });
    Session::new(SessionOptions {
        manifest: Arc::new(Manifest::from_toml(MANIFEST).unwrap()),
        config: BTreeMap::from([
            ("api_url".into(), format!("{base}/v3")),
            ("token_url".into(), format!("{base}/token")),
        ]),
        grants: grants.collect(),
        counted: Counted { owner_id: 1, root_id: "svi_1".into() },
        secrets,
        deadline: Instant::now() + Duration::from_secs(30),
        answer_limit_bytes: 100_000,
    })
}

fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        url: url.into(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::None,
        timeout_ms: None,
    }
}

fn post(url: &str, body: Body) -> HttpRequest {
    HttpRequest { method: "POST".into(), body, ..get(url) }
}

fn bearer(mut request: HttpRequest) -> HttpRequest {
    let value = vec![Part::Text("Bearer ".into()), Part::Secret("access".into())];
    request.headers.push(("Authorization".into(), value));
    request
}

fn secret(name: &str) -> Part {
    Part::Secret(name.into())
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
}
