//! Every change of the service in a JSON form: what control calls carry.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::account::Rotation;
use crate::model::calendar::Role;
use crate::model::directory::CalendarSpec;
use crate::model::error::ApiError;
use crate::model::generate::Mix;
use crate::model::{Model, TokenScope, random_change};

/// One change. `op` names it in a batch; in `/control/<op>` the path does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the method of Model with that name")]
pub enum Operation {
    CreateUser {
        email: String,
    },
    SetScopes {
        email: String,
        scopes: Vec<String>,
    },
    SetRotation {
        email: String,
        rotation: Rotation,
    },
    RevokeGrant {
        email: String,
    },
    ExpireAccessTokens {
        email: Option<String>,
    },
    ExpireSyncTokens {
        calendar: Option<String>,
        calendar_list_of: Option<String>,
    },
    SetClient {
        client_id: String,
        client_secret: String,
    },
    AddCalendar {
        email: String,
        #[serde(default)]
        spec: CalendarSpec,
    },
    RenameCalendar {
        calendar: String,
        summary: String,
    },
    SetTimeZone {
        calendar: String,
        time_zone: String,
    },
    DeleteCalendar {
        calendar: String,
    },
    RemoveFromList {
        email: String,
        calendar: String,
    },
    AddToList {
        email: String,
        calendar: String,
    },
    SetHidden {
        email: String,
        calendar: String,
        hidden: bool,
    },
    SetSummaryOverride {
        email: String,
        calendar: String,
        title: Option<String>,
    },
    SetRole {
        calendar: String,
        email: String,
        role: Role,
    },
    ShareCalendar {
        calendar: String,
        email: String,
        role: Role,
    },
    GenerateEvents {
        calendar: String,
        count: usize,
        #[serde(default)]
        mix: Mix,
    },
    AddEvent {
        calendar: String,
        event: Value,
    },
    PatchEvent {
        calendar: String,
        id: String,
        patch: Value,
    },
    ReplaceEvent {
        calendar: String,
        id: String,
        event: Value,
    },
    CancelEvent {
        calendar: String,
        id: String,
    },
    UndeleteEvent {
        calendar: String,
        id: String,
    },
    MoveEvent {
        calendar: String,
        to: String,
        id: String,
    },
    MakeRecurring {
        calendar: String,
        id: String,
        recurrence: Vec<String>,
    },
    MakeSingle {
        calendar: String,
        id: String,
    },
    DeleteSeries {
        calendar: String,
        id: String,
    },
    TrimSeries {
        calendar: String,
        id: String,
        until: String,
    },
    SplitSeries {
        calendar: String,
        id: String,
        at: String,
        #[serde(default)]
        changes: Value,
    },
    RandomChanges {
        count: usize,
        seed: u64,
    },
    Advance {
        seconds: i64,
    },
    /// Fields of `PushRules`; what isn't named stays.
    SetPushRules(Map<String, Value>),
    ExpireChannels {
        id: Option<String>,
        user: Option<String>,
    },
    SetQuirks {
        cancel_exceptions_with_series: Option<bool>,
        deltas_without_deletions: Option<Vec<String>>,
    },
}

