//! Requests made from the document, with values that nobody would send: each is answered as the
//! document says, and never by an error of the host's.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tests::{Settings, Vendor, VendorAnswer};

use crate::setup::{Api, OWNER, Person};
use crate::steps::{CALENDAR, LIST};

/// Requests to each operation.
const ROUNDS: usize = 12;

/// They would end what the others need.
const LEFT_OUT: [&str; 3] = ["/v1/auth/logout", "/v1/auth/revoke", "/v1/organizations/{org}/close"];

/// The customer's id of an owner that is linked.
const LINKED: &str = "ana";

/// What is made to be found: the variable that names it in paths, where it is listed, and which member of
/// it is its id.
const FOUND: [(&str, &str, &str); 4] = [
    ("t", "/v1/organizations/default/sync_targets/http", "opaque_id"),
    ("w", "/v1/organizations/default/webhook_subscriptions", "opaque_id"),
    ("h", "/v1/organizations/default/error_handlers", "opaque_id"),
    ("q", "/v1/organizations/default/saved_queries", "id"),
];

#[tokio::test]
async fn no_request_breaks_the_host() {
    let settings = Settings::default().env("ROWGATE_DELIVERY_ALLOW_HTTP", "true");
    let api = Api::start_with(settings).await;
    let owner = api.owner().await;
    let mut there = There::new(owner.clone());
    there.make().await;
    let (id, table) = (there.names["i"].clone(), there.table.clone());
    let words = [
        "default",
        "-",
        "1",
        "0",
        "9223372036854775808",
        "",
        " ",
        "\0",
        "\u{1f600}",
        "a/b",
        "..",
        "%",
        "'; drop table customers; --",
        "select 1",
        OWNER,
        "admin",
        "name",
        LIST,
        CALENDAR,
        &id,
        &table,
        "webhook_secret",
        "backfill_key",
        "api_url",
        "http://127.0.0.1:1",
        "true",
        "dependency_choice",
        "svi_x",
        "sk/x/y",
        "join-00000000",
        "\u{202e}x\n",
    ];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push("x".repeat(5_000));
    let people = [owner, api.nobody()];
    for seed in [1, 2] {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for (template, methods) in api.paths() {
            if LEFT_OUT.contains(&template.as_str()) {
                continue;
            }
            for (method, operation) in methods.as_object().unwrap() {
                there.make().await;
                for _ in 0..ROUNDS {
                    let person = people.choose_weighted(&mut random, |one| match one.token {
                        Some(_) => 9,
                        None => 1,
                    });
                    let path = path(&template, operation, &there.names, &words, &mut random);
                    let person = person.unwrap();
                    let status =
                        request(person, method, &path, operation, &words, &mut random).await;
                    there.note(&template, status);
                }
            }
        }
    }
    assert!(api.host.is_healthy().await);
    let never: Vec<_> = there.names.keys().filter(|name| !there.met.contains_key(*name)).collect();
    assert!(never.is_empty(), "no request got to what {never:?} name: {:?}", there.met);
}

/// What requests find, by the variable of paths that names it.
struct There<'a> {
    owner: Person<'a>,
    receiver: Vendor,
    names: BTreeMap<&'static str, String>,
    /// Of the integration.
    table: String,
    /// Requests that worked, by the variables of their paths.
    met: BTreeMap<&'static str, usize>,
}

impl<'a> There<'a> {
    fn new(owner: Person<'a>) -> Self {
        let receiver = Vendor::start(|_| VendorAnswer::reply(200, ""));
        let names = [("org", "default".to_owned()), ("owner", LINKED.to_owned())].into();
        Self { owner, receiver, names, table: String::new(), met: BTreeMap::new() }
    }

    /// Makes whatever no request has left.
    async fn make(&mut self) {
        let is_it = |one: &Value, id: &str, known: Option<&String>| {
            known.is_some_and(|known| one[id] == known.as_str())
        };
        let listed = self.owner.listed().await;
        if !listed.iter().any(|one| is_it(one, "opaque_id", self.names.get("i"))) {
            let list = self.owner.make_list().await;
            self.owner.api.link(&list, LINKED).await;
            self.names.insert("i", list.id);
            self.table = list.table;
        }
        for (variable, path, id) in FOUND {
            let listed = self.owner.get(path).await.ok();
            let mut listed = listed["items"].as_array().unwrap().iter();
            if listed.any(|one| is_it(one, id, self.names.get(variable))) {
                continue;
            }
            let body = self.body(variable);
            let made = self.owner.post(&format!("{path}/create"), body).await.ok();
            self.names.insert(variable, made[id].as_str().unwrap().to_owned());
        }
    }

    /// What makes one of them.
    fn body(&self, variable: &str) -> Value {
        let (integration, url) = (&self.names["i"], self.receiver.base_url());
        let named = url.replace("http://", "http://user:pass@");
        match variable {
            "t" => json!({ "service_integration_identifier": integration, "connection_url": named,
                           "period_seconds": 3600 }),
            "w" => json!({ "service_integration_identifier": integration, "url": url,
                           "webhook_secret": "s" }),
            "h" => json!({ "url": url }),
            _ => json!({ "description": "one", "sql": "select 1" }),
        }
    }

    fn note(&mut self, template: &str, status: u16) {
        for name in self.names.keys().filter(|_| status < 300) {
            if template.contains(&format!("{{{name}}}")) {
                *self.met.entry(*name).or_default() += 1;
            }
        }
    }
}

async fn request(
    person: &Person<'_>,
    method: &str,
    path: &str,
    operation: &Value,
    words: &[String],
    random: &mut ChaCha8Rng,
) -> u16 {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let mut body = json!({});
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if random.random_bool(0.7) {
            body[name] = value(schema, words, random);
        }
    }
    let reply = match method {
        "get" => person.get(path).await,
        _ => person.post_unchecked(path, body.clone()).await,
    };
    assert!(reply.status < 500, "{method} {path} {body}: {} {}", reply.status, reply.body);
    reply.status
}

fn value(schema: &Value, words: &[String], random: &mut ChaCha8Rng) -> Value {
    let known: Vec<Value> = schema["enum"].as_array().cloned().unwrap_or_default();
    match random.random_range(0..10) {
        0 => json!(random.random_range(-2..700)),
        1 => json!(1e300),
        2 => json!(random.random_bool(0.5)),
        3 => json!([word(words, random)]),
        4 => json!({ (word(words, random)): word(words, random) }),
        5 if !known.is_empty() => known.choose(random).unwrap().clone(),
        _ => json!(word(words, random)),
    }
}

/// A path of an operation, its variables and query filled in.
fn path(
    template: &str,
    operation: &Value,
    names: &BTreeMap<&'static str, String>,
    words: &[String],
    random: &mut ChaCha8Rng,
) -> String {
    let mut path = template.to_owned();
    let mut query = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        // Mostly what leads somewhere.
        let text = match names.get(name).filter(|_| random.random_bool(0.7)) {
            Some(known) => known.clone(),
            None => word(words, random),
        };
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        match parameter["in"].as_str() {
            Some("path") => {
                let encoded = if encoded.is_empty() { "%20".to_owned() } else { encoded };
                path = path.replace(&format!("{{{name}}}"), &encoded);
            }
            _ => query.push_str(&format!("&{name}={encoded}")),
        }
    }
    if query.is_empty() { path } else { format!("{path}?{}", &query[1..]) }
}

fn word(words: &[String], random: &mut ChaCha8Rng) -> String {
    words.choose(random).unwrap().clone()
}
