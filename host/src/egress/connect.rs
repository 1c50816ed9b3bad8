//! Connects to the first of a server's addresses that answers. They are tried a moment apart (RFC 8305):
//! one that swallows what it is sent costs that moment, and not all the time there is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// As the RFC recommends it.
const APART: Duration = Duration::from_millis(250);

/// No name makes us knock at more doors.
const ADDRESSES_MAX: usize = 8;

/// Connects to one of these addresses, each of which may be connected to. It takes as long as they let
/// it: to be called under a timeout.
///
/// # Errors
/// None answers; why the first one that failed didn't.
pub(super) async fn connect(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = in_turn(addresses).into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failed = None;
    loop {
        let next = waiting.next().map(|address| SocketAddr::new(address, port));
        trying.extend(next.map(TcpStream::connect));
        let ended = match waiting.len() {
            0 => trying.next().await,
            _ => match tokio::time::timeout(APART, trying.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failed = failed.or(Some(error)),
            None => {
                let nowhere = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
                return Err(failed.unwrap_or_else(nowhere));
            }
        }
    }
}

/// The resolver's order, with the two families in turn: one of them may lead nowhere at all.
fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    while all.len() < ADDRESSES_MAX {
        let before = all.len();
        all.extend(first.next());
        all.extend(second.next());
        if all.len() == before {
            break;
        }
    }
    all.truncate(ADDRESSES_MAX);
    all
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Connections to another address of the same port get no answer, as behind a firewall that drops
    /// what it doesn't like: the queue of its listener is full. Lives as long as this value.
    pub(in crate::egress) struct Swallowing {
        pub(in crate::egress) swallowing: IpAddr,
        pub(in crate::egress) answering: TcpListener,
        _full: (TcpListener, TcpStream),
    }

    impl Swallowing {
        pub(in crate::egress) async fn start() -> Self {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let full = socket.listen(0).unwrap();
            let at = full.local_addr().unwrap();
            let first = TcpStream::connect(at).await.unwrap();
            let answering = TcpListener::bind(("127.0.0.2", at.port())).await.unwrap();
            Self { swallowing: at.ip(), answering, _full: (full, first) }
        }

        /// The one that swallows comes first.
        pub(in crate::egress) fn addresses(&self) -> Vec<IpAddr> {
            vec![self.swallowing, self.answering.local_addr().unwrap().ip()]
        }

        pub(in crate::egress) fn port(&self) -> u16 {
            self.answering.local_addr().unwrap().port()
        }
    }

    /// Far less than the system waits for an answer to a connection.
    pub(in crate::egress) const PATIENCE: Duration = Duration::from_secs(15);

    #[tokio::test]
    async fn an_address_that_swallows_everything_is_passed_by() {
        let server = Swallowing::start().await;
        let (addresses, port) = (server.addresses(), server.port());
        let connected = tokio::time::timeout(PATIENCE, connect(addresses.clone(), port)).await;
        let stream = connected.expect("it waits for the first one").unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), addresses[1]);
    }

    #[tokio::test]
    async fn where_nobody_answers_the_first_says_why() {
        let refused = connect(vec!["127.0.0.1".parse().unwrap()], 1).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = connect(Vec::new(), 1).await.unwrap_err();
        assert_eq!(nowhere.to_string(), "it has no address");
    }

    #[test]
    fn families_have_their_turns() {
        for (found, order) in [
            ("::1 ::2 ::3 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2 ::3"),
            ("1.1.1.1 ::1 2.2.2.2", "1.1.1.1 ::1 2.2.2.2"),
            ("1.1.1.1 2.2.2.2", "1.1.1.1 2.2.2.2"),
            ("::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8 ::9 1.1.1.1", "::1 1.1.1.1 ::2 ::3 ::4 ::5 ::6 ::7"),
            ("", ""),
        ] {
            let addresses = found.split_whitespace().map(|address| address.parse().unwrap());
            let turns = in_turn(addresses.collect());
            let turns: Vec<String> = turns.iter().map(IpAddr::to_string).collect();
            assert_eq!(turns.join(" "), order);
        }
    }
}
