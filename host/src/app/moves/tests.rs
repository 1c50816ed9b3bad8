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
use crate::store::moves::{Found, Move, Urls, work};
use crate::store::{
    Database, Dialect, Record, SessionLimits, query, query_as, query_scalar, tables,
};

on_both! {
    everything_goes_along,
    who_was_given_up_writes_nothing_any_more,
    what_was_left_behind_goes_after_a_while,
}

mod ends;
mod restored;
mod there;

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
        Self::with(dialect, Clock::System).await
    }

    async fn with(dialect: Dialect, clock: Clock) -> Self {
        let store = fixture::open(dialect, clock).await;
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
        let ways =
            OwnDatabases::new(Relays::new(Chance::from_system(), Clock::System).unwrap(), rules);
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
        self.begin().await;
        let last = self.works_until(self.over()).await;
        assert_eq!(last.state, "done", "{:?}", last.error);
        self.store.replication(self.organization).await.unwrap()
    }

    async fn urls(&self) -> Urls {
        let url = self.customer.url();
        let found = self.store.look_at_database(self.organization, &url, None).await.unwrap();
        let Found::Empty(urls) = found else { panic!("nobody was there before") };
        urls
    }

    async fn begin(&self) {
        self.store.begin_move(self.organization, self.urls().await).await.unwrap();
    }

    /// Works on moves meanwhile.
    async fn works_until<T>(&self, until: impl Future<Output = T>) -> T {
        tokio::select! {
            () = work(&self.store, TTL, Duration::from_millis(20)) => unreachable!("it never ends"),
            until = until => until,
        }
    }

    /// The last move, when it is over.
    async fn over(&self) -> Move {
        loop {
            let last = self.last().await;
            if last.state != "copying" {
                return last;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn last(&self) -> Move {
        self.store.moves(self.organization).await.unwrap().remove(0)
    }

    async fn page(&self, database: &Database, bookmark: &Bookmark, rows: usize) -> Page {
        let limits = PageLimits { rows, bytes: usize::MAX };
        feed::read(database, &self.spec, bookmark, limits, "copy").await.unwrap()
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
        "insert into rowgate_owners (owner_id, generation, grant_id, fence, commit_no, services,
           stale_swept_at)
         values (7, 2, 11, 3, 40, '[\"thing_v1\"]', 12)"
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
    let owners = "select owner_id, generation, grant_id, fence, commit_no, services, stale_swept_at
                  from rowgate_owners";
    same::<(i64, i64, Option<i64>, i64, i64, String, i64)>(one, other, owners, 1).await;
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
