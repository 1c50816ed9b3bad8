//! When a host is killed: at a failpoint, while the vendor holds its request, at a random instant.

use std::future;

use rand::Rng;
use simulator::{Fault, Moment, Then, When};
use tests::TestHost;

/// Every second seed dies at one of these. True: inside a step, what it does is half done; false:
/// between steps.
const EDGES: [(&str, bool); 9] = [
    ("webhook_stored", true),
    ("fence_planted", false),
    ("item_called", true),
    ("item_committed", true),
    ("relay_told", true),
    ("streams_taken", false),
    ("page_called", true),
    ("page_committed", true),
    ("stream_put_back", false),
];
/// An instant is so many requests to the vendor away, or so many lines of the log.
const REQUESTS: std::ops::Range<u64> = 1..12;
const LINES: std::ops::Range<usize> = 10..200;

/// When a host is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kill {
    /// At the count-th arrival at a failpoint, by itself.
    Edge { name: &'static str, count: u64, is_inside: bool },
    /// While the vendor holds its n-th request.
    Held { nth: u64, moment: Moment },
    /// When so many requests more have come to the vendor, whatever it is doing then.
    Requests(u64),
    /// When it has logged so many lines more. On files each of its statements is one.
    Lines(usize),
}

/// Where a load ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// The host died at its edge.
    Edge,
    /// A request waits at the vendor.
    Held,
    /// The random instant has come, and the host wasn't at rest.
    Instant,
    /// The host came to rest.
    Rest,
}

/// A kill that is prepared.
pub(crate) struct Armed {
    kill: Kill,
    /// The fault that holds a request.
    fault: Option<u64>,
    /// Number of the vendor's last request before.
    requests: u64,
    /// Lines of the log before.
    lines: usize,
}

impl Kill {
    /// A failpoint's name, and how often the host gets there.
    pub(crate) fn edge(name: &'static str, count: u64) -> Self {
        let known = EDGES.iter().find(|(known, _)| *known == name);
        Self::Edge { name, count, is_inside: known.is_none_or(|(_, is_inside)| *is_inside) }
    }

    /// Half the seeds die at edges, a quarter with a request held, a quarter at random instants.
    pub(crate) fn of_seed(seed: u64, random: &mut impl Rng) -> Self {
        let (name, _) = EDGES[(seed / 2) as usize % EDGES.len()];
        match seed % 4 {
            0 | 2 => Self::edge(name, random.random_range(1..4)),
            1 => Self::Held {
                nth: random.random_range(1..5),
                moment: if random.random() { Moment::Before } else { Moment::After },
            },
            _ => Self::instant(random),
        }
    }

    fn instant(random: &mut impl Rng) -> Self {
        let (requests, lines) = (random.random_range(REQUESTS), random.random_range(LINES));
        // On a server statements aren't logged.
        let by_line = random.random() && !tests::is_on_postgres();
        if by_line { Self::Lines(lines) } else { Self::Requests(requests) }
    }

    pub(crate) fn is_edge(self) -> bool {
        matches!(self, Self::Edge { .. })
    }

    pub(crate) fn is_instant(self) -> bool {
        matches!(self, Self::Requests(_) | Self::Lines(_))
    }

    /// Prepares it, where need be by another start of the host.
    pub(crate) async fn arm(self, host: &mut TestHost) -> Armed {
        let mut fault = None;
        match self {
            Self::Edge { name, count, .. } => {
                host.set_env("ROWGATE_FAILPOINT", Some(&format!("{name}:{count}")));
                host.restart().await;
            }
            Self::Held { nth, moment } => {
                let when = When { nth: Some(nth), count: Some(1), ..When::default() };
                fault = Some(host.simulator.add_fault(Fault::when(when, Then::Hold(moment))));
            }
            Self::Requests(_) => {}
            Self::Lines(_) => {
                host.set_env("ROWGATE_LOG_LEVEL", Some("info,rowgate=debug,sqlx=debug"));
                host.restart().await;
            }
        }
        let requests = host.simulator.requests().last().map_or(0, |seen| seen.number);
        Armed { kill: self, fault, requests, lines: host.lines_logged() }
    }
}

impl Armed {
    /// Waits for the random instant; none comes where the kill has another time.
    pub(crate) async fn instant(&self, host: &TestHost) {
        match self.kill {
            Kill::Edge { .. } | Kill::Held { .. } => future::pending().await,
            Kill::Requests(count) => {
                let comes = |seen: &simulator::Seen| seen.number >= self.requests + count;
                host.simulator.await_request(comes).await;
            }
            Kill::Lines(count) => host.await_lines(self.lines + count).await,
        }
    }

    /// Waits until the host rests, is dead, or waits for a held answer.
    pub(crate) async fn end(&self, host: &TestHost) -> End {
        let url = format!("{}/statusz/idle", host.base_url());
        let idle = async {
            let answered = match crate::posts::client().get(url).send().await {
                Ok(answer) => answer.text().await.is_ok(),
                Err(_) => false,
            };
            if answered { End::Rest } else { End::Edge }
        };
        match self.kill {
            Kill::Held { .. } => tokio::select! {
                end = idle => end,
                _ = host.simulator.await_held(1) => End::Held,
            },
            Kill::Edge { .. } | Kill::Requests(_) | Kill::Lines(_) => idle.await,
        }
    }

    /// Nothing of it is left for the next start of the host.
    pub(crate) fn disarm(&self, host: &mut TestHost) {
        if self.fault.is_some() {
            host.simulator.clear_faults(self.fault);
        }
        host.set_env("ROWGATE_FAILPOINT", None);
        host.set_env("ROWGATE_LOG_LEVEL", None);
    }
}
