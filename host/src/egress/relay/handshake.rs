//! TLS as PostgreSQL begins it: one message in clear that asks for it, one letter that answers.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Tls;
use crate::egress::tls::{Stream, public_roots, unverified, verified};

/// Length 8, and the number that stands for it.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How connections become encrypted. Clones are the same.
#[derive(Clone)]
pub(super) struct Handshakes {
    verified: TlsConnector,
    /// As `sslmode=require` has it.
    unverified: TlsConnector,
}

impl Handshakes {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { verified: verified(public_roots())?, unverified: unverified()? })
    }

    /// The same connection, encrypted as `tls` says.
    pub(super) async fn secure(
        &self,
        mut stream: TcpStream,
        host: &str,
        tls: Tls,
    ) -> io::Result<Box<dyn Stream>> {
        let connector = match tls {
            Tls::Never => return Ok(Box::new(stream)),
            Tls::IfOffered | Tls::Always => &self.unverified,
            Tls::Verified => &self.verified,
        };
        stream.write_all(&SSL_REQUEST).await?;
        // One byte and no more: what somebody slipped in behind it would count as encrypted.
        match stream.read_u8().await? {
            b'S' => {}
            b'N' if tls == Tls::IfOffered => return Ok(Box::new(stream)),
            b'N' => return Err(io::Error::other("the server offers no TLS")),
            _ => return Err(io::Error::other("what answers there isn't PostgreSQL")),
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}
