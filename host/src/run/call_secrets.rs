//! The secrets of one guest call, as egress asks for them: configuration from the tree, the rest
//! from the owner's grant, with single flight for what must be fetched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rowgate_manifest::{Manifest, SecretScope};
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::egress::{Presence, SecretSource, SecretValue};
use crate::model::{Micros, OwnerId};
use crate::secrets::Keyring;
use crate::store::owner_secrets::Captured;
use crate::store::{Store, inbox, owner_secrets};

/// Nobody waits longer for somebody else's token refresh (R10).
const ELECTION_WAIT: Duration = Duration::from_secs(10);

/// Who fetches which secret of an owner. One per lease: all streams of an owner run under it.
#[derive(Debug, Default)]
pub(super) struct Elections(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Elections {
    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut elections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(elections.entry(name.to_owned()).or_default())
    }
}

/// The secrets of one call.
pub(super) struct CallSecrets {
    pub(super) store: Arc<Store>,
    pub(super) keyring: Keyring,
    pub(super) clock: Clock,
    pub(super) manifest: Arc<Manifest>,
    /// Opened configuration secrets of the tree.
    pub(super) config: Arc<HashMap<String, Zeroizing<String>>>,
    pub(super) owner_id: OwnerId,
    /// None: the owner has no grant, so it has no secrets.
    pub(super) grant_id: Option<i64>,
    /// Of the push channel that the call asks for.
    pub(super) channel_token: Option<Zeroizing<String>>,
    pub(super) elections: Arc<Elections>,
    /// Elections that this call has won. They end with the call, however it ends.
    pub(super) won: Mutex<HashMap<String, OwnedMutexGuard<()>>>,
}

impl CallSecrets {
    async fn find(&self, name: &str) -> Result<Option<SecretValue>, String> {
        let Some(declared) = self.manifest.secrets.get(name) else { return Ok(None) };
        if let Some(config) = &declared.config {
            let value = self.config.get(config).cloned();
            return Ok(value.map(|text| SecretValue { text, version: 0 }));
        }
        if declared.per == Some(SecretScope::Channel) {
            let value = self.channel_token.clone();
            return Ok(value.map(|text| SecretValue { text, version: 0 }));
        }
        let Some(grant_id) = self.grant_id else { return Ok(None) };
        let key = (self.owner_id, grant_id);
        let found = owner_secrets::find(self.store.control(), key, name, self.clock.now()).await;
        let Some(stored) = found.map_err(|error| error.to_string())? else { return Ok(None) };
        let place = inbox::place(self.owner_id, name);
        let opened = self.keyring.open(&place, &stored.sealed);
        let opened = opened.map_err(|error| error.to_string())?;
        let text = String::from_utf8(opened.to_vec()).map_err(|_| "not text".to_owned())?;
        Ok(Some(SecretValue { text: Zeroizing::new(text), version: stored.version }))
    }

    async fn is_there(&self, name: &str) -> bool {
        match self.find(name).await {
            Ok(found) => found.is_some(),
            Err(error) => {
                tracing::error!(secret = name, error, "a stored secret can't be used");
                false
            }
        }
    }

    fn has_won(&self) -> bool {
        !self.won.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn settle(&self, name: &str) {
        self.won.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl SecretSource for CallSecrets {
    fn value<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<SecretValue>, String>> {
        Box::pin(self.find(name))
    }

    fn capture<'a>(
        &'a self,
        name: &'a str,
        value: &'a str,
        expires_in_s: Option<u64>,
        used: Vec<(String, i64)>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let Some(grant_id) = self.grant_id else { return Ok(()) };
            let expires_at = expires_in_s.map(|seconds| {
                let micros = Micros::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
                self.clock.now().saturating_add(micros)
            });
            // Versions of configuration secrets are 0 and not in the owner's table.
            let used = used.into_iter().filter(|(_, version)| *version > 0).collect();
            let key = (self.owner_id, grant_id);
            let captured = Captured { name, value, expires_at, used };
            owner_secrets::capture(self.store.control(), &self.keyring, key, captured)
                .await
                .map_err(|error| error.to_string())?;
            self.settle(name);
            Ok(())
        })
    }

    fn presence<'a>(&'a self, name: &'a str, wait: bool) -> BoxFuture<'a, Presence> {
        Box::pin(async move {
            if self.is_there(name).await {
                return Presence::Present;
            }
            // Who leads one election never waits for another: two calls can't wait in a circle.
            if !wait || self.has_won() {
                return Presence::Missing;
            }
            let election = self.elections.of(name);
            let Ok(won) = tokio::time::timeout(ELECTION_WAIT, election.lock_owned()).await else {
                return Presence::Missing;
            };
            if self.is_there(name).await {
                return Presence::Present;
            }
            let mut elections = self.won.lock().unwrap_or_else(PoisonError::into_inner);
            elections.insert(name.to_owned(), won);
            Presence::Missing
        })
    }

    fn forget<'a>(&'a self, name: &'a str, version: Option<i64>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(grant_id) = self.grant_id else { return };
            let key = (self.owner_id, grant_id);
            let done = owner_secrets::forget(self.store.control(), key, name, version).await;
            if let Err(error) = done {
                tracing::error!(secret = name, %error, "a refused secret could not be forgotten");
            }
        })
    }
}
