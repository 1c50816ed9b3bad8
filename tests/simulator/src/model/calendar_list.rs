//! A user's calendar list: calendarList.list, and single calendars.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Model;
use super::account::{ListEntry, User};
use super::calendar::{Calendar, Role};
use super::error::ApiError;
use super::event::Object;
use super::feed::{Page, list_end};
use super::query::{Params, refuse_false_with_sync_token, refuse_with_sync_token};
use super::time::millis_text;
use super::token::{Kind, Position, Token};

/// Parameters of calendarList.list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// As given.
    pub params: Params,
    max_results: usize,
    show_deleted: bool,
    show_hidden: bool,
    min_role: Role,
}

impl ListQuery {
    /// Checks parameters; the error is the service's 400.
    pub fn parse(params: Params) -> Result<Self, ApiError> {
        let delta = params.get("syncToken").is_some();
        if delta {
            refuse_with_sync_token(&params, &["minAccessRole", "showOwnOrganizationOnly"])?;
            refuse_false_with_sync_token(&params, "showDeleted")?;
            refuse_false_with_sync_token(&params, "showHidden")?;
        }
        let roles = [
            Role::FreeBusyReader,
            Role::Reader,
            Role::WriterWithoutPrivateAccess,
            Role::Writer,
            Role::Owner,
        ];
        let min_role = match params.get("minAccessRole") {
            None => Role::None,
            Some(name) => *roles.iter().find(|role| role.name() == name).ok_or_else(|| {
                ApiError::invalid("minAccessRole", &format!("Invalid value '{name}'."))
            })?,
        };
        Ok(Self {
            max_results: params.count("maxResults", 250)?.unwrap_or(100),
            show_deleted: delta || params.flag("showDeleted")?.unwrap_or(false),
            show_hidden: delta || params.flag("showHidden")?.unwrap_or(false),
            min_role,
            params,
        })
    }

    fn sync_fingerprint(&self) -> u64 {
        self.params.fingerprint(|_| false, &format!("list/{}", self.max_results))
    }
}

impl Model {
    /// One page of calendarList.list.
    pub fn list_calendars(
        &self,
        email: &str,
        query: &ListQuery,
        page_items_max: Option<usize>,
    ) -> Result<Page, ApiError> {
        let user = self.user(email)?;
        let token = self.list_token(user, query)?;
        let from = match &token.position {
            Position::Item { id, .. } => id.as_str(),
            _ => "",
        };
        let size = page_items_max.unwrap_or(usize::MAX).min(query.max_results);
        let wanted = |(id, entry): &(&String, &ListEntry)| {
            let role = self.calendars.get(*id).map_or(Role::None, |c| c.role(email));
            token.since.is_none_or(|since| entry.changed > since)
                && (query.show_deleted || !entry.deleted)
                && (query.show_hidden || !entry.hidden)
                && (entry.deleted || role >= query.min_role)
        };
        let mut entries = user.list.range(from.to_owned()..).filter(wanted);
        let page: Vec<(&String, &ListEntry)> = entries.by_ref().take(size).collect();
        let at = |id: &String| {
            let position = Position::Item { id: id.clone(), instance: String::new() };
            Token { position, ..token.clone() }.encode()
        };
        let next = entries.next().map(|(id, _)| at(id));
        let sync = Token {
            kind: Kind::Sync,
            fingerprint: query.sync_fingerprint(),
            since: None,
            position: Position::Start,
            ..token.clone()
        };
        Ok(Page {
            items: page.iter().map(|(id, entry)| self.entry(email, id, entry)).collect(),
            overlap_token: page.last().map(|(id, _)| at(id)),
            next_sync_token: next.is_none().then(|| sync.encode()),
            next_page_token: next,
            own_page_token: token.encode(),
            etag: format!("\"p3{:x}0o\"", token.fingerprint ^ user.list_changed.rotate_left(17)),
        })
    }

    /// The body of calendarList.list.
    pub fn calendars_body(&self, page: &Page) -> String {
        let mut out = Object::new();
        out.field("kind", "calendar#calendarList");
        out.field("etag", &page.etag);
        list_end(out, page)
    }

