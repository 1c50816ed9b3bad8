//! As much HTTP as it takes to post JSON to this machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longer than any answer of the host or the simulator takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// The body of a 200.
    pub(super) fn json(&self) -> Result<Value> {
        if self.status != 200 {
            bail!("answer {} {}", self.status, self.body.trim());
        }
        serde_json::from_str(&self.body).context("the answer is not JSON")
    }
}

pub(super) fn get(url: &str) -> Result<Answer> {
    send("GET", url, &[], "")
}

/// Post JSON.
pub(super) fn post(url: &str, headers: &[(&str, &str)], json: &str) -> Result<Answer> {
    send("POST", url, headers, json)
}

fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let exchange = || -> Result<Answer> {
        let (authority, path) = parts(url).context("not an http URL with a path")?;
        let mut stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request(method, authority, path, headers, body).as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        answer(&bytes)
    };
    exchange().with_context(|| format!("{method} {url}"))
}

/// Authority and path of a URL.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    Some(rest.split_at(rest.find('/')?))
}

fn request(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    // The old version: no chunks, and the connection is closed after the answer.
    let mut text = format!("{method} {path} HTTP/1.0\r\n");
    let own = [("Host", authority), ("Content-Type", "application/json")];
    for (name, value) in own.iter().chain(headers) {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The connection was closed after it, so that the body is all that follows the head.
fn answer(bytes: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("the answer has no status")?;
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent() {
        assert_eq!(parts("http://127.0.0.1:80/a/b?c"), Some(("127.0.0.1:80", "/a/b?c")));
        assert_eq!(parts("https://127.0.0.1/"), None);
        assert_eq!(
            request("POST", "a:1", "/x", &[("Secret", "s")], "{}"),
            "POST /x HTTP/1.0\r\nHost: a:1\r\n\
             Content-Type: application/json\r\nSecret: s\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn what_comes_back() {
        let read = answer(b"HTTP/1.1 202 Accepted\r\na: b\r\n\r\n{\"o\":\"k\"}").unwrap();
        assert_eq!(read, Answer { status: 202, body: r#"{"o":"k"}"#.into() });
        assert!(read.json().unwrap_err().to_string().contains("answer 202"));
        assert!(answer(b"").is_err());
    }
}
