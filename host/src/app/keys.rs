//! Another key: what is sealed is sealed again while hosts go on.

use anyhow::bail;

use super::App;
use crate::secrets::KeyId;
use crate::store::Dialect;
use crate::store::rotation::{Left, Progress};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key that everything is sealed with now.
    pub key: KeyId,
    /// Values that this run sealed again.
    pub resealed: u64,
    /// Keys that seal nothing any more.
    pub retired: Vec<KeyId>,
    /// They were taken out of the key file. Else it is for the operator to do.
    pub removed: bool,
}

/// What moved from one table to another meanwhile is found by a second pass.
const PASSES: usize = 3;

/// Seals everything with a new key and takes the old one away, once it seals nothing. If that was begun
/// and not ended, it goes on. Where databases lie on a server, or the keys were given by the
/// configuration, other hosts may have them too: who changes keys there is the operator.
pub async fn rotate(app: &App, mut told: impl FnMut(Progress)) -> anyhow::Result<Rotated> {
    let (store, keyring) = (&app.store, app.store.keyring());
    let in_file = keyring.is_in_file() && store.control().dialect() == Dialect::Sqlite;
    let _lock = keyring.lock_file()?;
    let under_way = keyring.ids().len() > 1;
    match (under_way, in_file) {
        (true, _) => {}
        (false, true) => {
            keyring.put_first()?;
        }
        (false, false) => bail!(
            "there is no second key to change to. Give every host a new one behind the present one \
             (`OLD,NEW`), then before it (`NEW,OLD`), then run this again, then take OLD out"
        ),
    }
    store.await_writers().await?;
    let mut resealed = 0;
    for _ in 0..PASSES {
        resealed += store.seal_again(&mut told).await?;
        let left = store.sealed_with_others().await?;
        let ids = keyring.ids();
        if !ids.iter().skip(1).any(|id| left.by_key.contains_key(id)) {
            if in_file {
                keyring.keep_first()?;
            }
            warn_of_lost(&left);
            let (key, retired) = (ids[0], ids[1..].to_vec());
            return Ok(Rotated { key, resealed, retired, removed: in_file });
        }
    }
    let left = store.sealed_with_others().await?;
    let values: u64 = left.by_key.values().sum();
    bail!(
        "{values} values are still sealed with an older key, e.g. {}: the key stays. Is a host running \
         that doesn't have the new one?",
        left.example.unwrap_or_default()
    )
}

/// Values of keys that nobody has: they were lost before.
fn warn_of_lost(left: &Left) {
    for (key, values) in &left.by_key {
        tracing::warn!(%key, values, "sealed with a key that isn't here");
    }
}