    /// The body of calendarList.get.
    pub fn calendar_entry(&self, email: &str, id: &str) -> Result<Arc<str>, ApiError> {
        let entry = self.user(email)?.list.get(id).filter(|entry| !entry.deleted);
        entry.map(|entry| self.entry(email, id, entry)).ok_or_else(ApiError::not_found)
    }

    /// The body of calendars.get.
    pub fn calendar_body(&self, email: &str, id: &str) -> Result<Value, ApiError> {
        let calendar = self.calendar(id)?;
        if calendar.role(email) == Role::None {
            return Err(ApiError::not_found());
        }
        let mut body = json!({
            "kind": "calendar#calendar",
            "etag": format!("\"{}\"", calendar.updated_us),
            "id": calendar.id,
            "summary": calendar.summary,
            "timeZone": calendar.time_zone,
            "conferenceProperties": { "allowedConferenceSolutionTypes": ["hangoutsMeet"] },
        });
        if !calendar.description.is_empty() {
            body["description"] = calendar.description.as_str().into();
        }
        if !calendar.primary {
            body["dataOwner"] = calendar.owner.as_str().into();
        }
        Ok(body)
    }

    fn list_token(&self, user: &User, query: &ListQuery) -> Result<Token, ApiError> {
        let mut token = Token {
            kind: Kind::Page,
            user: user.email.clone(),
            calendar: String::new(),
            fingerprint: query.sync_fingerprint(),
            anchor: self.seq,
            since: None,
            position: Position::Start,
        };
        let valid_from = self.tokens_valid_from.max(user.list_tokens_valid_from);
        if let Some(text) = query.params.get("syncToken") {
            token.since = Some(Token::sync(text, &token, valid_from)?.anchor);
        }
        token.fingerprint = query.params.page_fingerprint();
        match query.params.get("pageToken") {
            Some(text) => Token::page(text, &token),
            None => Ok(token),
        }
    }

    fn entry(&self, email: &str, id: &str, entry: &ListEntry) -> Arc<str> {
        let mut out = Object::new();
        out.field("kind", "calendar#calendarListEntry");
        out.field("etag", &format!("\"{}\"", entry.updated_us));
        out.field("id", id);
        let calendar = self.calendars.get(id).filter(|_| !entry.deleted);
        let Some(calendar) = calendar else {
            out.raw("defaultReminders", "[]");
            out.field("deleted", &true);
            return out.finish().into();
        };
        out.field("summary", &calendar.summary);
        if let Some(title) = &entry.summary_override {
            out.field("summaryOverride", title);
        }
        if !calendar.description.is_empty() {
            out.field("description", &calendar.description);
        }
        out.field("timeZone", &calendar.time_zone);
        out.field("colorId", "14");
        out.field("backgroundColor", "#9fe1e7");
        out.field("foregroundColor", "#000000");
        out.field("selected", &!entry.hidden);
        if entry.hidden {
            out.field("hidden", &true);
        }
        if calendar.primary && calendar.owner == email {
            out.field("primary", &true);
        }
        out.field("accessRole", calendar.role(email).name());
        out.field("defaultReminders", &calendar.default_reminders(email));
        let solutions = json!({ "allowedConferenceSolutionTypes": ["hangoutsMeet"] });
        out.field("conferenceProperties", &solutions);
        if !calendar.primary {
            out.field("dataOwner", &calendar.owner);
        }
        out.finish().into()
    }
}

impl Calendar {
    pub(super) fn default_reminders(&self, email: &str) -> Value {
        match self.primary && self.owner == email {
            true => json!([{ "method": "popup", "minutes": 30 }]),
            false => json!([]),
        }
    }
}

impl User {
    /// Entries of the list, removed ones too.
    pub fn list(&self) -> &BTreeMap<String, ListEntry> {
        &self.list
    }
}

impl ListEntry {
    /// Time of the last change, RFC 3339.
    pub fn updated(&self) -> String {
        millis_text(self.updated_us)
    }
}
