//! The backend's posts: an owner is linked, gets a new token, leaves, or is read again.

use rowgate_plugin::{Batch, Result, StreamId, Webhook, owners, streams};
use serde::Deserialize;

use crate::manifest::tables::{List, ListRow};
use crate::manifest::{services, stream_kinds};

/// A post, as the manifest's body schema lets it through. The owner stands in the context, the
/// refresh token is sealed.
#[derive(Deserialize)]
struct Post {
    #[serde(rename = "type")]
    verb: Verb,
}

/// WebhookDB's guide writes the verbs in both forms.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[serde(alias = "LINKED")]
    Link,
    #[serde(alias = "REFRESHED")]
    Refresh,
    #[serde(alias = "UNLINKED")]
    Unlink,
    Resync,
}

pub(crate) fn receive(webhook: &Webhook) -> Result<()> {
    match webhook.json::<Post>()?.verb {
        Verb::Link => {
            link()?;
            // The new token may belong to another Google account: a delta would never show that
            // the old one's calendars are gone.
            streams::reset(&calendar_list());
        }
        Verb::Refresh => link()?,
        Verb::Unlink => owners::unlink(),
        Verb::Resync => owners::resync(),
    }
    Ok(())
}

/// The row makes the stream of calendars, calendars make the streams of events.
fn link() -> Result<()> {
    let mut list = Batch::<List>::new(services::GOOGLE_CALENDAR_LIST_V1);
    list.push(&ListRow::default().data("{}"));
    list.upsert()?;
    owners::link();
    Ok(())
}

/// The owner's stream of calendars.
pub(crate) fn calendar_list() -> StreamId {
    StreamId::new(services::GOOGLE_CALENDAR_V1, stream_kinds::CALENDARS, "")
}
