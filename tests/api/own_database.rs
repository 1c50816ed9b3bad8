//! Moves of an organization's tables over the API: who may, where to, and who reads them there.

use postgres_cluster::{Cluster, Database};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tests::Settings;

use crate::setup::{Api, Person};
use crate::steps::OF;

const START: &str = "/v1/db/default/migrate_database";
const LIST: &str = "/v1/db/default/migrations";

const READER_WE_MADE: &str =
    "select count(*) from pg_roles where rolname = current_database() || '_rowgate_reader'";

fn allowed() -> Settings {
    Settings::default()
        .env("ROWGATE_ALLOW_OWN_DATABASES", "true")
        .env("ROWGATE_DELIVERY_ALLOW_HTTP", "true")
        .env("ROWGATE_RUN_LEASE_TTL_MS", "3000")
        .env("ROWGATE_RUN_POLL_MS", "100")
}

fn database() -> (Database<'static>, String) {
    let database = Cluster::shared().create_database().unwrap();
    let url = database.url().replacen('@', ":hush-0451@", 1);
    (database, url)
}

fn value(database: &Database<'_>, sql: &str) -> String {
    database.connect().unwrap().value(sql).unwrap()
}

async fn last(person: &Person<'_>) -> Value {
    person.get(LIST).await.ok()["items"][0].clone()
}

async fn moved(api: &Api, person: &Person<'_>) {
    api.host.until("the tables have moved", async || last(person).await["status"] == "done").await;
}

