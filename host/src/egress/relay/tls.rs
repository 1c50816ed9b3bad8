//! TLS as PostgreSQL begins it: one message in clear that asks for it, one letter that answers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{Stream, Tls};

/// Length 8, and the number that stands for it.
pub(super) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How connections become encrypted. Clones are the same.
#[derive(Clone)]
pub(super) struct Handshakes {
    verified: Arc<ClientConfig>,
    unverified: Arc<ClientConfig>,
}

impl Handshakes {
    pub(super) fn new() -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let config = || {
            let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
            config.with_safe_default_protocol_versions()
        };
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let verified = config()?.with_root_certificates(roots).with_no_client_auth();
        let anybody = Arc::new(Anybody(Arc::clone(&provider)));
        let unverified =
            config()?.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth();
        Ok(Self { verified: Arc::new(verified), unverified: Arc::new(unverified) })
    }

    /// The same connection, encrypted as `tls` says.
    pub(super) async fn secure(
        &self,
        mut stream: TcpStream,
        host: &str,
        tls: Tls,
    ) -> io::Result<Box<dyn Stream>> {
        let config = match tls {
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
        let encrypted = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        Ok(Box::new(encrypted))
    }
}

/// Takes any certificate, as `sslmode=require` does: nobody can listen who only listens.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
