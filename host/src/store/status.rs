//! How owners and streams are: what `owners` and `streams` show.

use super::tables::quoted;
use super::{Connection, Dialect, Error, Store, query_as, query_scalar};
use crate::model::{Micros, OrganizationId, OwnerId};

/// An owner and the least and largest of its streams' times.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct OwnerStatus {
    pub id: OwnerId,
    pub root_id: String,
    pub external_owner_id: String,
    /// `unlinked`, `linked` or `grant_dead`.
    pub state: String,
    /// Why the grant is dead.
    pub reason: Option<String>,
    pub linked_at: Option<Micros>,
    pub due_at: Option<Micros>,
    pub not_before: Micros,
    /// Inbox items that wait.
    pub waiting: i64,
    pub parked: i64,
    pub streams: i64,
    /// Streams that never came to an end.
    pub unfinished: i64,
    pub last_success_at: Option<Micros>,
    pub last_full_at: Option<Micros>,
    pub last_error: Option<String>,
}

/// A stream's schedule.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct StreamStatus {
    /// What logs and `/statusz` call it: a key may be personal.
    pub id: i64,
    pub root_id: String,
    pub external_owner_id: String,
    pub owner_state: String,
    pub owner_reason: Option<String>,
    pub service: String,
    pub kind: String,
    pub key: String,
    pub due_at: Option<Micros>,
    /// The fence that runs it.
    pub taken: Option<i64>,
    pub not_before: Micros,
    pub page_limit: i64,
    pub attempts: i64,
    pub unreadable: Option<String>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Micros>,
    pub last_success_at: Option<Micros>,
    pub last_full_at: Option<Micros>,
}

const OWNERS: &str = "
  select o.id, o.root_id, o.external_owner_id, o.state, o.reason, o.linked_at, o.due_at,
    case when o.not_before > r.not_before then o.not_before else r.not_before end
      as not_before,
    (select count(*) from inbox i where i.owner_id = o.id and i.done_at is null and not i.parked)
      as waiting,
    (select count(*) from inbox i where i.owner_id = o.id and i.done_at is null and i.parked)
      as parked,
    (select count(*) from streams s where s.owner_id = o.id) as streams,
    (select count(*) from streams s where s.owner_id = o.id and s.last_success_at is null
       and s.unreadable is null) as unfinished,
    (select max(s.last_success_at) from streams s where s.owner_id = o.id) as last_success_at,
    (select max(s.last_full_at) from streams s where s.owner_id = o.id) as last_full_at,
    coalesce(
      (select i.last_error from inbox i where i.owner_id = o.id and i.done_at is null
         and i.last_error is not null order by i.id limit 1),
      (select s.last_error from streams s where s.owner_id = o.id and s.last_error is not null
         order by s.last_error_at desc limit 1)) as last_error
  from owners o join integrations r on r.id = o.root_id and r.ended_at is null";

const STREAMS: &str = "
  select s.id, o.root_id, o.external_owner_id, o.state as owner_state, o.reason as owner_reason,
    s.service, s.kind, s.key, s.due_at, s.taken,
    case when s.not_before > o.not_before then s.not_before else o.not_before end as not_before,
    s.page_limit, s.attempts, s.unreadable, s.last_error, s.last_error_at, s.last_success_at,
    s.last_full_at
  from streams s join owners o on o.id = s.owner_id
    join integrations r on r.id = o.root_id and r.ended_at is null";

/// Where a stream stands in the order of its tree: external owner id, service, kind and key.
pub type StreamPlace = [String; 4];

/// One owner.
const OF_OWNER: &str = "where o.root_id = $1 and o.external_owner_id = $2";

impl Store {
    /// An owner of a tree.
    pub async fn owner_status(
        &self,
        root_id: &str,
        external_owner_id: &str,
    ) -> Result<Option<OwnerStatus>, Error> {
        let query = query_as(format!("{OWNERS} {OF_OWNER}")).bind(root_id).bind(external_owner_id);
        Ok(query.fetch_optional(self.control.readers()).await?)
    }

