//! Credentials of the role that reads, and whoever changes them dies.

use tests::{Settings, TestHost};

async fn shown(host: &TestHost) -> String {
    host.printed(&["db", "connection"]).await
}

/// By what the server checks the role's password: another one each time that it is told.
fn known(host: &TestHost) -> String {
    let sql = "select rolpassword from pg_authid
               where rolname = current_database() || '_default_reader'";
    host.database().unwrap().connect().unwrap().value(sql).unwrap()
}

/// Beside a host that has the tables open.
#[tokio::test]
async fn a_change_that_died_is_gone_on_with() {
    for (edge, told) in [("password_sealed", false), ("password_told", true)] {
        let host = Settings::default().on_postgres().start().await;
        let (before, known_before) = (shown(&host).await, known(&host));
        let (roll, point) = (["db", "roll-credentials", "--yes"], format!("{edge}:1"));
        let died = host.command_with(&roll, &[("ROWGATE_FAILPOINT", point.as_str())]).await;
        assert!(!died.status.success(), "{edge}: {died:?}");
        assert_eq!(known(&host) != known_before, told, "{edge}");
        let (after, known_after) = (shown(&host).await, known(&host));
        assert_ne!(after, before, "{edge}");
        assert_ne!(known_after, known_before, "{edge}");
        // Nothing is left to do.
        assert_eq!((shown(&host).await, known(&host)), (after, known_after), "{edge}");
    }
}
