//! Attacks by what a call returns.

use crate::bindings::exports::rowgate::plugin::integration::{Progress, Step};
use crate::bindings::rowgate::plugin::types::{Failure, Retry, RetryScope};
use crate::resources::{FORGED, HUGE, LONG};

/// The answer of `sync`, if the attack is one of these.
pub(crate) fn answer(attack: &str, cursor: Option<Vec<u8>>) -> Option<Result<Step, Failure>> {
    let at = |cursor, progress| Some(Ok(Step { cursor, progress }));
    let done = || Some(b"done".to_vec());
    match attack {
        "huge-cursor" => at(Some(vec![b'x'; HUGE]), Progress::Done(None)),
        "long-cursor" => at(Some(vec![b'x'; LONG]), Progress::Done(None)),
        "huge-failure" => Some(Err(Failure::Bug("x".repeat(HUGE)))),
        "long-failure" => Some(Err(Failure::Bug("x".repeat(LONG)))),
        "forged-failure" => Some(Err(Failure::Bug(FORGED.to_owned()))),
        // Never done, never further.
        "more-forever" => at(cursor, Progress::More),
        // Never done, always a little further.
        "further-forever" => at(Some(further(cursor)), Progress::More),
        "expired-forever" => Some(Err(Failure::CursorExpired("once more".to_owned()))),
        "rest-never" => at(done(), Progress::Done(Some(0))),
        "rest-forever" => at(done(), Progress::Done(Some(u64::MAX))),
        "unreadable" => at(done(), Progress::Unreadable("x".repeat(LONG))),
        "retry-forever" => Some(Err(pause(RetryScope::ThisStream))),
        "retry-forever-owner" => Some(Err(pause(RetryScope::Owner))),
        "retry-forever-all" => Some(Err(pause(RetryScope::Integration))),
        "misconfigured" => Some(Err(Failure::Misconfigured("says a guest".to_owned()))),
        "reauthorise" => Some(Err(Failure::Reauthorise("says a guest".to_owned()))),
        _ => None,
    }
}

/// A cursor that counts.
fn further(cursor: Option<Vec<u8>>) -> Vec<u8> {
    let count = cursor.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok());
    count.map_or(0, |count| count + 1).to_string().into_bytes()
}

fn pause(scope: RetryScope) -> Failure {
    Failure::Retry(Retry { reason: "later".to_owned(), after_ms: Some(u64::MAX), scope })
}
