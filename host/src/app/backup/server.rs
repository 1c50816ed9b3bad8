//! Databases of a server that `pg_restore` has put back are made to go on.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Progress;
use crate::app::{clock, reach_outside, server_options};
use crate::chance::Chance;
use crate::config::Config;
use crate::secrets::Keyring;
use crate::store::Store;
use crate::store::hosts::Living;
use crate::store::restore::Restored;

/// Between two looks for hosts that may be alive.
const LOOK: Duration = Duration::from_millis(250);

/// Makes databases that were put back go on, as `restore` does with files. No host may work on them: one
/// that does is noticed, and none begins before all is done.
///
/// What stands in the databases of hosts came from the copy, too. So one that should be alive by that is
/// waited for: if it is, it says so again.
pub async fn put_right(config: &Config, told: impl Fn(Progress<'_>)) -> anyhow::Result<Restored> {
    let Some(options) = server_options(config) else {
        bail!(
            "no server is configured (database_url): a data directory is filled by `rowgate restore DIR`"
        );
    };
    let (chance, data_dir) = (Chance::from_system(), config.data_dir());
    data_dir.create()?;
    let keyring = Keyring::load(data_dir.path(), config.key.given(), chance.clone())?;
    let opened = Store::open_put_back(&options, data_dir, clock(config), keyring, chance);
    let store = opened.await.context("opening the databases of the server")?;
    reach_outside(&store, config)?;
    let _lock = store.lock_restore().await?;
    let mut before: Option<Vec<Living>> = None;
    loop {
        let now = store.begin_restore().await?;
        if now.is_empty() {
            break;
        }
        if let Some(host) = before.as_deref().and_then(|before| at_work(before, &now)) {
            bail!("the host {host} works on these databases: stop all hosts first");
        }
        before.get_or_insert(now);
        store.clock().sleep(LOOK).await;
    }
    Ok(store.restore(|organization| told(Progress::PuttingRight { organization })).await?)
}

/// A host that has said since the first look that it is alive.
fn at_work<'h>(before: &[Living], now: &'h [Living]) -> Option<&'h str> {
    now.iter().find(|host| !before.contains(host)).map(|host| host.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_says_so_again_is_alive() {
        let host = |name: &str, alive_until| Living {
            name: name.into(),
            alive_until,
            key_id: String::new(),
        };
        let before = [host("a", 5), host("b", 7)];
        assert_eq!(at_work(&before, &before), None);
        assert_eq!(at_work(&before, &before[1..]), None, "one has run out");
        assert_eq!(at_work(&before, &[host("a", 5), host("b", 8)]), Some("b"));
        assert_eq!(at_work(&before, &[host("c", 6), host("a", 5)]), Some("c"), "a new one");
    }
}
