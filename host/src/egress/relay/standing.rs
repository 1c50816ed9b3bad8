//! A relay that stands: whoever connects to its socket gets a connection of their own to the server,
//! whose address is looked up and checked each time. What a pool of connections needs.

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::refusal;
use super::{DatabaseServer, Limits, Relay, Relays, pass_on};
use crate::clock::Clock;

/// A server that hasn't been reached for so long isn't there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Before a client is let in again after that failed; doubled each time that it goes on failing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Of what a client begins with. The rest stays where it is until the server is reached.
const BEGINNING_BYTES: usize = 4 << 10;

impl Relays {
    /// Stands until it is dropped. Nothing is connected to before a client comes; one for whom the
    /// server can't be reached is told why, as a server's answer.
    ///
    /// # Errors
    /// If no socket can be made.
    pub fn stand(&self, server: DatabaseServer) -> io::Result<Relay> {
        let (directory, listener) = self.listen()?;
        let relays = self.clone();
        let task = tokio::spawn(async move {
            let clients = stream::poll_fn(|context| {
                listener
                    .poll_accept(context)
                    .map(|accepted| Some(accepted.map(|(client, _)| client)))
            });
            let lead = |client| lead(relays.clone(), server.clone(), client);
            lead_all(clients, &relays.clock, lead).await;
        });
        Ok(Relay { directory, task })
    }
}

/// For as long as clients can come. That one can't be let in, since the system has no more sockets to give, passes.
async fn lead_all<F>(
    mut clients: impl Stream<Item = io::Result<UnixStream>> + Unpin,
    clock: &Clock,
    lead: impl Fn(UnixStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // Aborted with the task.
    let mut connections = JoinSet::new();
    let mut pause = PAUSE_MIN;
    loop {
        let client = tokio::select! {
            client = clients.next() => client,
            Some(_) = connections.join_next() => continue,
        };
        match client {
            None => return,
            Some(Ok(client)) => {
                connections.spawn(lead(client));
                pause = PAUSE_MIN;
            }
            Some(Err(error)) => {
                if pause == PAUSE_MIN {
                    tracing::error!(%error, "a relay to a database lets nobody in; it tries again");
                }
                clock.sleep(pause).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
        }
    }
}

async fn lead(relays: Relays, server: DatabaseServer, mut client: UnixStream) {
    let reached = match timeout(CONNECT_MAX, relays.reach(&server)).await {
        Ok(reached) => reached.map_err(|error| error.to_string()),
        Err(_) => Err(format!("{}:{}: no answer in time", server.host, server.port)),
    };
    match reached {
        // Either end sees that it is over.
        Ok(stream) => drop(pass_on(client, stream, &Limits::TABLES).await),
        Err(reason) => {
            // One who still speaks would miss the answer.
            let _ = client.read(&mut [0; BEGINNING_BYTES]).await;
            let _ = client.write_all(&refusal(&reason)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn one_that_can_let_nobody_in_tries_again() {
        let clock = Clock::simulated(0);
        let (asked, served) = (Cell::new(0), Cell::new(0));
        let clients = RefCell::new(VecDeque::new());
        let full = || Err(io::Error::other("too many open files"));
        let door = stream::poll_fn(|_| match clients.borrow_mut().pop_front() {
            Some(client) => {
                asked.set(asked.get() + 1);
                Poll::Ready(Some(client))
            }
            None => Poll::Pending,
        });
        let lead = |_| {
            served.set(served.get() + 1);
            std::future::ready(())
        };
        let mut standing = pin!(lead_all(door, &clock, lead));
        let mut context = Context::from_waker(Waker::noop());
        let mut go_on = || assert!(standing.as_mut().poll(&mut context).is_pending());
        // The second time it begins with the shortest pause again.
        for _ in 0..2 {
            tokio::task::yield_now().await;
            asked.set(0);
            clients.borrow_mut().extend((0..8).map(|_| full()));
            clients.borrow_mut().push_back(Ok(UnixStream::pair().unwrap().0));
            go_on();
            for (at, pause_ms) in
                [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].into_iter().enumerate()
            {
                assert_eq!(asked.get(), at + 1);
                clock.advance(Duration::from_millis(pause_ms - 1));
                go_on();
                assert_eq!(asked.get(), at + 1, "it waits {pause_ms} ms");
                clock.advance(Duration::from_millis(1));
                go_on();
            }
            assert_eq!(asked.get(), 9);
        }
        assert_eq!(served.get(), 2);
    }
}
