//! What a PostgreSQL server answers, message by message: a letter, a length, a body. A library makes
//! room for whatever length is announced, and computes for as long as it is told to, so ours ends the
//! connection first.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::monotonic;

/// What a server may say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of one message.
    message: u32,
    /// Bytes between two messages that say the server is ready. A library keeps all of them.
    answer: u64,
    /// Bytes of a whole connection.
    connection: u64,
    /// A server that owes an answer may be silent for so long. None: who asks looks at the time.
    silence: Option<Duration>,
}

impl Limits {
    /// Where pages are written, and hardly anything is read.
    pub(super) const PAGES: Self = Self {
        message: MESSAGE_BYTES_MAX,
        answer: ANSWER_BYTES_MAX,
        connection: BYTES_MAX,
        silence: None,
    };

    /// Where an organization's tables lie: they are read, for as long as a host runs. An index takes
    /// its time.
    pub(super) const TABLES: Self = Self {
        message: 64 << 20,
        answer: 128 << 20,
        connection: u64::MAX,
        silence: Some(Duration::from_secs(300)),
    };
}

/// Of one message. A row of a catalogue is the largest that we ask for.
pub(super) const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// Between two messages that say the server is ready. The columns of a table are the most that we ask
/// for, and a library keeps all of them.
pub(super) const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Of a whole connection. A page is acknowledged by some thousand bytes.
const BYTES_MAX: u64 = 64 << 20;

/// How often a password may have to be hashed (SCRAM). PostgreSQL asks for 4,096 rounds, CockroachDB
/// for up to 119,680; a library doesn't stop before it is done.
pub(super) const ROUNDS_MAX: u32 = 200_000;

/// The length counts itself.
const LENGTH_BYTES: u32 = 4;

/// Remarks of the server, which a library would write to our log.
const NOTICE: u8 = b'N';
const READY: u8 = b'Z';
/// What a server says unasked: changed settings, notifications. It is no answer.
const ASIDE: [u8; 2] = [b'S', b'A'];
const AUTHENTICATION: u8 = b'R';
/// The kind of [`AUTHENTICATION`] that says how often (SCRAM's first answer).
const SASL_CONTINUE: [u8; 4] = [0, 0, 0, 11];

/// Passes messages on until the server ends, or says what it mustn't: the client is told. `owes`: it
/// was asked something and isn't ready again.
pub(super) async fn pass_on(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    limits: &Limits,
    owes: &AtomicBool,
) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let (mut passed, mut answered) = (0_u64, 0_u64);
    let mut message = Vec::new();
    let mut silence = Silence::new(limits.silence, owes);
    loop {
        if !silence.until_spoken(&mut from).await? {
            return to.write_all(&refusal("the server doesn't answer")).await;
        }
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        passed = passed.saturating_add(u64::from(length));
        answered = answered.saturating_add(u64::from(length));
        let is_much = passed > limits.connection || answered > limits.answer;
        if !(LENGTH_BYTES..=limits.message).contains(&length) || is_much {
            return to.write_all(&refusal("the server says too much")).await;
        }
        message.clear();
        message.extend_from_slice(&head);
        message.resize(head.len() + (length - LENGTH_BYTES) as usize, 0);
        let body = from.read_exact(&mut message[head.len()..]);
        match limits.silence {
            None => body.await?,
            Some(limit) => timeout(limit, body).await.map_err(io::Error::other)??,
        };
        match kind {
            // No answer either.
            NOTICE => continue,
            READY => {
                answered = 0;
                owes.store(false, Ordering::Relaxed);
            }
            AUTHENTICATION if rounds(&message[head.len()..]) > ROUNDS_MAX => {
                let text = "the server wants the password hashed too often";
                return to.write_all(&refusal(text)).await;
            }
            _ => {}
        }
        to.write_all(&message).await?;
        if !ASIDE.contains(&kind) {
            silence.begin();
        }
    }
}

/// How long a server may be silent.
struct Silence<'a> {
    limit: Option<Duration>,
    owes: &'a AtomicBool,
    /// When it began, and whether the server owed an answer then.
    begun: (Instant, bool),
}

