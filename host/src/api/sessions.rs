//! Who is logged in, and the ends of sessions.

use serde_json::{Value, json};

use super::answer::{Answer, line, table};
use super::call::{Call, Caller};
use super::endpoint::Json::{Flag, ObjectOrNull, Text};
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use super::login::address;
use super::organizations;
use crate::store::Store;
use crate::store::accounts::Customer;
use crate::store::memberships::Membership;

const ME: &[Field] = &[
    field("email", "Email", Text),
    field("name", "Name", Text),
    field("operator", "", Flag),
    field("default_organization", "", ObjectOrNull),
];
const SAID: &[Field] = &[field("message", "", Text)];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/v1/auth/logout",
            "End this session, or all of them",
            Access::Anybody,
            const { &[Param::text("everywhere", "All sessions of the customer").of(Kind::Flag)] },
            &[(200, Shape::Object(SAID))],
            |call| Box::pin(logout(call)),
        ),
        Endpoint::post(
            "/v1/auth/revoke",
            "End all sessions of somebody, who may log in again; for the host's operator",
            Access::Customer,
            const { &[Param::text("email", "Whose").asked("Whose sessions are to end:")] },
            &[(200, Shape::Object(SAID))],
            |call| Box::pin(revoke(call)),
        ),
        Endpoint::get(
            "/v1/me",
            "Who is logged in",
            Access::Customer,
            &[],
            &[(200, Shape::Single(ME))],
            |call| Box::pin(me(call)),
        ),
        Endpoint::get(
            "/v1/me/organization_memberships",
            "Organizations that one belongs to or is invited to",
            Access::Customer,
            const { &[Param::text("active_org_identifier", "The one that is marked")] },
            &[(200, Shape::Blocks)],
            |call| Box::pin(memberships(call)),
        ),
    ]
}

async fn logout(call: Call) -> Result<Answer, Failure> {
    let message = match &call.caller {
        Caller::Customer { customer, .. } if call.values.flag("everywhere") => {
            let ended = call.app.store.close_sessions(&customer.email).await?;
            format!("You are logged out; sessions ended: {ended}")
        }
        Caller::Customer { token, .. } => {
            call.app.store.close_session(token).await?;
            "You are logged out.".to_owned()
        }
        _ => "You weren't logged in.".to_owned(),
    };
    Ok(Answer::object(json!({ "message": message })))
}

async fn revoke(call: Call) -> Result<Answer, Failure> {
    if !call.is_operator() {
        let message = "Only the host's operator ends the sessions of others";
        return Err(Failure::forbidden("forbidden", message));
    }
    let email = address("email", &call.values.text("email"))?;
    let ended = call.app.store.close_sessions(&email).await?;
    tracing::info!(email, ended, "sessions were revoked");
    Ok(Answer::object(json!({ "message": format!("Sessions of {email} ended: {ended}") })))
}

async fn me(call: Call) -> Result<Answer, Failure> {
    let customer = match &call.caller {
        Caller::Customer { customer, .. } => current(&call.app.store, customer).await?,
        Caller::Local => {
            let default = call.app.store.organization(&call.app.config.org).await?;
            json!({
                "email": "",
                "name": "whoever has the data directory",
                "operator": true,
                "default_organization": organizations::entity(&default),
            })
        }
        _ => return Err(Failure::unauthorized()),
    };
    Ok(Answer::single(customer, "", ME))
}

async fn memberships(call: Call) -> Result<Answer, Failure> {
    let all = match call.email() {
        Some(email) => call.app.store.memberships(email).await?,
        None => Vec::new(),
    };
    let active = call.values.text("active_org_identifier");
    let is_active = |membership: &Membership| {
        let organization = &membership.organization;
        [organization.id.to_string(), organization.key.clone()].contains(&active)
    };
    let row = |membership: &Membership| {
        let mark = if is_active(membership) { "*" } else { "" };
        let status = if membership.accepted { "active" } else { "invited" };
        let organization = &membership.organization;
        let cells = [mark, &organization.name, &organization.key, membership.role.name(), status];
        cells.map(|cell| Some(cell.to_owned())).to_vec()
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let mut blocks = match rows.is_empty() {
        true => vec![line("You don't belong to any organization.")],
        false => vec![table(&["", "Name", "Key", "Role", "Status"], rows)],
    };
    if all.iter().any(|membership| !membership.accepted) {
        blocks.push(line("Accept an invitation with its code: org join --code join-..."));
    }
    Ok(Answer::blocks(blocks))
}

/// A customer who is logged in.
pub(super) async fn current(store: &Store, customer: &Customer) -> Result<Value, Failure> {
    let all = store.memberships(&customer.email).await?;
    let accepted = all.iter().find(|membership| membership.accepted);
    let default = accepted.map(|membership| organizations::entity(&membership.organization));
    Ok(json!({
        "email": customer.email,
        "name": customer.name,
        "operator": customer.operator,
        "default_organization": default,
    }))
}
