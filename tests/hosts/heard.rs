//! Hosts hear at once what another one accepts, hear again after their connection was cut, and find by
//! themselves what nobody told them of.

use serde_json::json;
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Then, When};
use tests::{TestHost, Tree};

use crate::posts::email;
use crate::{ALONE, listening, settings};

/// Who runs on the first host all the time.
const BUSY: &str = "ann";

/// A host that accepts posts and can't carry them out: its only worker waits for the vendor.
async fn busy() -> (TestHost, Tree) {
    let host = listening().env("ROWGATE_RUN_WORKERS", "1").start().await;
    let tree = host.integrations().await;
    let when = When { user: Some(email(BUSY)), ..When::path("*/events") };
    host.simulator.add_fault(Fault::when(when.times(1), Then::Hold(Moment::Before)));
    host.link(&tree, BUSY, &email(BUSY)).await;
    host.simulator.await_held(1).await;
    (host, tree)
}

/// Makes the owner's account, with a few events.
fn account(host: &TestHost, owner: &str) {
    let mut model = host.simulator.model();
    model.create_user(&email(owner));
    model.generate_events(&email(owner), 5, Mix::Singles).expect("the account is there");
}

async fn is_up_to_date(host: &TestHost, owner: &str) {
    host.until("another host has taken it up", async || {
        host.owner(owner).await["state"] == "current"
    })
    .await;
}

/// Lets the first host go on; all that was posted is carried out by then.
async fn ends_well(busy: &TestHost, tree: &Tree) {
    assert_eq!(busy.simulator.release_held(None), 1, "its worker was free meanwhile");
    busy.settle().await;
    busy.assert_matches_model(tree).await;
}

/// Ends the connections on which the hosts listen; answers how many there were.
fn cut_listeners(host: &TestHost) -> usize {
    let database = host.database().expect("they share one");
    let mut client = database.connect().expect("the server runs");
    let cut = format!(
        "select pg_terminate_backend(pid, 30000) from pg_stat_activity
         where datname = '{}' and query ilike 'listen%'",
        database.name()
    );
    client.query(&cut).expect("the server runs").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_room_hears_at_once_of_what_another_one_accepts() {
    let _alone = ALONE.lock().await;
    let (busy, tree) = busy().await;
    let other = listening().start_beside(&busy).await;
    // From now on it looks only when it is told.
    other.idle().await;
    account(&busy, "bob");
    busy.link(&tree, "bob", &email("bob")).await;
    is_up_to_date(&other, "bob").await;
    ends_well(&busy, &tree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_cut_off_looks_and_hears_again() {
    let _alone = ALONE.lock().await;
    let (busy, tree) = busy().await;
    let other = listening().start_beside(&busy).await;
    other.idle().await;
    account(&busy, "bob");
    account(&busy, "cy");
    // It can't connect again before it is thawed, so it never hears of Bob.
    other.freeze().await;
    assert_eq!(cut_listeners(&busy), 2, "each host listens on one connection");
    busy.link(&tree, "bob", &email("bob")).await;
    other.thaw().await;
    is_up_to_date(&other, "bob").await;

    other.idle().await;
    busy.link(&tree, "cy", &email("cy")).await;
    is_up_to_date(&other, "cy").await;
    ends_well(&busy, &tree).await;
}

/// A host dies between storing a post and telling of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_told_of_is_found_by_looking() {
    let _alone = ALONE.lock().await;
    let mut mute = settings().env("ROWGATE_FAILPOINT", "webhook_stored:1").start().await;
    let tree = mute.integrations().await;
    let other = settings().start_beside(&mute).await;
    other.idle().await;
    account(&mute, "bob");
    let token = mute.simulator.model().create_user(&email("bob"));
    let client = reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail");
    let url = format!("{}{}", mute.base_url(), tree.list.path);
    let body = json!({ "type": "LINKED", "external_owner_id": "bob", "refresh_token": token });
    let request = client.post(url).header("Whdb-Webhook-Secret", &tree.list.secret);
    let unanswered = request.body(body.to_string()).send().await;
    assert!(unanswered.is_err(), "the host was to die first: {unanswered:?}");
    mute.dies().await;
    tree.note_linked("bob", Some(&email("bob")));

    is_up_to_date(&other, "bob").await;
    other.settle().await;
    other.assert_matches_model(&tree).await;
}
