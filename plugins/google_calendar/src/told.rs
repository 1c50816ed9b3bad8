//! What a list of events tells of its calendar beside events. Deltas of the list of calendars leave
//! out a new title of somebody else's calendar, a zone, a role: the calendar's row learns them here.

use std::collections::BTreeMap;

use rowgate_plugin::db::Scalar;
use rowgate_plugin::{Result, db, streams};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::events::Feed;
use crate::manifest::services::GOOGLE_CALENDAR_V1;
use crate::manifest::tables::Calendar;
use crate::receive::calendar_list;
use crate::wire::{Page, string};

/// Who sees times only.
const FREE_BUSY_READER: &str = "freeBusyReader";

/// The calendar as lists of events told it last; none: no page named the field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// The owner's role on the calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_role: Option<String>,
}

/// Fields of an entry of the list of calendars.
type Entry = BTreeMap<String, Box<RawValue>>;

impl Told {
    /// Takes in what a page tells. True: something else than before.
    pub(crate) fn hear(&mut self, page: &Page) -> bool {
        let now = Self {
            summary: page.summary.as_deref().and_then(string),
            description: page.description.as_deref().and_then(string),
            time_zone: page.time_zone.clone(),
            access_role: page.access_role.clone(),
        };
        let fields = [
            (&mut self.summary, now.summary),
            (&mut self.description, now.description),
            (&mut self.time_zone, now.time_zone),
            (&mut self.access_role, now.access_role),
        ];
        let mut differs = false;
        for (known, told) in fields {
            if told.is_some() && *known != told {
                *known = told;
                differs = true;
            }
        }
        differs
    }

    /// May the owner see no more than times? Then series come without their rules, and the source
    /// feed has instances instead of them.
    pub(crate) fn hides_rules(&self) -> bool {
        self.access_role.as_deref() == Some(FREE_BUSY_READER)
    }

    /// Brings the calendar's row in line. A role that the list of calendars doesn't know has it read
    /// again: it decides.
    pub(crate) fn settle(&self, feed: Feed<'_>) -> Result<()> {
        let row = db::lookup(GOOGLE_CALENDAR_V1, &[feed.calendar.into()], &[Calendar::DATA])?;
        let Some([Scalar::Json(data)]) = row.as_deref() else { return Ok(()) };
        let Ok(mut entry) = serde_json::from_str::<Entry>(data) else { return Ok(()) };
        let listed = entry.get("accessRole").and_then(|role| string(role));
        if listed.is_some() && self.access_role.is_some() && listed != self.access_role {
            streams::reset(&calendar_list());
        }
        let mut set: Vec<(&str, Scalar)> = Vec::new();
        if let Some(zone) = &self.time_zone {
            set.push((Calendar::TIME_ZONE, zone.as_str().into()));
        }
        if self.correct(&mut entry)
            && let Ok(data) = serde_json::to_string(&entry)
        {
            set.push((Calendar::DATA, Scalar::Json(data)));
        }
        if set.is_empty() {
            return Ok(());
        }
        db::update(GOOGLE_CALENDAR_V1, &set, &[db::is(Calendar::GOOGLE_ID, feed.calendar)])
    }

    /// Corrects an entry; what the owner calls the calendar (`summaryOverride`) isn't told and stays.
    /// False: nothing differs.
    fn correct(&self, entry: &mut Entry) -> bool {
        let fields = [
            ("summary", &self.summary),
            ("description", &self.description),
            ("timeZone", &self.time_zone),
            ("accessRole", &self.access_role),
        ];
        let mut differs = false;
        for (name, told) in fields {
            let Some(told) = told else { continue };
            let known = entry.get(name).and_then(|known| string(known));
            if known.unwrap_or_default() == *told {
                continue;
            }
            match to_raw_value(told) {
                // The list of calendars leaves an empty one out.
                Ok(_) if told.is_empty() && name == "description" => drop(entry.remove(name)),
                Ok(raw) => drop(entry.insert(name.to_owned(), raw)),
                Err(_) => continue,
            }
            differs = true;
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_corrected_where_it_differs() {
        let told = |summary: &str, description: &str, zone: Option<&str>| Told {
            summary: Some(summary.into()),
            description: Some(description.into()),
            time_zone: zone.map(str::to_owned),
            access_role: None,
        };
        let entry =
            r#"{"id":"a","n":1.10,"summary":"old","summaryOverride":"mine","timeZone":"UTC"}"#;
        let cases = [
            (told("old", "", Some("UTC")), None),
            (told("old", "", None), None),
            (
                told("new", "", Some("UTC")),
                Some(
                    r#"{"id":"a","n":1.10,"summary":"new","summaryOverride":"mine","timeZone":"UTC"}"#,
                ),
            ),
            (
                told("", "d", Some("Asia/Tokyo")),
                Some(
                    r#"{"description":"d","id":"a","n":1.10,"summary":"","summaryOverride":"mine","timeZone":"Asia/Tokyo"}"#,
                ),
            ),
        ];
        for (told, expected) in cases {
            let mut parsed: Entry = serde_json::from_str(entry).unwrap();
            let differs = told.correct(&mut parsed);
            assert_eq!(differs, expected.is_some(), "{told:?}");
            let text = serde_json::to_string(&parsed).unwrap();
            assert_eq!(text, expected.unwrap_or(entry), "{told:?}");
        }
    }
}
