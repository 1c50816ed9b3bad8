//! Databases that a newer program has changed: a host that doesn't know what they look like doesn't start.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tests::{Settings, TestHost};

use crate::setup::linked;

const OWNERS: [&str; 1] = ["ann"];
const EVENTS: usize = 5;
const VERSION: u32 = 9_999;

/// The two databases of a host.
#[derive(Clone, Copy, Debug)]
enum Of {
    Control,
    Tables,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_refuses_files_of_a_newer_one() {
    refuses(Settings::default().on_files()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_refuses_a_servers_databases_of_a_newer_one() {
    refuses(Settings::default().on_postgres()).await;
}

async fn refuses(settings: Settings) {
    let (mut host, tree) = linked(settings, &OWNERS, EVENTS).await;
    host.stop().await;
    for of in [Of::Control, Of::Tables] {
        let name = "_sqlx_migrations";
        run(&host, of, |schema| {
            format!(
                "insert into {schema}{name}
                   (version, description, installed_on, success, checksum, execution_time)
                 select {VERSION}, 'later', installed_on, success, checksum, execution_time
                 from {schema}{name} where version = 1"
            )
        })
        .await;
        let said = host.refuses_to_start().await;
        let why = format!("has schema version {VERSION}, which this program doesn't know");
        assert!(said.contains(&why), "{of:?}: {said}");
        run(&host, of, |schema| format!("delete from {schema}{name} where version = {VERSION}"))
            .await;
    }
    host.restart().await;
    host.settle().await;
    host.assert_matches_model(&tree).await;
}

/// Runs a statement; it is told in which schema, with a dot, or nothing.
async fn run(host: &TestHost, of: Of, statement: impl FnOnce(&str) -> String) {
    if let Some(database) = host.database() {
        let (name, schema) = match of {
            Of::Control => (database.name().to_owned(), "public."),
            Of::Tables => (format!("{}_data", database.name()), "rowgate_default."),
        };
        let mut client = database.cluster().connect(&name).unwrap();
        client.query(&statement(schema)).unwrap();
        return;
    }
    let file = match of {
        Of::Control => "control.db",
        Of::Tables => "replication/default.db",
    };
    let options = SqliteConnectOptions::new().filename(host.data_dir().join(file));
    let mut connection = options.connect().await.unwrap();
    sqlx::query(&statement("")).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
