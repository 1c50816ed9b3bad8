//! From a file and from a server to a database of a customer's: everything that lies beside each other
//! goes along.

use std::sync::Arc;
use std::time::Duration;

use postgres_cluster::{Cluster, Database as Customers};
use rowgate_manifest::ColumnType;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::delivery::{DestinationRules, OwnDatabases};
use crate::egress::Relays;
use crate::model::OrganizationId;
use crate::rows::{TableSpec, fixture as samples};
use crate::store::feed::{self, Bookmark, Page, PageLimits};
use crate::store::fixture::{self, Opened, on_both};
use crate::store::moves::{Found, Urls, work};
use crate::store::{
    Database, Dialect, Record, SessionLimits, Store, endings, query, query_as, query_scalar, tables,
};

on_both! {
    everything_goes_along,
    who_was_given_up_writes_nothing_any_more,
    what_was_left_behind_goes_after_a_while,
    tables_that_changed_meanwhile_are_not_switched_to,
    a_table_that_is_half_renamed_does_not_move,
    what_moves_is_not_deleted_and_what_is_deleted_does_not_move,
    a_closed_organizations_tables_stay_in_a_database_of_its_own,
    one_that_is_away_is_waited_for_a_day,
}

const TABLE: &str = "things_of_acme";
const ROWS: i64 = 250;
const COMMITS: i64 = 10;
/// What a lease lasts; so long a server's claims may still be under way.
const TTL: Duration = Duration::from_secs(3);

struct Case {
    store: Opened,
    organization: OrganizationId,
    source: Database,
    spec: TableSpec,
    customer: Customers<'static>,
}

impl Case {
    /// An integration with rows of all types, and something in each table beside.
    async fn new(dialect: Dialect) -> Self {
        let store = fixture::open(dialect, Clock::System).await;
        let organization = store.organization("default").await.unwrap().id;
        let manifest = samples::sample();
        store.install_plugin(b"wasm", "aaaaaaaa", &manifest).await.unwrap();
        store.activate_plugin("aaaaaaaa").await.unwrap();
        let integration = format!(
            "insert into integrations (id, organization_id, plugin, service, table_name, root_id,
               created_at, number)
             values ('svi_1', {organization}, 'sample', 'thing_v1', '{TABLE}', 'svi_1', 0, 1)"
        );
        fixture::run(&store, integration).await;
        let rules = DestinationRules { allow_http: true, allow_private_addresses: false };
        // Sockets of tests beside this one have other names.
        let ways = OwnDatabases::new(Relays::new(Chance::from_system()).unwrap(), rules);
        let limits = SessionLimits { lease_ttl: Duration::from_secs(30), connections_max: 4 };
        store.reach_outside(Arc::new(ways), limits);
        let source = store.replication(organization).await.unwrap();
        let spec = TableSpec::new(&manifest, "thing_v1", TABLE).unwrap();
        let layout = tables::layout(&source).await.unwrap();
        tables::create_all(&source, vec![Arc::new(spec.clone())], layout).await.unwrap();
        run(&source, filled(dialect, &spec)).await;
        let customer = Cluster::shared().create_database().unwrap();
        Self { store, organization, source, spec, customer }
    }

    /// Moves the tables; answers where they lie then.
    async fn moved(&self) -> Database {
        let url = self.customer.url();
        let found = self.store.look_at_database(self.organization, &url, None).await.unwrap();
        let Found::Empty(urls) = found else { panic!("nobody was there before") };
        self.store.begin_move(self.organization, urls).await.unwrap();
        let working = work(&self.store, TTL, Duration::from_millis(20));
        tokio::select! {
            () = working => unreachable!("it never ends"),
            () = done(&self.store, self.organization) => {}
        }
        self.store.replication(self.organization).await.unwrap()
    }

    async fn page(&self, database: &Database, bookmark: &Bookmark, rows: usize) -> Page {
        let limits = PageLimits { rows, bytes: usize::MAX };
        feed::read(database, &self.spec, bookmark, limits, "copy").await.unwrap()
    }
}

