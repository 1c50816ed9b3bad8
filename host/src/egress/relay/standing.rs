//! A relay that stands: whoever connects to its socket gets a connection of their own to the server,
//! whose address is looked up and checked each time. What a pool of connections needs.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::refusal;
use super::{DatabaseServer, Limits, Relay, Relays, pass_on};

/// A server that hasn't been reached for so long isn't there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

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
            // Aborted with the task.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((client, _)) => {
                            connections.spawn(lead(relays.clone(), server.clone(), client));
                        }
                        Err(error) => {
                            tracing::error!(%error, "a relay to a database ended");
                            return;
                        }
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Relay { directory, task })
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