impl<'a> Silence<'a> {
    fn new(limit: Option<Duration>, owes: &'a AtomicBool) -> Self {
        Self { limit, owes, begun: (monotonic(), false) }
    }

    fn begin(&mut self) {
        self.begun = (monotonic(), self.owes.load(Ordering::Relaxed));
    }

    /// Waits until the server says something, or ends. False: it owed an answer all the while and gave
    /// none for too long.
    async fn until_spoken(
        &mut self,
        from: &mut BufReader<impl AsyncRead + Unpin>,
    ) -> io::Result<bool> {
        let Some(limit) = self.limit else { return Ok(true) };
        loop {
            let (at, owed) = self.begun;
            let until = at + limit;
            // Who speaks without end is never waited for.
            if monotonic() < until
                && let Ok(said) = timeout_at(until, from.fill_buf()).await
            {
                return said.map(|_| true);
            }
            if owed {
                return Ok(false);
            }
            self.begin();
        }
    }
}

/// The rounds that a message of [`AUTHENTICATION`] asks for: `r=nonce,s=salt,i=4096`. What is no number
/// counts as too many.
fn rounds(body: &[u8]) -> u32 {
    let Some(attributes) = body.strip_prefix(&SASL_CONTINUE) else { return 0 };
    let rounds = attributes.split(|byte| *byte == b',').filter_map(|attribute| {
        let number = attribute.strip_prefix(b"i")?.get(1..).unwrap_or_default();
        Some(std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()))
    });
    rounds.map(|rounds| rounds.unwrap_or(u32::MAX)).max().unwrap_or(0)
}

/// The last message of a connection: severity, SQLSTATE (`protocol_violation`), words.
pub(super) fn refusal(text: &str) -> Vec<u8> {
    let body = format!("SFATAL\0C08P01\0M{text}\0\0");
    let length = LENGTH_BYTES + u32::try_from(body.len()).unwrap_or(0);
    [b"E", length.to_be_bytes().as_slice(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_read_as_a_library_reads_them() {
        let body = |text: &str| [SASL_CONTINUE.as_slice(), text.as_bytes()].concat();
        for (text, expected) in [
            ("r=abc,s=AAAA,i=4096", 4_096),
            ("r=i=9,s=AAAA,i=200001", 200_001),
            ("i=1,i=4294967295", u32::MAX),
            ("i=99999999999999", u32::MAX),
            ("ix9000", 9_000),
            ("i=", u32::MAX),
            ("i", u32::MAX),
            ("i=9x", u32::MAX),
            ("r=abc,s=AAAA", 0),
            ("", 0),
        ] {
            assert_eq!(rounds(&body(text)), expected, "{text}");
        }
        assert_eq!(rounds(b"\0\0\0\x0ci=9"), 0, "another kind");
    }

    #[tokio::test]
    async fn a_server_that_owes_an_answer_is_not_waited_for_without_end() {
        let limits = Limits { silence: Some(Duration::from_millis(20)), ..Limits::TABLES };
        let (mut server, mut theirs) = tokio::io::duplex(64);
        let (mut client, mut ours) = tokio::io::duplex(256);
        let owes = AtomicBool::new(false);
        let passing = async {
            pass_on(&mut theirs, &mut ours, &limits, &owes).await.unwrap();
            drop(ours);
        };
        let asked = async {
            let ready = [b"Z", 5_u32.to_be_bytes().as_slice(), b"I"].concat();
            server.write_all(&ready).await.unwrap();
            let mut answer = vec![0; ready.len()];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, ready);
            owes.store(true, Ordering::Relaxed);
            let mut told = Vec::new();
            let told = async {
                client.read_to_end(&mut told).await.unwrap();
                assert!(String::from_utf8_lossy(&told).contains("the server doesn't answer"));
            };
            // Its remarks are no answer.
            let remark = |kind: &[u8]| [kind, 5_u32.to_be_bytes().as_slice(), b"\0"].concat();
            let said = [remark(b"N"), remark(b"S"), remark(b"A")].concat();
            let remarks = async {
                while server.write_all(&said).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = told => {}
                () = remarks => {}
            }
        };
        tokio::join!(passing, asked);
    }
}
