//! Once the tables lie in the customer's database: who reads them there, and who opens it.

use std::pin::{Pin, pin};

use postgres_cluster::Client;

use super::*;
use crate::store::Error;

/// Longer than it takes to open a database.
const PATIENCE: Duration = Duration::from_secs(60);

/// As whoever opens it has.
const LOCK: &str = "lock table rowgate.rowgate_moved in share update exclusive mode";

impl Case {
    /// Gives the URLs once more, with one of a role that reads.
    async fn again(&self, role: Option<&str>) {
        let (store, of, url) = (&self.store, self.organization, self.customer.url());
        let readonly = role.map(|role| {
            let mut url = url::Url::parse(&url).unwrap();
            url.set_username(role).unwrap();
            url.to_string()
        });
        let found = store.look_at_database(of, &url, readonly.as_deref()).await.unwrap();
        let Found::Ours(urls) = found else { panic!("the tables lie there") };
        store.replace_urls(of, urls).await.unwrap();
    }

    fn value(&self, sql: &str) -> String {
        self.customer.connect().unwrap().value(sql).unwrap()
    }

    /// A role of the customer's server.
    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.customer.name())
    }

    /// Somebody who knows nothing but a role that the server trusts.
    fn log_in(&self, role: &str) -> anyhow::Result<Client> {
        let url = url::Url::parse(&self.customer.url()).unwrap();
        let address = ([127, 0, 0, 1], url.port().unwrap()).into();
        Client::connect(address, role, self.customer.name())
    }

    fn reads(&self, role: &str) -> bool {
        let count = format!("select count(*) from {TABLE}");
        self.log_in(role).is_ok_and(|mut client| client.value(&count).is_ok())
    }

    fn is_role(&self, role: &str) -> bool {
        self.value(&format!("select count(*) from pg_roles where rolname = '{role}'")) == "1"
    }
}

#[tokio::test]
async fn a_role_that_we_made_goes_when_the_customer_gives_another() {
    let case = Case::new(Dialect::Sqlite).await;
    case.moved().await;
    let (ours, theirs) = (case.role("rowgate_reader"), case.role("theirs"));
    assert!(case.reads(&ours));
    case.again(None).await;
    assert!(case.reads(&ours), "it reads still");
    // Given by its name, it is the customer's to keep.
    case.again(Some(&ours)).await;
    assert!(case.reads(&ours));
    case.again(None).await;
    case.customer.connect().unwrap().query(&format!("create role {theirs} login")).unwrap();
    case.again(Some(&theirs)).await;
    assert!(case.reads(&theirs));
    assert!(!case.is_role(&ours));
    case.again(None).await;
    assert!(case.reads(&ours) && case.reads(&theirs), "who made a role drops it");
}

/// It may do something that we didn't give.
#[tokio::test]
async fn one_that_cant_be_dropped_neither_logs_in_nor_reads() {
    let case = Case::new(Dialect::Sqlite).await;
    case.moved().await;
    let (ours, theirs) = (case.role("rowgate_reader"), case.role("theirs"));
    for statement in [
        "create schema reports".to_owned(),
        format!("grant usage on schema reports to {ours}"),
        format!("create role {theirs} login"),
    ] {
        case.customer.connect().unwrap().query(&statement).unwrap();
    }
    let mut logged_in = case.log_in(&ours).unwrap();
    case.again(Some(&theirs)).await;
    assert!(case.is_role(&ours) && case.reads(&theirs));
    let refused = case.log_in(&ours).unwrap_err().to_string();
    assert!(refused.contains("not permitted to log in"), "{refused}");
    let read = logged_in.query(&format!("select * from {TABLE}")).unwrap_err().to_string();
    assert!(read.contains("permission denied"), "{read}");
}

