//! Logging in.

use axum::http::StatusCode;

use super::answer::{Answer, Step};
use super::call::{Call, Caller};
use super::endpoint::{Access, Endpoint, Param, Shape};
use super::failure::Failure;
use super::sessions::current;
use crate::app::App;
use crate::mail::Message;
use crate::model::Micros;
use crate::store::accounts::{Asker, Issued, Redeemed, StrangerLimits};

const HOUR: Micros = 3_600_000_000;
const SESSION: Micros = 90 * 24 * HOUR;
const SHORT_SESSION: Micros = 2 * HOUR;
const EMAIL_MAX: usize = 254;
const CODE_PROMPT: &str = "Enter the one-time code:";

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
