//! Finds a secret whose characters are escaped, percent-encoded or JSON, in any mixture and depth.

use std::ops::Range;

use super::Unsearchable;

/// Finds a secret of which at least one character is escaped (or none; that is found twice).
pub(super) fn find_escaped(
    text: &[u8],
    secret: &str,
    steps: &mut usize,
    found: &mut Vec<Range<usize>>,
) -> Result<(), Unsearchable> {
    // A space has too many forms to begin with.
    let secret = secret.trim_start_matches(' ');
    let Some(&first) = secret.as_bytes().first() else { return Ok(()) };
    if memchr::memchr3(b'%', b'\\', b'+', text).is_none() {
        return Ok(());
    }
    let (mut at, forms) = (0, forms(secret));
    loop {
        let Some(ahead) = memchr::memchr3(first, b'%', b'\\', &text[at..]) else {
            return Ok(());
        };
        at += ahead;
        if !may_begin(&text[at..], secret) {
            at += 1;
            continue;
        }
        let mut forms = forms.clone();
        let matched = forms.find_map(|form| match_escaped(&text[at..], secret, form, steps));
        at += match matched {
            Some(length) => {
                found.push(at..at + length);
                length
            }
            // What doesn't match after all backslashes of a run doesn't after fewer of them.
            None => text[at..].iter().take_while(|byte| **byte == b'\\').count().max(1),
        };
        if *steps == 0 {
            return Err(Unsearchable);
        }
    }
}

/// Whether the secret may begin here, by two bytes. A letter alone stands in a text too often to try each.
fn may_begin(text: &[u8], secret: &str) -> bool {
    let is_escape = |byte: &u8| matches!(byte, b'%' | b'\\' | b'+');
    match (text, secret.as_bytes()) {
        ([first, second, ..], [_, secret_second, ..]) => {
            is_escape(first) || is_escape(second) || second == secret_second
        }
        _ => true,
    }
}

/// What isn't seen by the text alone, and is therefore tried.
#[derive(Clone, Copy)]
struct Form {
    backslashes: Backslashes,
    /// How often a `%` of the secret was encoded: `%2525` is one twice, or one once with 25 behind it. 1: once, or
    /// not at all.
    percents: usize,
}

/// In which form a backslash may stand in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslashes {
    Plain,
    /// Also as `%5C` and, in JSON, `\u005c`.
    Encoded,
}

/// A `%` that was encoded as often as is tried. Without one in the secret any number is found.
const PERCENT: &[u8] = b"%25252525";

fn forms(secret: &str) -> impl Iterator<Item = Form> + Clone + use<> {
    let percents_max = if secret.contains('%') { PERCENT.len() / 2 } else { 1 };
    (1..=percents_max).flat_map(|percents| {
        [Backslashes::Plain, Backslashes::Encoded].map(|backslashes| Form { backslashes, percents })
    })
}

/// How many bytes at the beginning of `text` are the secret, escaped in any mixture.
///
/// JSON in a string of JSON doubles the backslashes at each level, so any number of them, but not
/// fewer than the secret's own, may stand before a character.
fn match_escaped(text: &[u8], secret: &str, form: Form, steps: &mut usize) -> Option<usize> {
    let (mut at, mut rest) = (0, secret);
    loop {
        let next = rest.trim_start_matches('\\');
        let own = rest.len() - next.len();
        let (count, length) = backslashes(&text[at..], usize::MAX, form, steps)?;
        if count < own {
            return None;
        }
        let Some(character) = next.chars().next() else {
            // Those behind the secret's own may escape what follows it.
            let level = (count / own.max(1)).checked_ilog2().unwrap_or(0);
            return Some(at + backslashes(&text[at..], own << level, form, steps)?.1);
        };
        at += length;
        at += character_length(text.get(at..)?, character, count > 0, form, steps)?;
        rest = &next[character.len_utf8()..];
    }
}

/// How many backslashes, `count_max` at most, `text` begins with, and their length.
fn backslashes(
    text: &[u8],
    count_max: usize,
    form: Form,
    steps: &mut usize,
) -> Option<(usize, usize)> {
    let (mut count, mut at) = (0, 0);
    *steps = steps.checked_sub(1)?;
    while count < count_max {
        let length = match (text.get(at), form.backslashes) {
            (Some(b'\\'), _) => Some(1),
            (Some(b'%'), Backslashes::Encoded) => percent_length(&text[at..], b"\\"),
            (Some(b'u'), Backslashes::Encoded) if count > 0 => {
                unicode_length(&text[at..], u16::from(b'\\'))
            }
            _ => None,
        };
        let Some(length) = length else { break };
        *steps = steps.checked_sub(1)?;
        (count, at) = (count + 1, at + length);
    }
    Some((count, at))
}

/// How many bytes at the beginning of `text` stand for this character, which isn't a backslash.
fn character_length(
    text: &[u8],
    character: char,
    after_backslash: bool,
    form: Form,
    steps: &mut usize,
) -> Option<usize> {
    let mut utf8 = [0; 4];
    let utf8 = character.encode_utf8(&mut utf8).as_bytes();
    match *text.first()? {
        b'%' if character == '%' && form.percents > 1 => {
            let encoded = &PERCENT[..1 + 2 * form.percents];
            return text.starts_with(encoded).then_some(encoded.len());
        }
        b'%' => percent_length(text, utf8),
        b'+' if character == ' ' => Some(1),
        _ if after_backslash => json_length(text, character, form, steps),
        _ => None,
    }
    .or_else(|| text.starts_with(utf8).then_some(utf8.len()))
}

/// `%41`, also encoded again and again: `%2541`.
fn percent_length(text: &[u8], utf8: &[u8]) -> Option<usize> {
    let mut at = 0;
    for byte in utf8 {
        if text.get(at) != Some(&b'%') {
            return None;
        }
        at += 1;
        while hex_value(text.get(at..at + 2)?)? != u32::from(*byte) {
            if text.get(at..at + 2)? != b"25" {
                return None;
            }
            at += 2;
        }
        at += 2;
    }
    Some(at)
}

/// What follows the backslashes of `\n`, `\u0041`, or a surrogate pair.
fn json_length(text: &[u8], character: char, form: Form, steps: &mut usize) -> Option<usize> {
    let meant = match *text.first()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        _ => '\0',
    };
    if meant == character && meant != '\0' {
        return Some(1);
    }
    let mut units = [0; 2];
    let mut at = 0;
    for unit in character.encode_utf16(&mut units) {
        if at > 0 {
            let (count, length) = backslashes(&text[at..], usize::MAX, form, steps)?;
            at += if count > 0 { length } else { return None };
        }
        at += unicode_length(text.get(at..)?, *unit)?;
    }
    Some(at)
}

/// `u0041`, without its backslash.
fn unicode_length(text: &[u8], unit: u16) -> Option<usize> {
    let is_it = text.first()? == &b'u' && hex_value(text.get(1..5)?)? == u32::from(unit);
    is_it.then_some(5)
}

fn hex_value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}
