//! Users and calendars: making, sharing, renaming and removing them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Model;
use super::account::{DEFAULT_SCOPES, ListEntry, Rotation, User};
use super::calendar::{Calendar, Role, Stamp};
use super::error::ApiError;
use super::push::State;
use super::time::{zone, zone_names};

/// A calendar to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarSpec {
    /// Made up if absent.
    pub id: Option<String>,
    /// Title.
    pub summary: String,
    /// Description.
    pub description: String,
    /// UTC if absent.
    pub time_zone: Option<String>,
}

impl Model {
    /// Makes a user with a primary calendar; returns a refresh token. Known users get another one.
    pub fn create_user(&mut self, email: &str) -> String {
        if !self.users.contains_key(email) {
            let user = User {
                email: email.to_owned(),
                subject: format!("1{:020}", self.seq + 1),
                refresh_tokens: BTreeSet::new(),
                scopes: DEFAULT_SCOPES.iter().map(|&scope| scope.to_owned()).collect(),
                rotation: Rotation::Off,
                list: BTreeMap::new(),
                list_changed: 0,
                list_tokens_valid_from: 0,
            };
            self.users.insert(email.to_owned(), user);
            let spec = CalendarSpec {
                id: Some(email.to_owned()),
                summary: email.to_owned(),
                ..CalendarSpec::default()
            };
            self.insert_calendar(email, email, &spec, true);
        }
        self.add_refresh_token(email).unwrap_or_default()
    }

    /// Narrows or widens what a user granted; access tokens already out keep theirs.
    pub fn set_scopes(&mut self, email: &str, scopes: Vec<String>) -> Result<(), ApiError> {
        self.user_mut(email)?.scopes = scopes;
        Ok(())
    }

    /// Says what happens to a user's refresh token on use.
    pub fn set_rotation(&mut self, email: &str, rotation: Rotation) -> Result<(), ApiError> {
        self.user_mut(email)?.rotation = rotation;
        Ok(())
    }

    /// Makes a calendar that `email` owns and has in the list; returns its id.
    pub fn add_calendar(&mut self, email: &str, spec: &CalendarSpec) -> Result<String, ApiError> {
        self.user(email)?;
        check_zone(spec.time_zone.as_deref().unwrap_or("UTC"))?;
        let id = match &spec.id {
            Some(id) if self.calendars.contains_key(id) => {
                return Err(ApiError::bad_body(&format!("Calendar {id:?} exists.")));
            }
            Some(id) => id.clone(),
            None => format!("c_{}@group.calendar.google.com", self.event_id()),
        };
        self.insert_calendar(email, &id, spec, false);
        Ok(id)
    }

    fn insert_calendar(&mut self, email: &str, id: &str, spec: &CalendarSpec, primary: bool) {
        let stamp = self.stamp();
        let calendar = Calendar {
            id: id.to_owned(),
            summary: spec.summary.clone(),
            description: spec.description.clone(),
            time_zone: spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            owner: email.to_owned(),
            primary,
            deleted: false,
            roles: BTreeMap::from([(email.to_owned(), Role::Owner)]),
            updated_us: stamp.at_us,
            changed: stamp.seq,
            tokens_valid_from: 0,
            events: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            lost: BTreeMap::new(),
        };
        self.calendars.insert(id.to_owned(), calendar);
        self.touch_entry(email, id, stamp, |entry| entry.deleted = false);
    }

    /// Renames a calendar. Only deltas of its owners' lists show that; channels tell everyone.
    pub fn rename_calendar(&mut self, id: &str, summary: &str) -> Result<(), ApiError> {
        self.calendar_mut(id)?.summary = summary.to_owned();
        let stamp = self.touch_owners(id)?;
        let shows = |user: &&User| user.list.get(id).is_some_and(|entry| !entry.deleted);
        let readers: Vec<String> =
            self.users.values().filter(shows).map(|user| user.email.clone()).collect();
        readers.iter().for_each(|reader| self.notify_list(reader, stamp.seq));
        Ok(())
    }

    /// Changes a calendar's zone. Only its owners' lists count that as a change.
    pub fn set_time_zone(&mut self, id: &str, time_zone: &str) -> Result<(), ApiError> {
        check_zone(time_zone)?;
        let calendar = self.calendar_mut(id)?;
        calendar.time_zone = time_zone.to_owned();
        calendar.forget_rendered();
        self.touch_owners(id).map(|_| ())
    }

