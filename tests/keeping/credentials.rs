//! Credentials of the role that reads, and whoever changes them dies.

use tests::{Settings, TestHost};

async fn shown(host: &TestHost) -> String {
    host.printed(&["db", "connection"]).await
}

/// By what the server checks the role's password: another one each time that it is told.
fn known(host: &TestHost) -> String {
    let sql = "select rolpassword from pg_authid
               where rolname = current_database() || '_default_reader'";
    host.database().unwrap().superuser().unwrap().value(sql).unwrap()
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

/// Whoever is at it keeps the others out; one that stands still only for some seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_stands_still_keeps_nobody_out() {
    let host = Settings::default().on_postgres().start().await;
    let (before, roll) = (shown(&host).await, ["db", "roll-credentials", "--yes"]);
    let environment =
        [("ROWGATE_FAILPOINT", "password_told:1:freeze"), ("ROWGATE_RUN_LEASE_TTL_MS", "1000")];
    let frozen = host.command_with(&roll, &environment);
    let meanwhile = async {
        let mut pid = None;
        host.until("it stands still", async || {
            pid = standing_still();
            pid.is_some()
        })
        .await;
        let rolled = host.command(&roll).await;
        assert!(rolled.status.success(), "{rolled:?}");
        assert_eq!(standing_still(), pid, "it was to stand still all the time");
        let (after, known_after) = (shown(&host).await, known(&host));
        let go_on = ["-CONT", &pid.unwrap().to_string()].map(str::to_owned);
        assert!(std::process::Command::new("kill").args(go_on).status().unwrap().success());
        (after, known_after)
    };
    // However it ends, it is too late to change anything.
    let (_ended, (after, known_after)) = tokio::join!(frozen, meanwhile);
    assert_ne!(after, before);
    assert_eq!((shown(&host).await, known(&host)), (after, known_after));
}

/// A command of this test that SIGSTOP has stopped.
fn standing_still() -> Option<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let mut pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid: &u32| {
        let read =
            |what| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        // State and parent follow the name, which is in parentheses.
        let stopped = format!("T {} ", std::process::id());
        read("cmdline").contains("roll-credentials")
            && read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(&stopped))
    })
}
