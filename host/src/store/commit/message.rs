//! What a commit says to the control database; it waits in the outbox until it is relayed.

use serde::{Deserialize, Serialize};

use super::Under;
use crate::model::{InboxId, Micros};
use crate::store::{Connection, Error, query};

/// What the control database must hear of a commit (R4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// This inbox item is done.
    pub item: Option<InboxId>,
    /// It linked the owner.
    pub linked: bool,
    /// The owner's generation since then.
    pub generation: i64,
    /// The grant that the owner was linked with; a plugin whose owners bring no secrets has none.
    pub grant_id: Option<i64>,
    /// This item unlinked the owner: grants that are older are over.
    pub unlinked: Option<InboxId>,
    /// All streams are due.
    pub all_due: bool,
    /// Streams that came, with the size of their first page.
    pub added: Vec<(StreamKey, u32)>,
    /// Streams that are to be read in full by somebody's wish: service, kind, key (none: all of the
    /// kind), and the size of their first page.
    pub read_again: Vec<(String, String, Option<String>, u32)>,
    /// Streams that went.
    pub removed: Vec<StreamKey>,
    /// Streams that are due, at a time or at once.
    pub due: Vec<(StreamKey, Option<Micros>)>,
}

/// service, kind, key.
pub type StreamKey = (String, String, String);

/// Stores the message in the commit's transaction; false: there is nothing to say.
pub(super) async fn store(
    connection: &mut Connection,
    under: &Under,
    commit_no: i64,
    message: &Message,
) -> Result<bool, Error> {
    if *message == Message::default() {
        return Ok(false);
    }
    let text = serde_json::to_string(message).expect("a message is plain data");
    query("insert into rowgate_outbox (owner_id, commit_no, message) values ($1, $2, $3)")
        .bind(under.owner_id)
        .bind(commit_no)
        .bind(text)
        .execute(connection)
        .await?;
    Ok(true)
}