async fn done(store: &Store, of: OrganizationId) {
    loop {
        let last = store.moves(of).await.unwrap().remove(0);
        assert_ne!(last.state, "failed", "{:?}", last.error);
        if last.state == "done" {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn run(database: &Database, statements: Vec<String>) {
    let ran = database.write(move |connection| {
        Box::pin(async move {
            for statement in statements {
                query(statement).execute(&mut *connection).await?;
            }
            Ok(())
        })
    });
    ran.await.unwrap();
}

/// A value of a column, as SQL; each third row has none where it needs none.
fn literal(dialect: Dialect, kind: ColumnType, nth: i64) -> String {
    match kind {
        ColumnType::Bool => (if nth % 2 == 0 { "true" } else { "false" }).into(),
        ColumnType::Int => (nth * 7).to_string(),
        ColumnType::Double => format!("{nth}.1"),
        ColumnType::Decimal => format!("'{nth}.05'"),
        ColumnType::Text => format!("'ü''{nth:04}'"),
        ColumnType::Json => format!("'{{\"a\":[1.5,\"ü\",{nth}]}}'"),
        ColumnType::Date => "'2026-02-28'".into(),
        ColumnType::Timestamptz => "'2026-03-20T16:00:00.250001Z'".into(),
        ColumnType::Bytes if dialect == Dialect::Sqlite => "x'00ff'".into(),
        ColumnType::Bytes => "'\\x00ff'".into(),
    }
}

fn filled(dialect: Dialect, spec: &TableSpec) -> Vec<String> {
    let blob = literal(dialect, ColumnType::Bytes, 0);
    let mut all = vec![format!("alter table {TABLE} add column left_its_manifest text")];
    for _ in 0..COMMITS {
        all.push("insert into rowgate_commits (owner_id, committed_at) values (7, 5)".into());
    }
    let names: Vec<String> =
        spec.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    for nth in 1..=ROWS {
        let values = spec.columns.iter().map(|column| match column.name.as_str() {
            "pk" => nth.to_string(),
            _ if column.nullable() && nth % 3 == 0 => "null".into(),
            _ => literal(dialect, column.kind, nth),
        });
        let values: Vec<String> = values.collect();
        all.push(format!(
            "insert into {TABLE} ({}, left_its_manifest) values ({}, 'old {nth}')",
            names.join(", "),
            values.join(", ")
        ));
        all.push(format!(
            "insert into rowgate_feed (table_name, pk, deleted, commit_id)
             values ('{TABLE}', {nth}, false, {})",
            nth % COMMITS + 1
        ));
    }
    all.extend([
        format!(
            "insert into rowgate_feed (table_name, pk, unique_key, deleted, commit_id)
             values ('{TABLE}', 900, 'gone', true, {COMMITS})"
        ),
        "insert into rowgate_owners (owner_id, generation, grant_id, fence, commit_no, services)
         values (7, 2, 11, 3, 40, '[\"thing_v1\"]')"
            .into(),
        format!(
            "insert into rowgate_cursors (owner_id, service, kind, key, version, cursor,
               cursor_version, mapping_version, half_read)
             values (7, 'thing_v1', 'shelf', 'a', 4, {blob}, 1, 1, true)"
        ),
        "insert into rowgate_applied (owner_id, inbox_id) values (7, 11)".into(),
        "insert into rowgate_outbox (owner_id, commit_no, message) values (7, 40, '{}')".into(),
        format!(
            "insert into rowgate_brackets (owner_id, table_name, scope, id, mapping_version)
             values (7, '{TABLE}', '[]', 5, 1)"
        ),
        "insert into rowgate_bracket_keys (bracket_id, commit_no, keys) values (5, 39, '[\"a\"]')"
            .into(),
        format!("insert into rowgate_renames (old_name, new_name) values ('thing', '{TABLE}')"),
    ]);
    // The row with the largest number is gone, and its number isn't given again.
    match dialect {
        Dialect::Sqlite => {
            all.push(format!("update sqlite_sequence set seq = 900 where name = '{TABLE}'"));
        }
        Dialect::Postgres => all.push("select setval('rowgate_pk', 900)".into()),
    }
    all
}

/// Rows of both.
async fn same<R: Record + PartialEq + std::fmt::Debug>(
    one: &Database,
    other: &Database,
    sql: &str,
    count: usize,
) {
    let rows: Vec<R> = query_as(sql).fetch_all(one).await.unwrap();
    assert_eq!(rows.len(), count, "{sql}");
    assert_eq!(rows, query_as::<R>(sql).fetch_all(other).await.unwrap(), "{sql}");
}

async fn everything_goes_along(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let head = feed::head(&case.source).await.unwrap();
    let there = case.moved().await;
    assert_eq!(there.dialect(), Dialect::Postgres);
    assert_eq!(feed::head(&there).await.unwrap(), head, "bookmarks stay good");
    let middle = Bookmark::behind(&head.epoch, head.number - 4);
    for (bookmark, rows) in [(Bookmark::Start, 1_000), (middle, 7), (Bookmark::Start, 3)] {
        let page = case.page(&there, &bookmark, rows).await;
        assert!(!page.changes.is_empty());
        assert_eq!(page, case.page(&case.source, &bookmark, rows).await, "{bookmark:?}");
    }
    let (one, other) = (&case.source, &there);
    let left = format!("select pk, left_its_manifest from {TABLE} order by pk");
    same::<(i64, String)>(one, other, &left, 250).await;
    let owners =
        "select owner_id, generation, grant_id, fence, commit_no, services from rowgate_owners";
    same::<(i64, i64, Option<i64>, i64, i64, String)>(one, other, owners, 1).await;
    let cursors =
        "select owner_id, key, version, cursor, cursor_version, half_read from rowgate_cursors";
    same::<(i64, String, i64, Option<Vec<u8>>, Option<i64>, bool)>(one, other, cursors, 1).await;
    same::<(i64, i64)>(one, other, "select owner_id, inbox_id from rowgate_applied", 1).await;
    let outbox = "select owner_id, commit_no, message from rowgate_outbox";
    same::<(i64, i64, String)>(one, other, outbox, 1).await;
    let brackets = "select b.id, b.scope, k.keys from rowgate_brackets b
                    join rowgate_bracket_keys k on k.bracket_id = b.id";
    same::<(i64, String, String)>(one, other, brackets, 1).await;
    same::<(String, String)>(one, other, "select old_name, new_name from rowgate_renames", 1).await;
    let commits = "select id, owner_id, committed_at from rowgate_commits order by id";
    same::<(i64, i64, i64)>(one, other, commits, 10).await;

    // Numbers go on behind those that were given.
    let pk: i64 = query_scalar("select nextval('rowgate_pk')").fetch_one(&there).await.unwrap();
    assert_eq!(pk, 901);
    let commit = "insert into rowgate_commits (owner_id, committed_at) values (7, 6)".to_owned();
    run(&there, vec![commit]).await;
    assert_eq!(feed::head(&there).await.unwrap().number, head.number + 1);
    // It is made ready as any table is: nothing is left to do.
    let layout = tables::layout(&there).await.unwrap();
    tables::create_all(&there, vec![Arc::new(case.spec.clone())], layout).await.unwrap();
}

/// A holder that was frozen with its lease comes back when everything has moved.
async fn who_was_given_up_writes_nothing_any_more(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let held = format!(
        "insert into owners (organization_id, root_id, external_owner_id, state, fence, lease_host,
           lease_until, due_at)
         values ({}, 'svi_1', 'ana', 'linked', 3, 'frozen', 9, null)",
        case.organization
    );
    fixture::run(&case.store, held).await;
    let id: i64 =
        query_scalar("select id from owners").fetch_one(case.store.control()).await.unwrap();
    let there = case.moved().await;
    let fences = format!("select fence from rowgate_owners where owner_id = {id}");
    for database in [&case.source, &there] {
        let fence: i64 = query_scalar(&fences).fetch_one(database).await.unwrap();
        assert_eq!(fence, 4, "a commit under 3 is refused");
    }
    let owner: Vec<(i64, bool, Option<i64>)> =
        query_as("select fence, unreleased, due_at from owners")
            .fetch_all(case.store.control())
            .await
            .unwrap();
    assert_eq!(owner, [(4, true, Some(0))], "the next holder relays first");
}

async fn what_was_left_behind_goes_after_a_while(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let there = case.moved().await;
    let ended_at = case.store.moves(case.organization).await.unwrap()[0].ended_at.unwrap();
    assert_eq!(case.store.drop_left_behind(ended_at).await.unwrap(), 0, "not yet");
    case.page(&case.source, &Bookmark::Start, 3).await;
    assert_eq!(case.store.drop_left_behind(ended_at + 1).await.unwrap(), 1);
    let file = case.store.data_dir().replication("default");
    assert!(!file.exists());
    if dialect == Dialect::Postgres {
        let left = "select count(*) from pg_tables where schemaname = 'org_default'";
        let left: i64 = query_scalar(left).fetch_one(&case.source).await.unwrap();
        assert_eq!(left, 0);
    }
    assert_eq!(case.store.drop_left_behind(ended_at + 1).await.unwrap(), 0, "once");
    assert_eq!(case.page(&there, &Bookmark::Start, 1_000).await.changes.len(), 250);
}

/// An integration that a request under way made after its tables were planned.
async fn tables_that_changed_meanwhile_are_not_switched_to(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let url = case.customer.url();
    let found = case.store.look_at_database(case.organization, &url, None).await.unwrap();
    let Found::Empty(urls) = found else { panic!("nobody was there before") };
    case.store.begin_move(case.organization, urls).await.unwrap();
    // Held up before the switch: the role that reads can't be made while somebody else makes it.
    let role = format!("{}_rowgate_reader", case.customer.name());
    let mut customer = case.customer.connect().unwrap();
    customer.query("begin").unwrap();
    customer.query(&format!("create role {role}")).unwrap();
    let late = format!(
        "insert into integrations (id, organization_id, plugin, service, table_name, depends_on,
           root_id, created_at, number)
         values ('svi_2', {}, 'sample', 'ticket_v1', 'late', 'svi_1', 'svi_1', 0, 2)",
        case.organization
    );
    let copied = async {
        let all = "select coalesce(sum(row_count), 0)::bigint from rowgate.rowgate_copied
                   where table_name = 'rowgate_renames' and is_complete";
        // The last table by name.
        while customer_value(&case, all) != "1" {
            let last = case.store.moves(case.organization).await.unwrap().remove(0);
            assert_eq!(last.state, "copying", "{:?}", last.error);
        }
        fixture::run(&case.store, late).await;
        customer.query("rollback").unwrap();
        loop {
            let last = case.store.moves(case.organization).await.unwrap().remove(0);
            if last.state != "copying" {
                return last;
            }
            tokio::task::yield_now().await;
        }
    };
    let working = work(&case.store, TTL, Duration::from_millis(20));
    let last = tokio::select! {
        () = working => unreachable!("it never ends"),
        last = copied => last,
    };
    assert_eq!(last.state, "failed");
    assert!(last.error.unwrap().contains("integrations were changed"));
    let stays = case.store.replication(case.organization).await.unwrap();
    assert_eq!(stays.dialect(), dialect);
    let rests = "select rests_until from organizations where key = 'default'";
    let rests: i64 = query_scalar(rests).fetch_one(case.store.control()).await.unwrap();
    assert_eq!(rests, 0, "it is awake again");
}

