//! Requests to the Calendar API.

use rowgate_plugin::{Answer, Context, Failure, Request, Result, secrets as held};

use crate::manifest::{config, secrets};
use crate::refusal::Refusal;
use crate::token;

/// Pages of 2000 events take Google more than half a minute at times.
const TIMEOUT_MS: u32 = 60_000;

/// 401s that no other token would help against: a fault of ours.
const OURS: &[&str] = &["required", "CREDENTIALS_MISSING", "push.webhookUrlUnauthorized"];

/// A GET below the API's URL; each segment is encoded.
pub(crate) fn get(cx: &Context, path: &[&str]) -> Result<Request> {
    Ok(request(Request::get(cx.config(config::API_URL)?), path))
}

/// Adds path and what every request says.
pub(crate) fn request(request: Request, path: &[&str]) -> Request {
    request
        .path(path)
        .query("prettyPrint", false)
        // Google compresses only for clients that say so here too.
        .header("user-agent", "rowgate (gzip)")
        .timeout_ms(TIMEOUT_MS)
}

/// Sends with the owner's access token. One that is refused is replaced once; when the fresh one is
/// refused too, the grant is dead.
pub(crate) fn call(cx: &Context, request: &Request) -> Result<Answer> {
    for _ in 0..2 {
        token::ensure(cx)?;
        let answer = request.clone().bearer(secrets::ACCESS_TOKEN).send()?;
        if answer.status != 401 || Refusal::of(&answer).is(OURS) {
            return Ok(answer);
        }
        held::forget(secrets::ACCESS_TOKEN);
    }
    Err(Failure::reauthorise("Google refused a fresh access token"))
}
