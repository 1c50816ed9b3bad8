//! Parts that are there already, and passwords whose change broke off.

use std::time::Duration;

use postgres_cluster::Cluster;

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened};
use crate::store::{Dialect, feed};

/// Longer than it takes to open a part.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a role reads the tables, one that was made just now, too; it and nobody else connects, and gets no
/// more than it should.
const MAY_READ: &str = "
    select r.rolcanlogin and r.rolconnlimit = 20
      and has_schema_privilege(r.oid, 'org_default', 'usage')
      and has_table_privilege(r.oid, 'org_default.to_come', 'select')
      and has_database_privilege(r.oid, d.oid, 'connect')
      and not has_database_privilege('public', d.oid, 'connect')
      and coalesce((select 'statement_timeout=60s' = any (s.setconfig) from pg_db_role_setting s
                    where s.setdatabase = d.oid and s.setrole = r.oid), false)
    from pg_roles r, pg_database d
    where r.rolname = $1 and d.datname = current_database()";

async fn opened() -> (Opened, OrganizationId) {
    let store = fixture::open(Dialect::Postgres, Clock::System).await;
    let of = store.organization("default").await.unwrap().id;
    drop(store.replication(of).await.unwrap());
    (store, of)
}

async fn role(store: &Store) -> String {
    let name = "select current_database() || '_default_reader'";
    query_scalar(name).fetch_one(store.control()).await.unwrap()
}

/// What the server keeps of the role's password: something else after each time that it is told.
async fn kept(store: &Store) -> String {
    fixture::kept(&role(store).await)
}

/// Whether the server knows the password of the role by this text.
async fn knows(store: &Store, password: &str) -> bool {
    fixture::knows(&kept(store).await, password)
}

