//! Posts that are sent to one host after the other until one accepts them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use simulator::Simulator;
use tests::{TestHost, Tree};

pub(crate) const OWNERS: [&str; 3] = ["ann", "bob", "cy"];

/// Where the hosts are reached; what is killed or frozen isn't.
#[derive(Debug)]
pub(crate) struct Doors(Mutex<Vec<Option<String>>>);

impl Doors {
    pub(crate) fn new(hosts: &[TestHost]) -> Self {
        Self(Mutex::new(hosts.iter().map(|host| Some(host.base_url().to_owned())).collect()))
    }

    pub(crate) fn set(&self, host: usize, url: Option<&str>) {
        self.all()[host] = url.map(str::to_owned);
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.all().iter().flatten().count()
    }

    /// The one whose turn it is.
    fn at(&self, turn: usize) -> Option<String> {
        let open: Vec<String> = self.all().iter().flatten().cloned().collect();
        open.get(turn.checked_rem(open.len())?).cloned()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One post.
#[derive(Debug)]
pub(crate) struct Post {
    verb: &'static str,
    owner: &'static str,
    token: Option<String>,
}

impl Post {
    pub(crate) fn random(
        simulator: &Simulator,
        owner: Option<&'static str>,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let verbs = ["LINKED", "REFRESHED", "REFRESHED", "RESYNC", "UNLINKED"];
        let verb = verbs.choose(random).copied().unwrap_or("RESYNC");
        let owner = owner.or_else(|| OWNERS.choose(random).copied()).unwrap_or("ann");
        let brings = matches!(verb, "LINKED" | "REFRESHED");
        let token = brings.then(|| simulator.model().create_user(&email(owner)));
        Self { verb, owner, token }
    }

    /// Whether it was accepted; by a host that died just then it may have been. None: nobody answered in time,
    /// and a host that is thawed may accept it yet.
    async fn send(&self, url: &str, tree: &Tree) -> Option<bool> {
        let body: Value = match &self.token {
            Some(token) => json!({
                "type": self.verb, "external_owner_id": self.owner, "refresh_token": token,
            }),
            None => json!({ "type": self.verb, "external_owner_id": self.owner }),
        };
        // A new one each time: connections to a dead host must not be taken up again.
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let request =
            client.expect("no TLS set-up can fail").post(format!("{url}{}", tree.list.path));
        let request = request.header("Whdb-Webhook-Secret", &tree.list.secret);
        let status = match request.body(body.to_string()).send().await {
            Ok(answer) => answer.status().as_u16(),
            Err(error) => return (!error.is_timeout()).then_some(false),
        };
        assert!(matches!(status, 202 | 500..=599), "{} of {}: {status}", self.verb, self.owner);
        Some(status == 202)
    }
}

/// A host that was frozen while it had the request answers no more.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Sends them in order, each until it is accepted. Answers of which owners one may come behind later ones.
pub(crate) async fn send_all(posts: &[Post], tree: &Tree, doors: &Doors) -> BTreeSet<&'static str> {
    let (mut turn, mut in_doubt) = (0, BTreeSet::new());
    for post in posts {
        loop {
            turn += 1;
            let accepted = match doors.at(turn) {
                Some(url) => post.send(&url, tree).await,
                None => Some(false),
            };
            match accepted {
                Some(true) => break,
                Some(false) => {}
                None => {
                    in_doubt.insert(post.owner);
                }
            }
            tokio::task::yield_now().await;
        }
        match post.verb {
            "LINKED" | "REFRESHED" => tree.note_linked(post.owner, Some(&email(post.owner))),
            "UNLINKED" => tree.note_linked(post.owner, None),
            _ => {}
        }
    }
    in_doubt
}

pub(crate) fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}
