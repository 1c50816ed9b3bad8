//! A letter (RFC 5322): nothing that anybody typed can become a header of it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::model::Micros;

const ADDRESS_MAX: usize = 254;
/// Characters of a line of base64 (RFC 2045).
const LINE: usize = 76;

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    from: String,
    to: String,
    /// With headers, lines ending in CRLF.
    text: String,
}

impl Letter {
    /// Writes a letter to one address. `id` is of letters and digits, and no other letter has it.
    ///
    /// # Errors
    /// If an address isn't a plain one of ASCII characters.
    pub fn new(
        from: &str,
        to: &str,
        subject: &'static str,
        body: &str,
        at: Micros,
        id: &str,
    ) -> Result<Self, String> {
        let (from, to) = (address(from)?, address(to)?);
        let (encoding, body) = encoded(body);
        let date = Timestamp::from_microsecond(at).ok();
        let date =
            date.and_then(|date| rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).ok());
        let date = date.unwrap_or_default();
        let domain = domain(&from);
        let text = format!(
            "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}@{domain}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n\
             {body}"
        );
        Ok(Self { from, to, text })
    }

    pub(super) fn from(&self) -> &str {
        &self.from
    }

    pub(super) fn to(&self) -> &str {
        &self.to
    }

    /// That of the sender.
    pub(super) fn domain(&self) -> &str {
        domain(&self.from)
    }

    /// As it is sent after DATA: a line that begins with a dot has one more, and a dot ends it all.
    pub(super) fn data(&self) -> String {
        let lines = self.text.split("\r\n");
        let stuffed = lines.map(|line| match line.starts_with('.') {
            true => format!(".{line}\r\n"),
            false => format!("{line}\r\n"),
        });
        stuffed.collect::<String>() + ".\r\n"
    }
}

fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

/// An address that needs no quotes. Others, and those that aren't ASCII, aren't written to.
fn address(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"(),;:\\[]".contains(&byte);
    let parts = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    match parts && text.len() <= ADDRESS_MAX && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no address that mail can be sent to")),
    }
}

/// How the body is encoded, and the body, lines ending in CRLF.
fn encoded(body: &str) -> (&'static str, String) {
    let lines: Vec<&str> = body.lines().collect();
    let is_plain = |line: &&str| {
        line.len() <= LINE * 10 && line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    if lines.iter().all(is_plain) {
        return ("7bit", lines.join("\r\n"));
    }
    let base64 = BASE64_STANDARD.encode(lines.join("\r\n"));
    let lines: Vec<String> =
        base64.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line).into()).collect();
    ("base64", lines.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(to: &str, body: &str) -> Result<Letter, String> {
        Letter::new("rowgate@example.com", to, "A subject", body, 1_774_022_400_000_000, "id1")
    }

    #[test]
    fn a_letter_has_its_headers_and_ends_in_a_dot() {
        let data = letter("ana@example.org", "Hello,\n.hidden\n..\nbye").unwrap().data();
        let (headers, body) = data.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "Hello,\r\n..hidden\r\n...\r\nbye\r\n.\r\n");
        for line in [
            "From: <rowgate@example.com>",
            "To: <ana@example.org>",
            "Subject: A subject",
            "Message-ID: <id1@example.com>",
            "Content-Transfer-Encoding: 7bit",
        ] {
            assert!(headers.split("\r\n").any(|known| known == line), "{line}: {headers}");
        }
        let date = headers.split("\r\n").find_map(|line| line.strip_prefix("Date: ")).unwrap();
        assert_eq!(date, "Fri, 20 Mar 2026 16:00:00 +0000");
    }

    #[test]
    fn what_is_not_ascii_is_encoded() {
        let body = format!("Grüße\r\n{}", "x".repeat(200));
        let data = letter("ana@example.org", &body).unwrap().data();
        assert!(data.contains("Content-Transfer-Encoding: base64\r\n"), "{data}");
        let (_, encoded) = data.split_once("\r\n\r\n").unwrap();
        assert!(encoded.lines().all(|line| line.len() <= LINE), "{encoded}");
        let base64: String = encoded.trim_end_matches(".\r\n").split("\r\n").collect();
        assert_eq!(BASE64_STANDARD.decode(base64).unwrap(), body.as_bytes());
    }

    #[test]
    fn no_address_becomes_a_header_or_a_command() {
        for to in [
            "ana@example.org\r\nBcc: all@example.org",
            "ana@example.org>\r\nRCPT TO:<all@example.org",
            "ana@example.org,bob@example.org",
            "\"ana\"@example.org",
            "ana bob@example.org",
            "ana@b@c",
            "ana",
            "",
            "änna@example.org",
            "ana@[127.0.0.1]",
        ] {
            assert!(letter(to, "x").is_err(), "{to:?}");
        }
        // Nor does a body.
        let data = letter("ana@example.org", "x\r\n.\r\nMAIL FROM:<a@b>\r").unwrap().data();
        let (_, body) = data.split_once("\r\n\r\n").unwrap();
        assert!(!body.trim_end_matches("\r\n.\r\n").contains("\r\n.\r\n"), "{body:?}");
    }
}
