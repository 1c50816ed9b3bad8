//! What is done with subscriptions to changes, with every check, whoever asks.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::integrations::{Refusal, named};
use super::{App, targets};
use crate::clock::micros;
use crate::delivery::{DestinationRules, Subscriber};
use crate::egress::Poster;
use crate::model::{Micros, OrganizationId};
use crate::store::integrations::Integration;
use crate::store::subscriptions::{NewSubscription, Subscription};
use crate::store::targets::{Health, Kind, Target};
use crate::store::{Error, Store, feed};

/// What a subscriber may be told of, by name.
pub const EVENTS: [&str; 2] = ["rows", "synced"];

const SECRET_BYTES_MAX: usize = 1_000;

/// Operations on the subscriptions of organizations.
pub struct Notifications {
    store: Arc<Store>,
    poster: Poster,
    rules: DestinationRules,
    alert_after: Micros,
}

/// A subscription that is asked for.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Asked<'a> {
    /// Opaque id, name of the table, or service. None: all of the organization.
    pub integration: Option<&'a str>,
    pub url: &'a str,
    /// Sent with each post.
    pub webhook_secret: &'a str,
    /// Some of [`EVENTS`]; none: rows.
    pub events: &'a [String],
    /// It is told of deleted rows too.
    pub deletions: bool,
}

/// A subscription and how it is.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Shown {
    pub subscription: Subscription,
    /// None: it is for all of the organization.
    pub integration: Option<Integration>,
    /// Of the integration that is worst.
    pub health: Health,
    /// Why it is paused, or its last failure.
    pub reason: Option<String>,
    /// Failures in a row.
    pub attempts: i64,
}

impl Shown {
    /// What it is told of, by name.
    pub fn events(&self) -> Vec<&'static str> {
        let Subscription { tells_rows, tells_synced, .. } = self.subscription;
        let all = EVENTS.into_iter().zip([tells_rows, tells_synced]);
        all.filter(|(_, told)| *told).map(|(name, _)| name).collect()
    }
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// A value that can't be taken.
    #[error("{field} {reason}")]
    Field {
        /// Name of the value.
        field: &'static str,
        /// What it must be.
        reason: String,
    },
    /// No integration is meant, or several.
    #[error(transparent)]
    Integration(Refusal),
    /// Nothing of the organization has this id.
    #[error("there is no subscription `{0}`")]
    NoSubscription(String),
    /// The receiver didn't take a test event.
    #[error("the receiver {0}")]
    NotTaken(String),
    /// The database's.
    #[error(transparent)]
    Store(#[from] Error),
}

impl App {
    /// Operations on subscriptions, by the configured rules.
    pub fn notifications(&self) -> anyhow::Result<Notifications> {
        let delivery = &self.config.delivery;
        Ok(Notifications {
            store: Arc::clone(&self.store),
            poster: self.clients()?.poster,
            rules: targets::rules(delivery),
            alert_after: micros(Duration::from_secs(delivery.alert_after_s)),
        })
    }
}

impl Notifications {
    /// Makes a subscription to what changes from now on.
    pub async fn create(
        &self,
        organization: OrganizationId,
        asked: Asked<'_>,
    ) -> Result<Shown, NotificationError> {
        let subscriber = self.subscriber(asked.url)?;
        let secret = secret(asked.webhook_secret)?;
        let (tells_rows, tells_synced) = events(asked.events)?;
        let integration = match asked.integration {
            None => None,
            Some(name) => {
                let found = named(&self.store, organization, name).await;
                Some(found.map_err(NotificationError::Integration)?)
            }
        };
        let head = feed::head(&self.store.replication(organization).await?).await?;
        let now = feed::Bookmark::behind(&head.epoch, head.number);
        let new = NewSubscription {
            organization,
            integration_id: integration.map(|one| one.id),
            url: Zeroizing::new(asked.url.trim().to_owned()),
            shown_url: subscriber.shown(),
            secret,
            tells_rows,
            tells_synced,
            deletions: asked.deletions,
        };
        let made = self.store.create_subscription(new, now).await?;
        self.get(organization, &made.id).await
    }

