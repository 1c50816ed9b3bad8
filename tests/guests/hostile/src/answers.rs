//! Attacks by what a call returns: `huge-cursor`, `huge-failure`, `more-forever`,
//! `expired-forever`.

use crate::bindings::exports::rowgate::plugin::integration::{Progress, Step};
use crate::bindings::rowgate::plugin::types::Failure;
use crate::resources::HUGE;

/// The answer of `sync`, if the attack is one of these.
pub(crate) fn answer(attack: &str, cursor: Option<Vec<u8>>) -> Option<Result<Step, Failure>> {
    match attack {
        "huge-cursor" => {
            Some(Ok(Step { cursor: Some(vec![b'x'; HUGE]), progress: Progress::Done(None) }))
        }
        "huge-failure" => Some(Err(Failure::Bug("x".repeat(HUGE)))),
        // Never done, never further.
        "more-forever" => Some(Ok(Step { cursor, progress: Progress::More })),
        "expired-forever" => Some(Err(Failure::CursorExpired("once more".to_owned()))),
        _ => None,
    }
}
