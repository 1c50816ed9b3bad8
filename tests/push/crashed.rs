//! Hosts that die between the pending row and the vendor's answer.

use simulator::{Fault, Moment, Then, When};

use crate::setup::{ANA, Case, LIST, OWNER};

#[tokio::test]
async fn an_orphan_is_stopped_in_the_end() {
    let mut case = Case::mortal().await;
    // The vendor has made the channel; its answer and its first message are lost.
    case.rules(|rules| rules.sync = simulator::model::push::SyncTime::Never);
    let when = When { count: Some(1), ..When::path("*/events/watch") };
    let hold = case.simulator.add_fault(Fault::when(when, Then::Hold(Moment::After)));
    case.host.link(&case.tree, OWNER, ANA).await;
    case.simulator.await_held(1).await;
    assert_eq!(case.number("select count(*) from channels where state = 'pending'").await, 1);
    case.host.kill().await;
    case.simulator.clear_faults(Some(hold));
    let orphan = case.channel(ANA).id;
    case.host.restart().await;
    // Its port is another one, as behind a proxy that never moves.
    let address = case.base_url().to_owned();
    case.rules(|rules| rules.via = Some(address));
    case.until("the calendar is watched again", async || {
        case.watches().iter().filter(|name| *name == ANA).count() == 2
    })
    .await;
    case.add(ANA, "tells");
    case.until("the orphan is stopped", async || {
        case.live_channels().iter().all(|channel| channel.id != orphan)
    })
    .await;
    case.watched(&[LIST, ANA]).await;
    case.arrives(ANA, "tells").await;
}
