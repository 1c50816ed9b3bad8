//! Replaces the session's secrets by `***` wherever an answer or an error text repeats them: as
//! they are, in base64 or hex, percent-encoded or JSON-escaped, also in part or in mixture.

mod escaped;

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::message::{HttpError, HttpResponse};
use escaped::find_escaped;

const MASK: &str = "***";

/// Shorter values would hide half of an innocent answer.
const SECRET_BYTES_MIN: usize = 4;

/// Base64 and hex forms shorter than this could be anything.
const ENCODED_BYTES_MIN: usize = 8;

/// Steps of the search for escaped forms, for each byte searched. Only an answer built to slow the
/// search down comes near.
const STEPS_PER_BYTE: usize = 16;

/// Finds the secrets of one session.
pub(super) struct Masker {
    /// What is found as it stands.
    exact: Option<AhoCorasick>,
    /// Texts whose characters may be escaped in any mixture.
    escaped: Vec<Zeroizing<String>>,
    /// What stands for them.
    shown: &'static str,
}

/// A text with `shown` wherever it repeats something that isn't to be told, in the same forms.
pub(crate) fn without(text: &str, untold: &str, shown: &'static str) -> String {
    let masker = Masker { shown, ..Masker::new(&[Arc::new(Zeroizing::new(untold.to_owned()))]) };
    masker.text(text.to_owned()).unwrap_or_else(|Unsearchable| shown.to_owned())
}

/// The answer repeats secrets so often that it can't be searched in reasonable time.
#[derive(Debug)]
pub(super) struct Unsearchable;

impl Masker {
    pub(super) fn new(texts: &[Arc<Zeroizing<String>>]) -> Self {
        let mut exact: Vec<Zeroizing<String>> = Vec::new();
        let mut escaped: Vec<Zeroizing<String>> = Vec::new();
        for text in texts.iter().filter(|text| text.len() >= SECRET_BYTES_MIN) {
            escaped.push(Zeroizing::new(text.to_string()));
            exact.push(Zeroizing::new(text.to_string()));
            exact.extend(encodings(text));
        }
        let patterns = exact.iter().map(|text| text.as_bytes());
        // Built for each call: a full automaton would take longer to build than it saves.
        let built = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns);
        let exact = if exact.is_empty() { None } else { built.ok() };
        Self { exact, escaped, shown: MASK }
    }

    /// Masks everything of an answer that a guest can see.
    pub(super) fn answer(&self, response: &mut HttpResponse) -> Result<(), Unsearchable> {
        response.body = self.bytes(std::mem::take(&mut response.body))?;
        for (_, value) in &mut response.headers {
            *value = self.text(std::mem::take(value))?;
        }
        Ok(())
    }

    /// Masks the text of an error.
    pub(super) fn error(&self, error: HttpError) -> HttpError {
        let masked = |text| self.text(text).unwrap_or_else(|Unsearchable| self.shown.into());
        match error {
            HttpError::Denied(text) => HttpError::Denied(masked(text)),
            HttpError::Connect(text) => HttpError::Connect(masked(text)),
            HttpError::Transfer(text) => HttpError::Transfer(masked(text)),
            HttpError::Other(text) => HttpError::Other(masked(text)),
            other => other,
        }
    }

    fn text(&self, text: String) -> Result<String, Unsearchable> {
        let masked = self.bytes(text.into_bytes())?;
        // Matches begin and end at characters, so this is UTF-8 still.
        Ok(String::from_utf8_lossy(&masked).into_owned())
    }

    fn bytes(&self, text: Vec<u8>) -> Result<Vec<u8>, Unsearchable> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut steps = text.len().saturating_mul(STEPS_PER_BYTE).saturating_add(1_024);
        if let Some(exact) = &self.exact {
            find_exact(&text, exact, &mut steps, &mut found)?;
        }
        for secret in &self.escaped {
            find_escaped(&text, secret, &mut steps, &mut found)?;
        }
        if found.is_empty() {
            return Ok(text);
        }
        found.sort_by_key(|range| range.start);
        let mut masked = Vec::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            if range.start >= at {
                masked.extend_from_slice(&text[at..range.start]);
                masked.extend_from_slice(self.shown.as_bytes());
            }
            at = at.max(range.end);
        }
        masked.extend_from_slice(&text[at..]);
        Ok(masked)
    }
}

/// Base64 and hex forms. In base64 of a longer text the secret begins at one of three offsets in a
/// group; what its neighbours decide too is cut off.
fn encodings(text: &str) -> Vec<Zeroizing<String>> {
    let whole = Zeroizing::new(STANDARD.encode(text));
    // Its `+`, `/` and `=` may be escaped in turn.
    let percent = utf8_percent_encode(&whole, NON_ALPHANUMERIC).to_string();
    let lower = percent.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d");
    let mut forms = vec![
        Zeroizing::new(percent),
        Zeroizing::new(lower),
        Zeroizing::new(whole.replace('/', "\\/")),
        whole,
        Zeroizing::new(STANDARD_NO_PAD.encode(text)),
        Zeroizing::new(URL_SAFE_NO_PAD.encode(text)),
    ];
    for offset in 0..3 {
        let mut padded = Zeroizing::new(vec![0_u8; offset]);
        padded.extend_from_slice(text.as_bytes());
        let from = [0, 2, 3][offset];
        let to = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let inner = Zeroizing::new(engine.encode(&*padded));
            forms.push(Zeroizing::new(inner.get(from..to).unwrap_or_default().to_owned()));
        }
    }
    let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    forms.push(Zeroizing::new(hex.to_uppercase()));
    forms.push(Zeroizing::new(hex));
    forms.retain(|form| form.len() >= ENCODED_BYTES_MIN);
    forms.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    forms.dedup();
    forms
}