    /// Deletes a calendar for everyone.
    pub fn delete_calendar(&mut self, id: &str) -> Result<(), ApiError> {
        let calendar = self.calendar_mut(id)?;
        calendar.deleted = true;
        let users: Vec<String> = calendar.roles.keys().cloned().collect();
        let stamp = self.stamp();
        for user in users {
            self.touch_known_entry(&user, id, stamp, |entry| entry.deleted = true);
        }
        self.notify_events(id, State::NotExists, stamp.seq);
        Ok(())
    }

    /// Takes a calendar out of a user's list; access stays.
    pub fn remove_from_list(&mut self, email: &str, id: &str) -> Result<(), ApiError> {
        self.change_entry(email, id, |entry| entry.deleted = true)
    }

    /// Puts a calendar (back) into a user's list; needs access.
    pub fn add_to_list(&mut self, email: &str, id: &str) -> Result<(), ApiError> {
        if self.calendar(id)?.role(email) == Role::None {
            return Err(ApiError::not_found());
        }
        let stamp = self.stamp();
        self.touch_entry(email, id, stamp, |entry| entry.deleted = false);
        Ok(())
    }

    /// Hides a calendar from plain listings, or shows it again.
    pub fn set_hidden(&mut self, email: &str, id: &str, hidden: bool) -> Result<(), ApiError> {
        self.change_entry(email, id, |entry| entry.hidden = hidden)
    }

    /// Sets or clears a user's own title of a calendar.
    pub fn set_summary_override(
        &mut self,
        email: &str,
        id: &str,
        title: Option<&str>,
    ) -> Result<(), ApiError> {
        self.change_entry(email, id, |entry| entry.summary_override = title.map(str::to_owned))
    }

    /// Sets a user's role on a calendar. Every sync token of its events ends; calendar lists don't
    /// show it in deltas, unless the role is `none`: then the calendar leaves the list. Channels on
    /// the user's list tell of it.
    pub fn set_role(&mut self, id: &str, email: &str, role: Role) -> Result<(), ApiError> {
        self.user(email)?;
        self.calendar(id)?;
        let stamp = self.stamp();
        let calendar = self.calendar_mut(id)?;
        calendar.tokens_valid_from = stamp.seq;
        if role == Role::None {
            calendar.roles.remove(email);
            self.touch_known_entry(email, id, stamp, |entry| entry.deleted = true);
        } else {
            calendar.roles.insert(email.to_owned(), role);
            if self.calendar_entry(email, id).is_ok() {
                self.notify_list(email, stamp.seq);
            }
        }
        Ok(())
    }

    /// Gives a user a role on a calendar and puts it into the user's list.
    pub fn share_calendar(&mut self, id: &str, email: &str, role: Role) -> Result<(), ApiError> {
        self.set_role(id, email, role)?;
        if role == Role::None { Ok(()) } else { self.add_to_list(email, id) }
    }

    fn touch_owners(&mut self, id: &str) -> Result<Stamp, ApiError> {
        let stamp = self.stamp();
        let roles = &self.calendar(id)?.roles;
        let owners = roles.iter().filter(|(_, role)| **role == Role::Owner);
        for owner in owners.map(|(user, _)| user.clone()).collect::<Vec<_>>() {
            self.touch_known_entry(&owner, id, stamp, |_| ());
        }
        Ok(stamp)
    }

    fn change_entry(
        &mut self,
        email: &str,
        id: &str,
        change: impl FnOnce(&mut ListEntry),
    ) -> Result<(), ApiError> {
        self.calendar_entry(email, id)?;
        let stamp = self.stamp();
        self.touch_entry(email, id, stamp, change);
        Ok(())
    }

    fn touch_known_entry(
        &mut self,
        email: &str,
        id: &str,
        stamp: Stamp,
        change: impl FnOnce(&mut ListEntry),
    ) {
        if self.users.get(email).is_some_and(|user| user.list.contains_key(id)) {
            self.touch_entry(email, id, stamp, change);
        }
    }

    fn touch_entry(
        &mut self,
        email: &str,
        id: &str,
        stamp: Stamp,
        change: impl FnOnce(&mut ListEntry),
    ) {
        let Some(user) = self.users.get_mut(email) else { return };
        let entry = user.list.entry(id.to_owned()).or_insert(ListEntry {
            hidden: false,
            summary_override: None,
            deleted: false,
            changed: 0,
            updated_us: 0,
        });
        change(entry);
        entry.changed = stamp.seq;
        entry.updated_us = stamp.at_us;
        user.list_changed = stamp.seq;
        self.notify_list(email, stamp.seq);
    }
}

fn check_zone(name: &str) -> Result<(), ApiError> {
    if zone(name).is_some() {
        return Ok(());
    }
    let known = zone_names().collect::<Vec<_>>().join(", ");
    Err(ApiError::bad_body(&format!("Unknown time zone {name:?}; known: {known}.")))
}
