//! The Calendar API: bearer check, limits, scopes, and its methods by path.

use hyper::Method;
use serde_json::Value;

use crate::limits::Exceeded;
use crate::model::Model;
use crate::model::calendar::Role;
use crate::model::calendar_list::ListQuery;
use crate::model::channel::Resource;
use crate::model::error::{ApiError, preset};
use crate::model::feed::Page;
use crate::model::query::{EventQuery, Params};
use crate::shared::{Shared, locked};

use super::plan::{PageTricks, Plan};
use super::projection;
use super::{Call, Reply};

/// One authenticated request.
pub(super) struct Context<'a> {
    pub(super) model: &'a mut Model,
    pub(super) call: &'a Call,
    pub(super) user: String,
    params: Params,
    tricks: &'a PageTricks,
}

/// `/calendar/v3/...`.
pub(crate) fn serve(
    shared: &Shared,
    model: &mut Model,
    call: &Call,
    path: &[&str],
    plan: &Plan,
) -> Result<Reply, ApiError> {
    let token = call.bearer().ok_or_else(|| named("loginRequired"))?;
    let token = model.authenticate(token).ok_or_else(ApiError::invalid_credentials)?.clone();
    let limiter_now_us = shared.limiter_now_us(model);
    locked(&shared.limits)
        .admit(&token.user, limiter_now_us)
        .map_err(|exceeded| ApiError::quota_per_minute(exceeded == Exceeded::User))?;
    check_scopes(&token.scopes, &call.method, path)?;
    let params = call.params();
    let mut context = Context { model, call, user: token.user, params, tricks: &plan.page };
    let reply = context.dispatch(path)?;
    projection::apply(reply, &context.params)
}

impl Context<'_> {
    fn dispatch(&mut self, path: &[&str]) -> Result<Reply, ApiError> {
        let user = self.user.clone();
        match (self.call.method.as_str(), path) {
            ("GET", ["users", "me", "calendarList"]) => self.list_calendars(),
            ("GET", ["users", "me", "calendarList", id]) => {
                let entry = self.model.calendar_entry(&user, self.model.resolve(&user, id))?;
                Ok(single(&entry))
            }
            ("GET", ["calendars", id]) => {
                let body = self.model.calendar_body(&user, self.model.resolve(&user, id))?;
                Ok(single(&body.to_string()))
            }
            ("POST", ["users", "me", "calendarList", "watch"]) => {
                self.watch(Resource::CalendarList)
            }
            ("POST", ["channels", "stop"]) => {
                self.model.stop_channel(&user, &self.body()?)?;
                Ok(Reply::empty(204))
            }
            (_, ["calendars", id, "events", rest @ ..]) => {
                let id = self.model.resolve(&user, id).to_owned();
                self.events(&id, rest)
            }
            _ => Err(ApiError::not_found()),
        }
    }

    fn events(&mut self, calendar: &str, rest: &[&str]) -> Result<Reply, ApiError> {
        let role = self.model.calendar(calendar)?.role(&self.user);
        if role == Role::None {
            return Err(ApiError::not_found());
        }
        let method = self.call.method.as_str();
        if method == "GET" {
            return match rest {
                [] => self.list_events(calendar),
                [id] => self.event(calendar, id),
                [id, "instances"] => self.instances(calendar, id),
                _ => Err(ApiError::not_found()),
            };
        }
        if let ("POST", ["watch"]) = (method, rest) {
            return self.watch(Resource::Events(calendar.to_owned()));
        }
        if role < Role::WriterWithoutPrivateAccess {
            return Err(named("requiredAccessLevel"));
        }
        self.write(calendar, method, rest)
    }

    fn write(&mut self, calendar: &str, method: &str, rest: &[&str]) -> Result<Reply, ApiError> {
        if let Some(id) = rest.first() {
            self.check_if_match(calendar, id)?;
        }
        match (method, rest) {
            ("POST", []) => {
                let id = self.model.add_event(calendar, &self.body()?)?;
                self.event(calendar, &id)
            }
            ("POST", [id, "move"]) => {
                let to = self.params.get("destination");
                let to = to.ok_or_else(|| ApiError::invalid("destination", "Required"))?;
                let to = self.model.resolve(&self.user, to).to_owned();
                if self.model.calendar(&to)?.role(&self.user) < Role::WriterWithoutPrivateAccess {
                    return Err(named("requiredAccessLevel"));
                }
                self.model.move_event(calendar, &to, id)?;
                self.event(&to, id)
            }
            ("PATCH", [id]) => {
                self.model.patch_event(calendar, id, &self.body()?)?;
                self.event(calendar, id)
            }
            ("PUT", [id]) => {
                self.model.replace_event(calendar, id, &self.body()?)?;
                self.event(calendar, id)
            }
            ("DELETE", [id]) => {
                self.model.cancel_event(calendar, id)?;
                Ok(Reply::empty(204))
            }
            _ => Err(ApiError::not_found()),
        }
    }

    fn list_calendars(&self) -> Result<Reply, ApiError> {
        let query = ListQuery::parse(self.params.clone())?;
        let page = self.model.list_calendars(&self.user, &query, self.tricks.items_max)?;
        let page = self.tricked(page);
        Ok(with_etag(self.model.calendars_body(&page), &page.etag))
    }

    fn list_events(&self, calendar: &str) -> Result<Reply, ApiError> {
        let query = EventQuery::parse(self.params.clone())?;
        let items_max = self.tricks.items_max;
        let page = self.model.list_events(&self.user, calendar, &query, items_max)?;
        let page = self.tricked(page);
        let body = self.model.events_body(&self.user, calendar, &query, &page)?;
        Ok(with_etag(body, &page.etag))
    }

    fn instances(&self, calendar: &str, id: &str) -> Result<Reply, ApiError> {
        let query = EventQuery::parse(self.params.clone())?;
        let page = self.model.list_instances(&self.user, calendar, id, &query)?;
        let body = self.model.events_body(&self.user, calendar, &query, &page)?;
        Ok(with_etag(body, &page.etag))
    }

    fn event(&self, calendar: &str, id: &str) -> Result<Reply, ApiError> {
        let query = EventQuery::parse(self.params.clone())?;
        let view = self.model.view(&self.user, self.model.calendar(calendar)?, &query)?;
        Ok(single(&self.model.get_event(calendar, id, &view)?))
    }

    fn check_if_match(&self, calendar: &str, id: &str) -> Result<(), ApiError> {
        let Some(wanted) = self.call.header("if-match").filter(|etag| *etag != "*") else {
            return Ok(());
        };
        match self.model.event_etag(calendar, id) {
            Some(etag) if etag != wanted => Err(named("conditionNotMet")),
            _ => Ok(()),
        }
    }

    pub(super) fn body(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.call.body).map_err(|_| named("parseError"))
    }

    /// Applies the faults that concern pages.
    fn tricked(&self, mut page: Page) -> Page {
        let tricks = self.tricks;
        if tricks.duplicate_across && page.next_page_token.is_some() {
            page.next_page_token = page.overlap_token.clone();
        }
        if tricks.duplicate {
            page.items.extend(page.items.first().cloned());
        }
        if tricks.empty {
            page.items.clear();
        }
        if tricks.empty || tricks.cycle {
            page.next_page_token = Some(page.own_page_token.clone());
            page.next_sync_token = None;
        }
        if tricks.no_sync_token {
            page.next_sync_token = None;
        }
        page
    }
}

