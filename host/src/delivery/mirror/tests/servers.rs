//! What is said of servers that answer otherwise, or not at all.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn databases_that_do_not_answer_are_told_of_without_secrets() {
    let case = Case::new("ticket_v1");
    let with = |user: &str, database: &str| {
        let url = case.database.url();
        let (start, _) = url.rsplit_once('/').unwrap();
        let url = format!("{start}/{database}").replace("rowgate@", &format!("{user}:hush@"));
        DatabaseAddress::parse(&url, RULES).unwrap()
    };
    let ours = with("rowgate", case.database.name());
    assert_eq!(verify(&case.relays, &ours, None, TIMEOUT).await, Ok(()));
    for (address, says) in [
        (
            with("nobody", "postgres"),
            "it refuses this connection (by its pg_hba.conf: user, address or encryption): role \
             \"***\" does not exist (SQLSTATE 28000)",
        ),
        (with("rowgate", "nothing"), "database \"nothing\" does not exist (SQLSTATE 3D000)"),
    ] {
        let reason = verify(&case.relays, &address, None, TIMEOUT).await.unwrap_err();
        assert_eq!(reason, format!("must answer `select 1`: {says}"));
    }
    let mut closed = with("rowgate", "postgres");
    closed.server.port = 1;
    let reason = verify(&case.relays, &closed, None, TIMEOUT).await.unwrap_err();
    assert!(reason.contains("no connection: 127.0.0.1:1: "), "{reason}");
}

/// What answers the first messages of a client, one after the other, and isn't PostgreSQL.
async fn saying(answers: Vec<Vec<u8>>) -> DatabaseAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            if stream.read(&mut [0; 4_096]).await.unwrap_or(0) == 0 {
                return;
            }
            stream.write_all(&answer).await.unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let url = format!("postgres://ana:hush@127.0.0.1:{port}/d?sslmode=disable");
    DatabaseAddress::parse(&url, RULES).unwrap()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

#[tokio::test]
async fn servers_that_mean_harm_do_none() {
    let relays = Relays::new(Chance::from_system(), Clock::System).unwrap();
    let scram = || message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    for (answers, says) in [
        // Without its kind.
        (vec![message(b'R', b"")], "it doesn't speak as PostgreSQL does"),
        (vec![scram(), message(b'R', b"\0\0\0\x0br=x,,")], "it doesn't speak as PostgreSQL does"),
        // An hour of hashing, which nothing could interrupt.
        (
            vec![scram(), message(b'R', b"\0\0\0\x0br=x,s=AAAA,i=4294967295")],
            "the server wants the password hashed too often (SQLSTATE 08P01)",
        ),
        (
            vec![message(b'E', b"SFATAL\0C28P01\0Mno such password: hush\0\0")],
            "it refuses the user and password",
        ),
        (
            vec![message(
                b'E',
                b"SFATAL\0C28000\0Mno pg_hba.conf entry for user \"ana\" (hush), no encryption\0\0",
            )],
            "it refuses this connection (by its pg_hba.conf: user, address or encryption): no \
             pg_hba.conf entry for user \"***\" (***), no encryption (SQLSTATE 28000)",
        ),
        (
            vec![message(b'E', b"SFATAL\0C08006\0M\x1b]0;gone\x07\n hush \"ana\"\0\0")],
            "]0;gone *** \"***\" (SQLSTATE 08006)",
        ),
    ] {
        let address = saying(answers).await;
        let reason = verify(&relays, &address, None, TIMEOUT).await.unwrap_err();
        let reason = reason.strip_prefix("must answer `select 1`: ").unwrap();
        assert!(reason.starts_with(says), "{reason}");
    }
}
