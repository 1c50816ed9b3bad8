//! Resolves names for the connector, and hands it only addresses that may be reached. Every new
//! connection passes here, so a name that changes its answer gains nothing.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::{fmt, io};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;

/// Names to addresses.
pub trait Lookup: Send + Sync {
    /// All addresses of a host name.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A name that leads to no address which may be reached, or one that is no such address.
#[derive(Debug)]
pub(super) struct Blocked {
    host: String,
    address: IpAddr,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        match host.parse::<IpAddr>() {
            Ok(_) => write!(f, "{address} isn't a public address"),
            Err(_) => write!(f, "`{host}` resolves to {address}, which isn't a public address"),
        }
    }
}

impl Error for Blocked {}

/// The connector's resolver.
pub(super) struct Guard {
    pub(super) lookup: Arc<dyn Lookup>,
    /// The grant of this connection allows any address.
    pub(super) private_addresses: bool,
}

/// Those addresses of a host that may be reached.
pub(super) fn reachable(
    host: &str,
    mut addresses: Vec<IpAddr>,
    private_addresses: bool,
) -> Result<Vec<IpAddr>, Blocked> {
    if private_addresses {
        return Ok(addresses);
    }
    let blocked = addresses.iter().copied().find(|address| !is_public(*address));
    addresses.retain(|address| is_public(*address));
    match blocked {
        Some(address) if addresses.is_empty() => Err(Blocked { host: host.to_owned(), address }),
        _ => Ok(addresses),
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = self.lookup.lookup(host.clone());
        let private_addresses = self.private_addresses;
        Box::pin(async move {
            let reachable = reachable(&host, found.await?, private_addresses);
            let addresses =
                reachable.map_err(|blocked| Box::new(blocked) as Box<dyn Error + Send + Sync>)?;
            // Port 0: the connector takes the URL's.
            let sockets = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// A name that says something else each time.
    pub(in crate::egress) struct Turning(Mutex<VecDeque<IpAddr>>);

    impl Turning {
        /// In this order.
        pub(in crate::egress) fn new(turns: &[&str]) -> Arc<Self> {
            let turns = turns.iter().map(|turn| turn.parse().unwrap());
            Arc::new(Self(Mutex::new(turns.collect())))
        }

        /// Turns that nobody has asked for yet.
        pub(in crate::egress) fn left(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl Lookup for Turning {
        fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let next = self.0.lock().unwrap().pop_front().unwrap();
            Box::pin(async move { Ok(vec![next]) })
        }
    }

    #[tokio::test]
    async fn a_name_that_turns_private_is_refused() {
        let lookup = Turning::new(&["8.8.8.8", "10.0.0.1", "8.8.8.8", "169.254.169.254"]);
        let guard = Guard { lookup, private_addresses: false };
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        for private in ["10.0.0.1", "169.254.169.254"] {
            let resolve = || guard.resolve("receiver.example".parse().unwrap());
            let found: Vec<SocketAddr> = resolve().await.unwrap().collect();
            assert_eq!(found, [public]);
            let refused = resolve().await.err().unwrap();
            let blocked = refused.downcast_ref::<Blocked>().unwrap();
            assert_eq!(blocked.address.to_string(), private);
        }
    }
}
