//! Targets: where the changes of a table are delivered to, and how far that has come.

mod lease;
mod operate;

use sqlx::FromRow;
use zeroize::Zeroizing;

use super::feed::Bookmark;
use super::{Connection, Error, Store, query_as};
use crate::model::{Micros, OrganizationId};

pub use lease::{
    Claimed, Failed, Saved, claim, mark_due, next_due, release, restart, save, settle_failure,
};
pub use operate::NewTarget;
pub(super) use operate::RESUME;

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A receiver that is posted to in pages: HTTP Sync.
    Http,
    /// A database with a copy of the table: DB Sync.
    Db,
    /// A subscriber who is posted to row by row.
    Notification,
}

impl Kind {
    /// As it is stored, and stands in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Db => "db",
            Self::Notification => "notification",
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = [Self::Http, Self::Db, Self::Notification];
        let found = all.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("there is no kind of target `{text}`"))
    }
}

/// A target without its secrets.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Target {
    /// `syt_...`, or made of the subscription's and the integration's.
    pub id: String,
    /// Whose.
    pub organization_id: OrganizationId,
    /// Whose table it is.
    pub integration_id: String,
    /// The integration's service.
    pub service: String,
    /// The integration's plugin.
    pub plugin: String,
    /// The integration's table.
    pub table_name: String,
    #[allow(missing_docs)]
    #[sqlx(try_from = "String")]
    pub kind: Kind,
    /// Of a database: the schema that the mirror stands in.
    pub to_schema: String,
    /// Of a database: the mirror's name.
    pub to_table: String,
    /// Of a subscriber: the subscription.
    pub subscription_id: Option<String>,
    /// It is told of rows. Only a subscriber may want none.
    pub tells_rows: bool,
    /// Where deliveries go, without user, password and what may be a token.
    pub shown_url: String,
    /// At most so long without a look at the feed.
    pub period_s: i64,
    /// Rows of a delivery at most.
    pub page_size: i64,
    /// Fewer, because it refused larger ones.
    pub rows_max: Option<i64>,
    /// Deliveries tell of deleted rows too. Always so for a database.
    pub deletions: bool,
    /// When it was made.
    pub created_at: Micros,
    /// A [`Bookmark`] as JSON: see [`Target::bookmark`].
    pub bookmark: String,
    /// The bookmark behind what was taken last. None: nothing was yet. What a database says of itself
    /// is compared with it.
    pub taken: Option<String>,
    /// How often it was put elsewhere by an operator.
    pub rewinds: i64,
    /// How often in a row it had to get everything, since it hadn't what it had before.
    pub restarts: i64,
    /// When that was the last time.
    pub restarted_at: Option<Micros>,
    /// Raised by each claim.
    pub fence: i64,
    /// When it is looked at next, if nothing changes before.
    pub due_at: Micros,
    /// Not before that, whatever changes: it failed.
    pub not_before: Micros,
    /// Failures in a row.
    pub attempts: i64,
    /// Since when it has failed.
    pub failing_since: Option<Micros>,
    /// The last failure; gone with the next success.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Micros>,
    /// When it last had everything.
    pub last_synced_at: Option<Micros>,
    /// How long the last delivery took.
    pub last_delivery_ms: Option<i64>,
    /// Why it is paused. None: it is delivered to.
    pub paused: Option<String>,
    /// When somebody asked for that. None: nobody did, it has failed for too long.
    pub pause_asked_at: Option<Micros>,
}

const COLUMNS: &str = "t.id, t.organization_id, t.integration_id, i.service, i.plugin, i.table_name,
  t.kind, t.to_schema, t.to_table, t.subscription_id, coalesce(n.tells_rows, true) as tells_rows,
  t.shown_url, t.period_s, t.page_size, t.rows_max, t.deletions, t.created_at, t.bookmark, t.taken,
  t.rewinds, t.restarts, t.restarted_at, t.fence, t.due_at, t.not_before, t.attempts, t.failing_since,
  t.last_error, t.last_error_at, t.last_synced_at, t.last_delivery_ms, t.paused,
  t.pause_asked_at
  from targets t join integrations i on i.id = t.integration_id
    left join subscriptions n on n.id = t.subscription_id";

