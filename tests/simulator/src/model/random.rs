//! Random realistic changes, one at a time: the driver of convergence tests.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::Model;
use super::calendar::Role;
use super::directory::CalendarSpec;
use super::error::ApiError;
use super::event::Event;
use super::generate::{Mix, body, words};
use super::time::{DAY_US, EventTime};

/// Attempts before it is given up (a model without users has nothing to change).
const ATTEMPTS_MAX: usize = 200;

/// Applies one random change and says what it was. None: the model has nothing to change.
pub fn random_change(model: &mut Model, rng: &mut ChaCha8Rng) -> Option<String> {
    (0..ATTEMPTS_MAX).find_map(|_| {
        let calendar = pick_calendar(model, rng)?;
        let kind = rng.random_range(0..100);
        let done = match kind {
            0..72 => change_event(model, rng, &calendar, kind),
            72..90 => change_series(model, rng, &calendar, kind),
            _ => change_calendar(model, rng, &calendar, kind),
        };
        done.ok().flatten().map(|what| format!("{what} in {calendar}"))
    })
}

/// Rules that a series may change to: with an end or none, dense or with gaps.
const RULES: &[&str] = &[
    "FREQ=DAILY;COUNT=5",
    "FREQ=WEEKLY;COUNT=30",
    "FREQ=DAILY;BYMONTH=11,12,1,2,3,4",
    "FREQ=WEEKLY",
    "FREQ=MONTHLY",
];

/// A change that couldn't be made is no error: another one is tried.
type Done = Result<Option<String>, ApiError>;

fn pick_calendar(model: &Model, rng: &mut ChaCha8Rng) -> Option<String> {
    let alive = model.calendars().values().filter(|calendar| !calendar.deleted);
    let ids: Vec<&String> = alive.map(|calendar| &calendar.id).collect();
    ids.choose(rng).map(|&id| id.clone())
}

fn pick(
    model: &Model,
    rng: &mut ChaCha8Rng,
    calendar: &str,
    fits: impl Fn(&Event) -> bool,
) -> Option<String> {
    let events: Vec<&Event> = model.calendar(calendar).ok()?.events().filter(|e| fits(e)).collect();
    events.choose(rng).map(|event| event.id.clone())
}

fn is_single(event: &Event) -> bool {
    event.is_live() && !event.is_master() && event.exception.is_none()
}

fn is_series(event: &Event) -> bool {
    event.is_live() && event.is_master()
}

fn change_event(model: &mut Model, rng: &mut ChaCha8Rng, calendar: &str, kind: u32) -> Done {
    let target = match kind {
        0..22 => {
            let body = body(rng, model.now_us, Mix::Mixed);
            return model.add_event(calendar, &body.into()).map(|id| Some(format!("add {id}")));
        }
        22..36 => pick(model, rng, calendar, Event::is_live),
        36..46 => pick(model, rng, calendar, |event| event.is_live() && !event.is_master()),
        46..58 => pick(model, rng, calendar, is_single),
        58..66 => pick(model, rng, calendar, |event| !event.is_live()),
        _ => pick(model, rng, calendar, is_single),
    };
    let Some(id) = target else { return Ok(None) };
    match kind {
        22..36 => {
            let patch = json!({ "summary": words(rng, 2) });
            model.patch_event(calendar, &id, &patch)?;
            Ok(Some(format!("retitle {id}")))
        }
        36..46 => reschedule(model, rng, calendar, &id),
        46..58 => model.cancel_event(calendar, &id).map(|()| Some(format!("cancel {id}"))),
        58..66 => model.undelete_event(calendar, &id).map(|()| Some(format!("undelete {id}"))),
        66..69 => {
            let patch = json!({ "reminders": { "useDefault": rng.random_bool(0.5) } });
            model.patch_event(calendar, &id, &patch)?;
            Ok(Some(format!("remind {id}")))
        }
        _ => {
            let Some(to) = pick_calendar(model, rng) else { return Ok(None) };
            model.move_event(calendar, &to, &id)?;
            Ok(Some(format!("move {id} to {to}, from")))
        }
    }
}

