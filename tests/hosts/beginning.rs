//! Hosts that begin together where nothing is yet.

use postgres_cluster::Client;

use crate::{ALONE, settings};

/// Hosts that share databases have the same key. (32 bytes, in Base64)
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// Whether they meet in what they make is a matter of chance.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_make_an_empty_database_at_once() {
    let _alone = ALONE.lock().await;
    for _ in 0..ROUNDS {
        let hosts = settings().env("ROWGATE_KEY", KEY).start_two_at_once().await;
        let database = hosts[0].database().expect("they share one");
        let mut client = database.connect().expect("the server runs");
        for host in &hosts {
            assert!(host.is_healthy().await);
        }
        assert_eq!(count(&mut client, "hosts"), "2");
        assert_eq!(count(&mut client, "organizations where key = 'default'"), "1");
        assert_eq!(count(&mut client, "_sqlx_migrations where not success"), "0");
    }
}

fn count(client: &mut Client, of: &str) -> String {
    client.value(&format!("select count(*) from {of}")).expect("both have made it")
}
