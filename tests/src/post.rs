//! A backend's posts.

use std::sync::PoisonError;

use serde_json::{Value, json};

use crate::{Integration, TestHost, Tree};

impl TestHost {
    /// Posts a body to an integration's endpoint with the tree's secret: status and JSON body.
    pub async fn post(&self, tree: &Tree, body: &Value) -> (u16, Value) {
        self.post_to(&tree.list, &tree.list.secret, body).await
    }

    /// The same, to any integration and with any secret.
    pub async fn post_to(&self, to: &Integration, secret: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{}", self.base_url(), to.path));
        let request = request
            .header("Whdb-Webhook-Secret", secret)
            .header("Content-Type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.expect("the host answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the host answers");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Posts with a fresh refresh token of a Google account.
    pub async fn post_token(&self, tree: &Tree, verb: &str, owner: &str, email: &str) {
        let token = self.simulator.model().create_user(email);
        self.post_with(tree, verb, owner, email, &token).await;
    }

    /// Posts a given refresh token of a Google account.
    pub async fn post_with(&self, tree: &Tree, verb: &str, owner: &str, email: &str, token: &str) {
        self.accepted(
            tree,
            &json!({
                "type": verb, "external_owner_id": owner, "refresh_token": token,
            }),
        )
        .await;
        let mut linked = tree.linked.lock().unwrap_or_else(PoisonError::into_inner);
        linked.insert(owner.to_owned(), email.to_owned());
    }

    /// LINKED with a fresh refresh token.
    pub async fn link(&self, tree: &Tree, owner: &str, email: &str) {
        self.post_token(tree, "LINKED", owner, email).await;
    }

    /// REFRESHED with a fresh refresh token.
    pub async fn refresh(&self, tree: &Tree, owner: &str, email: &str) {
        self.post_token(tree, "REFRESHED", owner, email).await;
    }

    /// RESYNC.
    pub async fn resync(&self, tree: &Tree, owner: &str) {
        self.accepted(tree, &json!({ "type": "RESYNC", "external_owner_id": owner })).await;
    }

    /// UNLINKED.
    pub async fn unlink(&self, tree: &Tree, owner: &str) {
        self.accepted(tree, &json!({ "type": "UNLINKED", "external_owner_id": owner })).await;
        tree.linked.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
    }

    /// Posts what must be accepted; again, as a backend does, where a slow disk made it too late.
    pub async fn accepted(&self, tree: &Tree, body: &Value) {
        let mut answer = self.post(tree, body).await;
        for _ in 0..4 {
            if answer.0 != 503 {
                break;
            }
            answer = self.post(tree, body).await;
        }
        assert_eq!(answer, (202, json!({ "o": "k" })), "{body}");
    }
}
