//! A scripted HTTP/1.1 server: it answers what it is told, byte for byte.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What follows a request.
pub(super) enum Reply {
    /// An answer; the connection stays.
    Whole(Vec<u8>),
    /// These bytes, then silence.
    Hang(Vec<u8>),
    /// These bytes, then the end of the connection.
    Close(Vec<u8>),
    /// An answer after a signal.
    After(Arc<Notify>, Vec<u8>),
}

pub(super) struct Server {
    port: u16,
    /// Head and body of each request.
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    pub(super) arrived: Arc<Notify>,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            arrived: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, arrived) = (Arc::clone(&server.seen), Arc::clone(&server.arrived));
        let (connections, answer) = (Arc::clone(&server.connections), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, arrived) = (Arc::clone(&seen), Arc::clone(&arrived));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { connection(stream, &seen, &arrived, &*answer).await });
            }
        });
        server
    }

    /// Its origin under a host name.
    pub(super) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    pub(super) fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

async fn connection(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    arrived: &Notify,
    answer: &(impl Fn(&str) -> Reply + Sync),
) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let reply = answer(&request);
        seen.lock().unwrap().push(request);
        arrived.notify_one();
        match reply {
            Reply::Whole(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::After(signal, bytes) => {
                signal.notified().await;
                stream.write_all(&bytes).await.ok()?;
            }
            Reply::Close(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return None;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4_096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}

/// A whole answer.
pub(super) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(super) fn ok(body: &str) -> Reply {
    Reply::Whole(answer("200 OK", "", body.as_bytes()))
}