async fn connection(person: &Person<'_>) -> String {
    let shown = person.get("/v1/db/default/connection").await.ok();
    shown["connection_url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_operator_must_allow_it() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let (_database, url) = database();
    let refused = owner.post(START, json!({ "admin_url": url })).await;
    assert_eq!(refused.refused(), (403, "migrations_disabled"));
    let says = refused.body["error"]["message"].as_str().unwrap();
    assert!(says.contains("ROWGATE_ALLOW_OWN_DATABASES"), "{says}");
    assert_eq!(owner.get(LIST).await.ok()["total_count"], 0);
}

#[tokio::test]
async fn only_what_is_fit_and_allowed_is_taken() {
    let api = Api::start_with(allowed()).await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let (database, url) = database();
    let prompt = owner.post(START, json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("admin_url"));
    assert_eq!(prompt.body["error"]["state_machine_step"]["prompt_is_secret"], true);
    assert_eq!(member.post(START, json!({ "admin_url": url })).await.refused(), (403, "forbidden"));
    let missing = url.replacen(database.name(), "there_is_none", 1);
    for (refused, reason) in [
        ("mysql://u:hush-0451@a.example/d", "other databases than PostgreSQL"),
        ("postgres://u:hush-0451@169.254.169.254/d", "169.254.169.254"),
        ("postgres://u:hush-0451@[::ffff:10.0.0.1]/d", "10.0.0.1"),
        ("postgres://u:hush-0451@127.0.0.1:1/d", "127.0.0.1:1"),
        ("postgres://u:hush-0451@127.0.0.1/d?host=/var/run", "sslmode"),
        (&missing, "does not exist"),
    ] {
        let reply = owner.post(START, json!({ "admin_url": refused })).await;
        assert_eq!(reply.refused(), (400, "invalid_migration_database"), "{refused}");
        let says = reply.body.to_string();
        assert!(says.contains(reason) && says.contains("admin_url"), "{refused}: {says}");
        assert!(!says.contains("hush-0451"), "{says}");
    }
    let same = json!({ "admin_url": url, "readonly_url": url });
    let same = owner.post(START, same).await;
    assert_eq!(same.refused(), (400, "invalid_migration_database"));
    assert!(same.body.to_string().contains("readonly_url must be of another role"));
    database.connect().unwrap().query("create table theirs (x int)").unwrap();
    let full = owner.post(START, json!({ "admin_url": url })).await;
    assert_eq!(full.refused(), (400, "invalid_migration_database"));
    assert!(full.body.to_string().contains("has a theirs"), "{}", full.body);
    assert_eq!(owner.get(LIST).await.ok()["total_count"], 0);
    assert!(!api.host.log().contains("hush-0451"));
}

/// One who may neither write nor see what is beside the tables.
async fn reads_only(url: &str, table: &str) {
    let mut program = sqlx::PgConnection::connect(url).await.unwrap();
    let read = format!("select count(*) from {table}");
    sqlx::query_scalar::<_, i64>(&read).fetch_one(&mut program).await.unwrap();
    for refused in [
        format!("delete from {table}"),
        "create table public.x ()".to_owned(),
        "select * from rowgate.rowgate_owners".to_owned(),
    ] {
        assert!(sqlx::query(&refused).execute(&mut program).await.is_err(), "{refused}");
    }
}

#[tokio::test]
async fn one_at_a_time_and_nothing_else_meanwhile() {
    let api = Api::start_with(allowed()).await;
    let owner = api.owner().await;
    let [list, calendar, _] = owner.make_tree().await;
    let (database, url) = database();
    // Until this ends the move can't begin.
    let mut customer = database.connect().unwrap();
    customer.query("begin").unwrap();
    customer.query("create schema rowgate").unwrap();
    let begun = owner.post(START, json!({ "admin_url": url })).await.ok();
    assert_eq!(begun["status"], "copying");
    let of = |below: &str| format!("{OF}/{}/{below}", calendar.id);
    for (path, body) in [
        (START.to_owned(), json!({ "admin_url": url })),
        (of("rename_table"), json!({ "new_name": "calendars" })),
        (of("delete"), json!({ "confirm": calendar.table })),
        ("/v1/db/default/roll_credentials".to_owned(), json!({ "guard_confirm": "" })),
        ("/v1/organizations/default/close".to_owned(), json!({ "confirm": "default" })),
    ] {
        let reply = owner.post(&path, body).await;
        assert_eq!(reply.refused(), (409, "conflict"), "{path}");
        assert!(reply.body.to_string().contains("being moved"), "{}", reply.body);
    }
    customer.query("rollback").unwrap();
    moved(&api, &owner).await;

    // Commands on the data directory don't know what this host is allowed.
    api.link(&list, "ana").await;
    let owners = |table: &str| format!("select count(distinct external_owner_id) from {table}");
    let counted = owners(&calendar.table);
    api.host.until("ana's are there", async || owner.sql(&counted).await == [json!([1])]).await;
    let sees = format!("select count(*) > 0 from public.{}", calendar.table);
    assert_eq!(value(&database, &sees), "t");
    let made = connection(&owner).await;
    assert!(made.contains("rowgate_reader") && !made.contains("hush-0451"), "{made}");
    reads_only(&made, &calendar.table).await;
    for text in ["select * from rowgate.rowgate_owners", "create table public.x ()"] {
        let refused = owner.post("/v1/db/default/sql", json!({ "query": text })).await;
        assert_eq!(refused.refused(), (403, "invalid_query"), "{text}");
    }
    let rolled = owner.post("/v1/db/default/roll_credentials", json!({ "guard_confirm": "" }));
    let rolled = rolled.await.ok()["connection_url"].as_str().unwrap().to_owned();
    assert_ne!(rolled, made);
    reads_only(&rolled, &calendar.table).await;
    owner.post(&of("rename_table"), json!({ "new_name": "calendars" })).await.ok();
    reads_only(&rolled, "calendars").await;

    // The same database again: its URLs are given anew.
    assert_eq!(value(&database, READER_WE_MADE), "1");
    let role = format!("{}_theirs", database.name());
    database.connect().unwrap().query(&format!("create role {role} login")).unwrap();
    let given = url.replacen("rowgate:hush-0451@", &format!("{role}:hush-0452@"), 1);
    let again = json!({ "admin_url": url, "readonly_url": given });
    let again = owner.post(START, again).await.ok();
    assert_eq!((&again["status"], &again["current"]), (&json!("done"), &json!(true)));
    assert_eq!(connection(&owner).await, given);
    reads_only(&given, "calendars").await;
    assert_eq!(value(&database, READER_WE_MADE), "0", "it reads no more");
    let roll = owner.post("/v1/db/default/roll_credentials", json!({ "guard_confirm": "" })).await;
    assert_eq!(roll.refused(), (409, "conflict"));
    assert_eq!(owner.get(LIST).await.ok()["total_count"], 1);
    api.link(&list, "ben").await;
    let counted = owners("calendars");
    api.host.until("ben's are there", async || owner.sql(&counted).await == [json!([2])]).await;
    assert!(!api.host.log().contains("hush-045"), "no password is logged");
}

#[tokio::test]
async fn a_closed_organization_leaves_the_customer_the_tables() {
    let api = Api::start_with(allowed()).await;
    let owner = api.owner().await;
    let [list, calendar, _] = owner.make_tree().await;
    api.link(&list, "ana").await;
    api.host.settle().await;
    let (database, url) = database();
    owner.post(START, json!({ "admin_url": url })).await.ok();
    moved(&api, &owner).await;
    let counted = format!("select count(*) from public.{}", calendar.table);
    let before = value(&database, &counted);
    assert_ne!(before, "0");
    let close = "/v1/organizations/default/close";
    let prompt = owner.post(close, json!({})).await;
    let asks = prompt.body["error"]["state_machine_step"]["prompt"].as_str().unwrap();
    assert!(asks.contains("stay in postgres://***:***@"), "{asks}");
    let closed = owner.answer(&prompt.body, "default").await.ok();
    let says = closed["output"].as_str().unwrap();
    assert!(says.contains("stay in postgres://***:***@"), "{says}");
    assert_eq!(value(&database, &counted), before);
    let ours = "select count(*) from pg_namespace where nspname = 'rowgate'";
    assert_eq!(value(&database, ours), "0");
    assert_eq!(value(&database, READER_WE_MADE), "0");
}

/// Whether a customer's server lets anybody in.
fn lets_in(database: &Database<'_>, does: bool) {
    let sql = format!("alter database \"{}\" allow_connections {does}", database.name());
    Cluster::shared().maintenance().unwrap().query(&sql).unwrap();
}

/// Neither where it is restored, nor by the host that tries it again.
#[tokio::test]
async fn what_a_server_says_at_a_restore_shows_no_password() {
    let mut api = Api::start_with(allowed().on_postgres()).await;
    let (database, url) = database();
    {
        let owner = api.owner().await;
        owner.make_tree().await;
        owner.post(START, json!({ "admin_url": url })).await.ok();
        moved(&api, &owner).await;
    }
    api.host.stop().await;
    let says = "create function says() returns trigger language plpgsql as $$
                  begin raise exception 'I know hush-0451'; end $$;
                create trigger says before update on rowgate.rowgate_feed_head
                  for each statement execute function says()";
    database.connect().unwrap().query(says).unwrap();
    let settings = [("ROWGATE_DELIVERY_ALLOW_HTTP", "true")];
    let restored = api.host.command_with(&["restore", "--server"], &settings).await;
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success() && said.contains("I know ***"), "{said}");
    assert!(!said.contains("hush-0451"), "{said}");
    api.host.restart().await;
    api.host.until("the host tries it", async || api.host.log().contains("I know ***")).await;
    assert!(!api.host.log().contains("hush-0451"));
}

