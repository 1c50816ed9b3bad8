//! Integrations of which something is still to be asked.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::model::{Micros, OrganizationId};
use crate::secrets::Keyring;
use crate::store::{Connection, Error, Store, query, query_as};

/// Nobody comes back to it after that.
const TTL: Micros = 24 * 3_600 * 1_000_000;

/// What was answered so far.
pub struct StoredDraft {
    /// The integration will have it.
    pub id: String,
    /// Whose.
    pub organization: OrganizationId,
    /// What is to be configured.
    pub service: String,
    /// The integration that it will hang under, if that is chosen.
    pub depends_on: Option<String>,
    /// Values of the manifest's `config`.
    pub values: BTreeMap<String, Zeroizing<String>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    organization_id: OrganizationId,
    service: String,
    depends_on: Option<String>,
    sealed: Vec<u8>,
}

impl Store {
    /// Stores a draft, or what it has become.
    pub async fn store_draft(&self, draft: &StoredDraft) -> Result<(), Error> {
        let StoredDraft { id, organization, service, depends_on, values } = draft;
        let plain: BTreeMap<&str, &str> =
            values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let plain = serde_json::to_vec(&plain).map(Zeroizing::new);
        let plain = plain.map_err(|error| Error::Inconsistent(format!("a draft: {error}")))?;
        let (id, service, depends_on) = (id.clone(), service.clone(), depends_on.clone());
        let (organization, now, keyring) = (*organization, self.clock.now(), self.keyring.clone());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    query("delete from integration_drafts where expires_at < $1")
                        .bind(now)
                        .execute(&mut *connection)
                        .await?;
                    query(
                        "insert into integration_drafts
                           (id, organization_id, service, depends_on, sealed, expires_at)
                         values ($1, $2, $3, $4, $5, $6)
                         on conflict (id) do update set depends_on = excluded.depends_on,
                           sealed = excluded.sealed, expires_at = excluded.expires_at",
                    )
                    .bind(&id)
                    .bind(organization)
                    .bind(service)
                    .bind(depends_on)
                    .bind(keyring.seal(&place(&id), &plain))
                    .bind(now + TTL)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The organization's draft with this id.
    pub async fn draft(
        &self,
        organization: OrganizationId,
        id: &str,
    ) -> Result<Option<StoredDraft>, Error> {
        let row: Option<Row> = query_as(
            "select organization_id, service, depends_on, sealed from integration_drafts
             where id = $1 and organization_id = $2 and expires_at > $3",
        )
        .bind(id)
        .bind(organization)
        .bind(self.clock.now())
        .fetch_optional(self.control.readers())
        .await?;
        row.map(|row| open(&self.keyring, id, row)).transpose()
    }

    /// Forgets a draft.
    pub async fn delete_draft(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        let write = self
            .control
            .write(move |connection| Box::pin(async move { delete(connection, &id).await }));
        write.await
    }
}

pub(super) async fn delete(connection: &mut Connection, id: &str) -> Result<(), Error> {
    query("delete from integration_drafts where id = $1").bind(id).execute(connection).await?;
    Ok(())
}

fn open(keyring: &Keyring, id: &str, row: Row) -> Result<StoredDraft, Error> {
    let broken = |error: String| Error::Inconsistent(format!("draft {id}: {error}"));
    let opened =
        keyring.open(&place(id), &row.sealed).map_err(|error| broken(error.to_string()))?;
    let plain: BTreeMap<String, String> =
        serde_json::from_slice(&opened).map_err(|error| broken(error.to_string()))?;
    Ok(StoredDraft {
        id: id.to_owned(),
        organization: row.organization_id,
        service: row.service,
        depends_on: row.depends_on,
        values: plain.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect(),
    })
}

pub(in crate::store) fn place(id: &str) -> String {
    format!("integration_drafts/{id}")
}
