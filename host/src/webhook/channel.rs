//! Notifications from push channels: they carry nothing but that something changed.

use std::time::Duration;

use rowgate_manifest::Manifest;

use super::{Answer, Webhooks};
use crate::auth::{self, Rejected};
use crate::model::{OwnerId, StreamId};
use crate::store::channels::Known;
use crate::store::integrations::Endpoint;

/// Ids that are remembered of channels that we don't know, at most so many bytes.
const ID_BYTES_MAX: usize = 256;

/// What a notification says of its channel.
pub(super) struct Notification<'a> {
    pub(super) id: &'a [u8],
    pub(super) token: &'a [u8],
    pub(super) vendor_id: Option<&'a [u8]>,
}

impl Webhooks {
    /// Authenticates a notification and puts on disk what it makes due. The owner, if it is due for it.
    /// A channel that we don't know is accepted too: any other answer would bring it back.
    pub(super) async fn notified(
        &self,
        left: &mut Duration,
        endpoint: &Endpoint,
        notification: &Notification<'_>,
    ) -> Result<Option<OwnerId>, Answer> {
        let root_id = &endpoint.integration.root_id;
        let vendor_id = notification.vendor_id.and_then(text);
        let Some(id) = text(notification.id) else { return Ok(None) };
        let Some(known) = self.in_time(left, self.store.known_channel(root_id, id)).await? else {
            let Some(vendor_id) = vendor_id else { return Ok(None) };
            tracing::info!(root = root_id, channel = id, "a notification from an unknown channel");
            return self.in_time(left, self.store.orphaned(root_id, id, vendor_id)).await;
        };
        if !auth::matches(notification.token, &known.token) {
            return Err(Answer::Rejected(Rejected::Mismatch));
        }
        let wakes = wakes(&endpoint.manifest, &known);
        self.in_time(left, self.store.notified(&known, vendor_id.map(str::to_owned), wakes)).await
    }
}

fn wakes(manifest: &Manifest, known: &Known) -> Vec<StreamId> {
    let stream = |(service, kind): (&str, &str)| StreamId {
        service: service.to_owned(),
        kind: kind.to_owned(),
        key: known.topic.key.clone(),
    };
    manifest.woken_by(&known.topic.push).map(stream).collect()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && text.len() <= ID_BYTES_MAX)
}