/// What a target's deliveries need of secrets.
pub struct TargetSecrets {
    /// With user and password.
    pub url: Zeroizing<String>,
    /// `whsec_...`; of a subscription what its receiver knows it by.
    pub signing_secret: Zeroizing<String>,
}

/// How a target is, in a word; the worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It takes what it is sent.
    Ok,
    /// It has failed for a while; it is tried again.
    Failing,
    /// It has failed for so long that somebody should look.
    Alert,
    /// Nothing is sent until somebody resumes it.
    Paused,
}

impl Health {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Alert => "alert",
            Self::Paused => "paused",
        }
    }
}

impl Target {
    /// How it is, if an alert is due after so long a failure.
    pub fn health(&self, now: Micros, alert_after: Micros) -> Health {
        match (&self.paused, self.failing_since) {
            (Some(_), _) => Health::Paused,
            (None, Some(since)) if now - since >= alert_after => Health::Alert,
            (None, Some(_)) => Health::Failing,
            (None, None) => Health::Ok,
        }
    }

    /// Why it is paused, or its last failure.
    pub fn reason(&self) -> Option<&String> {
        self.paused.as_ref().or(self.last_error.as_ref())
    }

    /// How far it has come.
    pub fn bookmark(&self) -> Result<Bookmark, Error> {
        serde_json::from_str(&self.bookmark)
            .map_err(|error| Error::Inconsistent(format!("bookmark of {}: {error}", self.id)))
    }
}

impl Store {
    /// The organization's targets, oldest first.
    pub async fn targets(&self, organization: OrganizationId) -> Result<Vec<Target>, Error> {
        let sql = format!("select {COLUMNS} where t.organization_id = $1 order by t.number, t.id");
        Ok(query_as(sql).bind(organization).fetch_all(self.control.readers()).await?)
    }

    /// One target of the organization.
    pub async fn target(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Option<Target>, Error> {
        let sql = format!("select {COLUMNS} where t.organization_id = $1 and t.id = $2");
        let target = query_as(sql).bind(organization).bind(id);
        Ok(target.fetch_optional(self.control.readers()).await?)
    }

    /// A target that was claimed. None: it is gone.
    pub async fn claimed_target(&self, id: &str) -> Result<Option<Target>, Error> {
        let sql = format!("select {COLUMNS} where t.id = $1");
        Ok(query_as(sql).bind(id).fetch_optional(self.control.readers()).await?)
    }

    /// The secrets of a target that is there.
    pub async fn target_secrets(&self, id: &str) -> Result<TargetSecrets, Error> {
        let (place_id, url, signing_secret): (String, Vec<u8>, Vec<u8>) = query_as(
            "select coalesce(n.id, t.id), coalesce(n.url, t.url),
                    coalesce(n.secret, t.signing_secret)
             from targets t left join subscriptions n on n.id = t.subscription_id where t.id = $1",
        )
        .bind(id)
        .fetch_one(self.control.readers())
        .await?;
        Ok(TargetSecrets {
            url: self.opened(&place_id, "url", &url)?,
            signing_secret: self.opened(&place_id, "signing_secret", &signing_secret)?,
        })
    }

    /// A sealed value of a target or a subscription.
    pub(super) fn opened(
        &self,
        id: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, Error> {
        let broken = |error: String| Error::Inconsistent(error);
        let opened = self.keyring.open(&place(id, name), sealed);
        let opened = opened.map_err(|error| broken(error.to_string()))?;
        let text = std::str::from_utf8(&opened).map_err(|error| broken(error.to_string()))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Where a sealed value of a target or a subscription lives.
pub(super) fn place(id: &str, name: &str) -> String {
    format!("targets/{id}/{name}")
}

async fn by_id(connection: &mut Connection, id: &str) -> Result<Target, Error> {
    let sql = format!("select {COLUMNS} where t.id = $1");
    Ok(query_as(sql).bind(id).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests;
