//! The parts of the path by themselves: what vendor and database allow at best.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use simulator::Simulator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, SqlitePool};

use crate::times::{Stopwatch, thread_cpu_s};

/// Rows of one page, and of one transaction.
const PAGE: usize = 2_000;

/// What it took to fetch.
pub(super) struct Fetched {
    pub(super) seconds: f64,
    /// Of the simulator.
    pub(super) cpu_s: f64,
}

/// Fetches a user's events page by page, as the plugin does, and looks at the page tokens only. The simulator
/// compresses its pages here: in what is measured afterwards it need not, as a vendor's own work is none of
/// ours, and would take a tenth of two cores.
pub(super) async fn vendor(simulator: &Simulator, email: &str, token: &str) -> Result<Fetched> {
    let client = reqwest::Client::builder().no_proxy().user_agent("rowgate (gzip)").build()?;
    let form = format!(
        "grant_type=refresh_token&refresh_token={token}&client_id=demo-client-id\
         &client_secret=demo-client-secret"
    );
    let request = client.post(simulator.token_url()).body(form);
    let form_type = "application/x-www-form-urlencoded";
    let answer = request.header("Content-Type", form_type).send().await?.text().await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let access = answer["access_token"].as_str().context("no access token")?;
    let list = format!(
        "{}/calendars/{email}/events?prettyPrint=false&showDeleted=true&showHiddenInvitations=true&singleEvents=true&maxResults={PAGE}",
        simulator.api_url()
    );
    let (mut url, before, stopwatch) =
        (list.clone(), thread_cpu_s("simulator")?, Stopwatch::start());
    loop {
        let page = client.get(&url).bearer_auth(access).send().await?;
        ensure!(page.status() == 200, "a page was answered {}", page.status());
        let page = page.text().await?;
        let Some(next) = text_after(&page, "\"nextPageToken\"") else { break };
        url = format!("{list}&pageToken={next}");
    }
    Ok(Fetched { seconds: stopwatch.seconds(), cpu_s: thread_cpu_s("simulator")? - before })
}

/// The text that follows a key, without reading all the rest.
fn text_after<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    json.split_once(key)?.1.split('"').nth(1)
}

/// Connections that only read.
pub(super) async fn read_only(database: &Path) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    // A file doesn't hang up.
    let pool = SqlitePoolOptions::new().test_before_acquire(false);
    Ok(pool.connect_with(options).await?)
}

/// Seconds that SQLite takes to copy a table's rows into an empty table with the same columns and
/// indexes, in a file with pages of the same size, in transactions as large as a vendor's page, each synced to disk.
pub(super) async fn sqlite(database: &Path, table: &str) -> Result<f64> {
    let rows = read_only(database).await?;
    let page_bytes: u32 = sqlx::query_scalar("pragma page_size").fetch_one(&rows).await?;
    rows.close().await;
    let file = database.with_extension("alone");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let options = options.page_size(page_bytes);
    // As long as SQLite lets a log become that it is left to.
    let options = options.pragma("wal_autocheckpoint", (4_096_000 / page_bytes).to_string());
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let options = options.synchronous(SqliteSynchronous::Full).pragma("cache_size", "-65536");
    let mut connection = options.connect().await?;
    let source = database.display();
    connection.execute(format!("attach '{source}' as source").as_str()).await?;
    let schema = format!(
        "select sql from source.sqlite_schema where tbl_name = '{table}' and sql is not null \
         order by type desc"
    );
    let schema: Vec<String> = sqlx::query_scalar(&schema).fetch_all(&mut connection).await?;
    for statement in &schema {
        connection.execute(statement.as_str()).await?;
    }
    // Read once, so that it comes from memory.
    connection
        .execute(format!("create temp table rows as select * from source.{table}").as_str())
        .await?;
    let stopwatch = Stopwatch::start();
    let mut from = 0;
    loop {
        let copy = format!(
            "insert into {table} select * from temp.rows where rowid > {from} and rowid <= {}",
            from + PAGE
        );
        if connection.execute(copy.as_str()).await?.rows_affected() == 0 {
            break;
        }
        from += PAGE;
    }
    let seconds = stopwatch.seconds();
    connection.close().await?;
    Ok(seconds)
}

#[test]
fn text_after_a_key() {
    let page = r#"{ "nextPageToken": "abc", "items": [] }"#;
    assert_eq!(text_after(page, "\"nextPageToken\""), Some("abc"));
    assert_eq!(text_after(page, "\"nextSyncToken\""), None);
}
