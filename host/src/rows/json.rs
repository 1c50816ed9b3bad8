//! JSON in one spelling per value: members sorted, the last of a repeated name kept, no white
//! space, shortest escapes, numbers exact, NUL taken out.

mod string;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::number;

pub use string::push_string;

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
        kept: 0,
        out: String::new(),
        members: Vec::with_capacity(32),
        sorted: String::new(),
    };
    writer.value(0)?;
    if writer.peek().is_some() {
        return Err(writer.error("text after the document"));
    }
    Ok(writer.written())
}

/// What is read is kept where it stands as long as it is spelled as it should be, and copied in one piece.
/// A place in what is written is one in `out`, or behind it in what is kept.
struct Writer<'a> {
    text: &'a str,
    at: usize,
    /// From here to `at` the text is canonical, and not in `out` yet.
    kept: usize,
    out: String,
    /// Members of the objects that are open, innermost last.
    members: Vec<Member>,
    /// Of one object, at work.
    sorted: String,
}

/// Places in what is written.
struct Member {
    /// The first bytes of the name, which tell most names apart.
    prefix: u64,
    /// With its quotes.
    name: Range<usize>,
    end: usize,
}

impl<'a> Writer<'a> {
    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }

    /// The place of what comes next.
    fn place(&self) -> usize {
        self.out.len() + self.at - self.kept
    }

    fn copy_kept(&mut self) {
        if self.out.capacity() == 0 {
            self.out.reserve(self.text.len());
        }
        self.out.push_str(&self.text[self.kept..self.at]);
        self.kept = self.at;
    }

    /// Goes over bytes that aren't written.
    fn leave_out(&mut self, bytes: usize) {
        self.copy_kept();
        self.at += bytes;
        self.kept = self.at;
    }

    fn written(mut self) -> Cow<'a, str> {
        if self.out.is_empty() {
            return Cow::Borrowed(&self.text[self.kept..self.at]);
        }
        self.copy_kept();
        Cow::Owned(self.out)
    }

    /// The next byte that isn't white space, not consumed.
    fn peek(&mut self) -> Option<u8> {
        let bytes = &self.text.as_bytes()[self.at..];
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let first = bytes.first()?;
        if !is_space(first) {
            return Some(*first);
        }
        let spaces = bytes.iter().take_while(|byte| is_space(byte)).count();
        self.leave_out(spaces);
        bytes.get(spaces).copied()
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
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let Some(length) = number::scan(&self.text.as_bytes()[self.at..]) else {
            return Err(self.error("no number"));
        };
        let number = &self.text[self.at..self.at + length];
        if number::is_canonical(number) {
            self.at += length;
            return Ok(());
        }
        self.leave_out(length);
        let start = self.out.len();
        number::push_canonical(number, &mut self.out);
        if !number::is_storable(&self.out[start..]) {
            self.out.insert(start, '"');
            self.out.push('"');
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.error("no `,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        let (outer, start, mut in_order) = (self.members.len(), self.place(), true);
        loop {
            self.member(depth)?;
            if let [.., before, last] = &self.members[outer..] {
                in_order = in_order && self.compared(before, last) == Ordering::Less;
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.error("no `,` or `}`")),
            }
        }
        if !in_order {
            self.sort_members(outer, start);
        }
        self.members.truncate(outer);
        self.at += 1;
        Ok(())
    }

    fn member(&mut self, depth: usize) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("no member name"));
        }
        let start = self.place();
        self.string()?;
        if start < self.out.len() {
            // A name is all in `out`, or all kept.
            self.copy_kept();
        }
        let name = start..self.place();
        let prefix = prefix(self.name(&name));
        if !self.take(b':') {
            return Err(self.error("no `:`"));
        }
        self.value(depth + 1)?;
        self.members.push(Member { prefix, name, end: self.place() });
        Ok(())
    }

    fn name(&self, place: &Range<usize>) -> &[u8] {
        match place.start.checked_sub(self.out.len()) {
            None => &self.out.as_bytes()[place.clone()],
            Some(start) => &self.text.as_bytes()[self.kept + start..][..place.len()],
        }
    }

    fn compared(&self, a: &Member, b: &Member) -> Ordering {
        a.prefix.cmp(&b.prefix).then_with(|| self.name(&a.name).cmp(self.name(&b.name)))
    }

    /// Rewrites the members of the object that began at `start`.
    fn sort_members(&mut self, outer: usize, start: usize) {
        self.copy_kept();
        let mut members = std::mem::take(&mut self.members);
        members[outer..].sort_by(|a, b| self.compared(a, b));
        self.sorted.clear();
        self.sorted.reserve(self.out.len() - start);
        let (mut rest, mut first) = (&members[outer..], true);
        while let [member, after @ ..] = rest {
            rest = after;
            // The sort is stable: of equal names the last comes last, and wins.
            if after.first().is_some_and(|next| self.compared(member, next) == Ordering::Equal) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.sorted.push(',');
            }
            self.sorted.push_str(&self.out[member.name.start..member.end]);
        }
        self.out.truncate(start);
        self.out.push_str(&self.sorted);
        self.members = members;
    }
}

/// The first bytes of a name behind its quote, so that they compare as it does.
fn prefix(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let first = &name[1..name.len().min(9)];
    bytes[..first.len()].copy_from_slice(first);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
#[path = "json/tests.rs"]
mod tests;
