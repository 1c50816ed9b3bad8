//! As much of PostgreSQL's protocol as it takes to run a statement and read text back.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

const PROTOCOL: i32 = 0x0003_0000;
const AUTHENTICATED: [u8; 4] = [0; 4];

/// Values of a row as text; None is null.
pub type Row = Vec<Option<String>>;

/// A connection. It blocks.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// The server's answer to a statement that it did not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// SQLSTATE.
    pub code: String,
    /// For people.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// Connects as a user that the server trusts.
    pub fn connect(address: SocketAddr, user: &str, database: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connecting {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream) };
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, ""] {
            body.extend(text.bytes().chain([0]));
        }
        client.write(None, &body)?;
        client.answer()?;
        Ok(client)
    }

    /// Runs statements and returns the rows of all of them. Several statements in one text are one
    /// transaction. An error that the server sent is a [`Refused`].
    pub fn query(&mut self, statements: &str) -> Result<Vec<Row>> {
        let body: Vec<u8> = statements.bytes().chain([0]).collect();
        self.write(Some(b'Q'), &body)?;
        self.answer()
    }

    /// The first value of the first row.
    pub fn value(&mut self, statement: &str) -> Result<String> {
        let rows = self.query(statement)?;
        let first = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        first.with_context(|| format!("no value: {statement}"))
    }

    fn write(&mut self, kind: Option<u8>, body: &[u8]) -> Result<()> {
        let length = i32::try_from(body.len() + 4)?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        Ok(self.stream.get_mut().write_all(&message)?)
    }

    /// Reads until the server waits for the next statement, or has ended the session.
    fn answer(&mut self) -> Result<Vec<Row>> {
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            let (kind, body) = match self.read() {
                Ok(message) => message,
                Err(_) if refused.is_some() => break,
                Err(error) => return Err(error).context("the server closed the connection"),
            };
            match kind {
                b'D' => rows.push(row(&body).context("a row that can't be read")?),
                b'E' => refused = Some(error(&body)),
                b'R' if body != AUTHENTICATED => bail!("the server asks for a password"),
                b'Z' => break,
                _ => {}
            }
        }
        refused.map_or(Ok(rows), |refused| Err(refused.into()))
    }

    fn read(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length).saturating_sub(4);
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

/// Two bytes for the count of values; each has four for its length, -1 for null.
fn row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = Row::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            row.push(None);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(row)
}

/// Fields, each a letter and a text that ends with 0.
fn error(body: &[u8]) -> Refused {
    let mut refused = Refused::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((letter, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match letter {
            b'C' => refused.code = text,
            b'M' => refused.message = text,
            _ => {}
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_errors() {
        let body = [0, 3, 0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255, 0, 0, 0, 0];
        assert_eq!(row(&body), Some(vec![Some("ab".into()), None, Some(String::new())]));
        assert_eq!(row(&body[..7]), None);
        let refused = error(b"SERROR\0C42601\0Msyntax error\0\0");
        assert_eq!(refused.to_string(), "syntax error (SQLSTATE 42601)");
    }
}
