use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// Of `localhost`, for these tests alone.
const CERTIFICATE: &[u8] = include_bytes!("tests/certificate.pem");
const KEY: &[u8] = include_bytes!("tests/key.pem");

fn letter() -> Letter {
    let made = Letter::new("rowgate@example.com", "ana@example.org", "A subject", ".x\ny", 0, "id");
    made.unwrap()
}

fn smtp(url: &str) -> Smtp {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    Smtp::trusting(url, roots).unwrap()
}

fn acceptor() -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// A server that serves one client and tells all that it heard. What a client says up to each of the
/// beginnings is answered with what stands beside it.
struct Server {
    address: SocketAddr,
    heard: tokio::task::JoinHandle<String>,
}

type Lines = Vec<(&'static str, &'static str)>;

impl Server {
    /// `tls_at`: after how many answers TLS begins.
    async fn start(tls_at: Option<usize>, lines: Lines) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
            let mut heard = String::new();
            for (at, (beginning, answer)) in lines.into_iter().enumerate() {
                if tls_at == Some(at) {
                    let accepted = acceptor().accept(stream.into_inner()).await;
                    let Ok(accepted) = accepted else { return heard };
                    stream = BufReader::new(Box::new(accepted));
                }
                if !until(&mut stream, beginning, &mut heard).await {
                    return heard;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            heard
        });
        Self { address, heard }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://user:p%40ss@localhost:{}", self.address.port())
    }
}

