//! Statements that organizations keep, for people and for programs that only read.

use sqlx::FromRow;

use super::{Error, Store, organizations, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId};

/// An organization may keep so many, none longer than that: a client gets all at once.
const QUERIES_MAX: i64 = 1_000;
/// Of a statement, and of a description.
pub const TEXT_BYTES_MAX: usize = 32_768;

/// A statement that is kept.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct SavedQuery {
    /// `svq_...`
    pub id: String,
    /// Whose.
    pub organization_id: OrganizationId,
    /// The customer who made it; none: whoever had the data directory.
    pub created_by: Option<i64>,
    /// What it is for.
    pub description: String,
    /// The statement.
    pub sql: String,
    /// Whoever knows the id may run it.
    pub public: bool,
    /// When it was made.
    pub created_at: Micros,
}

/// What somebody wants to keep.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "see SavedQuery")]
pub struct NewSavedQuery {
    pub organization_id: OrganizationId,
    pub created_by: Option<i64>,
    pub description: String,
    pub sql: String,
    pub public: bool,
}

/// A change of one field: whoever changes another one meanwhile isn't undone.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see SavedQuery")]
pub enum Change {
    Description(String),
    Sql(String),
    Public(bool),
}

const COLUMNS: &str = "id, organization_id, created_by, description, sql, public, created_at";

impl Store {
    /// Keeps a statement.
    pub async fn save_query(&self, new: NewSavedQuery) -> Result<SavedQuery, Error> {
        let id = format!("svq_{}", self.chance.base36(16));
        let now = self.clock.now();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    organizations::hold(connection, new.organization_id).await?;
                    let kept: i64 = query_scalar(
                        "select count(*) from saved_queries where organization_id = $1",
                    )
                    .bind(new.organization_id)
                    .fetch_one(&mut *connection)
                    .await?;
                    if kept >= QUERIES_MAX {
                        let reason = format!("an organization may keep {QUERIES_MAX} queries");
                        return Err(Error::Refused(reason));
                    }
                    let sql = format!(
                        "insert into saved_queries ({COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7)
                         returning {COLUMNS}"
                    );
                    let made = query_as(sql)
                        .bind(id)
                        .bind(new.organization_id)
                        .bind(new.created_by)
                        .bind(new.description)
                        .bind(new.sql)
                        .bind(new.public)
                        .bind(now);
                    Ok(made.fetch_one(connection).await?)
                })
            })
            .await
    }

    /// All of an organization, oldest first.
    pub async fn saved_queries(&self, of: OrganizationId) -> Result<Vec<SavedQuery>, Error> {
        let sql = format!(
            "select {COLUMNS} from saved_queries where organization_id = $1 order by created_at, id"
        );
        Ok(query_as(sql).bind(of).fetch_all(self.control.readers()).await?)
    }

    /// The one with this id, whosever it is.
    pub async fn saved_query(&self, id: &str) -> Result<Option<SavedQuery>, Error> {
        let sql = format!("select {COLUMNS} from saved_queries where id = $1");
        Ok(query_as(sql).bind(id).fetch_optional(self.control.readers()).await?)
    }

    /// Changes it; answers what it is now. None: it is gone.
    pub async fn change_saved_query(
        &self,
        id: &str,
        change: Change,
    ) -> Result<Option<SavedQuery>, Error> {
        let set = |column: &str| {
            let sql =
                format!("update saved_queries set {column} = $1 where id = $2 returning {COLUMNS}");
            query_as(sql)
        };
        let statement = match change {
            Change::Description(text) => set("description").bind(text),
            Change::Sql(text) => set("sql").bind(text),
            Change::Public(public) => set("public").bind(public),
        };
        self.control.fetch(statement.bind(id.to_owned())).await
    }

    /// Forgets it.
    pub async fn delete_saved_query(&self, id: &str) -> Result<(), Error> {
        let statement = query("delete from saved_queries where id = $1").bind(id.to_owned());
        self.control.execute(statement).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