async fn urls(case: &Case) -> Urls {
    let url = case.customer.url();
    match case.store.look_at_database(case.organization, &url, None).await.unwrap() {
        Found::Empty(urls) | Found::Ours(urls) => urls,
    }
}

async fn what_moves_is_not_deleted_and_what_is_deleted_does_not_move(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let (store, of) = (&case.store, case.organization);
    store.begin_move(of, urls(&case).await).await.unwrap();
    for refused in [
        store.end_integration("svi_1").await.map(drop),
        store.end_organization(of).await,
        store.begin_move(of, urls(&case).await).await.map(drop),
    ] {
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains("are being moved"), "{reason}");
    }
    assert_eq!(store.integrations(of).await.unwrap().len(), 1);
    fixture::run(store, "delete from moves".to_owned()).await;
    store.end_integration("svi_1").await.unwrap();
    let refused = store.begin_move(of, urls(&case).await).await.unwrap_err().to_string();
    assert!(refused.contains("still being deleted"), "{refused}");
    endings::work(store).await.unwrap();
    store.begin_move(of, urls(&case).await).await.unwrap();
    fixture::run(store, "delete from moves".to_owned()).await;
    let urls = urls(&case).await;
    store.end_organization(of).await.unwrap();
    let refused = store.begin_move(of, urls).await.unwrap_err().to_string();
    assert!(refused.contains("is being closed"), "{refused}");
}