/// A single resource carries its etag as a header as well.
fn single(body: &str) -> Reply {
    let etag = serde_json::from_str::<Value>(body).ok();
    let etag = etag.and_then(|body| body.get("etag")?.as_str().map(str::to_owned));
    with_etag(body.to_owned(), &etag.unwrap_or_default())
}

fn with_etag(body: String, etag: &str) -> Reply {
    let mut reply = Reply::json(200, body);
    reply.header("etag", etag);
    reply
}

fn check_scopes(granted: &[String], method: &Method, path: &[&str]) -> Result<(), ApiError> {
    // Watching is reading.
    let reads = method == Method::GET || path.last() == Some(&"watch");
    let wanted: &[&str] = match (path, reads) {
        (["channels", ..], _) => &[
            "calendar",
            "calendar.readonly",
            "calendar.calendarlist",
            CALENDAR_LIST_READ,
            "calendar.events",
            "calendar.events.readonly",
        ],
        (["users", ..], _) => {
            &["calendar", "calendar.readonly", "calendar.calendarlist", CALENDAR_LIST_READ]
        }
        ([_, _, "events", ..], true) => {
            &["calendar", "calendar.readonly", "calendar.events", "calendar.events.readonly"]
        }
        ([_, _, "events", ..], false) => &["calendar", "calendar.events"],
        _ => &["calendar", "calendar.readonly", "calendar.calendars", CALENDARS_READ],
    };
    let short = |scope: &String| {
        scope.strip_prefix("https://www.googleapis.com/auth/").unwrap_or(scope).to_owned()
    };
    if granted.iter().map(short).any(|scope| wanted.contains(&scope.as_str())) {
        return Ok(());
    }
    Err(named("insufficientPermissions"))
}

const CALENDAR_LIST_READ: &str = "calendar.calendarlist.readonly";
const CALENDARS_READ: &str = "calendar.calendars.readonly";

fn named(name: &str) -> ApiError {
    preset(name).unwrap_or_else(ApiError::not_found)
}