/// The password that somebody gets who asks for the connection.
async fn shown(store: &Store, of: OrganizationId) -> String {
    let url = store.connection_url(of).await.unwrap();
    url::Url::parse(&url).unwrap().password().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_that_broke_off_is_gone_on_with() {
    let (store, of) = opened().await;
    let before = shown(&store, of).await;
    assert!(knows(&store, &before).await);
    // Whoever made it died before the server was told. This host has the part open.
    store.seal_another(of).await.unwrap();
    assert!(knows(&store, &before).await);
    let after = shown(&store, of).await;
    assert_ne!(after, before);
    assert!(knows(&store, &after).await);
    // It died before it wrote down that the server was told.
    fixture::run(&store, "update organizations set reader_prepared = 0".to_owned()).await;
    assert_eq!(shown(&store, of).await, after);
    assert!(knows(&store, &after).await && store.reader(of).await.unwrap().is_told);
    // Nobody has asked before a host opens the part.
    store.seal_another(of).await.unwrap();
    store.opened.let_go(of);
    drop(store.replication(of).await.unwrap());
    let Reader { password, is_told, .. } = store.reader(of).await.unwrap();
    assert!(is_told && knows(&store, &password).await);
}

#[tokio::test]
async fn a_part_that_is_there_is_opened_while_others_are_made() {
    let (store, of) = opened().await;
    let others = store.server.as_ref().unwrap().alone().await.unwrap();
    store.opened.let_go(of);
    let opened = tokio::time::timeout(PATIENCE, store.replication(of)).await;
    let opened = opened.expect("it waits for nobody").unwrap();
    feed::head(&opened).await.unwrap();
    let shown = tokio::time::timeout(PATIENCE, store.connection_url(of)).await;
    shown.expect("nor does who reads it").unwrap();
    drop(others);
}

#[tokio::test]
async fn who_waited_opens_what_another_host_made() {
    let (store, of) = opened().await;
    let (told, others) =
        (kept(&store).await, store.server.as_ref().unwrap().alone().await.unwrap());
    fixture::run(&store, "update organizations set reader_prepared = 0".to_owned()).await;
    store.opened.let_go(of);
    let made = async {
        while fixture::waiting(&store).await == 0 {
            tokio::task::yield_now().await;
        }
        let made = format!("update organizations set reader_prepared = {PREPARED}");
        fixture::run(&store, made).await;
        drop(others);
    };
    let (opened, ()) = tokio::join!(store.replication(of), made);
    feed::head(&opened.unwrap()).await.unwrap();
    assert_eq!(kept(&store).await, told, "the server is told once");
}

#[tokio::test]
async fn what_a_newer_host_made_is_enough() {
    let (store, of) = opened().await;
    let newer = PREPARED + 1;
    let made = format!("update organizations set reader_prepared = {newer}");
    fixture::run(&store, made).await;
    assert!(store.reader(of).await.unwrap().is_told);
    let lost = format!("revoke usage on schema org_default from \"{}\"", role(&store).await);
    store.replication(of).await.unwrap().execute(query(lost)).await.unwrap();
    store.opened.let_go(of);
    drop(store.replication(of).await.unwrap());
    let prepared = "select reader_prepared from organizations where id = $1";
    let prepared: i64 = query_scalar(prepared).bind(of).fetch_one(store.control()).await.unwrap();
    assert_eq!(prepared, newer, "it needn't make that again");
}

#[tokio::test]
async fn what_a_part_lacks_is_made() {
    let (store, of) = opened().await;
    let (role, data) = (role(&store).await, format!("{}_data", control(&store).await));
    for lost in [
        format!("revoke usage on schema org_default from \"{role}\""),
        format!("revoke connect on database \"{data}\" from \"{role}\""),
        format!("grant connect on database \"{data}\" to public"),
        format!(
            "alter default privileges in schema org_default revoke select on tables from \"{role}\""
        ),
        format!("alter role \"{role}\" in database \"{data}\" reset all"),
        format!("alter role \"{role}\" nologin"),
        format!("alter role \"{role}\" connection limit -1"),
        "drop schema rowgate_default cascade".to_owned(),
    ] {
        let database = store.replication(of).await.unwrap();
        database.execute(query(lost.clone())).await.unwrap();
        store.opened.let_go(of);
        let database = store.replication(of).await.unwrap();
        feed::head(&database).await.unwrap();
        database.execute(query("create table org_default.to_come (id bigint)")).await.unwrap();
        let may_read: bool =
            query_scalar(MAY_READ).bind(role.clone()).fetch_one(&database).await.unwrap();
        assert!(may_read, "{lost}");
        database.execute(query("drop table org_default.to_come")).await.unwrap();
        let server = store.server.as_ref().unwrap();
        assert!(server.open_ready("default").await.is_some(), "once: {lost}");
    }
}

/// The databases were dropped and made anew, the roles are the server's.
#[tokio::test]
async fn a_role_that_an_earlier_host_left_reads_again() {
    let store = fixture::open(Dialect::Postgres, Clock::System).await;
    let left = format!("create role \"{}\" login connection limit 7", role(&store).await);
    fixture::run(&store, left).await;
    let of = store.organization("default").await.unwrap().id;
    drop(store.replication(of).await.unwrap());
    let password = shown(&store, of).await;
    assert!(knows(&store, &password).await);
    let limit = "select rolconnlimit::bigint from pg_roles where rolname = $1";
    let limit = query_scalar::<i64>(limit).bind(role(&store).await);
    assert_eq!(limit.fetch_one(store.control()).await.unwrap(), 20);
}

/// What it may is nobody's to take away but a superuser's.
#[tokio::test]
async fn a_role_that_may_more_than_read_is_not_taken() {
    let store = fixture::open(Dialect::Postgres, Clock::System).await;
    let of = store.organization("default").await.unwrap().id;
    let role = role(&store).await;
    let superuser = |sql: String| Cluster::shared().maintenance().unwrap().query(&sql).unwrap();
    superuser(format!("create role \"{role}\""));
    for attribute in ["superuser", "createdb", "createrole", "replication", "bypassrls"] {
        superuser(format!("alter role \"{role}\" {attribute}"));
        let refused = store.replication(of).await.unwrap_err().to_string();
        assert!(refused.contains("may more than read"), "{attribute}: {refused}");
        assert_eq!(fixture::kept(&role), "", "{attribute}: it was given a password");
        let server = store.server.as_ref().unwrap();
        server.drop_replication("default").await.unwrap();
        let is_there = format!("select count(*) from pg_roles where rolname = '{role}'");
        let there = superuser(is_there);
        assert_eq!(there[0][0].as_deref(), Some("1"), "{attribute}: it was dropped");
        superuser(format!("alter role \"{role}\" no{attribute}"));
    }
}

async fn control(store: &Store) -> String {
    let name = "select current_database()::text";
    query_scalar(name).fetch_one(store.control()).await.unwrap()
}
