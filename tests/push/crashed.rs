//! Hosts that die in the midst of push work: in the end each calendar has one live channel, the vendor
//! has none that nobody here knows, and no change is missed.

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

/// Where vendors reach the host, whatever its port: as behind a proxy that never moves.
const PROXY: &str = "http://push.example";

/// Where a host dies that asks for the second channel of an owner, and whether what changes while it is
/// dead is told to nobody. Where it isn't, the vendor repeats what met nobody.
const ASKING: [(&str, bool); 4] = [
    ("channel_pending", true),
    ("channel_answered", true),
    ("channel_active", true),
    // The streams have run since the channel is there.
    ("channel_shown", false),
];

impl Case {
    /// Nobody is linked, and the vendor repeats for long what meets nobody.
    async fn behind_a_proxy() -> Self {
        let mut case = Self::mortal().await;
        case.rules(|rules| rules.retries = 10);
        case.begin(None).await;
        case
    }

    /// Starts the host anew; it dies where the failpoint says.
    async fn begin(&mut self, failpoint: Option<&str>) {
        self.host.set_env("ROWGATE_PUBLIC_URL", Some(PROXY));
        self.host.set_env("ROWGATE_FAILPOINT", failpoint);
        self.host.restart().await;
        let address = self.base_url().to_owned();
        self.rules(|rules| rules.via = Some(address));
    }

    /// Waits until the vendor has one live channel for the list and one for Ana's calendar, and the host
    /// takes just these for active. A row of one that was never made may be left until it expires.
    async fn each_is_watched_once(&self) {
        self.until("each is watched once", async || {
            let mut live: Vec<String> =
                self.live_channels().into_iter().map(|channel| channel.id).collect();
            live.sort();
            let active = "select id from channels where state = 'active' order by id";
            let active: Vec<(String,)> = self.control(active).await;
            self.watches() == [LIST, ANA] && active.iter().map(|(id,)| id).eq(&live)
        })
        .await;
    }

    /// What changes from now on is told of, by channels that are there once.
    async fn hears(&self) {
        self.each_is_watched_once().await;
        self.add(ANA, "after");
        self.arrives(ANA, "after").await;
        self.rest().await;
        self.each_is_watched_once().await;
        self.host.assert_matches_model(&self.tree).await;
    }
}

#[tokio::test]
async fn an_asking_that_died_leaves_one_channel_and_no_gap() {
    for (edge, is_lost) in ASKING {
        println!("{edge}");
        let mut case = Case::behind_a_proxy().await;
        case.begin(Some(&format!("{edge}:2"))).await;
        case.host.link(&case.tree, OWNER, ANA).await;
        case.host.dies().await;
        if is_lost {
            case.rules(|rules| rules.drop = 1.0);
        }
        case.add(ANA, "meanwhile");
        case.rules(|rules| rules.drop = 0.0);
        case.begin(None).await;
        case.arrives(ANA, "meanwhile").await;
        // A channel that the vendor made, and whose answer is lost, is known by what it tells.
        case.add(ANA, "tells");
        case.arrives(ANA, "tells").await;
        case.hears().await;
    }
}

#[tokio::test]
async fn a_stop_that_died_is_made_again() {
    let mut case = Case::behind_a_proxy().await.linked().await;
    case.begin(Some("channel_stopped:1")).await;
    case.host.unlink(&case.tree, OWNER).await;
    case.host.dies().await;
    assert_eq!(case.live_channels().len(), 1, "one is stopped, and nobody here knows");
    assert_eq!(case.number("select count(*) from channels where state = 'stopping'").await, 2);
    case.begin(None).await;
    case.watched(&[]).await;
    case.host.link(&case.tree, OWNER, ANA).await;
    case.hears().await;
}

#[tokio::test]
async fn a_notification_that_was_stored_has_its_effect() {
    let mut case = Case::behind_a_proxy().await.linked().await;
    // It got no answer, but isn't repeated either.
    case.rules(|rules| rules.retries = 0);
    case.begin(Some("notification_stored:1")).await;
    case.add(ANA, "told");
    case.host.dies().await;
    case.begin(None).await;
    case.arrives(ANA, "told").await;
    assert!(case.asked("/watch").is_empty(), "the channels are as they were");
    case.hears().await;
}
