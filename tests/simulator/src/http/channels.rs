//! Watches, and the `sync` message that a new channel gets.

use std::sync::Arc;

use crate::model::channel::Resource;
use crate::model::error::ApiError;
use crate::model::push::SyncTime;
use crate::shared::Shared;

use super::Reply;
use super::calendar::Context;

impl Context<'_> {
    pub(super) fn watch(&mut self, resource: Resource) -> Result<Reply, ApiError> {
        let path = self.call.path.trim_matches('/').trim_start_matches("calendar/v3/");
        let path = path.trim_end_matches("/watch");
        let body = self.body()?;
        let answer = self.model.watch(&self.user, resource, path, &self.call.query, &body)?;
        let mut reply = Reply::json(200, answer.to_string());
        reply.opened = answer["id"].as_str().map(str::to_owned);
        Ok(reply)
    }
}

/// Sends the `sync` message of a channel just opened: now, or when what is returned is dropped.
pub(super) async fn sync(shared: &Arc<Shared>, opened: Option<String>) -> Option<LateSync> {
    let channel = opened?;
    let early = {
        let mut model = shared.model();
        match model.push_rules.sync {
            SyncTime::Never => return None,
            SyncTime::Late => return Some(LateSync { shared: Arc::clone(shared), channel }),
            SyncTime::Early => model.push_sync(&channel)?,
        }
    };
    shared.pushes.until_tried(early).await;
    None
}

pub(super) struct LateSync {
    shared: Arc<Shared>,
    channel: String,
}

impl Drop for LateSync {
    fn drop(&mut self) {
        self.shared.model().push_sync(&self.channel);
    }
}
