//! How push stands: what `owners`, `streams` and `doctor` show.

use crate::model::{Micros, OrganizationId};
use crate::store::{Error, Store, query_as, query_scalar};

/// How the changes of a topic reach us.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct TopicStatus {
    pub push: String,
    pub key: String,
    pub unsupported: bool,
    pub last_error: Option<String>,
    /// End of the live channel, if there is one.
    pub expires_at: Option<Micros>,
}

/// Channels of an owner in one tree and state.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub struct ChannelCount {
    pub root_id: String,
    /// `pending`, `active` or `stopping`.
    pub state: String,
    pub count: i64,
}

impl Store {
    /// Topics of an owner of a tree.
    pub async fn topic_statuses(
        &self,
        root_id: &str,
        external_owner_id: &str,
    ) -> Result<Vec<TopicStatus>, Error> {
        let query = query_as(
            "select t.push, t.key, t.unsupported, t.last_error,
                    (select max(c.expires_at) from channels c
                     where c.owner_id = t.owner_id and c.push = t.push and c.key = t.key
                       and c.state = 'active') as expires_at
             from topics t join owners o on o.id = t.owner_id
             where o.root_id = $1 and o.external_owner_id = $2",
        );
        let query = query.bind(root_id).bind(external_owner_id);
        Ok(query.fetch_all(self.control.readers()).await?)
    }

    /// Channels of the owners with one external id that aren't gone, counted by tree and state.
    pub async fn channel_counts(
        &self,
        organization: OrganizationId,
        external_owner_id: &str,
    ) -> Result<Vec<ChannelCount>, Error> {
        let query = query_as(
            "select o.root_id, c.state, count(*) as count
             from channels c join owners o on o.id = c.owner_id
             where o.organization_id = $1 and o.external_owner_id = $2 and c.state <> 'gone'
             group by o.root_id, c.state order by c.state",
        );
        let query = query.bind(organization).bind(external_owner_id);
        Ok(query.fetch_all(self.control.readers()).await?)
    }

    /// Why a vendor refuses to push to a tree, if it does.
    pub async fn push_refused(&self, root_id: &str) -> Result<Option<String>, Error> {
        let reason = query_scalar("select reason from push_pauses where root_id = $1");
        Ok(reason.bind(root_id).fetch_optional(self.control.readers()).await?)
    }
}
