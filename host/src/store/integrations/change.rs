//! Changing an integration that is there: its values, its table's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::create::insert_grants;
use super::{Grant, place};
use crate::model::OrganizationId;
use crate::rows::TableSpec;
use crate::store::{Connection, Error, Store, query, query_scalar, tables};

/// A value of the configuration that is to be stored or, where there is none, forgotten.
pub enum Change {
    /// Sealed.
    Secret(Option<Zeroizing<String>>),
    /// Readable, with the origins that are granted with it.
    Plain(Option<String>, Vec<Grant>),
}

impl Store {
    /// Changes a value of a tree. What was found wrong with the old ones is forgotten.
    pub async fn change_value(
        &self,
        root_id: &str,
        name: &str,
        change: Change,
    ) -> Result<(), Error> {
        let (root_id, name, keyring) = (root_id.to_owned(), name.to_owned(), self.keyring.clone());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    match change {
                        Change::Secret(None) => {
                            forget_secret(connection, &root_id, &name).await?;
                        }
                        Change::Secret(Some(secret)) => {
                            let sealed = keyring.seal(&place(&root_id, &name), secret.as_bytes());
                            store_secret(connection, &root_id, &name, sealed).await?;
                        }
                        Change::Plain(value, grants) => {
                            store_plain(connection, &root_id, &name, value).await?;
                            insert_grants(connection, &root_id, &grants).await?;
                        }
                    }
                    query(
                        "update integrations set config_version = config_version + 1,
                           misconfigured = null, not_before = 0 where id = $1",
                    )
                    .bind(root_id)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Gives the table of an integration another name: first in the replication database, where a
    /// host that knows the old one only can't write any more, then here. If the host dies between,
    /// the same call goes on.
    ///
    /// # Errors
    /// [`Error::Refused`]: another table is called so, or the integration was deleted meanwhile.
    pub async fn rename_table(
        &self,
        organization: OrganizationId,
        old: TableSpec,
        new: TableSpec,
    ) -> Result<(), Error> {
        self.refuse_while_moving(organization).await?;
        let taken: i64 = query_scalar(
            "select count(*) from integrations where organization_id = $1 and table_name = $2",
        )
        .bind(organization)
        .bind(&new.table_name)
        .fetch_one(self.control.readers())
        .await?;
        if taken > 0 {
            return Err(Error::Refused(format!("there is a table {} already", new.table_name)));
        }
        let database_no = self.location(organization).await?.database_no;
        let replication = self.replication(organization).await?;
        let (from, to) = (old.table_name.clone(), new.table_name.clone());
        let (old, new) = (Arc::new(old), Arc::new(new));
        replication
            .write(move |connection| {
                Box::pin(async move { tables::rename_table(connection, &old, &new).await })
            })
            .await?;
        // Where the tables have been moved meanwhile, the new place knows the old name.
        let statement = query(
            "update integrations set table_name = $1
             where organization_id = $2 and table_name = $3 and ended_at is null
               and $4 = (select database_no from organizations where id = $2)",
        );
        let statement = statement.bind(to.clone()).bind(organization).bind(from).bind(database_no);
        if self.control.execute(statement).await?.rows_affected() == 0 {
            let reason = match self.location(organization).await?.database_no == database_no {
                // The table goes with the integration, whatever it is called.
                true => format!("the integration of {to} is gone"),
                false => "the tables were moved meanwhile: do it once more".to_owned(),
            };
            return Err(Error::Refused(reason));
        }
        self.forget_renames(organization).await
    }

    /// Forgets under what names tables were known before, but for those that the control database still
    /// has: who renames one is about to say so, or died before.
    pub async fn forget_renames(&self, organization: OrganizationId) -> Result<(), Error> {
        let replication = self.replication(organization).await?;
        let names: Vec<String> = query_scalar("select old_name from rowgate_renames")
            .fetch_all(replication.readers())
            .await?;
        for name in names {
            let known: bool = query_scalar(
                "select exists (select 1 from integrations
                                where organization_id = $1 and table_name = $2)",
            )
            .bind(organization)
            .bind(&name)
            .fetch_one(self.control.readers())
            .await?;
            if !known {
                let forgotten = replication.write(move |connection| {
                    Box::pin(async move { tables::forget_rename(connection, &name).await })
                });
                forgotten.await?;
            }
        }
        Ok(())
    }
}

async fn forget_secret(
    connection: &mut Connection,
    root_id: &str,
    name: &str,
) -> Result<(), Error> {
    query("delete from integration_secrets where integration_id = $1 and name = $2")
        .bind(root_id)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

async fn store_secret(
    connection: &mut Connection,
    root_id: &str,
    name: &str,
    sealed: Vec<u8>,
) -> Result<(), Error> {
    query(
        "insert into integration_secrets (integration_id, name, sealed) values ($1, $2, $3)
         on conflict (integration_id, name) do update set sealed = excluded.sealed",
    )
    .bind(root_id)
    .bind(name)
    .bind(sealed)
    .execute(connection)
    .await?;
    Ok(())
}

async fn store_plain(
    connection: &mut Connection,
    root_id: &str,
    name: &str,
    value: Option<String>,
) -> Result<(), Error> {
    // Takes the row's lock first: another change must not be lost.
    query("update integrations set config_version = config_version where id = $1")
        .bind(root_id)
        .execute(&mut *connection)
        .await?;
    let text: String = query_scalar("select config from integrations where id = $1")
        .bind(root_id)
        .fetch_one(&mut *connection)
        .await?;
    let broken = |error| Error::Inconsistent(format!("configuration of {root_id}: {error}"));
    let mut config: BTreeMap<String, String> = serde_json::from_str(&text).map_err(broken)?;
    match value {
        Some(value) => config.insert(name.to_owned(), value),
        None => config.remove(name),
    };
    let text = serde_json::to_string(&config).map_err(broken)?;
    query("update integrations set config = $1 where id = $2")
        .bind(text)
        .bind(root_id)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
