//! Mail to people: login codes and invitations, handed over beside whatever asks for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::egress::{Letter, Smtp, SmtpError};
use crate::metrics::Metrics;

/// Letters that wait at most; whoever asks isn't known yet.
const WAITING_MAX: u32 = 1_000;
/// Sessions with the mail server at once.
const SESSIONS_MAX: usize = 4;
/// Waits before what may pass is tried again. A code is good for a quarter of an hour.
const WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// Bytes of a random id.
const ID_BYTES: usize = 16;
/// Characters that are taken of a name that somebody chose.
const NAME_MAX: usize = 80;

/// Sends mail. Clones are the same.
#[derive(Clone, Debug)]
pub struct Mailer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    smtp: Smtp,
    from: String,
    clock: Clock,
    chance: Chance,
    metrics: Arc<Metrics>,
    waiting: Arc<Semaphore>,
    sessions: Semaphore,
}

/// What somebody is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    subject: &'static str,
    text: String,
}

impl Message {
    /// The code that somebody asked for to log in.
    pub fn code(code: &str, public_url: &str) -> Self {
        let text = format!(
            "Your code to log in to {public_url} is\n\n    {code}\n\nIt can be used once, for 15 \
             minutes.\nIf you didn't ask for it, somebody else typed your address; you needn't do \
             anything.\n"
        );
        Self { subject: "Your login code", text }
    }

    /// An invitation to an organization. Its name was chosen by somebody who may be unknown here.
    pub fn invitation(organization: &str, code: &str, public_url: &str) -> Self {
        let name = organization.split_whitespace().collect::<Vec<_>>().join(" ");
        let name: String =
            name.chars().filter(|letter| !letter.is_control()).take(NAME_MAX).collect();
        let text = format!(
            "You are invited to the organization \"{name}\" on {public_url}.\n\nTo accept, log in \
             there and join with this code:\n\n    rowgate auth login --host {public_url}\n    \
             rowgate org join --code {code}\n"
        );
        Self { subject: "An invitation", text }
    }
}

impl Mailer {
    /// Mail through this server, from this address.
    ///
    /// # Errors
    /// If nothing can be sent so. The text says which setting is wrong.
    pub fn new(
        url: &str,
        from: &str,
        clock: Clock,
        chance: Chance,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let smtp = Smtp::parse(url).map_err(|reason| format!("smtp.url: {reason}"))?;
        let probe = Letter::new(from, from, "", "", 0, "");
        probe.map_err(|reason| format!("smtp.from: {reason}"))?;
        Ok(Self(Arc::new(Parts {
            smtp,
            from: from.to_owned(),
            clock,
            chance,
            metrics,
            waiting: Arc::new(Semaphore::new(WAITING_MAX as usize)),
            sessions: Semaphore::new(SESSIONS_MAX),
        })))
    }

    /// Sends a message without keeping the caller. What comes of it is counted, and logged where it
    /// failed.
    pub fn post(&self, to: &str, message: &Message) {
        let parts = Arc::clone(&self.0);
        let letter = Letter::new(
            &parts.from,
            to,
            message.subject,
            &message.text,
            parts.clock.now(),
            &parts.chance.base36(ID_BYTES),
        );
        let letter = match letter {
            Ok(letter) => letter,
            Err(reason) => return parts.failed(to, &reason),
        };
        match Arc::clone(&parts.waiting).try_acquire_owned() {
            Ok(place) => {
                let to = to.to_owned();
                tokio::spawn(async move { parts.deliver(&to, &letter, place).await });
            }
            Err(_) => parts.failed(to, "too many letters wait"),
        }
    }

    /// Waits until nothing waits any more, but not longer than that.
    pub async fn settle(&self, limit: Duration) {
        tokio::select! {
            // It is never closed.
            _ = self.0.waiting.acquire_many(WAITING_MAX) => {}
            () = self.0.clock.sleep(limit) => {}
        }
    }
}

impl Parts {
    async fn deliver(&self, to: &str, letter: &Letter, place: OwnedSemaphorePermit) {
        let mut waits = WAITS.into_iter();
        loop {
            let error = match self.hand_over(letter).await {
                Ok(()) => break self.metrics.mail("sent"),
                Err(error) => error,
            };
            match waits.next().filter(|_| error.may_pass()) {
                Some(wait) => {
                    tracing::warn!(to, %error, "mail wasn't taken; it is tried again");
                    self.clock.sleep(wait).await;
                }
                None => break self.failed(to, &error.to_string()),
            }
        }
        drop(place);
    }

    async fn hand_over(&self, letter: &Letter) -> Result<(), SmtpError> {
        let _session = self.sessions.acquire().await;
        self.smtp.send(letter).await
    }

    fn failed(&self, to: &str, reason: &str) {
        self.metrics.mail("failed");
        tracing::error!(to, reason, "mail wasn't sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_chose_stays_one_short_line() {
        let name = format!("Acme\r\n\r\nClick here\u{7}: {}", "x".repeat(200));
        let message = Message::invitation(&name, "join-1", "https://sync.example.org");
        let first = message.text.lines().next().unwrap();
        assert!(first.contains("\"Acme Click here: xxx") && first.len() < 160, "{first}");
        assert!(message.text.contains("rowgate org join --code join-1"), "{}", message.text);
    }

    #[test]
    fn what_cannot_be_used_is_said_at_once() {
        let made = |url: &str, from: &str| {
            let (clock, chance) = (Clock::System, Chance::seeded(1));
            Mailer::new(url, from, clock, chance, Arc::default()).map(drop)
        };
        assert_eq!(made("smtp://mail.example", "a@example.com"), Ok(()));
        assert!(made("http://mail.example", "a@example.com").unwrap_err().contains("smtp.url"));
        for wrong in ["", "Rowgate <a@example.com>", "a@example.com\r\nBcc: b@c"] {
            assert!(made("smtp://mail.example", wrong).unwrap_err().contains("smtp.from"));
        }
    }
}