fn reschedule(model: &mut Model, rng: &mut ChaCha8Rng, calendar: &str, id: &str) -> Done {
    let home = model.calendar(calendar)?;
    let Some(event) = home.event(id) else { return Ok(None) };
    let micros = match event.start {
        EventTime::Date(_) => rng.random_range(-5..6) * DAY_US,
        EventTime::At { .. } => rng.random_range(-50..51) * DAY_US / 24,
    };
    let shifted = |time: &EventTime| time.shifted(micros).to_json(home.zone());
    let patch = json!({ "start": shifted(&event.start), "end": shifted(&event.end) });
    model.patch_event(calendar, id, &patch)?;
    Ok(Some(format!("reschedule {id}")))
}

fn change_series(model: &mut Model, rng: &mut ChaCha8Rng, calendar: &str, kind: u32) -> Done {
    if kind < 76 {
        let Some(id) = pick(model, rng, calendar, is_single) else { return Ok(None) };
        let count = rng.random_range(2..20);
        let frequency = ["DAILY", "WEEKLY", "MONTHLY"][rng.random_range(0..3)];
        let end = if rng.random_bool(0.08) { String::new() } else { format!(";COUNT={count}") };
        let rule = format!("RRULE:FREQ={frequency}{end}");
        model.make_recurring(calendar, &id, &[rule])?;
        return Ok(Some(format!("make recurring {id}")));
    }
    let Some(id) = pick(model, rng, calendar, is_series) else { return Ok(None) };
    let what = match kind {
        76..78 => {
            model.delete_series(calendar, &id)?;
            "delete series"
        }
        78 => {
            model.make_single(calendar, &id)?;
            "make single"
        }
        79 if rng.random_bool(0.5) => return reschedule(model, rng, calendar, &id),
        79 => {
            let Some(rule) = RULES.choose(rng) else { return Ok(None) };
            let patch = json!({ "recurrence": [format!("RRULE:{rule}")] });
            model.patch_event(calendar, &id, &patch)?;
            "change the rule of"
        }
        _ => return change_instance(model, rng, calendar, &id, kind),
    };
    Ok(Some(format!("{what} {id}")))
}

fn change_instance(
    model: &mut Model,
    rng: &mut ChaCha8Rng,
    calendar: &str,
    master: &str,
    kind: u32,
) -> Done {
    let home = model.calendar(calendar)?;
    let Some(event) = home.event(master) else { return Ok(None) };
    let times = home.instances(event);
    let Some(original) = times.choose(rng) else { return Ok(None) };
    let id = event.instance_id(original);
    let what = match kind {
        80..83 => {
            model.trim_series(calendar, master, &original.instance_suffix())?;
            "trim series at"
        }
        83 => {
            let changes = json!({ "summary": words(rng, 2) });
            model.split_series(calendar, master, &id, &changes)?;
            "split series at"
        }
        84..87 => {
            model.patch_event(calendar, &id, &json!({ "summary": words(rng, 2) }))?;
            "except"
        }
        _ => {
            model.cancel_event(calendar, &id)?;
            "cancel instance"
        }
    };
    Ok(Some(format!("{what} {id}")))
}

fn change_calendar(model: &mut Model, rng: &mut ChaCha8Rng, calendar: &str, kind: u32) -> Done {
    let home = model.calendar(calendar)?;
    let (primary, owner) = (home.primary, home.owner.clone());
    let emails: Vec<String> = model.users().keys().cloned().collect();
    let Some(email) = emails.choose(rng) else { return Ok(None) };
    let what = match kind {
        90 if model.calendars().len() < 12 => {
            let spec = CalendarSpec { summary: words(rng, 2), ..CalendarSpec::default() };
            format!("add calendar {} before a change", model.add_calendar(email, &spec)?)
        }
        91 => {
            model.rename_calendar(calendar, &words(rng, 2))?;
            "rename".to_owned()
        }
        92 if !primary => {
            model.remove_from_list(email, calendar)?;
            format!("unlist for {email}")
        }
        93..96 => {
            model.add_to_list(email, calendar)?;
            format!("list for {email}")
        }
        96..98 if *email != owner => {
            let roles = [Role::FreeBusyReader, Role::Reader, Role::Writer, Role::None];
            let role = *roles.choose(rng).unwrap_or(&Role::Reader);
            model.share_calendar(calendar, email, role)?;
            format!("share with {email} as {}", role.name())
        }
        98 => {
            model.set_hidden(email, calendar, rng.random_bool(0.5))?;
            format!("hide or show for {email}")
        }
        99 if !primary && rng.random_bool(0.3) => {
            model.delete_calendar(calendar)?;
            "delete calendar".to_owned()
        }
        _ => return Ok(None),
    };
    Ok(Some(what))
}
