//! What an author implements, and how the component's exports reach it.

use std::marker::PhantomData;
use std::sync::Once;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::rowgate::plugin::integration as wit;
use crate::{Channel, Context, Failure, Progress, StreamId, Subscription, Topic, Webhook, log};

/// What a call gives: a [`Failure`] says what the host shall do about it.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// An integration. Each function is one call and one transaction: what it wrote and the cursor that
/// it returned are committed together, or not at all.
pub trait Plugin {
    /// Where a stream stands; kept by the host as JSON. A plugin with several stream kinds makes it
    /// an enum. Whoever changes its shape raises `cursor` in `plugin.toml`.
    type Cursor: Serialize + DeserializeOwned;

    /// Takes in a webhook that the host has authenticated.
    fn receive(cx: &Context, webhook: &Webhook) -> Result<()>;

    /// Reads one page of a stream. `cursor` is what the call before returned, `page_limit` how many
    /// items to ask for at most.
    fn sync(
        cx: &Context,
        stream: &StreamId,
        cursor: Option<Self::Cursor>,
        page_limit: u32,
    ) -> Result<Step<Self::Cursor>>;

    /// Asks the vendor for push. None, the default: it offers none for this topic.
    fn subscribe(
        _cx: &Context,
        _topic: &Topic,
        _channel: &Channel,
    ) -> Result<Option<Subscription>> {
        Ok(None)
    }

    /// Ends a subscription; without a topic one that the host knows only from a notification.
    fn unsubscribe(
        _cx: &Context,
        _topic: Option<&Topic>,
        _subscription: &Subscription,
    ) -> Result<()> {
        Ok(())
    }
}

/// What a page came to: the cursor that is committed with its rows, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<C> {
    /// Where the next call goes on. None: it begins with a full listing.
    pub cursor: Option<C>,
    /// What follows.
    pub progress: Progress,
}

impl<C> Step<C> {
    /// Call again at once.
    pub fn more(cursor: C) -> Self {
        Self { cursor: Some(cursor), progress: Progress::More }
    }

    /// Call again at once, without a cursor.
    pub fn restart() -> Self {
        Self { cursor: None, progress: Progress::More }
    }

    /// Rest for the manifest's poll interval, or until activated.
    pub fn done(cursor: C) -> Self {
        Self { cursor: Some(cursor), progress: Progress::Done(None) }
    }

    /// Rest for `ms` milliseconds, or until activated.
    pub fn done_for(cursor: C, ms: u64) -> Self {
        Self { cursor: Some(cursor), progress: Progress::Done(Some(ms)) }
    }

    /// Rest for `ms` milliseconds, or until activated, then begin again without a cursor.
    pub fn relist_after(ms: u64) -> Self {
        Self { cursor: None, progress: Progress::Done(Some(ms)) }
    }

    /// The vendor doesn't let this owner read the stream (any more): it stops, its rows stay.
    pub fn unreadable(reason: impl Into<String>) -> Self {
        Self { cursor: None, progress: Progress::Unreadable(reason.into()) }
    }
}

/// The component's exports on top of a [`Plugin`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Adapter<P>(PhantomData<P>);

impl<P: Plugin> wit::Guest for Adapter<P> {
    fn receive(context: Context, webhook: Webhook) -> Result<()> {
        report_panics();
        P::receive(&context, &webhook)
    }

    fn sync(
        context: Context,
        stream: StreamId,
        cursor: Option<Vec<u8>>,
        page_limit: u32,
    ) -> Result<wit::Step> {
        report_panics();
        let cursor = cursor.as_deref().map(decode::<P::Cursor>).transpose()?;
        let step = P::sync(&context, &stream, cursor, page_limit)?;
        let cursor = step.cursor.as_ref().map(encode).transpose()?;
        Ok(wit::Step { cursor, progress: step.progress })
    }

    fn subscribe(context: Context, topic: Topic, channel: Channel) -> Result<Option<Subscription>> {
        report_panics();
        P::subscribe(&context, &topic, &channel)
    }

    fn unsubscribe(
        context: Context,
        topic: Option<Topic>,
        subscription: Subscription,
    ) -> Result<()> {
        report_panics();
        P::unsubscribe(&context, topic.as_ref(), &subscription)
    }
}

/// A cursor that can't be read is as good as none: the host runs again without it.
fn decode<C: DeserializeOwned>(bytes: &[u8]) -> Result<C> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|e| Failure::CursorExpired(format!("unreadable at `{}`: {}", e.path(), e.inner())))
}

fn encode<C: Serialize>(cursor: &C) -> Result<Vec<u8>> {
    serde_json::to_vec(cursor)
        .map_err(|e| Failure::Bug(format!("the cursor has no JSON form: {e}")))
}

/// A trap carries no text; the hook says what happened before it.
fn report_panics() {
    static HOOK: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|info| log::error(&info.to_string(), &[])));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::wit::Guest as _;
    use super::*;
    use crate::testing;

    struct Counter;

    impl Plugin for Counter {
        type Cursor = u32;

        fn receive(_: &Context, _: &Webhook) -> Result<()> {
            Ok(())
        }

        fn sync(_: &Context, _: &StreamId, at: Option<u32>, limit: u32) -> Result<Step<u32>> {
            let next = at.unwrap_or_default() + 1;
            Ok(if next < limit { Step::more(next) } else { Step::relist_after(5) })
        }
    }

    fn sync(cursor: Option<&[u8]>) -> Result<wit::Step> {
        let cx = testing::context("counter_v1");
        let stream = testing::stream("counter_v1", "numbers", "");
        Adapter::<Counter>::sync(cx, stream, cursor.map(<[u8]>::to_vec), 3)
    }

    #[test]
    fn cursors_are_json_and_a_broken_one_expires() {
        let more = wit::Step { cursor: Some(b"1".to_vec()), progress: Progress::More };
        assert_eq!(sync(None).unwrap(), more);
        let done = wit::Step { cursor: None, progress: Progress::Done(Some(5)) };
        assert_eq!(sync(Some(b"2")).unwrap(), done);
        assert!(matches!(sync(Some(b"{}")), Err(Failure::CursorExpired(_))));
    }

    #[test]
    fn push_is_not_offered_by_default() {
        let topic = Topic { push: "p".into(), key: String::new() };
        let channel = Channel {
            id: "c".into(),
            address: "https://example.org".into(),
            token: "t".into(),
            ttl_ms: None,
        };
        let cx = testing::context("counter_v1");
        assert_eq!(Adapter::<Counter>::subscribe(cx, topic, channel).unwrap(), None);
    }
}
