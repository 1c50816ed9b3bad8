//! DB Sync, from a commit to a customer's database that goes away and comes back.

mod put_back;

use std::collections::BTreeMap;

use postgres_cluster::{Cluster, Database, Options};
use serde_json::Value;

use crate::receiver::PASSWORD;
use crate::setup::{ANA, Case, OWNER, rows_of, settings};

/// A customer's database.
pub(crate) struct Mirror {
    database: Database<'static>,
}

impl Mirror {
    /// On the server that the tests of a process share.
    pub(crate) fn start() -> Self {
        Self { database: Cluster::shared().create_database().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        with_password(&self.database.url())
    }

    /// The rows of a mirror by pk, times as microseconds. Empty where there is none.
    pub(crate) fn rows(&self, table: &str) -> BTreeMap<i64, Value> {
        let mut client = self.database.connect().unwrap();
        let rows = client.query(&format!("select row_to_json(one)::text from {table} as one"));
        let rows = rows.unwrap_or_default().into_iter().flatten().flatten();
        let rows = rows.map(|row| serde_json::from_str::<Value>(&row).unwrap());
        rows.map(|row| (row["pk"].as_i64().unwrap(), with_times(row))).collect()
    }

    /// Ends the connections that are made to it at this moment.
    pub(crate) fn cut(&self) {
        self.database.cut_connections().unwrap();
    }

    /// Whether it is the table of events.
    pub(crate) async fn is_table(&self, case: &Case) -> bool {
        self.rows(case.tree.events()) == table(case).await
    }

    async fn created(&self, case: &Case, arguments: &[&str]) -> Value {
        create(case, &self.url(), arguments).await
    }
}

/// The server asks for none.
fn with_password(url: &str) -> String {
    url.replacen('@', &format!(":{PASSWORD}@"), 1)
}

/// The table of events by pk.
async fn table(case: &Case) -> BTreeMap<i64, Value> {
    let rows = rows_of(case, case.tree.events()).await;
    rows.into_iter().map(|(pk, row)| (pk, with_times(row))).collect()
}

/// Databases write times each in its way.
fn with_times(mut row: Value) -> Value {
    for (name, value) in row.as_object_mut().unwrap() {
        let is_time = name.ends_with("_at") || ["created", "updated"].contains(&name.as_str());
        if let Some(text) = value.as_str().filter(|_| is_time) {
            let at: jiff::Timestamp = text.parse().unwrap();
            *value = at.as_microsecond().into();
        }
    }
    row
}

/// A target for the events.
pub(crate) async fn create(case: &Case, url: &str, arguments: &[&str]) -> Value {
    let mut all = vec!["dbsync", "create", case.tree.events(), "--url", url, "--period", "3600"];
    all.extend(arguments);
    case.json(&all).await
}

async fn shown(case: &Case, id: &str) -> Value {
    let all = case.json(&["dbsync", "list"]).await;
    let mut all = all.as_array().unwrap().clone().into_iter();
    all.find(|target| target["opaque_id"] == id).expect("the target is listed")
}

fn id(created: &Value) -> &str {
    created["opaque_id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_becomes_the_table_and_follows_it() {
    let case = Case::linked(5).await;
    let mirror = Mirror::start();
    let created = mirror.created(&case, &[]).await;
    assert_eq!(
        (&created["schema"], &created["table"]),
        (&"public".into(), &case.tree.events().into())
    );
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    assert_eq!(mirror.rows(case.tree.events()).len(), 5);
    case.add("six", 6);
    case.simulator.model().cancel_event(ANA, "event-1").unwrap();
    case.catch_up().await;
    case.until("it follows", async || mirror.is_table(&case).await).await;
    assert_eq!(mirror.rows(case.tree.events()).len(), 6);
    case.unlink(&case.tree, OWNER).await;
    case.until("deletions too", async || mirror.rows(case.tree.events()).is_empty()).await;
    case.link_ana().await;
    case.until("linked again", async || mirror.is_table(&case).await).await;
    // A listing of everything names the cancelled one too.
    assert_eq!(mirror.rows(case.tree.events()).len(), 6);
    let id = id(&created);
    case.until("all is delivered", async || {
        let target = shown(&case, id).await;
        target["state"] == "ok" && !target["last_synced_at"].is_null()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stands_where_it_was_asked_for() {
    let case = Case::linked(2).await;
    let mirror = Mirror::start();
    let created = mirror.created(&case, &["--schema", "calendars", "--table", "events"]).await;
    case.until("it is there", async || mirror.rows("calendars.events").len() == 2).await;
    assert_eq!(mirror.rows("calendars.events"), table(&case).await);
    let mut client = mirror.database.connect().unwrap();
    let mut value = |sql: &str| client.value(sql).unwrap();
    let types = value(
        "select string_agg(column_name || ' ' || data_type, ', ' order by column_name)
         from information_schema.columns where table_name = 'events'
           and column_name in ('pk', 'compound_identity', 'start_at', 'start_date', 'data')",
    );
    assert_eq!(
        types,
        "compound_identity text, data jsonb, pk bigint, start_at timestamp with time zone, \
         start_date date"
    );
    let keys = "select string_agg(contype::text, '' order by contype) from pg_constraint
                where conrelid = 'calendars.events'::regclass and contype in ('p', 'u')";
    assert_eq!(value(keys), "pu");
    // Its target goes; it stays.
    assert!(
        case.command(&["sync", "delete", id(&created), "--confirm", case.tree.events()])
            .await
            .status
            .success()
    );
    assert_eq!(mirror.rows("calendars.events").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_targets_do_not_share_a_mirror() {
    let case = Case::linked(2).await;
    let mirror = Mirror::start();
    let place = ["--schema", "calendars", "--table", "events"];
    let first = mirror.created(&case, &place).await;
    case.until("it is there", async || mirror.rows("calendars.events").len() == 2).await;
    // The list of calendars, by the same address.
    let url = mirror.url();
    let list = case.tree.list.table.as_str();
    let mut command = vec!["dbsync", "create", list, "--url", &url, "--period", "60"];
    command.extend(place);
    let refused = case.command(&command).await;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("is the mirror of the target {}", id(&first))), "{stderr}");
    // The same events by an address that nobody can tell is the same.
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let mut command =
        vec!["dbsync", "create", case.tree.events(), "--url", &elsewhere, "--period", "60"];
    command.extend(place);
    let refused = case.command(&command).await;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    let says = format!("take the mirror: table events is the mirror of the target {}", id(&first));
    assert!(stderr.contains(&says), "{stderr}");
    assert_eq!(mirror.rows("calendars.events"), table(&case).await);
    assert_eq!(shown(&case, id(&first)).await["state"], "ok");
    // Who is deleted leaves it to others.
    let delete = ["dbsync", "delete", id(&first), "--confirm", case.tree.events()];
    assert!(case.command(&delete).await.status.success());
    let second = create(&case, &elsewhere, &place).await;
    case.until("it is well", async || shown(&case, id(&second)).await["state"] == "ok").await;
    assert_eq!(mirror.rows("calendars.events"), table(&case).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_stored_is_named_and_the_others_arrive() {
    let case = Case::linked(3).await;
    let mirror = Mirror::start();
    let created = mirror.created(&case, &[]).await;
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    let (events, id) = (case.tree.events(), id(&created));
    let trigger = format!(
        "create function picky() returns trigger language plpgsql as $$ begin
           if new.google_id = 'event-6' then
             raise exception using errcode = '22021', message = 'no sixes';
           end if;
           return new;
         end $$;
         create trigger picky before insert on {events} for each row execute function picky()"
    );
    let mut client = mirror.database.connect().unwrap();
    client.query(&trigger).unwrap();
    for day in 4..=8 {
        case.add(&format!("event-{day}"), day);
    }
    case.catch_up().await;
    case.until("it is paused", async || shown(&case, id).await["state"] == "paused").await;
    let reason = shown(&case, id).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the row whose compound_identity is "), "{reason}");
    assert!(
        reason.contains("event-6 can't be stored there: no sixes (SQLSTATE 22021)"),
        "{reason}"
    );
    let six = table(&case).await.into_values().find(|row| row["google_id"] == "event-6");
    let six = six.unwrap()["pk"].as_i64().unwrap();
    let before = |rows: BTreeMap<i64, Value>| -> Vec<i64> {
        rows.into_keys().filter(|pk| *pk < six).collect()
    };
    assert_eq!(
        before(mirror.rows(events)),
        before(table(&case).await),
        "those before it are there"
    );
    client.query(&format!("drop trigger picky on {events}")).unwrap();
    assert!(case.command(&["dbsync", "resume", id]).await.status.success());
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_caught_up_with() {
    let case = Case::linked(3).await;
    // Not the server that others use.
    let cluster: &'static Cluster =
        Box::leak(Box::new(Cluster::start(&Options::default()).unwrap()));
    let mirror = Mirror { database: cluster.create_database().unwrap() };
    let created = mirror.created(&case, &[]).await;
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    cluster.kill().unwrap();
    case.add("four", 4);
    case.catch_up().await;
    let id = id(&created);
    case.until("it fails", async || shown(&case, id).await["state"] == "failing").await;
    let reason = shown(&case, id).await["reason"].to_string();
    assert!(reason.contains("no connection") || reason.contains("broke off"), "{reason}");
    assert!(!reason.contains(PASSWORD) && !case.log().contains(PASSWORD));
    assert!(case.log().contains("the database failed; it is tried again"));
    cluster.start_again().unwrap();
    case.until("it is caught up with", async || mirror.is_table(&case).await).await;
    case.until("it is well", async || shown(&case, id).await["state"] == "ok").await;
    assert_eq!(mirror.rows(case.tree.events()).len(), 4);
    // Nobody there can be told that it is gone.
    cluster.kill().unwrap();
    let deleted = case.json(&["dbsync", "delete", id, "--confirm", case.tree.events()]).await;
    let says = format!("delete from \"public\".rowgate_mirrors where target = '{id}'");
    assert!(deleted["message"].as_str().unwrap().contains(&says), "{deleted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_is_lost_does_no_harm() {
    for edge in ["page_delivered", "bookmark_moved"] {
        let mut case = Case::with(settings().env("ROWGATE_DELIVERY_TIMEOUT_MS", "2000")).await;
        for day in 1..=3 {
            case.add(&format!("event-{day}"), day);
        }
        case.link_ana().await;
        let mirror = Mirror::start();
        mirror.created(&case, &[]).await;
        case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
        case.set_env("ROWGATE_FAILPOINT", Some(&format!("{edge}:1")));
        case.restart().await;
        case.add("four", 4);
        case.simulator.model().cancel_event(ANA, "event-1").unwrap();
        case.refresh(&case.tree, OWNER, ANA).await;
        case.ended().await;
        assert_eq!(mirror.rows(case.tree.events()).len(), 4, "{edge}: committed there");
        case.set_env("ROWGATE_FAILPOINT", None);
        case.restart().await;
        case.settle().await;
        case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_database_is_refused_with_its_reason() {
    let case = Case::start().await;
    let mirror = Mirror::start();
    let (good, events) = (mirror.url(), case.tree.events());
    let elsewhere = |host: &str| format!("postgres://u:{PASSWORD}@{host}/d");
    let closed = elsewhere("127.0.0.1:1");
    for (url, arguments, reason) in [
        (
            format!("snowflake://u:{PASSWORD}@a.example/d"),
            vec![],
            "other databases than PostgreSQL",
        ),
        (elsewhere("a.example").replace("/d", "/d?host=/tmp"), vec![], "sslmode"),
        (elsewhere("169.254.169.254"), vec![], "isn't a public address"),
        (elsewhere("10.0.0.1"), vec![], "isn't a public address"),
        (elsewhere("[::ffff:10.0.0.1]"), vec![], "isn't a public address"),
        (elsewhere("0x7f.1"), vec![], "isn't a public address"),
        (closed, vec![], "must answer `select 1`: no connection"),
        (good.replace("rowgate:", "nobody:"), vec![], "it refuses this connection"),
        (format!("{good}?sslmode=require"), vec![], "the server offers no TLS"),
        (good.clone(), vec!["--schema", "Bad"], "schema must be lower-case"),
        (good.clone(), vec!["--table", "rowgate_x"], "table must be lower-case"),
    ] {
        let mut command = vec!["dbsync", "create", events, "--url", &url, "--period", "60"];
        command.extend(&arguments);
        let output = case.command(&command).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{reason}: {stderr}");
        assert!(stderr.contains(reason), "{reason}: {stderr}");
        assert!(!stderr.contains(PASSWORD), "{stderr}");
    }
    assert_eq!(case.json(&["dbsync", "list"]).await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_keep_apart_and_show_no_password() {
    let case = Case::linked(1).await;
    let (mirror, receiver) = (Mirror::start(), crate::receiver::Receiver::start());
    let created = mirror.created(&case, &[]).await;
    let posted = case.target(&receiver, &[]).await;
    let id = id(&created);
    let url = created["connection_url"].as_str().unwrap();
    assert!(url.starts_with("postgres://***:***@127.0.0.1:"), "{url}");
    assert_eq!(case.json(&["dbsync", "list"]).await.as_array().unwrap().len(), 1);
    assert_eq!(case.json(&["httpsync", "list"]).await.as_array().unwrap().len(), 1);
    for (command, id) in [("httpsync", id), ("dbsync", posted.as_str())] {
        let refused = case.command(&[command, "delete", id]).await;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains(&format!("there is no target `{id}`")), "{stderr}");
    }
    assert_eq!(case.json(&["dbsync", "pause", id]).await["state"], "paused");
    assert_eq!(case.json(&["dbsync", "resume", id]).await["state"], "ok");
    let updated = case.json(&["dbsync", "update", id, "--period", "120"]).await;
    assert_eq!(updated["period_seconds"], 120);
    let arguments = ["dbsync", "update-creds", id, "-u", "rowgate", "-p", "other"];
    assert_eq!(case.json(&arguments).await["connection_url"], created["connection_url"]);
    let refused = case.command(&["dbsync", "update-creds", id, "-u", "nobody", "-p", "x"]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it refuses this connection"));
    case.until("the mirror is the table", async || mirror.is_table(&case).await).await;
    assert!(!case.json(&["dbsync", "list"]).await.to_string().contains(PASSWORD));
    assert!(!case.log().contains(PASSWORD));
}
