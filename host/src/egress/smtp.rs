//! Mail, handed to one server by SMTP (RFC 5321) that the operator chose: over TLS from the first byte,
//! or after STARTTLS (RFC 3207). In clear only to this machine.

mod letter;
mod session;

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::connect::connect;
use super::resolve::{Lookup as _, SystemLookup};
use super::tls::{Stream, public_roots, verified};
use session::Session;

pub use letter::Letter;

/// The whole of a session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that takes mail, and how it is reached.
#[derive(Clone)]
pub struct Smtp {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    connector: TlsConnector,
}

#[derive(Clone)]
struct Credentials {
    user: String,
    password: Zeroizing<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS once the server has been asked for it.
    StartTls,
    /// None: the server is this machine.
    Clear,
}

/// Why a letter wasn't taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpError {
    /// There was no session, or it broke off: it may be tried again.
    #[error("{0}")]
    Broken(String),
    /// The server said no. From 500 on it will again.
    #[error("the mail server answered {code}: {text}")]
    Refused {
        /// Its answer.
        code: u16,
        /// Its words.
        text: String,
    },
    /// The server can't be used as it is configured.
    #[error("{0}")]
    Unusable(String),
}

impl SmtpError {
    /// Whether the same may work later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Refused { code, .. } => *code < 500,
            Self::Unusable(_) => false,
        }
    }
}

impl Smtp {
    /// The server of a URL: `smtps://user:password@host:465`, or `smtp://..:587` for STARTTLS.
    ///
    /// # Errors
    /// The text says what is wrong, without the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        Self::trusting(url, public_roots())
    }

    fn trusting(url: &str, roots: RootCertStore) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Tls, 465),
            "smtp" if is_here(&host) => (Security::Clear, 25),
            "smtp" => (Security::StartTls, 587),
            _ => return Err("it must be like smtps://user:password@host".into()),
        };
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned()).map_err(|_| "its password is no text".to_owned())
        };
        let credentials = match url.password() {
            None if !url.username().is_empty() => return Err("its user has no password".into()),
            None => None,
            Some(password) => Some(Credentials {
                user: decoded(url.username())?,
                password: Zeroizing::new(decoded(password)?),
            }),
        };
        let port = url.port().unwrap_or(port);
        let connector = verified(roots).map_err(|error| error.to_string())?;
        Ok(Self { host, port, security, credentials, connector })
    }

    /// Hands a letter over.
    pub async fn send(&self, letter: &Letter) -> Result<(), SmtpError> {
        let sent = tokio::time::timeout(SESSION_TIMEOUT, self.hand_over(letter)).await;
        sent.unwrap_or_else(|_| Err(SmtpError::Broken(format!("{} takes too long", self.host))))
    }

    async fn hand_over(&self, letter: &Letter) -> Result<(), SmtpError> {
        let stream = self.connect().await?;
        let mut session = match self.security {
            Security::Tls => Session::new(self.encrypt(Box::new(stream)).await?),
            Security::StartTls | Security::Clear => Session::new(Box::new(stream)),
        };
        session.greeting().await?;
        let mut offered = session.hello(letter.domain()).await?;
        if self.security == Security::StartTls {
            if !offered.starttls {
                let text = format!("{} offers no STARTTLS; nothing is sent in clear", self.host);
                return Err(SmtpError::Unusable(text));
            }
            let stream = session.start_tls().await?;
            session = Session::new(self.encrypt(stream).await?);
            offered = session.hello(letter.domain()).await?;
        }
        if let Some(Credentials { user, password }) = &self.credentials {
            if !offered.auth_plain {
                let text = format!("{} offers no AUTH PLAIN", self.host);
                return Err(SmtpError::Unusable(text));
            }
            session.log_in(user, password).await?;
        }
        session.deliver(letter).await
    }

    async fn connect(&self) -> Result<TcpStream, SmtpError> {
        let broken =
            |error: std::io::Error| SmtpError::Broken(format!("reaching {}: {error}", self.host));
        let mut addresses = SystemLookup.lookup(self.host.clone()).await.map_err(broken)?;
        // Whatever the resolver says of `localhost`.
        addresses.retain(|address| self.security != Security::Clear || address.is_loopback());
        connect(addresses, self.port).await.map_err(broken)
    }

    async fn encrypt(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, SmtpError> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| SmtpError::Unusable(format!("{}: {error}", self.host)))?;
        match self.connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(SmtpError::Broken(format!("TLS with {}: {error}", self.host))),
        }
    }
}

fn is_here(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost",
        _ => host == "::1",
    }
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, security, .. } = self;
        f.debug_struct("Smtp")
            .field("host", host)
            .field("port", port)
            .field("security", security)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