/// Whoever reads may take advisory locks of the whole database.
#[tokio::test]
async fn a_reader_keeps_nobody_from_opening_it() {
    let case = Case::new(Dialect::Sqlite).await;
    case.moved().await;
    let mut reader = case.log_in(&case.role("rowgate_reader")).unwrap();
    let key = fixture::migrations_key(case.customer.name());
    reader.query(&format!("select pg_advisory_lock({key})")).unwrap();
    reader.query("begin read write").unwrap();
    let refused = reader.query(LOCK).unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    reader.query("rollback").unwrap();
    // Reached by other URLs, it is opened anew.
    case.again(None).await;
    let opened = case.store.replication(case.organization);
    let opened = tokio::time::timeout(PATIENCE, opened).await.expect("it waits for the reader");
    opened.unwrap();
}

/// Two hosts would bring it up to date at once.
#[tokio::test]
async fn one_host_at_a_time_opens_it() {
    let case = Case::new(Dialect::Sqlite).await;
    case.moved().await;
    case.again(None).await;
    let mut other = case.customer.connect().unwrap();
    other.query("begin").unwrap();
    other.query(LOCK).unwrap();
    let mut opened = pin!(case.store.replication(case.organization));
    let waits = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                 where d.datname = current_database() and not l.granted
                   and l.relation = 'rowgate.rowgate_moved'::regclass";
    let waited_for = async {
        while case.value(waits) != "1" {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut opened => panic!("it doesn't wait for the other one"),
        () = waited_for => {}
    }
    other.query("rollback").unwrap();
    opened.await.unwrap();
}

/// Whoever gave the role another one died before.
#[tokio::test]
async fn a_password_that_the_server_was_not_told_is_told_it() {
    let case = Case::new(Dialect::Sqlite).await;
    case.moved().await;
    let (store, of, role) = (&case.store, case.organization, case.role("rowgate_reader"));
    let unknown = format!("alter role {role} password null");
    case.customer.connect().unwrap().query(&unknown).unwrap();
    fixture::run(store, "update moves set reader_told = false".to_owned()).await;
    let url = store.connection_url(of).await.unwrap();
    let told = fixture::kept(&role);
    assert!(told.starts_with("SCRAM-SHA-256$"), "{told}");
    assert_eq!(store.connection_url(of).await.unwrap(), url);
    assert_eq!(fixture::kept(&role), told, "once");
    store.roll_reader(of).await.unwrap();
    assert_ne!(store.connection_url(of).await.unwrap(), url);
    assert_ne!(fixture::kept(&role), told);
}

/// The first one dies when the server was told, before that was written down.
#[tokio::test]
async fn of_two_passwords_the_server_knows_the_one_that_is_stored() {
    for first_is_alone in [true, false] {
        let case = Case::new(Dialect::Sqlite).await;
        case.moved().await;
        let (store, of, role) = (&case.store, case.organization, case.role("rowgate_reader"));
        // The first one waits with the lock and its password in hand, or for the lock.
        let mut other = case.customer.connect().unwrap();
        other.query("begin").unwrap();
        let held_up = format!("alter role {role} connection limit 19");
        other.query(if first_is_alone { held_up.as_str() } else { LOCK }).unwrap();
        let mut first = Box::pin(store.roll_reader(of));
        waits(&case, first.as_mut(), "1").await;
        let mut second = Box::pin(store.roll_reader(of));
        waits(&case, second.as_mut(), "2").await;
        drop(first);
        other.query("rollback").unwrap();
        second.await.unwrap();
        let told = query_scalar::<bool>("select reader_told from moves");
        assert!(told.fetch_one(store.control()).await.unwrap());
        let stored = url::Url::parse(&store.connection_url(of).await.unwrap()).unwrap();
        assert!(
            fixture::knows(&fixture::kept(&role), stored.password().unwrap()),
            "alone: {first_is_alone}"
        );
    }
}

/// Until so many sessions wait for a lock there.
async fn waits(
    case: &Case,
    rolled: Pin<&mut impl Future<Output = Result<(), Error>>>,
    sessions: &str,
) {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    let waited_for = async {
        while case.value(waiting) != sessions {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        rolled = rolled => panic!("it doesn't wait: {rolled:?}"),
        () = waited_for => {}
    }
}