    /// Owners of a tree, if it is said only those behind an external id, in the order of those.
    pub async fn owner_page(
        &self,
        root_id: &str,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<OwnerStatus>, Error> {
        let behind = if after.is_some() { ">" } else { ">=" };
        let after = after.unwrap_or_default();
        let sql = format!(
            "{OWNERS} where o.root_id = $1 and o.external_owner_id {behind} $2
             order by o.external_owner_id limit $3"
        );
        let query = query_as(sql).bind(root_id).bind(after).bind(limit);
        Ok(query.fetch_all(self.control.readers()).await?)
    }

    /// Streams of an owner of a tree.
    pub async fn streams_of_owner(
        &self,
        root_id: &str,
        external_owner_id: &str,
    ) -> Result<Vec<StreamStatus>, Error> {
        let sql = format!("{STREAMS} {OF_OWNER} order by s.service, s.kind, s.key");
        let query = query_as(sql).bind(root_id).bind(external_owner_id);
        Ok(query.fetch_all(self.control.readers()).await?)
    }

    /// Streams of a tree behind a place, in the order of places. The default place is before all.
    pub async fn stream_page(
        &self,
        root_id: &str,
        after: &StreamPlace,
        limit: i64,
    ) -> Result<Vec<StreamStatus>, Error> {
        let [owner, service, kind, key] = after;
        let query = query_as(format!(
            "{STREAMS} where o.root_id = $1 and o.external_owner_id >= $2
               and (o.external_owner_id > $2 or (s.service, s.kind, s.key) > ($3, $4, $5))
             order by o.external_owner_id, s.service, s.kind, s.key limit $6"
        ));
        let query = query.bind(root_id).bind(owner).bind(service).bind(kind).bind(key).bind(limit);
        Ok(query.fetch_all(self.control.readers()).await?)
    }

    /// What the databases are.
    pub fn kind(&self) -> &'static str {
        match self.control.dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
        }
    }

    /// Schema version of each database that was made.
    pub async fn schema_versions(&self) -> Result<Vec<(String, i64)>, Error> {
        const VERSION: &str = "select coalesce(max(version), 0) from _sqlx_migrations";
        let control = query_scalar(VERSION).fetch_one(self.control.readers()).await?;
        let mut versions = vec![("control".to_owned(), control)];
        for organization in self.organizations().await? {
            // One of its own is brought up to date when it is reached.
            if self.own_database(organization.id).await?.is_some() {
                continue;
            }
            let database = self.replication(organization.id).await?;
            let version = query_scalar(VERSION).fetch_one(database.readers()).await?;
            versions.push((organization.key, version));
        }
        Ok(versions)
    }

    /// Rows of a table where all of these columns have these values; none while it doesn't exist.
    pub async fn count_rows(
        &self,
        organization: OrganizationId,
        table_name: &str,
        columns: &[(String, String)],
    ) -> Result<Option<i64>, Error> {
        let database = self.replication(organization).await?;
        let mut reader = database.reader().await?;
        if !has_table(&mut reader, table_name).await? {
            return Ok(None);
        }
        let conditions: String = (columns.iter().enumerate())
            .map(|(at, (column, _))| format!(" and {} = ${}", quoted(column), at + 1))
            .collect();
        let sql = format!("select count(*) from {} where true{conditions}", quoted(table_name));
        let query = query_scalar(sql);
        let query = columns.iter().fold(query, |query, (_, value)| query.bind(value));
        Ok(Some(query.fetch_one(&mut reader).await?))
    }
}

async fn has_table(connection: &mut Connection, name: &str) -> Result<bool, Error> {
    let count = match connection.dialect() {
        Dialect::Sqlite => "select count(*) from sqlite_master where type = 'table' and name = $1",
        Dialect::Postgres => {
            "select count(*) from pg_class where oid = to_regclass(quote_ident($1))"
        }
    };
    let count: i64 = query_scalar(count).bind(name).fetch_one(connection).await?;
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture::{self, on_both};

    on_both! { pages_of_streams_have_each_once }

    async fn pages_of_streams_have_each_once(dialect: Dialect) {
        let store = fixture::open(dialect, Clock::simulated(0)).await;
        fixture::root(&store, "svi_1").await;
        let filled = "
            insert into integrations (id, organization_id, plugin, service, table_name, root_id,
              created_at, number) values ('svi_2', 1, 'p', 's', 'other', 'svi_2', 0, 2);
            insert into owners (organization_id, root_id, external_owner_id) values
              (1, 'svi_1', 'b'), (1, 'svi_1', 'a'), (1, 'svi_2', 'a'), (1, 'svi_1', 'none');
            insert into streams (owner_id, service, kind, key, page_limit)
              select o.id, s.service, s.kind, s.key, 1 from owners o
              cross join (select 's' as service, 'k' as kind, '2' as key union all
                          select 's', 'k', '1' union all select 's', 'j', '3' union all
                          select 'r', 'k', '3') s
              where o.external_owner_id <> 'none'";
        fixture::run(&store, filled.to_owned()).await;
        let mut expected = Vec::new();
        for owner in ["a", "b"] {
            for [service, kind, key] in
                [["r", "k", "3"], ["s", "j", "3"], ["s", "k", "1"], ["s", "k", "2"]]
            {
                expected.push([owner, service, kind, key].map(str::to_owned));
            }
        }
        for limit in 1..=9 {
            let mut all: Vec<StreamPlace> = Vec::new();
            loop {
                let after = all.last().cloned().unwrap_or_default();
                let page = store.stream_page("svi_1", &after, limit).await.unwrap();
                let is_last = page.len() < usize::try_from(limit).unwrap();
                all.extend(page.into_iter().map(|stream| {
                    [stream.external_owner_id, stream.service, stream.kind, stream.key]
                }));
                if is_last {
                    break;
                }
            }
            assert_eq!(all, expected, "{limit}");
        }
    }
}
