//! Texts of failures without the key of the stream they are about: keys are personal where they are a
//! calendar's, which is somebody's address. `streams list` has them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::Failure;

/// A shorter key says nothing of anybody, and would be found in every other word.
const KEY_BYTES_MIN: usize = 5;

/// What stands for it.
const SHOWN: &str = "(key)";

/// What is escaped in the path of a URL, by some and by others.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const WITHOUT_AT: AsciiSet = SEGMENT.remove(b'@');

/// The text without the key, in whatever form a URL has it.
pub(super) fn text(text: &str, key: &str) -> String {
    if key.len() < KEY_BYTES_MIN {
        return text.to_owned();
    }
    let mut keyless = text.replace(key, SHOWN);
    for set in [&SEGMENT, &WITHOUT_AT, NON_ALPHANUMERIC] {
        let escaped = utf8_percent_encode(key, set).to_string();
        keyless = keyless.replace(&escaped, SHOWN);
        keyless = keyless.replace(&escaped.to_lowercase(), SHOWN);
    }
    keyless
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