impl Operation {
    /// Applies it. The answer is an object: ids and tokens that were made, or nothing.
    pub fn apply(self, model: &mut Model) -> Result<Value, ApiError> {
        let done = |result: Result<(), ApiError>| result.map(|()| json!({}));
        match self {
            Self::RandomChanges { count, seed } => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let changes: Vec<String> =
                    (0..count).map_while(|_| random_change(model, &mut rng)).collect();
                Ok(json!({ "changes": changes }))
            }
            Self::Advance { seconds } => {
                model.advance(seconds.saturating_mul(1_000_000));
                Ok(json!({ "now": crate::model::time::millis_text(model.now_us) }))
            }
            Self::SetQuirks { cancel_exceptions_with_series, deltas_without_deletions } => {
                let quirks = &mut model.quirks;
                quirks.cancel_exceptions_with_series =
                    cancel_exceptions_with_series.unwrap_or(quirks.cancel_exceptions_with_series);
                if let Some(suffixes) = deltas_without_deletions {
                    quirks.deltas_without_deletions = suffixes;
                }
                Ok(json!({}))
            }
            Self::SetPushRules(changes) => done(model.set_push_rules(changes)),
            Self::ExpireChannels { id, user } => {
                Ok(json!({ "expired": model.expire_channels(id.as_deref(), user.as_deref()) }))
            }
            Self::SetClient { client_id, client_secret } => {
                (model.client_id, model.client_secret) = (client_id, client_secret);
                Ok(json!({}))
            }
            other => match other.apply_to_account(model) {
                Ok(result) => result,
                Err(other) => match other.apply_to_calendar(model) {
                    Ok(result) => done(result),
                    Err(other) => other.apply_to_event(model),
                },
            },
        }
    }

    fn apply_to_account(self, model: &mut Model) -> Result<Result<Value, ApiError>, Self> {
        let done = |result: Result<(), ApiError>| result.map(|()| json!({}));
        Ok(match self {
            Self::CreateUser { email } => {
                let refresh_token = model.create_user(&email);
                Ok(json!({ "email": email, "calendar": email, "refresh_token": refresh_token }))
            }
            Self::SetScopes { email, scopes } => done(model.set_scopes(&email, scopes)),
            Self::SetRotation { email, rotation } => done(model.set_rotation(&email, rotation)),
            Self::RevokeGrant { email } => match model.revoke_grant(&email) {
                true => Ok(json!({})),
                false => Err(ApiError::bad_body(&format!("No user {email:?}."))),
            },
            Self::ExpireAccessTokens { email } => {
                model.expire_access_tokens(email.as_deref());
                Ok(json!({}))
            }
            Self::ExpireSyncTokens { calendar, calendar_list_of } => {
                let scope = match (calendar, calendar_list_of) {
                    (Some(calendar), _) => TokenScope::Calendar(calendar),
                    (None, Some(email)) => TokenScope::CalendarList(email),
                    (None, None) => TokenScope::All,
                };
                done(model.expire_sync_tokens(&scope))
            }
            Self::AddCalendar { email, spec } => {
                model.add_calendar(&email, &spec).map(|id| json!({ "calendar": id }))
            }
            other => return Err(other),
        })
    }

    fn apply_to_calendar(self, model: &mut Model) -> Result<Result<(), ApiError>, Self> {
        Ok(match self {
            Self::RenameCalendar { calendar, summary } => {
                model.rename_calendar(&calendar, &summary)
            }
            Self::SetTimeZone { calendar, time_zone } => model.set_time_zone(&calendar, &time_zone),
            Self::DeleteCalendar { calendar } => model.delete_calendar(&calendar),
            Self::RemoveFromList { email, calendar } => model.remove_from_list(&email, &calendar),
            Self::AddToList { email, calendar } => model.add_to_list(&email, &calendar),
            Self::SetHidden { email, calendar, hidden } => {
                model.set_hidden(&email, &calendar, hidden)
            }
            Self::SetSummaryOverride { email, calendar, title } => {
                model.set_summary_override(&email, &calendar, title.as_deref())
            }
            Self::SetRole { calendar, email, role } => model.set_role(&calendar, &email, role),
            Self::ShareCalendar { calendar, email, role } => {
                model.share_calendar(&calendar, &email, role)
            }
            other => return Err(other),
        })
    }

    fn apply_to_event(self, model: &mut Model) -> Result<Value, ApiError> {
        let made = |id: String| json!({ "id": id });
        let changed = |()| json!({});
        match self {
            Self::GenerateEvents { calendar, count, mix } => {
                let ids = model.generate_events(&calendar, count, mix)?;
                Ok(json!({ "count": ids.len() }))
            }
            Self::AddEvent { calendar, event } => model.add_event(&calendar, &event).map(made),
            Self::PatchEvent { calendar, id, patch } => {
                model.patch_event(&calendar, &id, &patch).map(changed)
            }
            Self::ReplaceEvent { calendar, id, event } => {
                model.replace_event(&calendar, &id, &event).map(changed)
            }
            Self::CancelEvent { calendar, id } => model.cancel_event(&calendar, &id).map(changed),
            Self::UndeleteEvent { calendar, id } => {
                model.undelete_event(&calendar, &id).map(changed)
            }
            Self::MoveEvent { calendar, to, id } => {
                model.move_event(&calendar, &to, &id).map(changed)
            }
            Self::MakeRecurring { calendar, id, recurrence } => {
                model.make_recurring(&calendar, &id, &recurrence).map(changed)
            }
            Self::MakeSingle { calendar, id } => model.make_single(&calendar, &id).map(changed),
            Self::DeleteSeries { calendar, id } => model.delete_series(&calendar, &id).map(changed),
            Self::TrimSeries { calendar, id, until } => {
                model.trim_series(&calendar, &id, &until).map(changed)
            }
            Self::SplitSeries { calendar, id, at, changes } => {
                let changes = if changes.is_null() { json!({}) } else { changes };
                model.split_series(&calendar, &id, &at, &changes).map(made)
            }
            other => Err(ApiError::bad_body(&format!("{other:?} is no change of an event."))),
        }
    }
}
