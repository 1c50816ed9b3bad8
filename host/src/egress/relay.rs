//! Connections to PostgreSQL servers that customers named. A client library connects by name itself,
//! and believes whatever a server says; so it gets a Unix socket of ours, behind which stands a
//! connection to an address that was checked, with TLS where it must be, and answers of bounded size.

mod answers;
mod handshake;
mod standing;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::address::{is_public, is_this_machine};
use super::connect::connect;
use super::message::HttpError;
use super::post::ADVICE;
use super::resolve::{Lookup, SystemLookup, reachable};
use super::tls::Stream;
use crate::chance::Chance;
use crate::clock::Clock;
use answers::Limits;
use handshake::Handshakes;

/// What the socket's file is called, which libraries make of a port.
const SOCKET: &str = ".s.PGSQL.5432";

/// What opens this machine to customers, and nothing else. Posts have no use for it: what it lets in is http.
const ADVICE_HERE: &str = "the operator can allow it by delivery.allow_http";

/// Of questions, passed on at once.
const PART_BYTES: usize = 16 << 10;

/// A server that a customer named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    #[allow(missing_docs)]
    pub port: u16,
    /// At least `Always` towards an address of the public internet, whatever stands here.
    pub tls: Tls,
    /// Loopback and private ranges too.
    pub private_addresses: bool,
}

/// When a connection is encrypted; in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tls {
    /// It isn't.
    Never,
    /// If the server offers it.
    IfOffered,
    /// Whoever the server is.
    Always,
    /// With a certificate for its name by an authority that browsers trust.
    Verified,
}

/// Opens relays. Clones are the same.
#[derive(Clone)]
pub struct Relays {
    lookup: Arc<dyn Lookup>,
    handshakes: Handshakes,
    chance: Chance,
    clock: Clock,
}

/// A socket that leads to a server; connections through it end with this value.
#[derive(Debug)]
pub struct Relay {
    directory: PathBuf,
    task: JoinHandle<()>,
}

impl Relays {
    /// By the system's resolver.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(chance: Chance, clock: Clock) -> anyhow::Result<Self> {
        Self::with_lookup(Arc::new(SystemLookup), chance, clock)
    }

    /// By another resolver.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn with_lookup(
        lookup: Arc<dyn Lookup>,
        chance: Chance,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self { lookup, handshakes: Handshakes::new()?, chance, clock })
    }

    /// Connects to the server; the first who connects to the relay's socket speaks with it. It takes
    /// as long as the server lets it: to be called under a timeout.
    ///
    /// # Errors
    /// The address is refused, nobody answers there, or there is no TLS that must be.
    pub async fn open(&self, server: &DatabaseServer) -> Result<Relay, HttpError> {
        let stream = self.reach(server).await?;
        let own = |error: io::Error| HttpError::Other(format!("no socket can be made: {error}"));
        self.offer(stream).map_err(own)
    }

    /// A connection to an address that was checked, encrypted where it must be.
    async fn reach(&self, server: &DatabaseServer) -> Result<Box<dyn Stream>, HttpError> {
        let DatabaseServer { host, port, private_addresses, .. } = server;
        let at = format!("{host}:{port}");
        let no_connection = |error: io::Error| HttpError::Connect(format!("{at}: {error}"));
        let addresses = self.lookup.lookup(host.clone()).await.map_err(no_connection)?;
        let advice = if is_this_machine(host) { ADVICE_HERE } else { ADVICE };
        let addresses = reachable(host, addresses, *private_addresses)
            .map_err(|blocked| HttpError::Denied(format!("{blocked}; {advice}")))?;
        let stream = connect(addresses, *port).await.map_err(no_connection)?;
        let is_private = stream.peer_addr().is_ok_and(|peer| !is_public(peer.ip()));
        // What is sent together is written together already.
        stream.set_nodelay(true).map_err(no_connection)?;
        let tls = if is_private { server.tls } else { server.tls.max(Tls::Always) };
        let failed = |error: io::Error| HttpError::Transfer(format!("{at}: {error}"));
        self.handshakes.secure(stream, host, tls).await.map_err(failed)
    }

    fn offer(&self, server: Box<dyn Stream>) -> io::Result<Relay> {
        let (directory, listener) = self.listen()?;
        let place = directory.clone();
        let task = tokio::spawn(async move {
            let accepted = listener.accept().await;
            take_away(&place);
            if let Ok((client, _)) = accepted {
                // Either end sees that it is over.
                let _ = pass_on(client, server, &Limits::PAGES).await;
            }
        });
        Ok(Relay { directory, task })
    }

    /// A socket in a directory that nobody else can enter.
    fn listen(&self) -> io::Result<(PathBuf, UnixListener)> {
        let name = format!("rowgate-{}", self.chance.base36(12));
        let directory = std::env::temp_dir().join(name);
        // It fails where something of this name stands: nobody has put a directory of theirs there.
        DirBuilder::new().mode(0o700).create(&directory)?;
        match UnixListener::bind(directory.join(SOCKET)) {
            Ok(listener) => Ok((directory, listener)),
            Err(error) => {
                take_away(&directory);
                Err(error)
            }
        }
    }
}

impl Relay {
    /// Where the socket stands: of a server at port 5432.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// See [`Relay::directory`].
    pub const PORT: u16 = 5432;
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        // Gone already, unless nobody came.
        take_away(&self.directory);
    }
}

fn take_away(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(SOCKET));
    let _ = std::fs::remove_dir(directory);
}

/// Until one side has ended, or says more than it may.
async fn pass_on(client: UnixStream, server: Box<dyn Stream>, limits: &Limits) -> io::Result<()> {
    let (mut asked, mut to_client) = client.into_split();
    let (mut answered, mut to_server) = tokio::io::split(server);
    let owes = AtomicBool::new(false);
    let questions = async {
        let mut part = vec![0; PART_BYTES];
        loop {
            match asked.read(&mut part).await? {
                0 => return to_server.shutdown().await,
                count => {
                    owes.store(true, Ordering::Relaxed);
                    to_server.write_all(&part[..count]).await?;
                    to_server.flush().await?;
                }
            }
        }
    };
    tokio::select! {
        done = questions => done,
        done = answers::pass_on(&mut answered, &mut to_client, limits, &owes) => done,
    }
}

impl std::fmt::Debug for Relays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relays")
    }
}

#[cfg(test)]
mod tests;
