//! What an operator does with targets of HTTP Sync and DB Sync, with every check, whoever asks.

mod asked;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::App;
use super::integrations::{Refusal, named};
use crate::clock::micros;
use crate::config;
use crate::delivery::{Clients, Destination, DestinationRules, Mirror, PAGE_ROWS};
use crate::model::{Micros, OrganizationId};
use crate::store::Store;
use crate::store::feed::{self, Bookmark};
use crate::store::targets::{Health, Kind, NewTarget, Target};
pub use asked::{Asked, AskedTo, Change, Rewind, TargetError};
use asked::{identifier, page_size, stays};

/// Rows of a delivery where none are asked for.
const PAGE_SIZE: i64 = 200;

/// The schema of a mirror where none is asked for.
const SCHEMA: &str = "public";

/// Of what is said of a pause.
const REASON_BYTES_MAX: usize = 1_000;

/// The longest period.
const PERIOD_MAX_S: i64 = 86_400;

/// Operations on the targets of organizations that are of one kind.
pub struct Targets {
    kind: Kind,
    store: Arc<Store>,
    clients: Clients,
    rules: DestinationRules,
    period_min_s: i64,
    alert_after: Micros,
}

impl App {
    /// Operations on targets of a kind, by the configured rules.
    pub fn targets(&self, kind: Kind) -> anyhow::Result<Targets> {
        let delivery = &self.config.delivery;
        Ok(Targets {
            kind,
            store: Arc::clone(&self.store),
            clients: self.clients()?,
            rules: rules(delivery),
            period_min_s: delivery.period_min_s,
            alert_after: micros(Duration::from_secs(delivery.alert_after_s)),
        })
    }
}

/// Where deliveries may go.
pub(super) fn rules(delivery: &config::Delivery) -> DestinationRules {
    DestinationRules {
        allow_http: delivery.allow_http,
        allow_private_addresses: delivery.allow_private_addresses,
    }
}

impl Targets {
    /// Makes a target once its receiver has answered a test post, its database has shown that it can take the
    /// mirror.
    pub async fn create(
        &self,
        organization: OrganizationId,
        asked: Asked<'_>,
    ) -> Result<Target, TargetError> {
        let found = named(&self.store, organization, asked.integration).await;
        let integration = found.map_err(not_found)?;
        let period_s = self.period(asked.period_seconds)?;
        let (page_size, deletions, [to_schema, to_table]) = match asked.to {
            AskedTo::Receiver { page_size: rows, deletions } => {
                (page_size(rows.unwrap_or(PAGE_SIZE))?, deletions, Default::default())
            }
            AskedTo::Database { schema, table } => {
                let schema = identifier("schema", schema, SCHEMA)?;
                let table = identifier("table", table, &integration.table_name)?;
                (PAGE_ROWS, true, [schema, table])
            }
        };
        let signing_secret = self.store.new_signing_secret();
        let destination = self.destination(asked.connection_url)?;
        let spec = match self.kind {
            Kind::Db => {
                let place = destination.place();
                let (schema, table) = (to_schema.as_str(), to_table.as_str());
                self.store.refuse_taken_place(organization, &place, schema, table).await?;
                let (plugin, service) = (&integration.plugin, &integration.service);
                Some(self.store.table_spec(plugin, service, table).await?)
            }
            Kind::Http | Kind::Notification => None,
        };
        let mirror = spec.as_ref().map(|spec| Mirror { schema: &to_schema, spec });
        self.answers(&destination, &signing_secret, mirror).await?;
        let new = NewTarget {
            integration,
            kind: self.kind,
            to_place: destination.place(),
            to_schema,
            to_table,
            url: Zeroizing::new(asked.connection_url.trim().to_owned()),
            shown_url: destination.shown(),
            signing_secret,
            period_s,
            page_size,
            deletions,
        };
        Ok(self.store.create_target(new).await?)
    }

