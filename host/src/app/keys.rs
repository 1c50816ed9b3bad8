//! Another key: what is sealed is sealed again while hosts go on.

use std::time::Duration;

use anyhow::bail;

use super::App;
use crate::clock::micros;
use crate::secrets::{KeyId, Keyring, Retiring};
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

/// Between two looks for processes that seal with an older key.
const LOOK: Duration = Duration::from_millis(100);

/// Seals everything with a new key and takes the old one away, once it seals nothing. If that was begun
/// and not ended, it goes on. Where databases lie on a server, or the keys were given by the
/// configuration, other hosts may have them too: who changes keys there is the operator.
///
/// The old key stays while a process seals with it: one that hasn't taken the new one up after `wait`
/// ends this, and it is to be begun again.
pub async fn rotate(
    app: &App,
    wait: Duration,
    mut told: impl FnMut(Progress),
) -> anyhow::Result<Rotated> {
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
    let retiring = retired(app, keyring, wait).await?;
    hosts_have(app, keyring.newest()).await?;
    store.await_writers().await?;
    let mut resealed = 0;
    for _ in 0..PASSES {
        resealed += store.seal_again(&mut told).await?;
        let left = store.sealed_with_others().await?;
        let ids = keyring.ids();
        if !ids.iter().skip(1).any(|id| left.by_key.contains_key(id)) {
            hosts_have(app, keyring.newest()).await?;
            if in_file {
                keyring.keep_first(retiring)?;
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

/// Waits until no process on this machine seals with an older key.
async fn retired(app: &App, keyring: &Keyring, wait: Duration) -> anyhow::Result<Retiring> {
    let until = app.clock.now().saturating_add(micros(wait));
    loop {
        if let Some(retiring) = keyring.retire()? {
            return Ok(retiring);
        }
        if app.clock.now() >= until {
            bail!(
                "another process still seals with an older key, which therefore stays: nothing is lost. If \
                 its log says that it can't read {}, let it, else end it; then run this again",
                app.store.data_dir().key().display()
            );
        }
        app.clock.sleep(LOOK).await;
    }
}

/// Refused while a host that shares the databases of a server seals with another key than this.
async fn hosts_have(app: &App, key: KeyId) -> anyhow::Result<()> {
    let hosts = app.store.living().await?;
    let Some(host) = hosts.iter().find(|host| host.key_id != key.to_string()) else {
        return Ok(());
    };
    bail!(
        "the host {} seals with the key {} and not with {key}: start it again with `NEW,OLD` first",
        host.name,
        host.key_id
    )
}

/// Values of keys that nobody has: they were lost before.
fn warn_of_lost(left: &Left) {
    for (key, values) in &left.by_key {
        tracing::warn!(%key, values, "sealed with a key that isn't here");
    }
}
