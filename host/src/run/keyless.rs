//! Texts of failures without the key of the stream they are about: keys are personal where they are a
//! calendar's, which is somebody's address. `streams list` has them.

use crate::egress;
use crate::model::Failure;

/// A shorter key says nothing of anybody, and would be found in every other word.
const KEY_BYTES_MIN: usize = 5;

/// What stands for it.
const SHOWN: &str = "(key)";

/// The text without the key, in whatever form a URL or an answer has it.
pub(super) fn text(text: &str, key: &str) -> String {
    match key.len() < KEY_BYTES_MIN {
        true => text.to_owned(),
        false => egress::without(text, key, SHOWN),
    }
}

/// The failure with such a text.
pub(super) fn failure(failure: &Failure, key: &str) -> Failure {
    let mut keyless = failure.clone();
    let (Failure::Retry { reason: told, .. }
    | Failure::CursorExpired(told)
    | Failure::Reauthorise(told)
    | Failure::Misconfigured(told)
    | Failure::TooLarge(told)
    | Failure::TooSlow(told)
    | Failure::Bug(told)) = &mut keyless;
    *told = text(told, key);
    keyless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_the_key_is_left() {
        for (said, told) in [
            ("no access to ana@example.com", "no access to (key)"),
            ("GET /calendars/ana%40example.com/events", "GET /calendars/(key)/events"),
            ("ana%40example%2Ecom, ana%40example%2ecom", "(key), (key)"),
            (r#"{"id": "ana\u0040example.com"}"#, r#"{"id": "(key)"}"#),
            ("cid YW5hQGV4YW1wbGUuY29t", "cid (key)"),
            ("somebody@example.com", "somebody@example.com"),
        ] {
            assert_eq!(text(said, "ana@example.com"), told);
        }
        assert_eq!(text("answered 404", "404"), "answered 404");
        assert_eq!(text("a#b@group.v: a%23b@group.v", "a#b@group.v"), "(key): (key)");
        let bug = Failure::Bug("ana@example.com".into());
        assert_eq!(failure(&bug, "ana@example.com"), Failure::Bug("(key)".into()));
    }
}