    /// Checks what was said of a target so far: as when it is made, its receiver or database must answer.
    pub async fn verify(
        &self,
        organization: OrganizationId,
        integration: &str,
        url: &str,
    ) -> Result<(), TargetError> {
        named(&self.store, organization, integration).await.map_err(not_found)?;
        let destination = self.destination(url)?;
        self.answers(&destination, &self.store.new_signing_secret(), None).await
    }

    /// The periods that may be asked for, in seconds.
    pub fn periods(&self) -> RangeInclusive<i64> {
        self.period_min_s..=PERIOD_MAX_S
    }

    /// All of the organization.
    pub async fn list(&self, organization: OrganizationId) -> Result<Vec<Target>, TargetError> {
        let mut targets = self.store.targets(organization).await?;
        targets.retain(|target| target.kind == self.kind);
        Ok(targets)
    }

    /// One of them.
    pub async fn get(&self, organization: OrganizationId, id: &str) -> Result<Target, TargetError> {
        let found = self.store.target(organization, id).await?;
        let found = found.filter(|target| target.kind == self.kind);
        found.ok_or_else(|| TargetError::NoTarget(id.to_owned()))
    }

    /// How it is.
    pub fn health(&self, target: &Target) -> Health {
        target.health(self.store.clock().now(), self.alert_after)
    }

