//! Owners whose tables are newer than the control database: the tables are told what that says.

use std::collections::{BTreeMap, BTreeSet};

use super::PutBack;
use super::owners::Owner;
use crate::model::{InboxId, OwnerId};
use crate::store::commit::StreamKey;
use crate::store::{Connection, Error, list, query, query_as};

/// What the control database says of an owner.
#[derive(Default)]
pub(super) struct Said {
    id: OwnerId,
    /// Items that it will have done.
    open: Vec<InboxId>,
    /// It knows none behind this one.
    last_item: InboxId,
    /// The grant whose secrets it has.
    grant_id: Option<i64>,
    streams: BTreeSet<StreamKey>,
}

impl Said {
    /// Newer tables have told of commits to a control database that is gone. So what they applied of
    /// open items counts as not applied, the grant is the one with secrets, and streams are derived anew:
    /// those that the control database knows go on from where the tables stand. Each of these things done
    /// twice comes to the same.
    pub(super) async fn tell(&self, connection: &mut Connection) -> Result<(), Error> {
        query("delete from rowgate_outbox where owner_id = $1")
            .bind(self.id)
            .execute(&mut *connection)
            .await?;
        let open = list(self.open.iter().copied().chain([0]));
        let marks = format!(
            "delete from rowgate_applied where owner_id = $1 and (inbox_id > $2 or inbox_id in ({open}))"
        );
        let marks = query(marks).bind(self.id).bind(self.last_item).persistent(false);
        marks.execute(&mut *connection).await?;
        query("update rowgate_owners set grant_id = $2, services = '[]' where owner_id = $1")
            .bind(self.id)
            .bind(self.grant_id)
            .execute(&mut *connection)
            .await?;
        let cursors =
            query_as("select service, kind, key from rowgate_cursors where owner_id = $1");
        let cursors: Vec<StreamKey> = cursors.bind(self.id).fetch_all(&mut *connection).await?;
        for (service, kind, key) in cursors.into_iter().filter(|one| !self.streams.contains(one)) {
            query(
                "delete from rowgate_cursors
                 where owner_id = $1 and service = $2 and kind = $3 and key = $4",
            )
            .bind(self.id)
            .bind(service)
            .bind(kind)
            .bind(key)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

impl PutBack<'_> {
    /// What the control database says of owners, to be held against newer tables.
    pub(super) async fn said_of(&self, owners: &[&Owner]) -> Result<Vec<Said>, Error> {
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let (control, last_item) = (self.control, self.last_id("inbox").await?);
        let new = |owner: &&Owner| (owner.id, Said { id: owner.id, last_item, ..Said::default() });
        let mut said: BTreeMap<OwnerId, Said> = owners.iter().map(new).collect();
        let ids = list(owners.iter().map(|owner| owner.id));
        let open =
            format!("select owner_id, id from inbox where owner_id in ({ids}) and done_at is null");
        let open: Vec<(OwnerId, InboxId)> =
            query_as(open).persistent(false).fetch_all(control).await?;
        for (owner, item) in open {
            said.entry(owner).or_default().open.push(item);
        }
        // Older grants, and those of owners that are unlinked, are kept only to stop their channels.
        let grants = format!(
            "select owner_id, max(grant_id) from owner_secrets where owner_id in ({ids}) group by owner_id"
        );
        let grants: Vec<(OwnerId, i64)> =
            query_as(grants).persistent(false).fetch_all(control).await?;
        let linked: BTreeSet<OwnerId> =
            owners.iter().filter(|owner| owner.is_linked).map(|owner| owner.id).collect();
        for (owner, grant) in grants.into_iter().filter(|(owner, _)| linked.contains(owner)) {
            said.entry(owner).or_default().grant_id = Some(grant);
        }
        let streams =
            format!("select owner_id, service, kind, key from streams where owner_id in ({ids})");
        let streams: Vec<(OwnerId, String, String, String)> =
            query_as(streams).persistent(false).fetch_all(control).await?;
        for (owner, service, kind, key) in streams {
            said.entry(owner).or_default().streams.insert((service, kind, key));
        }
        Ok(said.into_values().collect())
    }
}
