//! JSON strings, with the shortest escapes.

use super::{JsonError, Writer};

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

impl Writer<'_> {
    pub(super) fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            let bytes = self.text.as_bytes();
            self.at += plain_length(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0) => self.leave_out(1),
                Some(_) => return Err(self.error("control character in a string")),
                None => return Err(self.error("end of text in a string")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            // What needs no escape.
            Some(b'/') => self.leave_out(1),
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error("no escape")),
        }
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
        self.leave_out(length);
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
pub(super) fn plain_length(text: &[u8]) -> usize {
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