    /// What its receiver checks signatures with: for whoever may see secrets.
    pub async fn signing_secret(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Zeroizing<String>, TargetError> {
        let target = self.get(organization, id).await?;
        Ok(self.store.target_secrets(&target.id).await?.signing_secret)
    }

    /// Changes period, page size or shape. Nothing happens where they are so already.
    pub async fn update(
        &self,
        organization: OrganizationId,
        id: &str,
        change: Change<'_>,
    ) -> Result<Target, TargetError> {
        let target = self.get(organization, id).await?;
        if self.kind == Kind::Db {
            stays("schema", change.schema, &target.to_schema)?;
            stays("table", change.table, &target.to_table)?;
        }
        let period_s = match change.period_seconds {
            Some(period_s) => self.period(period_s)?,
            None => target.period_s,
        };
        let page_size = match change.page_size {
            Some(rows) => page_size(rows)?,
            None => target.page_size,
        };
        // A mirror without deletions would be none.
        let deletions = match self.kind {
            Kind::Http | Kind::Notification => change.deletions.unwrap_or(target.deletions),
            Kind::Db => true,
        };
        if (period_s, page_size, deletions) == (target.period_s, target.page_size, target.deletions)
        {
            return Ok(target);
        }
        self.store.update_target(id, period_s, page_size, deletions).await?;
        self.get(organization, id).await
    }

    /// Changes user and password of its address, once they were taken there. That ends a pause for failures.
    pub async fn update_credentials(
        &self,
        organization: OrganizationId,
        id: &str,
        user: &str,
        password: &str,
    ) -> Result<Target, TargetError> {
        let target = self.get(organization, id).await?;
        let secrets = self.store.target_secrets(&target.id).await?;
        let url = Destination::with_credentials(&secrets.url, user, password)
            .map_err(|reason| TargetError::Field { field: "user", reason })?;
        let destination = self.destination(&url)?;
        self.answers(&destination, &secrets.signing_secret, None).await?;
        self.store.move_target(id, &url, destination.shown()).await?;
        self.get(organization, id).await
    }

    /// Forgets it. Of a mirror its rows stay, and another target may have its place, unless the mirror couldn't be
    /// told: then this answers why.
    pub async fn delete(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Option<String>, TargetError> {
        let target = self.get(organization, id).await?;
        let secrets = self.store.target_secrets(&target.id).await;
        self.store.delete_target(&target.id).await?;
        if self.kind != Kind::Db {
            return Ok(None);
        }
        let left = match secrets {
            Ok(secrets) => self.leave(&target, &secrets.url).await,
            Err(error) => {
                tracing::warn!(target = id, %error, "its URL can't be opened");
                Err("its URL can't be opened: the host's log says why".to_owned())
            }
        };
        if let Err(reason) = &left {
            tracing::warn!(target = id, reason, "its mirror can't be told that it is gone");
        }
        Ok(left.err())
    }

    /// Delivers now what there is, also where it waits after a failure or was paused for them.
    pub async fn trigger(&self, organization: OrganizationId, id: &str) -> Result<(), TargetError> {
        let target = self.get(organization, id).await?;
        if let Some(paused) = TargetError::paused(&target) {
            return Err(paused);
        }
        Ok(self.store.trigger_target(&target.id).await?)
    }

    /// Delivers again from a point of the past.
    pub async fn rewind(
        &self,
        organization: OrganizationId,
        id: &str,
        to: Rewind,
    ) -> Result<(), TargetError> {
        let target = self.get(organization, id).await?;
        let replication = self.store.replication(organization).await?;
        let head = feed::head(&replication).await?;
        let behind = |number: i64| Bookmark::behind(&head.epoch, number);
        let bookmark = match to {
            Rewind::Beginning => Bookmark::Start,
            Rewind::Number(number) if (0..=head.number).contains(&number) => behind(number),
            Rewind::Number(_) => {
                let reason = format!("must be from 0 to {}, where the feed ends", head.number);
                return Err(TargetError::Field { field: "number", reason });
            }
            Rewind::Time(at) => behind(feed::number_before(&replication, &head, at).await?),
        };
        Ok(self.store.rewind_target(&target.id, &bookmark).await?)
    }

    /// Stops deliveries.
    pub async fn pause(
        &self,
        organization: OrganizationId,
        id: &str,
        reason: &str,
    ) -> Result<Target, TargetError> {
        let target = self.get(organization, id).await?;
        if reason.len() > REASON_BYTES_MAX {
            let reason = format!("must have {REASON_BYTES_MAX} bytes at most");
            return Err(TargetError::Field { field: "reason", reason });
        }
        self.store.pause_target(&target.id, reason).await?;
        self.get(organization, id).await
    }

    /// Goes on with what came meanwhile.
    pub async fn resume(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Target, TargetError> {
        let target = self.get(organization, id).await?;
        self.store.resume_target(&target.id).await?;
        self.get(organization, id).await
    }

    async fn leave(&self, target: &Target, url: &str) -> Result<(), String> {
        let destination = Destination::parse(self.kind, url, self.rules)?;
        destination.leave(&self.clients, target).await
    }

    fn destination(&self, url: &str) -> Result<Destination, TargetError> {
        Destination::parse(self.kind, url, self.rules).map_err(not_taken)
    }

    /// As it must before a target goes there.
    async fn answers(
        &self,
        destination: &Destination,
        secret: &str,
        mirror: Option<Mirror<'_>>,
    ) -> Result<(), TargetError> {
        let clock = self.store.clock();
        let verified = destination.verify(&self.clients, clock, secret, mirror).await;
        verified.map_err(not_taken)
    }

    fn period(&self, period_s: i64) -> Result<i64, TargetError> {
        if self.periods().contains(&period_s) {
            return Ok(period_s);
        }
        let reason = format!("must be from {} to {PERIOD_MAX_S} seconds", self.period_min_s);
        Err(TargetError::Field { field: "period_seconds", reason })
    }
}

/// Why an address isn't taken.
fn not_taken(reason: String) -> TargetError {
    TargetError::Field { field: "connection_url", reason }
}

/// Why no integration is meant by a name.
fn not_found(refusal: Refusal) -> TargetError {
    match refusal {
        Refusal::Unknown(name) => TargetError::NoIntegration(name),
        Refusal::Store(error) => TargetError::Store(error),
        other => TargetError::SeveralIntegrations(other.to_string()),
    }
}
