//! JSON in one spelling per value: members sorted, the last of a repeated name kept, no white
//! space, shortest escapes, numbers exact, NUL taken out.

use std::borrow::Cow;
use std::ops::Range;

use super::number;

/// Deeper documents are refused: readers of the table should get through without a stack of MBs.
const DEPTH_MAX: usize = 128;

/// Where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// What is wrong.
    pub what: &'static str,
    /// Offset into the text.
    pub at: usize,
}

/// The canonical text of a document. Equal values (as Postgres compares jsonb) have equal text. What no
/// database stores becomes something near it: a lone surrogate U+FFFD, an endless number a string.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, JsonError> {
    if matches!(text, "{}" | "null" | "[]") {
        return Ok(Cow::Borrowed(text));
    }
    let mut writer = Writer {
        text,
        at: 0,
        out: String::with_capacity(text.len()),
        members: Vec::new(),
        scratch: String::new(),
    };
    writer.value(0)?;
    if writer.peek().is_some() {
        return Err(writer.error("text after the document"));
    }
    Ok(Cow::Owned(writer.out))
}

/// Appends a string with the same escapes.
pub fn push_string(text: &str, out: &mut String) {
    out.push('"');
    if plain_length(text.as_bytes()) < text.len() {
        text.chars().for_each(|char| push_char(char, out));
    } else {
        out.push_str(text);
    }
    out.push('"');
}

struct Writer<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Members of the objects that are open, innermost last, as ranges of `out`.
    members: Vec<Member>,
    scratch: String,
}

struct Member {
    name: Range<usize>,
    end: usize,
}

impl Writer<'_> {
    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }

    /// The next byte that isn't white space, not consumed.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.error("no JSON value")),
            None => Err(self.error("end of text")),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("no JSON value"));
        }
        self.at += word.len();
        self.out.push_str(word);
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let Some(length) = number::scan(&self.text.as_bytes()[self.at..]) else {
            return Err(self.error("no number"));
        };
        let start = self.out.len();
        number::push_canonical(&self.text[self.at..self.at + length], &mut self.out);
        if !number::is_storable(&self.out[start..]) {
            self.out.insert(start, '"');
            self.out.push('"');
        }
        self.at += length;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        self.out.push('[');
        if !self.take(b']') {
            loop {
                self.value(depth + 1)?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.error("no `,` or `]`"));
                }
                self.out.push(',');
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        self.out.push('{');
        let (outer, start) = (self.members.len(), self.out.len());
        if !self.take(b'}') {
            loop {
                self.member(depth)?;
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.error("no `,` or `}`"));
                }
                self.out.push(',');
            }
        }
        self.sort_members(outer, start);
        self.out.push('}');
        Ok(())
    }

    fn member(&mut self, depth: usize) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("no member name"));
        }
        let start = self.out.len();
        self.string()?;
        let name = start..self.out.len();
        if !self.take(b':') {
            return Err(self.error("no `:`"));
        }
        self.out.push(':');
        self.value(depth + 1)?;
        self.members.push(Member { name, end: self.out.len() });
        Ok(())
    }

    /// Rewrites the members of the object that began at `start`, if they aren't in order already.
    fn sort_members(&mut self, outer: usize, start: usize) {
        let Self { out, members, scratch, .. } = self;
        let name = |member: &Member| &out.as_bytes()[member.name.clone()];
        let sorted = members[outer..].is_sorted_by(|a, b| name(a) < name(b));
        if !sorted {
            members[outer..].sort_by(|a, b| name(a).cmp(name(b)));
            scratch.clear();
            let (mut rest, mut first) = (&members[outer..], true);
            while let [member, after @ ..] = rest {
                rest = after;
                // The sort is stable: of equal names the last comes last, and wins.
                if after.first().is_some_and(|next| name(next) == name(member)) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    scratch.push(',');
                }
                scratch.push_str(&out[member.name.start..member.end]);
            }
            out.truncate(start);
            out.push_str(scratch);
        }
        members.truncate(outer);
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.out.push('"');
        loop {
            let bytes = self.text.as_bytes();
            let start = self.at;
            self.at += plain_length(&bytes[start..]);
            self.out.push_str(&self.text[start..self.at]);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0) => self.at += 1,
                Some(_) => return Err(self.error("control character in a string")),
                None => return Err(self.error("end of text in a string")),
            }
        }
        self.at += 1;
        self.out.push('"');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let char = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error("no escape")),
        };
        self.at += 2;
        push_char(char, &mut self.out);
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), JsonError> {
        let Some(unit) = self.unit(self.at) else { return Err(self.error("no `\\uXXXX`")) };
        let mut length = 6;
        let mut point = unit;
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low) = self.unit(self.at + 6)
            && (0xdc00..0xe000).contains(&low)
        {
            point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            length = 12;
        }
        self.at += length;
        if point != 0 {
            push_char(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), &mut self.out);
        }
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` at an offset.
    fn unit(&self, at: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| {
            char::from(*digit).to_digit(16).map(|digit| unit << 4 | digit)
        })
    }
}

fn push_char(char: char, out: &mut String) {
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\0'..'\u{20}' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
        _ => out.push(char),
    }
}

/// How many bytes stand before the first one that ends a run of plain characters: a quote, a backslash, a
/// control character.
fn plain_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = text[at..].first_chunk::<8>() {
        let special = specials(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    at + text[at..].iter().position(is_special).unwrap_or(text.len() - at)
}

/// Marks the lowest special byte of eight; those above it may be marked for nothing.
/// (H. S. Warren, Hacker's Delight, 6-1)
fn specials(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |eight: u64, least: u64| eight.wrapping_sub(ONES * least) & !eight;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (below(eight, 0x20) | is(b'"') | is(b'\\')) & (ONES * 0x80)
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
