//! Moves that fail, that stand in the way of a deletion or it in theirs, and what is left in the end.

use super::*;
use crate::store::endings;

on_both! {
    tables_that_changed_meanwhile_are_not_switched_to,
    a_table_that_is_half_renamed_does_not_move,
    owners_that_come_to_no_rest_end_it,
    what_moves_is_not_deleted_and_what_is_deleted_does_not_move,
    a_closed_organizations_tables_stay_in_a_database_of_its_own,
    one_that_is_away_is_waited_for_a_day,
    whoever_held_an_owner_of_a_closed_one_commits_nothing,
}

/// An integration that a request under way made after its tables were planned.
async fn tables_that_changed_meanwhile_are_not_switched_to(dialect: Dialect) {
    let case = Case::new(dialect).await;
    case.begin().await;
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
            let last = case.last().await;
            assert_eq!(last.state, "copying", "{:?}", last.error);
        }
        fixture::run(&case.store, late).await;
        customer.query("rollback").unwrap();
        case.over().await
    };
    let last = case.works_until(copied).await;
    assert_eq!(last.state, "failed");
    assert!(last.error.unwrap().contains("integrations were changed"));
    let stays = case.store.replication(case.organization).await.unwrap();
    assert_eq!(stays.dialect(), dialect);
    let rests = "select rests_until from organizations where key = 'default'";
    let rests: i64 = query_scalar(rests).fetch_one(case.store.control()).await.unwrap();
    assert_eq!(rests, 0, "it is awake again");
}

/// The host died between the two databases of a renaming: the rows lie under a name that nobody asks for.
async fn a_table_that_is_half_renamed_does_not_move(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let half =
        format!("insert into rowgate_renames (old_name, new_name) values ('{TABLE}', 'new')");
    run(&case.source, vec![half]).await;
    case.begin().await;
    let last = case.works_until(case.over()).await;
    assert_eq!(last.state, "failed");
    let error = last.error.unwrap();
    assert!(error.contains("is half renamed"), "{error}");
}

/// A holder that works on and on; all other owners would rest as long.
async fn owners_that_come_to_no_rest_end_it(dialect: Dialect) {
    let case = Case::with(dialect, Clock::simulated(1_000_000)).await;
    let held = format!(
        "insert into owners (organization_id, root_id, external_owner_id, state, fence, lease_host,
           lease_until)
         values ({}, 'svi_1', 'ana', 'linked', 3, 'host', {})",
        case.organization,
        i64::MAX
    );
    fixture::run(&case.store, held).await;
    case.begin().await;
    let over = async {
        loop {
            let last = case.last().await;
            if last.state != "copying" {
                return last;
            }
            case.store.clock().advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let last = case.works_until(over).await;
    assert_eq!(last.state, "failed");
    let error = last.error.unwrap();
    assert!(error.contains("owners are still worked on, 1 of them"), "{error}");
    let rests = "select rests_until from organizations where key = 'default'";
    let rests: i64 = query_scalar(rests).fetch_one(case.store.control()).await.unwrap();
    assert_eq!(rests, 0, "it works again");
    let owner: (i64, Option<String>) = query_as("select fence, lease_host from owners")
        .fetch_one(case.store.control())
        .await
        .unwrap();
    assert_eq!(owner, (3, Some("host".to_owned())), "nobody was disturbed");
}

async fn what_moves_is_not_deleted_and_what_is_deleted_does_not_move(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let (store, of) = (&case.store, case.organization);
    store.begin_move(of, case.urls().await).await.unwrap();
    for refused in [
        store.end_integration("svi_1").await.map(drop),
        store.end_organization(of).await,
        store.begin_move(of, case.urls().await).await.map(drop),
    ] {
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains("are being moved"), "{reason}");
    }
    assert_eq!(store.integrations(of).await.unwrap().len(), 1);
    fixture::run(store, "delete from moves".to_owned()).await;
    store.end_integration("svi_1").await.unwrap();
    let refused = store.begin_move(of, case.urls().await).await.unwrap_err().to_string();
    assert!(refused.contains("still being deleted"), "{refused}");
    endings::work(store).await.unwrap();
    store.begin_move(of, case.urls().await).await.unwrap();
    fixture::run(store, "delete from moves".to_owned()).await;
    let urls = case.urls().await;
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

/// As long as a channel is still to be stopped, what is ours stays beside the tables.
async fn whoever_held_an_owner_of_a_closed_one_commits_nothing(dialect: Dialect) {
    let case = Case::new(dialect).await;
    let there = case.moved().await;
    let (store, of) = (&case.store, case.organization);
    let filled = format!(
        "insert into owners (organization_id, root_id, external_owner_id, state, fence, lease_host)
         values ({of}, 'svi_1', 'ana', 'linked', 3, 'frozen');
         insert into channels (id, owner_id, root_id, generation, grant_id, push, key, token,
           address, vendor_id, state, expires_at, due_at, attempts)
         select 'a', id, 'svi_1', 5, 5, 'p', 'k', '', '', 'v', 'active', {}, null, 0 from owners",
        i64::MAX
    );
    fixture::run(store, filled).await;
    let id: i64 = query_scalar("select id from owners").fetch_one(store.control()).await.unwrap();
    let planted =
        format!("insert into rowgate_owners (owner_id, generation, fence) values ({id}, 5, 3)");
    run(&there, vec![planted]).await;
    store.end_organization(of).await.unwrap();
    endings::work(store).await.unwrap();
    assert!(store.is_ending(of, None).await.unwrap(), "a channel is to be stopped");
    let generation = format!("select generation from rowgate_owners where owner_id = {id}");
    let generation: i64 = query_scalar(generation).fetch_one(&there).await.unwrap();
    assert_eq!(generation, 6, "a commit under 5 is refused");
    let rows: i64 =
        query_scalar(format!("select count(*) from {TABLE}")).fetch_one(&there).await.unwrap();
    assert_eq!(rows, ROWS, "they are the customer's");
}

/// Empty while there is nothing.
fn customer_value(case: &Case, sql: &str) -> String {
    case.customer.connect().unwrap().value(sql).unwrap_or_default()
}