/// Reads lines up to one that begins so. False: there was none.
async fn until(
    stream: &mut BufReader<Box<dyn Stream>>,
    beginning: &str,
    heard: &mut String,
) -> bool {
    loop {
        if beginning.is_empty() {
            return true;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        heard.push_str(&line);
        if line.starts_with(beginning) {
            return true;
        }
    }
}

/// The conversation after the first hello.
fn whole(first: Lines) -> Lines {
    let rest = [
        ("AUTH PLAIN AHVzZXIAcEBzcw==\r\n", "235 welcome\r\n"),
        ("MAIL FROM:<rowgate@example.com>\r\n", "250 ok\r\n"),
        ("RCPT TO:<ana@example.org>\r\n", "251 not here; it is forwarded\r\n"),
        ("DATA\r\n", "354 go on\r\n"),
        (".\r\n", "250 taken\r\n"),
    ];
    first.into_iter().chain(rest).collect()
}

const HELLO: &str = "250-mail.example\r\n250-SIZE 1000\r\n250 AUTH LOGIN PLAIN\r\n";

#[tokio::test]
async fn a_letter_is_handed_over_by_each_way() {
    let clear = whole(vec![("", "220 hi\r\n"), ("EHLO example.com\r\n", HELLO)]);
    let tls = clear.clone();
    let upgraded = whole(vec![
        ("", "220 hi\r\n"),
        ("EHLO example.com\r\n", "250-mail.example\r\n250 STARTTLS\r\n"),
        ("STARTTLS\r\n", "220 go\r\n"),
        ("EHLO example.com\r\n", HELLO),
    ]);
    for (scheme, security, tls_at, lines) in [
        ("smtp", Security::Clear, None, clear),
        ("smtps", Security::Tls, Some(0), tls),
        ("smtp", Security::StartTls, Some(3), upgraded),
    ] {
        let server = Server::start(tls_at, lines).await;
        let smtp = Smtp { security, ..smtp(&server.url(scheme)) };
        smtp.send(&letter()).await.unwrap();
        let heard = server.heard.await.unwrap();
        assert!(heard.contains("Subject: A subject\r\n"), "{heard}");
        assert!(heard.ends_with("\r\n\r\n..x\r\ny\r\n.\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn refusals_and_broken_servers_are_told_apart() {
    let hi = ("", "220 hi\r\n");
    let hello = ("EHLO example.com\r\n", HELLO);
    let auth = ("AUTH", "235 welcome\r\n");
    for (lines, may_pass, says) in [
        (vec![("", "554 go away\r\n")], false, "answered 554: go away"),
        (vec![("", "421 later\r\n")], true, "answered 421: later"),
        (vec![("", "HTTP/1.1 400 Bad Request\r\n")], true, "doesn't speak SMTP"),
        (vec![hi, ("EHLO", "")], true, "hung up"),
        (vec![hi, ("EHLO", "250 mail.example\r\n")], false, "no AUTH PLAIN"),
        (vec![hi, hello, ("AUTH", "535 no\r\n")], false, "answered 535: no"),
        (vec![hi, hello, auth, ("MAIL", "451-wait\r\n451 a bit\r\n")], true, "451: wait a bit"),
        (
            vec![hi, hello, auth, ("MAIL", "250 ok\r\n"), ("RCPT", "550 nobody\r\n")],
            false,
            "550: nobody",
        ),
    ] {
        let server = Server::start(None, lines).await;
        let refused = smtp(&server.url("smtp")).send(&letter()).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused} instead of {says}");
        assert_eq!(refused.may_pass(), may_pass, "{refused}");
    }
}

#[tokio::test]
async fn nothing_is_sent_in_clear_to_another_machine() {
    let lines = vec![("", "220 hi\r\n"), ("EHLO", HELLO), ("AUTH", "235 welcome\r\n")];
    let server = Server::start(None, lines).await;
    let remote = Smtp { security: Security::StartTls, ..smtp(&server.url("smtp")) };
    let refused = remote.send(&letter()).await.unwrap_err();
    assert!(refused.to_string().contains("no STARTTLS"), "{refused}");
    drop(remote);
    assert_eq!(server.heard.await.unwrap(), "EHLO example.com\r\n");

    // What comes before TLS must not be taken for what comes in it.
    let lines = vec![
        ("", "220 hi\r\n"),
        ("EHLO", "250 STARTTLS\r\n"),
        ("STARTTLS", "220 go\r\n250 AUTH PLAIN\r\n"),
    ];
    let server = Server::start(None, lines).await;
    let remote = Smtp { security: Security::StartTls, ..smtp(&server.url("smtp")) };
    let refused = remote.send(&letter()).await.unwrap_err();
    assert!(refused.to_string().contains("before TLS"), "{refused}");

    // Nor is a certificate taken that nobody vouches for.
    let server = Server::start(Some(0), vec![("", "220 hi\r\n")]).await;
    let remote = Smtp::parse(&server.url("smtps")).unwrap();
    let refused = remote.send(&letter()).await.unwrap_err();
    assert!(refused.to_string().contains("TLS with localhost"), "{refused}");
}

#[test]
fn urls_say_how_a_server_is_reached() {
    for (url, host, port, security, user) in [
        ("smtps://a:b@mail.example", "mail.example", 465, Security::Tls, Some("a")),
        ("smtps://mail.example:1465", "mail.example", 1465, Security::Tls, None),
        ("smtp://a%40b:c@mail.example", "mail.example", 587, Security::StartTls, Some("a@b")),
        ("smtp://10.0.0.1", "10.0.0.1", 587, Security::StartTls, None),
        ("smtp://localhost", "localhost", 25, Security::Clear, None),
        ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, Security::Clear, None),
        ("smtp://[::1]:2525", "::1", 2525, Security::Clear, None),
        ("smtp://localhost.evil.example", "localhost.evil.example", 587, Security::StartTls, None),
    ] {
        let smtp = Smtp::parse(url).unwrap();
        assert_eq!((smtp.host.as_str(), smtp.port, smtp.security), (host, port, security), "{url}");
        assert_eq!(smtp.credentials.as_ref().map(|known| known.user.as_str()), user, "{url}");
        assert!(!format!("{smtp:?}").contains('@'), "{smtp:?}");
    }
    for wrong in [
        "",
        "mail.example",
        "http://mail.example",
        "smtp:x",
        "smtps://",
        "smtps://user@mail.example",
    ] {
        assert!(Smtp::parse(wrong).is_err(), "{wrong}");
    }
}