/// All others go on at once, and it as soon as it answers.
#[tokio::test]
async fn one_that_is_away_holds_no_restore_up() {
    let mut api = Api::start_with(allowed().on_postgres()).await;
    let (database, url) = database();
    let (list, calendar) = {
        let owner = api.owner().await;
        let [list, calendar, _] = owner.make_tree().await;
        api.link(&list, "ana").await;
        api.host.settle().await;
        owner.post(START, json!({ "admin_url": url })).await.ok();
        moved(&api, &owner).await;
        (list, calendar)
    };
    api.host.stop().await;
    lets_in(&database, false);
    let settings = [("ROWGATE_DELIVERY_ALLOW_HTTP", "true")];
    let restored = api.host.command_with(&["restore", "--server"], &settings).await;
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success() && said.contains("default rests"), "{said}");
    assert!(!said.contains("hush-0451"), "{said}");
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(
        (&restored["organizations"], &restored["organizations_left"]),
        (&json!(0), &json!(1))
    );
    api.host.restart().await;
    api.link(&list, "ben").await;
    lets_in(&database, true);
    let owner = api.owner().await;
    let counted = format!("select count(distinct external_owner_id) from {}", calendar.table);
    // Until it answers again, and the role that reads was told its password, queries are told to wait.
    let both_are_there = async || {
        let query = json!({ "query": counted });
        let answered = owner.post("/v1/db/default/sql", query).await;
        assert!(matches!(answered.status, 200 | 503), "{}", answered.body);
        answered.body["rows"] == json!([[2]])
    };
    api.host.until("ben's are there, too", both_are_there).await;
}
