//! Logging in and out, and who one is.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Step, line, table};
use super::call::{Call, Caller};
use super::endpoint::Json::{Flag, ObjectOrNull, Text};
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::App;
use crate::mail::Message;
use crate::model::Micros;
use crate::store::Store;
use crate::store::accounts::{Asker, Customer, Issued, Redeemed, StrangerLimits};
use crate::store::memberships::Membership;
use crate::store::organizations::Organization;

const HOUR: Micros = 3_600_000_000;
const SESSION: Micros = 90 * 24 * HOUR;
const SHORT_SESSION: Micros = 2 * HOUR;
const EMAIL_MAX: usize = 254;
const CODE_PROMPT: &str = "Enter the one-time code:";

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
            "/v1/auth",
            "Ask for a one-time code, then log in with it",
            Access::Anybody,
            const {
                &[
                    Param::text("email", "Your address").asked("Enter your email:"),
                    Param::text("token", "The one-time code; empty: one is made"),
                ]
            },
            &[(200, Shape::Step), (202, Shape::Step)],
            |call| Box::pin(login(call)),
        ),
        Endpoint::post(
            "/v1/auth/login_otp/{customer}",
            "Log in with a one-time code, as a customer whose id is known",
            Access::Anybody,
            const { &[Param::text("value", "The one-time code").asked(CODE_PROMPT).hidden()] },
            &[(200, Shape::Step)],
            |call| Box::pin(login_by_id(call)),
        ),
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

async fn login(call: Call) -> Result<Answer, Failure> {
    only_nobody(&call)?;
    let email = address("email", &call.values.text("email"))?;
    match call.values.given("token") {
        None => send_code(&call, &email).await,
        Some(code) => redeem(&call, &email, &code, code_step(&email)).await,
    }
}

async fn login_by_id(call: Call) -> Result<Answer, Failure> {
    only_nobody(&call)?;
    let Some(customer) = call.app.store.customer_by_id(call.path("customer")).await? else {
        return Ok(unknown_customer());
    };
    // The address isn't told to whoever knows the id.
    let again = Step::ask(CODE_PROMPT, &call.url, "value").secret(true);
    redeem(&call, &customer.email, &call.values.text("value"), again).await
}

fn only_nobody(call: &Call) -> Result<(), Failure> {
    match call.caller {
        Caller::Nobody => Ok(()),
        _ => {
            let message = "You are logged in already. Log out first";
            Err(Failure::forbidden("already_logged_in", message))
        }
    }
}

fn unknown_customer() -> Answer {
    let output = "There is no customer with that address. Log in without a code first";
    Answer::step(&Step::complete(output).error("email_not_exist"))
}

async fn send_code(call: &Call, email: &str) -> Result<Answer, Failure> {
    if !may_log_in(call, email).await? {
        let message =
            "You need an invitation to this host, or its operator has to allow your address";
        return Err(Failure::payment("signup_disabled", message));
    }
    let login = &call.app.config.login;
    let limits =
        StrangerLimits { all: login.strangers_max, per_client: login.client_strangers_max };
    let asker = Asker::Anybody { named: is_named(call, email), client: call.client(), limits };
    match call.app.store.issue_code(email, asker).await? {
        Issued::TooMany => {
            let message = "There were too many codes. Try again in an hour, or ask the operator of \
                           the host for one (`rowgate auth code`)";
            Err(Failure::too_many(message))
        }
        Issued::Code(code) => {
            // Whoever owns the host from then on reads its log, or was named by who configured it.
            let mails = is_allowed(call, email) || call.app.store.has_customers().await?;
            let step = code_step(email).output(give_code(&call.app, email, &code, mails));
            Ok(Answer::step(&step).status(StatusCode::ACCEPTED))
        }
    }
}

/// Gives a code to whoever reads the address's mail, if that is to be; else to whoever reads the log.
/// Answers where it is.
fn give_code(app: &App, email: &str, code: &str, mails: bool) -> String {
    let Some(mailer) = app.mailer.as_ref().filter(|_| mails) else {
        tracing::info!("login code for {email}: {code} (valid for 15 minutes)");
        return "A one-time code was written to the log of the host. Its operator can also make one: \
                rowgate auth code EMAIL"
            .into();
    };
    mailer.post(email, &Message::code(code, &app.public_url()));
    format!("A one-time code was mailed to {email}.")
}

