//! Requests made from the document, with values that nobody would send: each is answered as the
//! document says, and never by an error of the host's.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::setup::{Api, OWNER, Person};
use crate::steps::{CALENDAR, LIST, SECRET};

/// Requests to each operation.
const ROUNDS: usize = 12;

/// They would end what the others need.
const LEFT_OUT: [&str; 2] = ["/v1/auth/logout", "/v1/organizations/{org}/close"];

#[tokio::test]
async fn no_request_breaks_the_host() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let made = owner.make(LIST, &[SECRET, "id", "secret"]).await;
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
        &made.id,
        &made.table,
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
                for _ in 0..ROUNDS {
                    let person = people.choose_weighted(&mut random, |one| match one.token {
                        Some(_) => 9,
                        None => 1,
                    });
                    let path = path(&template, operation, &words, &mut random);
                    request(person.unwrap(), method, &path, operation, &words, &mut random).await;
                }
            }
        }
    }
    assert!(api.host.is_healthy().await);
}

async fn request(
    person: &Person<'_>,
    method: &str,
    path: &str,
    operation: &Value,
    words: &[String],
    random: &mut ChaCha8Rng,
) {
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
fn path(template: &str, operation: &Value, words: &[String], random: &mut ChaCha8Rng) -> String {
    let mut path = template.to_owned();
    let mut query = String::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        // Mostly what leads somewhere.
        let text = match (name, random.random_bool(0.7)) {
            ("org", true) => "default".to_owned(),
            ("i", true) => LIST.to_owned(),
            _ => word(words, random),
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
