use std::net::IpAddr;

use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::*;
use crate::egress::connect::tests::{PATIENCE, Swallowing};
use crate::egress::resolve::tests::Turning;

fn relays() -> Relays {
    Relays::new(Chance::from_system(), Clock::System).unwrap()
}

fn relays_by(lookup: Arc<dyn Lookup>) -> Relays {
    Relays::with_lookup(lookup, Chance::from_system(), Clock::System).unwrap()
}

fn server(host: &str, port: u16, private_addresses: bool) -> DatabaseServer {
    DatabaseServer { host: host.into(), port, tls: Tls::Never, private_addresses }
}

/// A server on this machine that says what it is told to, behind one byte of the client's.
async fn saying(parts: Vec<Vec<u8>>) -> DatabaseServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if stream.read_u8().await.is_err() {
            return;
        }
        for part in parts {
            stream.write_all(&part).await.unwrap();
        }
        // Until the relay has gone; whoever closes with something unread takes back what it said.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    server("127.0.0.1", port, true)
}

fn message(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    for (host, says, allowed_by) in [
        ("127.0.0.1", "127.0.0.1", "allow_http"),
        ("::1", "::1", "allow_http"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "allow_http"),
        ("10.1.2.3", "10.1.2.3", "allow_private_addresses"),
        ("169.254.169.254", "169.254.169.254", "allow_private_addresses"),
        ("0x7f.1", "`0x7f.1` resolves to 127.0.0.1, which", "allow_private_addresses"),
    ] {
        let refused = relays().open(&server(host, 1, false)).await.unwrap_err();
        let HttpError::Denied(text) = refused else { panic!("{host}: {refused}") };
        let expected = format!(
            "{says} isn't a public address; the operator can allow it by delivery.{allowed_by}"
        );
        assert_eq!(text, expected);
    }
    let refused = relays().open(&server("localhost", 1, false)).await.unwrap_err().to_string();
    assert!(refused.contains("`localhost` resolves to "), "{refused}");
    assert!(refused.ends_with("delivery.allow_http"), "{refused}");
    let turns = ["169.254.169.254", "::ffff:10.0.0.1", "127.0.0.1"];
    let relays = relays_by(Turning::new(&turns));
    for _ in turns {
        let refused = relays.open(&server("db.example", 1, false)).await.unwrap_err();
        assert!(matches!(refused, HttpError::Denied(_)), "{refused}");
    }
}

/// What a name said before, and what an earlier connection was allowed, counts for nothing.
#[tokio::test]
async fn a_name_is_asked_anew_for_each_connection() {
    let DatabaseServer { port, .. } = saying(Vec::new()).await;
    let turning = Turning::new(&["127.0.0.1", "127.0.0.1", "169.254.169.254"]);
    let relays = relays_by(turning.clone());
    let allowed = relays.open(&server("db.example", port, true)).await;
    assert!(allowed.is_ok(), "{allowed:?}");
    for left in [1, 0] {
        let refused = relays.open(&server("db.example", port, false)).await.unwrap_err();
        assert!(matches!(refused, HttpError::Denied(_)), "{refused}");
        assert_eq!(turning.left(), left);
    }
}

/// A name with several addresses.
struct Several(Vec<IpAddr>);

impl Lookup for Several {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let all = self.0.clone();
        Box::pin(async move { Ok(all) })
    }
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_passed_by() {
    let swallowing = Swallowing::start().await;
    let several = Several(swallowing.addresses());
    let relays = relays_by(Arc::new(several));
    let server = server("db.example", swallowing.port(), true);
    let opened = tokio::time::timeout(PATIENCE, relays.open(&server)).await;
    opened.expect("it waits for the first one").unwrap();
    swallowing.answering.accept().await.unwrap();
}

#[tokio::test]
async fn both_ways_are_passed_on_but_for_notices() {
    let (notice, ready) = (message(b'N', 6, b"ab"), message(b'Z', 5, b"I"));
    let server = saying(vec![notice, ready.clone()]).await;
    let relay = relays().open(&server).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(relay.directory()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    let mut client = UnixStream::connect(relay.directory().join(SOCKET)).await.unwrap();
    client.write_all(b"Q").await.unwrap();
    let mut answer = vec![0; ready.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, ready);
    assert!(!relay.directory().exists(), "nobody else can come");
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    for length in [answers::MESSAGE_BYTES_MAX + 1, u32::MAX, 3, 0] {
        let server = saying(vec![message(b'D', length, b"")]).await;
        let relay = relays().open(&server).await.unwrap();
        let mut client = UnixStream::connect(relay.directory().join(SOCKET)).await.unwrap();
        client.write_all(b"Q").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, message(b'E', 45, REFUSED), "{length}");
    }
}

