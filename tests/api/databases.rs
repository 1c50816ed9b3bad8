//! An organization's tables by SQL: through the API, and by a program of one's own.

use serde_json::{Value, json};
use sqlx::Connection as _;
use tests::{Settings, is_on_postgres};

use crate::setup::{Api, Person, Reply};
use crate::steps::LIST;

const SQL: &str = "/v1/db/default/sql";

async fn query(person: &Person<'_>, query: &str) -> Result<Value, (u16, String)> {
    let reply = person.post(SQL, json!({ "query": query })).await;
    match reply.status {
        200 => Ok(reply.body),
        status => Err((status, reply.code().to_owned())),
    }
}

#[tokio::test]
async fn queries_are_answered_and_limited() {
    let limits = Settings::default()
        .env("ROWGATE_LIMITS_API_SQL_ROWS_MAX", "3")
        .env("ROWGATE_LIMITS_API_SQL_BYTES_MAX", "5000")
        .env("ROWGATE_LIMITS_API_SQL_TIMEOUT_MS", "200");
    let api = Api::start_with(limits).await;
    let owner = api.owner().await;
    let answer = query(&owner, "select 1 as a, 'x' as b, null as c").await.unwrap();
    let whole = json!({
        "headers": ["a", "b", "c"], "rows": [[1, "x", null]], "max_rows_reached": false,
    });
    assert_eq!(answer, whole);
    let counted = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 9)
                   select x from n";
    let cut = query(&owner, counted).await.unwrap();
    assert_eq!(cut["rows"], json!([[1], [2], [3]]));
    assert_eq!(cut["max_rows_reached"], true);
    let prompt = owner.post(SQL, json!({})).await;
    assert_eq!(prompt.header("whdb-prompt"), Some("query"));
    let large =
        if is_on_postgres() { "select repeat('x', 6000)" } else { "select hex(zeroblob(3000))" };
    let endless =
        "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n";
    // Each level costs a parser something.
    let deep = format!("select {}1{}", "abs(".repeat(20_000), ")".repeat(20_000));
    let slow = if is_on_postgres() { "select pg_sleep(60)" } else { endless };
    for refused in
        [large, endless, slow, &deep, "selec 1", "", "select * from nowhere", "select 1; select 2"]
    {
        let refusal = query(&owner, refused).await.unwrap_err();
        assert!(matches!(refusal.0, 403 | 422), "{refused}: {refusal:?}");
    }
}

#[tokio::test]
async fn queries_leave_room_for_others() {
    let few = Settings::default()
        .env("ROWGATE_LIMITS_API_SQL_TIMEOUT_MS", "60000")
        .env("ROWGATE_LIMITS_API_SQL_QUERIES_MAX", "4")
        .env("ROWGATE_LIMITS_API_SQL_ORGANIZATION_QUERIES_MAX", "2")
        .env("ROWGATE_LIMITS_API_SQL_WAIT_MS", "100");
    let api = Api::start_with(few).await;
    let owner = api.owner().await;
    let nobody = api.nobody();
    owner.post("/v1/organizations/create", json!({ "name": "Other" })).await.ok();
    let [list, calendar, _] = owner.make_tree().await;
    // As long as there is no calendar, it ends at once.
    let sql = format!(
        "with recursive n(x) as (select 1 union all select x + 1 from n
           where x < (select 1000000000000 * count(*) from {}))
         select count(*) from n",
        calendar.table
    );
    let kept = json!({ "description": "d", "sql": sql, "public": true });
    let kept = owner.post("/v1/organizations/default/saved_queries/create", kept).await.ok();
    let public = format!("/v1/saved_queries/{}/run", kept["id"].as_str().unwrap());
    api.link(&list, "ana").await;
    api.host.settle().await;
    let refused = |reply: &Reply| {
        assert_eq!(reply.refused(), (429, "too_many_requests"));
        assert!(reply.header("retry-after").unwrap().parse::<i64>().unwrap() > 0);
        assert!(reply.body.to_string().contains("2 of one organization"), "{}", reply.body);
    };
    {
        // One of two strangers runs on, the other finds no room; the organization's own people do.
        let (one, two) = (nobody.get(&public), nobody.get(&public));
        let (mut one, mut two) = (std::pin::pin!(one), std::pin::pin!(two));
        refused(&tokio::select! { reply = &mut one => reply, reply = &mut two => reply });
        assert_eq!(owner.sql("select 1").await, [json!([1])]);
        // Then one of them runs on, too, and all of the organization's room is taken.
        let body = json!({ "query": sql });
        let (three, four) = (owner.post(SQL, body.clone()), owner.post(SQL, body));
        let (mut three, mut four) = (std::pin::pin!(three), std::pin::pin!(four));
        refused(&tokio::select! { reply = &mut three => reply, reply = &mut four => reply });
        owner.post("/v1/db/other/sql", json!({ "query": "select 1" })).await.ok();
    }
    // Whoever hangs up makes room.
    let works = async || query(&owner, "select 1").await.is_ok();
    api.host.until("there is room again", works).await;
}

