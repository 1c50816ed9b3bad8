//! Dropping what an organization had on a server.

use sqlx::{Connection as _, Executor as _};

use super::prepare::IS_MIGHTY;
use super::{Place, Server, connect_or_create};
use crate::config::Isolation;
use crate::store::Error;
use crate::store::tables::literal;

impl Server {
    /// Drops an organization's part with its reading role; it needn't be there.
    pub(in crate::store) async fn drop_replication(&self, organization: &str) -> Result<(), Error> {
        let Place { database, tables, internal, reader } = self.place(organization);
        let (beside, statements) = match self.isolation {
            Isolation::Schema => (
                connect_or_create(&self.replication).await?,
                vec![
                    format!("drop schema if exists \"{tables}\", \"{internal}\" cascade"),
                    // A role can't be dropped while it may do something.
                    if_ours(
                        &reader,
                        &format!("revoke all on database \"{database}\" from \"{reader}\""),
                    ),
                    if_ours(&reader, &format!("drop role \"{reader}\"")),
                ],
            ),
            Isolation::Database => (
                connect_or_create(&self.control).await?,
                vec![
                    // Whoever reads is sent away, which only a member of their role may do.
                    if_ours(&reader, &format!("grant \"{reader}\" to current_user")),
                    format!("drop database if exists \"{database}\" with (force)"),
                    if_ours(&reader, &format!("drop role \"{reader}\"")),
                ],
            ),
        };
        let mut connection = beside;
        for statement in statements {
            let done = connection.execute(statement.as_str()).await;
            done.map_err(|error| Error::Unavailable(format!("closing {organization}: {error}")))?;
        }
        let _ = connection.close().await;
        Ok(())
    }
}

/// Runs it if the role is there, and such as we would have taken.
fn if_ours(role: &str, statement: &str) -> String {
    format!(
        "do $$ begin
           if exists (select 1 from pg_roles where rolname = {} and not {IS_MIGHTY}) then
             {statement};
           end if;
         end $$",
        literal(role)
    )
}
