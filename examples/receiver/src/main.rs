//! Keeps a copy of a table by HTTP Sync.
//!
//! ```sh
//! export RECEIVER_PASSWORD=...             # of the address that Rowgate posts to
//! receiver copy.db 127.0.0.1:18002
//! rowgate httpsync create google_calendar_event_v1 --period 600 --deletions \
//!   --url "https://rowgate:$RECEIVER_PASSWORD@sync.example.org/"
//! export RECEIVER_SECRET=whsec_...         # as printed; then start the receiver again
//! ```
//!
//! Rowgate asks whether anybody is there when a target is made, before its secret can be known here.
//! From then on such a post is signed like any other, and checked.
//!
//! Each post is one transaction of the copy, and is answered when that is on disk. What was lost on
//! the way, or was not answered, comes again: to store a row twice changes nothing. A post of a
//! sender that was replaced meanwhile carries a lower fence, and is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use subtle::ConstantTimeEq as _;

const TOLERANCE_S: u64 = 300;
const BODY_MAX_BYTES: usize = 64 << 20;

const SCHEMA: [&str; 2] = [
    "create table if not exists rows (key text primary key, row text not null, copy text)",
    "create table if not exists place (fence integer not null, epoch text not null, number integer not null)",
];

/// One post. What isn't asked for by `--deletions` is missing.
#[derive(Deserialize)]
struct Delivery {
    integration_id: String,
    rows: Vec<BTreeMap<String, Value>>,
    key: Option<String>,
    #[serde(default)]
    deleted: Vec<BTreeMap<String, Value>>,
    copy: Option<Part>,
    position: Option<Position>,
}

/// Part of a copy of the whole table.
#[derive(Deserialize)]
struct Part {
    id: String,
    last: bool,
}

/// Where in the feed the receiver stands behind this post.
#[derive(Deserialize)]
struct Position {
    epoch: String,
    number: i64,
    fence: i64,
}

struct Receiver {
    authorization: String,
    secret: Option<Vec<u8>>,
    copy: SqlitePool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, address] = arguments.as_slice() else { bail!("usage: receiver FILE ADDRESS") };
    let password = std::env::var("RECEIVER_PASSWORD").context("RECEIVER_PASSWORD is missing")?;
    let secret = match std::env::var("RECEIVER_SECRET") {
        Ok(secret) => {
            let text = secret.strip_prefix("whsec_").context("RECEIVER_SECRET is whsec_...")?;
            Some(BASE64_STANDARD.decode(text)?)
        }
        Err(_) => None,
    };
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    // One connection: posts are stored one after the other.
    let copy = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    for statement in SCHEMA {
        sqlx::query(statement).execute(&copy).await?;
    }
    let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("rowgate:{password}")));
    let receiver = Arc::new(Receiver { authorization, secret, copy });
    let router = Router::new()
        .route("/", post(receive))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(receiver);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let given = headers.get("authorization").map_or(&b""[..], |value| value.as_bytes());
    if !bool::from(given.ct_eq(receiver.authorization.as_bytes())) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(delivery) = serde_json::from_slice::<Delivery>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    if receiver.secret.as_ref().is_some_and(|secret| !is_signed(secret, &headers, &body)) {
        return StatusCode::UNAUTHORIZED;
    }
    if delivery.integration_id == "svi_test" {
        // Rowgate asks whether anybody is there.
        return StatusCode::OK;
    }
    match apply(&receiver.copy, &delivery).await {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::CONFLICT,
        Err(error) => {
            eprintln!("{error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Standard Webhooks: HMAC-SHA256 over id, time and body.
fn is_signed(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (id, sent_at) = (header("webhook-id"), header("webhook-timestamp"));
    if !sent_at.parse().is_ok_and(|sent_at: u64| sent_at.abs_diff(now_s()) <= TOLERANCE_S) {
        return false;
    }
    header("webhook-signature").split(' ').any(|one| {
        let Some(given) = one.strip_prefix("v1,") else { return false };
        let Ok(given) = BASE64_STANDARD.decode(given) else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
        mac.update(format!("{id}.{sent_at}.").as_bytes());
        mac.update(body);
        mac.verify_slice(&given).is_ok()
    })
}

#[expect(clippy::disallowed_methods, reason = "an example has no clock of its own")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Stores a delivery in one transaction. False: its sender is no longer the one that delivers.
async fn apply(copy: &SqlitePool, delivery: &Delivery) -> sqlx::Result<bool> {
    let mut transaction = copy.begin().await?;
    if let Some(Position { epoch, number, fence }) = &delivery.position {
        let known: Option<i64> =
            sqlx::query_scalar("select max(fence) from place").fetch_one(&mut *transaction).await?;
        if known.is_some_and(|known| *fence < known) {
            return Ok(false);
        }
        sqlx::query("delete from place").execute(&mut *transaction).await?;
        sqlx::query("insert into place values ($1, $2, $3)")
            .bind(fence)
            .bind(epoch)
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    let key = delivery.key.as_deref().unwrap_or("pk");
    for gone in &delivery.deleted {
        sqlx::query("delete from rows where key = $1")
            .bind(text(gone.get(key)))
            .execute(&mut *transaction)
            .await?;
    }
    for row in &delivery.rows {
        sqlx::query("insert or replace into rows values ($1, $2, $3)")
            .bind(text(row.get(key)))
            .bind(serde_json::to_string(row).unwrap_or_default())
            .bind(delivery.copy.as_ref().map(|copy| &copy.id))
            .execute(&mut *transaction)
            .await?;
    }
    if let Some(Part { id, last: true }) = &delivery.copy {
        // The whole table was sent: what was not in it is gone.
        sqlx::query("delete from rows where copy is not $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
