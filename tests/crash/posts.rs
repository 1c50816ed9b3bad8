//! Posts of a load, each accepted or in doubt.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tests::{TestHost, Tree};

pub(crate) const OWNERS: [&str; 3] = ["ann", "bob", "cy"];

/// One post.
pub(crate) struct Post {
    verb: &'static str,
    owner: String,
    token: Option<String>,
}

impl Post {
    pub(crate) fn random(
        host: &TestHost,
        owner: Option<&'static str>,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let verbs = ["LINKED", "REFRESHED", "REFRESHED", "RESYNC", "UNLINKED"];
        let verb = verbs.choose(random).copied().unwrap_or("RESYNC");
        let owner = owner.or_else(|| OWNERS.choose(random).copied()).unwrap_or("ann");
        let brings = matches!(verb, "LINKED" | "REFRESHED");
        let token = brings.then(|| host.simulator.model().create_user(&email(owner)));
        Self { verb, owner: owner.to_owned(), token }
    }

    /// LINKED with a new account.
    pub(crate) fn linked(host: &TestHost, owner: &str) -> Self {
        let token = host.simulator.model().create_user(&email(owner));
        Self { verb: "LINKED", owner: owner.to_owned(), token: Some(token) }
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Sends it; false: the host died before it answered.
    pub(crate) async fn send(&self, host: &TestHost, tree: &Tree) -> bool {
        let Ok(answer) = self.request(host, tree).send().await else { return false };
        assert_eq!(answer.status().as_u16(), 202, "{} of {}", self.verb, self.owner);
        match self.verb {
            "LINKED" | "REFRESHED" => tree.note_linked(&self.owner, Some(&email(&self.owner))),
            "UNLINKED" => tree.note_linked(&self.owner, None),
            _ => {}
        }
        true
    }

    pub(crate) fn request(&self, host: &TestHost, tree: &Tree) -> reqwest::RequestBuilder {
        let body: Value = match &self.token {
            Some(token) => json!({
                "type": self.verb, "external_owner_id": self.owner, "refresh_token": token,
            }),
            None => json!({ "type": self.verb, "external_owner_id": self.owner }),
        };
        client()
            .post(format!("{}{}", host.base_url(), tree.list.path))
            .header("Whdb-Webhook-Secret", &tree.list.secret)
            .body(body.to_string())
    }
}

pub(crate) fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}

/// A new one for each request: connections to a dead host must not be taken up again.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail")
}
