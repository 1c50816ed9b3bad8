//! A conversation with a mail server: a command, an answer.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use zeroize::Zeroizing;

use super::{Letter, SmtpError};
use crate::egress::tls::Stream;

/// A server's line has at most 512 bytes; some are generous.
const LINE_MAX: u64 = 2_048;
const LINES_MAX: usize = 100;
/// What is told of a refusal.
const TEXT_MAX: usize = 300;

pub(super) struct Session {
    stream: BufReader<Box<dyn Stream>>,
}

/// What a server says it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) starttls: bool,
    pub(super) auth_plain: bool,
}

impl Session {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub(super) async fn greeting(&mut self) -> Result<(), SmtpError> {
        self.answer(220).await.map(drop)
    }

    pub(super) async fn hello(&mut self, domain: &str) -> Result<Offered, SmtpError> {
        let lines = self.ask(&format!("EHLO {domain}"), 250).await?;
        Ok(offered(&lines))
    }

    /// What came in clear behind the answer would pass for something that came encrypted.
    pub(super) async fn start_tls(mut self) -> Result<Box<dyn Stream>, SmtpError> {
        self.ask("STARTTLS", 220).await?;
        match self.stream.buffer().is_empty() {
            true => Ok(self.stream.into_inner()),
            false => Err(SmtpError::Broken("the server spoke before TLS was there".into())),
        }
    }

    pub(super) async fn log_in(&mut self, user: &str, password: &str) -> Result<(), SmtpError> {
        let plain = Zeroizing::new(format!("\0{user}\0{password}"));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(plain.as_bytes()));
        let command = Zeroizing::new(format!("AUTH PLAIN {}", *encoded));
        self.ask(&command, 235).await.map(drop)
    }

    pub(super) async fn deliver(&mut self, letter: &Letter) -> Result<(), SmtpError> {
        self.ask(&format!("MAIL FROM:<{}>", letter.from()), 250).await?;
        self.ask(&format!("RCPT TO:<{}>", letter.to()), 250).await?;
        self.ask("DATA", 354).await?;
        self.write(&letter.data()).await?;
        self.answer(250).await?;
        // It has the letter; how it ends the conversation is its business.
        let _ = self.write("QUIT\r\n").await;
        Ok(())
    }

    async fn ask(&mut self, command: &str, wanted: u16) -> Result<Vec<String>, SmtpError> {
        self.write(command).await?;
        self.write("\r\n").await?;
        self.answer(wanted).await
    }

    async fn write(&mut self, text: &str) -> Result<(), SmtpError> {
        self.stream.write_all(text.as_bytes()).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    /// The lines of an answer, without its code. Its first digit alone says how it went (RFC 5321,
    /// 4.3.2): 251 is as good as 250.
    async fn answer(&mut self, wanted: u16) -> Result<Vec<String>, SmtpError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code else {
                return Err(SmtpError::Broken("the server doesn't speak SMTP".into()));
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') if lines.len() < LINES_MAX => {}
                Some(b'-') => return Err(SmtpError::Broken("an answer doesn't end".into())),
                _ if code / 100 == wanted / 100 => return Ok(lines),
                _ => return Err(SmtpError::Refused { code, text: shown(&lines) }),
            }
        }
    }

    async fn line(&mut self) -> Result<String, SmtpError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_MAX);
        limited.read_until(b'\n', &mut line).await.map_err(broken)?;
        match line.last() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Some(_) if line.len() as u64 == LINE_MAX => {
                Err(SmtpError::Broken("a line of an answer is too long".into()))
            }
            _ => Err(SmtpError::Broken("the server hung up".into())),
        }
    }
}

fn broken(error: std::io::Error) -> SmtpError {
    SmtpError::Broken(error.to_string())
}

fn offered(lines: &[String]) -> Offered {
    let mut offered = Offered::default();
    for line in lines {
        let line = line.to_ascii_uppercase();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("STARTTLS") => offered.starttls = true,
            Some("AUTH") => offered.auth_plain |= words.any(|word| word == "PLAIN"),
            _ => {}
        }
    }
    offered
}

/// For a log: one line, and not all of it.
fn shown(lines: &[String]) -> String {
    let text = lines.join(" ");
    text.chars().filter(|letter| !letter.is_control()).take(TEXT_MAX).collect()
}