/// Finds all forms as they stand, also where one begins inside another.
fn find_exact(
    text: &[u8],
    exact: &AhoCorasick,
    steps: &mut usize,
    found: &mut Vec<Range<usize>>,
) -> Result<(), Unsearchable> {
    let mut at = 0;
    while let Some(one) = exact.find(Input::new(text).range(at..)) {
        *steps = steps.checked_sub(one.len()).ok_or(Unsearchable)?;
        at = one.start() + 1;
        found.push(one.range());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(secrets: &[&str]) -> Masker {
        let texts: Vec<_> =
            secrets.iter().map(|text| Arc::new(Zeroizing::new((*text).to_owned()))).collect();
        Masker::new(&texts)
    }

    fn mask(secrets: &[&str], text: &str) -> String {
        String::from_utf8(masker(secrets).bytes(text.as_bytes().to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn every_form_is_found() {
        const SECRET: &str = "1//0g-aB/c+d=e\"f\\ü😀 z";
        let json = serde_json::to_string(SECRET).unwrap();
        let percent =
            percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC);
        let percent = percent.to_string();
        let twice = percent.replace('%', "%25");
        let unicode: String = SECRET.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let partly = SECRET.replace('/', "%2f").replace('"', "\\\"");
        let nested = serde_json::to_string(json.trim_matches('"')).unwrap();
        let nested_thrice = serde_json::to_string(nested.trim_matches('"')).unwrap();
        let nested_unicode = serde_json::to_string(&unicode).unwrap();
        let posted: String = url::form_urlencoded::byte_serialize(nested.as_bytes()).collect();
        let forms = [
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            json.replace('/', "\\/"),
            percent.to_lowercase().replace("ab", "aB"),
            percent,
            twice,
            unicode,
            form,
            partly,
            nested.replace('\\', "\\u005c"),
            nested,
            nested_thrice,
            nested_unicode,
            posted.trim_start_matches("%22").trim_end_matches("%22").to_owned(),
        ];
        for form in forms {
            let form = form.trim_matches('"');
            assert_eq!(mask(&[SECRET], &format!("<{form}>")), "<***>", "{form}");
        }
        for (before, after) in [("", ""), ("x", "y"), ("xy", "abc"), ("Bearer ", "\r\n")] {
            let text = format!("{before}{SECRET}{after}");
            for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                let masked = mask(&[SECRET], &encoded);
                assert!(masked.contains("***") && masked.len() < 24, "{encoded} -> {masked}");
            }
        }
        let basic = STANDARD.encode("user:pass?>~");
        for form in [basic.replace('=', "%3d").replace('/', "%2f"), basic.replace('/', "\\/")] {
            assert_eq!(mask(&["user:pass?>~"], &form), "***", "{form}");
        }
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(mask(&[SECRET], &hex), "***");
    }

    /// Wherever it stands, also in the first or second place, by which a secret is looked for.
    #[test]
    fn one_escaped_character_hides_nothing() {
        for secret in
            ["token", "t\"ken", "t\\ken", "t ken", "\\token", "\"token", "über", "tüken", "tt+t"]
        {
            for (at, character) in secret.char_indices() {
                let (before, after) = (&secret[..at], &secret[at + character.len_utf8()..]);
                let bytes = character.to_string().into_bytes();
                let percent: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
                let unicode = format!("\\u{:04x}", u32::from(character));
                for form in [percent.replace('%', "%25"), percent, unicode] {
                    let text = format!("<{before}{form}{after}>");
                    assert_eq!(mask(&[secret], &text), "<***>", "{secret}: {text}");
                }
            }
        }
    }

    #[test]
    fn the_rest_stays() {
        assert_eq!(mask(&["abc"], "abc"), "abc", "too short to be masked");
        assert_eq!(mask(&[], "a%20b"), "a%20b");
        assert_eq!(mask(&["secret"], "secre secre% \\u00 %7 secret"), "secre secre% \\u00 %7 ***");
        assert_eq!(mask(&["secret"], "secretsecret"), "******");
        assert_eq!(mask(&["abcd", "cdef"], "xabcdefx"), "x***x", "overlapping");
        assert_eq!(mask(&["100%25x"], "100%25x 100%2525x"), "*** ***");
        assert_eq!(mask(&["tok en"], "tok+en tok%20en"), "*** ***");
        assert_eq!(mask(&[" token"], "%20tok%65n"), "%20***");
        assert_eq!(mask(&["a%5Cb%"], "a%255Cb%25"), "***");
        // A `%` of the secret, encoded again and again.
        let (mut text, secrets) = ("100%25x, a%5Cb%.".to_owned(), ["100%25x", "a%5Cb%"]);
        for times in 0..=4 {
            assert_eq!(mask(&secrets, &text), "***, ***.", "{times} times: {text}");
            text = text.replace('%', "%25");
        }
        assert_eq!(mask(&["100%25x"], "100%2425x 100%2x"), "100%2425x 100%2x");
        assert_eq!(mask(&["token\\"], r#""token\\\"" "token\\\\\\\"""#), r#""***\"" "***\\\"""#);
    }

    #[test]
    fn an_answer_built_to_be_slow_is_given_up() {
        let backslashes = "\\".repeat(100_000);
        assert!(masker(&["a\\bcd"]).bytes(backslashes.into_bytes()).is_ok(), "innocent");
        let secret = format!("{}b", "a".repeat(4_000));
        let text = format!("%{}", "a".repeat(100_000));
        assert!(masker(&[&secret]).bytes(text.into_bytes()).is_err());
    }
}