async fn a_closed_organizations_tables_stay_in_a_database_of_its_own(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let there = case.moved().await;
    let (store, of) = (&case.store, case.organization);
    store.end_organization(of).await.unwrap();
    endings::work(store).await.unwrap();
    assert!(!store.is_ending(of, None).await.unwrap());
    let rows: i64 =
        query_scalar(format!("select count(*) from {TABLE}")).fetch_one(&there).await.unwrap();
    assert_eq!(rows, ROWS);
    let ours = "select count(*) from pg_namespace where nspname = 'rowgate'";
    assert_eq!(customer_value(&case, ours), "0");
    // Nor is anything left here, what lay here before the move included.
    assert!(!store.data_dir().replication("default").exists());
    for table in ["organizations", "moves", "integrations", "endings"] {
        let left = query_scalar(format!("select count(*) from {table}"));
        let left: i64 = left.fetch_one(store.control()).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

async fn one_that_is_away_is_waited_for_a_day(dialect: Dialect) {
    let case = Case::new(dialect).await;
    case.moved().await;
    let (store, of) = (&case.store, case.organization);
    // Nothing leads there any more.
    fixture::run(store, "update moves set admin_url = null".to_owned()).await;
    store.end_organization(of).await.unwrap();
    endings::work(store).await.unwrap();
    assert!(store.is_ending(of, None).await.unwrap());
    fixture::run(store, "update endings set begun_at = 0, due_at = 0".to_owned()).await;
    endings::work(store).await.unwrap();
    assert!(!store.is_ending(of, None).await.unwrap());
    let ours = "select count(*) from pg_namespace where nspname = 'rowgate'";
    assert_eq!(customer_value(&case, ours), "1");
}

/// By `rowgate restore --server`.
#[tokio::test]
async fn a_database_of_its_own_is_put_right_with_ours() {
    let case = Case::new(Dialect::Postgres).await;
    let there = case.moved().await;
    let before = feed::head(&there).await.unwrap().epoch;
    assert_eq!(case.store.restore().await.unwrap().organizations, 1);
    let after = feed::head(&there).await.unwrap().epoch;
    assert_ne!(after, before, "receivers get whole copies");
    let begun = "select feed_epoch from organizations where key = 'default'";
    let begun: Option<String> = query_scalar(begun).fetch_one(case.store.control()).await.unwrap();
    assert_eq!(begun, Some(after));
}

/// Empty while there is nothing.
fn customer_value(case: &Case, sql: &str) -> String {
    case.customer.connect().unwrap().value(sql).unwrap_or_default()
}

/// A move that has begun, until it is over.
async fn ended(case: &Case) -> (String, String) {
    let working = work(&case.store, TTL, Duration::from_millis(20));
    let over = async {
        loop {
            let last = case.store.moves(case.organization).await.unwrap().remove(0);
            if last.state != "copying" {
                return (last.state, last.error.unwrap_or_default());
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = working => unreachable!("it never ends"),
        over = over => over,
    }
}

async fn begun(case: &Case) {
    let url = case.customer.url();
    let found = case.store.look_at_database(case.organization, &url, None).await.unwrap();
    let Found::Empty(urls) = found else { panic!("nobody was there before") };
    case.store.begin_move(case.organization, urls).await.unwrap();
}

/// The host died between the two databases of a renaming: the rows lie under a name that nobody asks for.
async fn a_table_that_is_half_renamed_does_not_move(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let half =
        format!("insert into rowgate_renames (old_name, new_name) values ('{TABLE}', 'new')");
    run(&case.source, vec![half]).await;
    begun(&case).await;
    let (state, error) = ended(&case).await;
    assert_eq!(state, "failed");
    assert!(error.contains("is half renamed"), "{error}");
}