    /// All of the organization.
    pub async fn list(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<Shown>, NotificationError> {
        let integrations = self.store.integrations(organization).await?;
        let targets = self.store.targets(organization).await?;
        let all = self.store.subscriptions(organization).await?.into_iter();
        Ok(all.map(|one| self.shown(one, &integrations, &targets)).collect())
    }

    /// One of them.
    pub async fn get(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Shown, NotificationError> {
        let subscription = self.find(organization, id).await?;
        let integrations = self.store.integrations(organization).await?;
        let targets = self.store.targets(organization).await?;
        Ok(self.shown(subscription, &integrations, &targets))
    }

    /// Posts a test event, once.
    pub async fn test(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Shown, NotificationError> {
        let shown = self.get(organization, id).await?;
        let (url, secret) = self.store.subscription_secrets(id).await?;
        let subscriber = self.subscriber(&url)?;
        let of = match &shown.integration {
            Some(one) => (one.service.as_str(), one.table_name.as_str()),
            None => ("test_service", "test_table"),
        };
        let tested = subscriber.test(&self.poster, &secret, of).await;
        tested.map_err(NotificationError::NotTaken)?;
        Ok(shown)
    }

    /// Goes on with what came meanwhile, where it was paused or waits after a failure.
    pub async fn resume(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Shown, NotificationError> {
        let subscription = self.find(organization, id).await?;
        self.store.resume_subscription(&subscription.id).await?;
        self.get(organization, id).await
    }

    /// Forgets it.
    pub async fn delete(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Shown, NotificationError> {
        let shown = self.get(organization, id).await?;
        self.store.delete_subscription(&shown.subscription.id).await?;
        Ok(shown)
    }

    async fn find(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Subscription, NotificationError> {
        let found = self.store.subscription(organization, id).await?;
        found.ok_or_else(|| NotificationError::NoSubscription(id.to_owned()))
    }

    fn subscriber(&self, url: &str) -> Result<Subscriber, NotificationError> {
        let refused = |reason| NotificationError::Field { field: "url", reason };
        Subscriber::parse(url, self.rules).map_err(refused)
    }

    fn shown(
        &self,
        subscription: Subscription,
        integrations: &[Integration],
        targets: &[Target],
    ) -> Shown {
        let now = self.store.clock().now();
        let of = targets.iter().filter(|target| {
            target.kind == Kind::Notification
                && target.subscription_id.as_ref() == Some(&subscription.id)
        });
        let health = |target: &Target| target.health(now, self.alert_after);
        let worst = of.max_by_key(|target| health(target));
        let id = subscription.integration_id.as_ref();
        Shown {
            integration: integrations.iter().find(|one| Some(&one.id) == id).cloned(),
            health: worst.map_or(Health::Ok, health),
            reason: worst.and_then(Target::reason).cloned(),
            attempts: worst.map_or(0, |target| target.attempts),
            subscription,
        }
    }
}

/// What a header can carry.
fn secret(text: &str) -> Result<Zeroizing<String>, NotificationError> {
    let refused = |reason: String| NotificationError::Field { field: "webhook_secret", reason };
    if text.is_empty() || text.len() > SECRET_BYTES_MAX {
        return Err(refused(format!("must have from 1 to {SECRET_BYTES_MAX} characters")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused("must have letters, digits and signs of ASCII only".into()));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Whether it is told of rows, and of owners that are synced.
fn events(names: &[String]) -> Result<(bool, bool), NotificationError> {
    if let Some(unknown) = names.iter().find(|name| !EVENTS.contains(&name.as_str())) {
        let reason = format!("must be some of {}, not {unknown}", EVENTS.join(", "));
        return Err(NotificationError::Field { field: "events", reason });
    }
    let asked = |event: &str| names.iter().any(|name| name == event);
    Ok((names.is_empty() || asked("rows"), asked("synced")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_unless_something_else_is_asked_for() {
        let of = |names: &[&str]| {
            events(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        for (names, told) in [
            (&[][..], (true, false)),
            (&["rows"], (true, false)),
            (&["synced"], (false, true)),
            (&["synced", "rows"], (true, true)),
        ] {
            assert_eq!(of(names).unwrap(), told, "{names:?}");
        }
        assert!(of(&["rows", "all"]).unwrap_err().to_string().contains("not all"));
    }

    #[test]
    fn secrets_fit_into_a_header() {
        assert_eq!(*secret("hush-0451").unwrap(), "hush-0451");
        for refused in ["", "a b", "a\nb", "ä", &"x".repeat(1_001)] {
            let error = secret(refused).unwrap_err().to_string();
            assert!(error.starts_with("webhook_secret must"), "{error}");
        }
    }
}