/// What the client is told.
const REFUSED: &[u8] = b"SFATAL\0C08P01\0Mthe server says too much\0\0";

#[tokio::test]
async fn an_answer_that_does_not_end_ends_the_connection() {
    let row = message(b'D', answers::MESSAGE_BYTES_MAX, &vec![0; (1 << 20) - 4]);
    let ready = message(b'Z', 5, b"I");
    let mut parts = vec![row.clone(); 3];
    parts.push(ready.clone());
    parts.extend(vec![row.clone(); 5]);
    let server = saying(parts).await;
    let relay = relays().open(&server).await.unwrap();
    let mut client = UnixStream::connect(relay.directory().join(SOCKET)).await.unwrap();
    client.write_all(b"Q").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    // Three, and after `ready` as many as fit.
    let refused = message(b'E', 45, REFUSED);
    assert_eq!(answer.len(), 7 * row.len() + ready.len() + refused.len());
    assert!(answer.ends_with(&refused));
}

#[tokio::test]
async fn tls_that_must_be_is_not_done_without() {
    for (tls, answer, says) in [
        (Tls::Always, b'N', "the server offers no TLS"),
        (Tls::Verified, b'N', "the server offers no TLS"),
        (Tls::IfOffered, b'E', "what answers there isn't PostgreSQL"),
    ] {
        let server = DatabaseServer { tls, ..saying(vec![vec![answer]]).await };
        let refused = relays().open(&server).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{tls:?}: {refused}");
    }
    let server = DatabaseServer { tls: Tls::IfOffered, ..saying(vec![vec![b'N']]).await };
    relays().open(&server).await.unwrap();
}

/// A server whose certificate, for this machine, nobody vouches for. It says one message.
async fn encrypted(said: Vec<u8>) -> DatabaseServer {
    let certificate = CertificateDer::from(include_bytes!("tests/certificate.der").as_slice());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("tests/key.der").as_slice());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request, handshake::SSL_REQUEST);
        stream.write_all(b"S").await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
            return;
        };
        if stream.read_u8().await.is_ok() {
            stream.write_all(&said).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    server("127.0.0.1", port, true)
}

#[tokio::test]
async fn who_a_server_is_is_checked_where_it_was_asked_for() {
    let ready = message(b'Z', 5, b"I");
    for tls in [Tls::IfOffered, Tls::Always] {
        let server = DatabaseServer { tls, ..encrypted(ready.clone()).await };
        let relay = relays().open(&server).await.unwrap();
        let mut client = UnixStream::connect(relay.directory().join(SOCKET)).await.unwrap();
        client.write_all(b"Q").await.unwrap();
        let mut answer = vec![0; ready.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, ready, "{tls:?}");
    }
    let server = DatabaseServer { tls: Tls::Verified, ..encrypted(ready).await };
    let refused = relays().open(&server).await.unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
async fn what_nobody_came_for_leaves_nothing() {
    let server = saying(Vec::new()).await;
    let relay = relays().open(&server).await.unwrap();
    let directory = relay.directory().to_owned();
    assert!(directory.join(SOCKET).exists());
    drop(relay);
    assert!(!directory.exists());
}

#[tokio::test]
async fn one_that_stands_leads_each_client_anew() {
    let ready = message(b'Z', 5, b"I");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = ready.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let said = said.clone();
            tokio::spawn(async move {
                stream.read_u8().await.unwrap();
                stream.write_all(&said).await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let here = relays().stand(server("127.0.0.1", port, true)).unwrap();
    // Looked up for each client.
    let turns = ["127.0.0.1", "169.254.169.254"];
    let relays = relays_by(Turning::new(&turns));
    let named = relays.stand(server("db.example", port, false)).unwrap();
    let ask = async |relay: &Relay| {
        let mut client = UnixStream::connect(relay.directory().join(SOCKET)).await.unwrap();
        client.write_all(b"Q").await.unwrap();
        let mut answer = vec![0; ready.len()];
        client.read_exact(&mut answer).await.unwrap();
        let kept = answer.clone();
        if answer[0] == b'E' {
            client.read_to_end(&mut answer).await.unwrap();
        }
        (client, kept, String::from_utf8_lossy(&answer).into_owned())
    };
    // Both at once.
    let (_one, first, _) = ask(&here).await;
    let (_other, second, _) = ask(&here).await;
    assert_eq!((&first, &second), (&ready, &ready));
    for _ in 0..2 {
        let (_, _, says) = ask(&named).await;
        assert!(says.contains("isn't a public address"), "{says}");
    }
    let directory = here.directory().to_owned();
    drop(here);
    assert!(!directory.exists());
}
