//! The way to a database that an organization's tables lie in: addresses are parsed and checked as those of
//! mirrors are, and connections go through a relay.

use super::DatabaseAddress;
use crate::delivery::destination::DestinationRules;
use crate::egress::{Relay, Relays};
use crate::store::moves::{Way, Ways};

/// By relays that stand.
#[derive(Debug)]
pub struct OwnDatabases {
    relays: Relays,
    rules: DestinationRules,
}

impl OwnDatabases {
    /// `rules`: where they may be.
    pub fn new(relays: Relays, rules: DestinationRules) -> Self {
        Self { relays, rules }
    }
}

impl Ways for OwnDatabases {
    fn open(&self, text: &str) -> Result<Way, String> {
        let address = DatabaseAddress::parse(text, self.rules)?;
        let relay = self.relays.stand(address.server.clone());
        let relay = relay.map_err(|error| format!("can't be followed: no socket: {error}"))?;
        Ok(Way {
            directory: relay.directory().to_owned(),
            port: Relay::PORT,
            user: address.user.clone(),
            password: address.password.clone(),
            database: address.database.clone(),
            shown: address.shown(),
            hide: Box::new(move |text| address.hide(text)),
            relay: Box::new(relay),
        })
    }
}