/// What a member tries who wants more than the own organization.
#[tokio::test]
async fn nothing_else_is_reached() {
    let api = Api::start().await;
    let owner = api.owner().await;
    owner.post("/v1/organizations/create", json!({ "name": "Other" })).await.ok();
    owner.post("/v1/db/other/sql", json!({ "query": "select 1" })).await.ok();
    owner.make(LIST, &["planted0secret", "planted0id", "planted0key"]).await;
    let data_dir = api.host.data_dir().display().to_string();
    let attach = format!("attach '{data_dir}/control.db' as c");
    let behind = format!("select 1; attach '{data_dir}/control.db' as c");
    // SQLite takes all up to the bracket for one variable, so the text goes on behind it.
    let hidden = format!(
        "select $1(');pragma query_only=0;attach '{data_dir}/control.db' as c;
         create temp view rowgate_owners as select email as fence from c.customers;
         select fence from rowgate_owners --'"
    );
    let lite = [
        attach.as_str(),
        &behind,
        &hidden,
        "select @a(';'); attach 'x' as y",
        "vacuum into 'copy.db'",
        "select load_extension('x')",
        "select writefile('x', 'y')",
        "select readfile('key')",
        "select * from customers",
        "pragma query_only = 0",
        "pragma journal_mode = delete",
        "pragma writable_schema = on",
        "detach main",
        "select 1; select load_extension('x')",
        "select hex(zeroblob(2000000000))",
        "update rowgate_owners set fence = 0",
        "create table x (y)",
        "insert into rowgate_owners (owner_id) values (1)",
        "with x as (select 1) delete from rowgate_owners",
    ];
    let server = [
        "select * from org_other.x",
        "select * from rowgate_default.rowgate_cursors",
        "select * from customers",
        "select pg_read_file('/etc/passwd')",
        "select * from dblink('dbname=postgres', 'select 1') as t(x int)",
        "select set_config('role', 'postgres', false)",
        "copy (select 1) to program 'true'",
        "set role postgres",
        "set session authorization postgres",
        "select pg_ls_dir('/')",
        "select lo_import('/etc/passwd')",
        "copy (select 1) to '/tmp/x'",
        "do $$ begin end $$",
        "update org_default.x set y = 1",
        "with x as (select 1), y as (delete from org_default.x returning 1) select * from y",
        "create table x ()",
        "select 1; commit; create table x ()",
    ];
    let tried = if is_on_postgres() { &server[..] } else { &lite[..] };
    for text in tried {
        let answer = query(&owner, text).await;
        assert_eq!(answer, Err((403, "invalid_query".into())), "{text}");
    }
    let answer = query(&owner, &format!("select * from {}", "google_calendar_list_v1_none")).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_program_connects_by_the_url() {
    let api = Api::start().await;
    let owner = api.owner().await;
    let member = api.member(&owner).await;
    let made = owner.make(LIST, &["s", "id", "secret"]).await;
    let read = format!("select count(*) from {}", made.table);
    let write = format!("delete from {}", made.table);
    let connection = member.get("/v1/db/default/connection").await.ok();
    let url = connection["connection_url"].as_str().unwrap();
    if is_on_postgres() {
        let mut program = sqlx::PgConnection::connect(url).await.unwrap();
        let count: i64 = sqlx::query_scalar(&read).fetch_one(&mut program).await.unwrap();
        assert_eq!(count, 0);
        assert!(sqlx::query(&write).execute(&mut program).await.is_err());
        let prompt = owner.post("/v1/db/default/roll_credentials", json!({})).await;
        assert_eq!(prompt.header("whdb-prompt"), Some("guard_confirm"));
        let rolled = owner.answer(&prompt.body, "").await.ok();
        let new = rolled["connection_url"].as_str().unwrap();
        assert_ne!(url, new);
        assert!(sqlx::PgConnection::connect(new).await.is_ok());
        assert_eq!(owner.sql(&read).await, [json!([0])]);
    } else {
        let sqlite = format!("sqlite:{}", url.strip_prefix("file:").unwrap());
        let mut program = sqlx::SqliteConnection::connect(&sqlite).await.unwrap();
        let count: i64 = sqlx::query_scalar(&read).fetch_one(&mut program).await.unwrap();
        assert_eq!(count, 0);
        assert!(sqlx::query(&write).execute(&mut program).await.is_err());
        let roll =
            owner.post("/v1/db/default/roll_credentials", json!({ "guard_confirm": "" })).await;
        assert_eq!(roll.refused(), (409, "conflict"));
    }
}
