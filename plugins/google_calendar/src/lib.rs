//! Google Calendar as SQL tables: a Rowgate plugin.
//!
//! A backend's posts (`receive`) link owners; then one stream an owner lists calendars
//! (`calendars`), and one a calendar and feed lists events (`events`; `told`, `series` and `masters`
//! settle what lists leave open). All requests go through `api`, which keeps the access token fresh
//! (`token`) and sorts refusals (`refusal`).

mod api;
mod calendars;
mod events;
mod listing;
mod masters;
mod push;
mod receive;
mod recurrence;
mod refusal;
mod row;
mod series;
mod token;
mod told;
mod wire;

mod manifest {
    rowgate_plugin::include_manifest!();
}

#[cfg(test)]
mod tests;

use rowgate_plugin::{
    Channel, Context, Failure, Plugin, Result, Step, StreamId, Subscription, Topic, Webhook,
};
use serde::{Deserialize, Serialize};

use manifest::stream_kinds;

/// The plugin.
#[derive(Debug)]
pub struct GoogleCalendar;

rowgate_plugin::export!(GoogleCalendar);

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// A list of calendars.
    Calendars(calendars::Position),
    /// A feed of events.
    Events(Box<events::Position>),
}

impl From<events::Position> for Cursor {
    fn from(at: events::Position) -> Self {
        Self::Events(Box::new(at))
    }
}

impl Plugin for GoogleCalendar {
    type Cursor = Cursor;

    fn receive(_cx: &Context, webhook: &Webhook) -> Result<()> {
        receive::receive(webhook)
    }

    fn sync(
        cx: &Context,
        stream: &StreamId,
        cursor: Option<Cursor>,
        page_limit: u32,
    ) -> Result<Step<Cursor>> {
        match (stream.kind.as_str(), cursor) {
            (stream_kinds::CALENDARS, Some(Cursor::Calendars(at))) => {
                calendars::sync(cx, Some(at), page_limit)
            }
            (stream_kinds::CALENDARS, _) => calendars::sync(cx, None, page_limit),
            (stream_kinds::EVENTS, Some(Cursor::Events(at))) => {
                events::sync(cx, stream, Some(*at), page_limit)
            }
            (stream_kinds::EVENTS, _) => events::sync(cx, stream, None, page_limit),
            (kind, _) => Err(Failure::bug(format!("no stream kind `{kind}`"))),
        }
    }

    fn subscribe(cx: &Context, topic: &Topic, channel: &Channel) -> Result<Option<Subscription>> {
        push::subscribe(cx, topic, channel)
    }

    fn unsubscribe(
        cx: &Context,
        _topic: Option<&Topic>,
        subscription: &Subscription,
    ) -> Result<()> {
        push::unsubscribe(cx, subscription)
    }
}