/// `again`: the step that asks for another code.
async fn redeem(call: &Call, email: &str, code: &str, again: Step) -> Result<Answer, Failure> {
    let store = &call.app.store;
    if !may_log_in(call, email).await? {
        return Ok(unknown_customer());
    }
    match store.redeem_code(email, code, call.client()).await? {
        Redeemed::Right => {}
        Redeemed::Wrong => {
            let output = "That code isn't right, or not valid any more. Try again, or log in without \
                          a code to get a new one";
            return Ok(Answer::step(&again.output(output).error("invalid_otp")));
        }
        Redeemed::TooMany => {
            let message = "There were too many wrong codes from your network. Try again in an hour, \
                           or from elsewhere";
            return Err(Failure::too_many(message));
        }
    }
    let customer = store.welcome(email).await?;
    let ttl = if call.short_session { SHORT_SESSION } else { SESSION };
    let token = store.open_session(customer.id, ttl).await?;
    tracing::info!(email, operator = customer.operator, "logged in");
    let mut step = Step::complete(format!("Welcome! You are logged in as {email}."));
    step.extras.insert("current_customer".into(), current(store, &customer).await?);
    let mut answer = Answer::step(&step);
    answer.auth_token = Some(token);
    Ok(answer)
}

fn code_step(email: &str) -> Step {
    Step::ask(CODE_PROMPT, "/v1/auth", "token").secret(true).param("email", email)
}

/// The first who logs in owns the host. Then come those who are known, invited or allowed.
async fn may_log_in(call: &Call, email: &str) -> Result<bool, Failure> {
    let store = &call.app.store;
    if !store.has_customers().await? || store.customer(email).await?.is_some() {
        return Ok(true);
    }
    Ok(is_allowed(call, email) || !store.memberships(email).await?.is_empty())
}

/// Whether the configuration allows the address.
fn is_allowed(call: &Call, email: &str) -> bool {
    let mut allowed = call.app.config.login.allowed_emails.split(',');
    allowed.any(|pattern| is_like(pattern.trim(), email))
}

/// Whether it does so by the whole address, which can't be made up.
fn is_named(call: &Call, email: &str) -> bool {
    let mut allowed = call.app.config.login.allowed_emails.split(',').map(str::trim);
    allowed.any(|pattern| !pattern.contains('*') && is_like(pattern, email))
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
                "default_organization": organization(&default),
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

async fn current(store: &Store, customer: &Customer) -> Result<Value, Failure> {
    let all = store.memberships(&customer.email).await?;
    let accepted = all.into_iter().find(|membership| membership.accepted);
    Ok(json!({
        "email": customer.email,
        "name": customer.name,
        "operator": customer.operator,
        "default_organization": accepted.map(|membership| organization(&membership.organization)),
    }))
}

fn organization(of: &Organization) -> Value {
    json!({ "id": of.id, "name": of.name, "key": of.key })
}

/// An address in lower case. What it may look like is its server's business; it must not spoil a log.
pub(super) fn address(name: &str, text: &str) -> Result<String, Failure> {
    let email = text.trim().to_lowercase();
    let parts = email
        .split_once('@')
        .filter(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    let plain = !email.contains(|letter: char| {
        letter.is_whitespace() || letter.is_control() || "<>\"(),;:\\".contains(letter)
    });
    match parts.is_some() && plain && email.len() <= EMAIL_MAX {
        true => Ok(email),
        false => Err(Failure::field(name, "must be an address like you@example.com")),
    }
}

/// `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    if pattern.is_empty() {
        return false;
    }
    let pattern = pattern.to_lowercase();
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_addresses() {
        for (pattern, text, like) in [
            ("*@example.com", "ana@example.com", true),
            ("*@example.com", "ana@example.com.evil.org", false),
            ("*@example.com", "ana@notexample.org", false),
            ("ana@*", "ana@example.com", true),
            ("*", "ana@example.com", true),
            ("a*@*.com", "ana@example.com", true),
            ("ANA@example.com", "ana@example.com", true),
            ("ana", "ana@example.com", false),
            ("", "ana@example.com", false),
            ("*@a*a", "x@a", false),
        ] {
            assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("email", " Ana@Example.com ").unwrap(), "ana@example.com");
        for wrong in ["", "ana", "@example.com", "ana@", "a@b@c", "a b@c", "a@b\nc", "a\"@b"] {
            assert!(address("email", wrong).is_err(), "{wrong}");
        }
        assert!(address("email", &format!("{}@b", "a".repeat(300))).is_err());
    }
}
