//! Channels of what is deleted: integrations, organizations. Whoever deletes may die, and the vendor may fail.

use serde_json::json;
use simulator::{Fault, Then};

use crate::setup::{ANA, Case, LIST, OWNER, stops};

/// What the control database has of a tree.
const OF_TREES: [&str; 5] = ["channels", "owner_secrets", "owners", "integrations", "endings"];

impl Case {
    /// Deletes the whole tree; answers what is said.
    async fn delete(&self) -> String {
        let list = &self.tree.list;
        let delete = ["integrations", "delete", list.id.as_str(), "--confirm", list.table.as_str()];
        self.json(&delete).await["message"].as_str().unwrap().to_owned()
    }

    /// Waits until nothing is left, neither here nor at the vendor.
    async fn nothing_is_left(&self) {
        self.until("nothing is left", async || {
            let mut left = 0;
            for table in OF_TREES {
                left += self.number(&format!("select count(*) from {table}")).await;
            }
            left == 0
        })
        .await;
        assert_eq!(self.watches(), [] as [String; 0], "stopped, not only forgotten");
    }
}

#[tokio::test]
async fn a_deleted_integration_leaves_no_channel_behind() {
    let case = Case::unlinked().await.linked().await;
    let said = case.delete().await;
    assert!(said.contains(&case.tree.list.table), "{said}");
    case.nothing_is_left().await;
    assert!(case.asked("/stop").len() >= 2, "one for the list, one for the calendar");
    assert_eq!(case.json(&["db", "tables"]).await, json!([]));
}

#[tokio::test]
async fn a_vendor_that_fails_keeps_nobody_waiting() {
    let case = Case::unlinked().await.linked().await;
    let unavailable = Then::Answer { status: 503, body: String::new() };
    let fault = case.simulator.add_fault(Fault::when(stops(), unavailable));
    let said = case.delete().await;
    assert!(said.contains("goes on by itself"), "{said}");
    // Nobody sees anything of it, and its tables are gone.
    assert_eq!(case.json(&["integrations", "list"]).await, json!([]));
    assert_eq!(case.json(&["owners", "list"]).await, json!([]));
    assert_eq!(case.json(&["db", "tables"]).await, json!([]));
    assert_eq!(case.notify("a", Some("b"), "c").await, 400, "no integration with that id");
    assert!(case.secrets().await > 0, "they are kept to stop the channels with");
    assert_eq!(case.watches(), [LIST, ANA]);
    // Another tree of the same services works meanwhile.
    let again = case.host.all_integrations().await;
    case.host.link(&again, "customer-2", ANA).await;
    case.until("the new tree is watched", async || case.watches() == [LIST, LIST, ANA, ANA]).await;
    case.simulator.clear_faults(Some(fault));
    case.until("the old channels are stopped", async || case.watches() == [LIST, ANA]).await;
    let old = format!("select count(*) from owners where external_owner_id = '{OWNER}'");
    case.until("nothing is left of the old tree", async || case.number(&old).await == 0).await;
    case.until("the new one is done", async || {
        case.row_counts(&again, "customer-2").await.values().all(|rows| *rows > 0)
    })
    .await;
}

/// The command dies where the host doesn't run; the host goes on when it starts.
#[tokio::test]
async fn a_deletion_that_died_is_gone_on_with() {
    for edge in ["ended_tables_dropped", "ended_owners_let_go"] {
        let mut case = Case::unlinked().await.linked().await;
        case.host.stop().await;
        let list = case.tree.list.clone();
        let delete = ["integrations", "delete", list.id.as_str(), "--confirm", list.table.as_str()];
        let point = format!("{edge}:1");
        let died = case.command_with(&delete, &[("ROWGATE_FAILPOINT", point.as_str())]).await;
        assert!(!died.status.success(), "{edge}: {died:?}");
        assert!(case.number("select count(*) from channels").await > 0, "{edge}");
        case.host.restart().await;
        case.nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_closing_that_died_is_gone_on_with() {
    for edge in ["organization_dropping", "organization_dropped"] {
        let mut case = Case::unlinked().await;
        case.host.stop().await;
        let close = ["orgs", "close", "--confirm", "default"];
        let point = format!("{edge}:1");
        let died = case.command_with(&close, &[("ROWGATE_FAILPOINT", point.as_str())]).await;
        assert!(!died.status.success(), "{edge}: {died:?}");
        assert_eq!(case.number("select count(*) from organizations").await, 1, "{edge}");
        case.host.restart().await;
        case.until("it is closed", async || {
            case.number("select count(*) from organizations").await == 0
        })
        .await;
        assert!(!case.data_dir().join("replication/default.db").exists(), "{edge}");
    }
}
