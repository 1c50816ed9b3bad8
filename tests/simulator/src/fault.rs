//! Faults: which requests they hit, and what happens to those.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// One fault: every request that `when` describes gets `then`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests.
    #[serde(default)]
    pub when: When,
    /// What happens.
    pub then: Then,
    /// Headers added to the answer, e.g. `Retry-After`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// Which requests a fault hits; what isn't given doesn't matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Path as on the wire, still percent-encoded; `*` stands for any characters.
    pub path: Option<String>,
    /// Raw query, with `*` in the same way.
    pub query: Option<String>,
    /// Request method.
    pub method: Option<String>,
    /// Email of the user: by access token, or by refresh token at the token endpoint.
    pub user: Option<String>,
    /// Only first pages (no pageToken), or only later ones.
    pub page: Option<Pages>,
    /// The first match that is hit, counted from 1.
    pub nth: Option<u64>,
    /// How many are hit at most; unlimited if absent.
    pub count: Option<u64>,
    /// Chance of a match to be hit, 0 to 1, from the simulator's seed.
    pub probability: Option<f64>,
}

/// Pages of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// Without pageToken.
    First,
    /// With one.
    Later,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Then {
    /// A documented error by name; see [`crate::preset::names`].
    Error(String),
    /// Any answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Body as it is.
        #[serde(default)]
        body: String,
    },
    /// The request waits until it is released.
    Hold(Moment),
    /// The request waits this long, real time.
    DelayMs(u64),
    /// The connection ends without an answer.
    NoAnswer,
    /// A complete HTTP answer whose JSON stops in the middle.
    TruncatedJson,
    /// The connection ends in the middle of the body.
    ResetMidBody,
    /// The body trickles.
    SlowBody {
        /// Bytes at a time.
        chunk_bytes: usize,
        /// Pause after each.
        pause_ms: u64,
    },
    /// The body comes in small chunks.
    ChunkedBody {
        /// Bytes at a time.
        chunk_bytes: usize,
    },
    /// A page with at most this many items, and a page token.
    ShortPage(usize),
    /// A page without items, and a page token that leads on.
    EmptyPage,
    /// The page's token leads to the page itself.
    PageTokenCycle,
    /// The first item stands in the page twice.
    DuplicateEvent,
    /// The page begins with the last item of the page before.
    DuplicateAcrossPages,
    /// The listing ends without a sync token.
    NoSyncToken,
    /// The answer repeats the Authorization header and the request body in body, header, Location.
    Echo(u16),
    /// A redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to.
        location: String,
    },
}

/// When a request is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the service looks at it: it will see what changes meanwhile.
    Before,
    /// With the answer ready: the answer is in flight while things change.
    #[default]
    After,
}

/// What is known of a request when faults are chosen.
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) user: Option<&'a str>,
}

/// A fault that is set, and what it did so far.
#[derive(Clone, Debug, Serialize)]
pub struct Armed {
    /// For clearing it.
    pub id: u64,
    /// As it was set.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests that matched.
    pub matched: u64,
    /// Requests that were hit.
    pub hit: u64,
}

/// The faults that are set.
#[derive(Debug)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
    last_id: u64,
    rng: ChaCha8Rng,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { armed: Vec::new(), last_id: 0, rng: ChaCha8Rng::seed_from_u64(seed ^ 0xfa17) }
    }

    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        self.last_id += 1;
        self.armed.push(Armed { id: self.last_id, fault, matched: 0, hit: 0 });
        self.last_id
    }

    pub(crate) fn clear(&mut self, id: Option<u64>) {
        self.armed.retain(|armed| id.is_some_and(|id| armed.id != id));
    }

    pub(crate) fn list(&self) -> Vec<Armed> {
        self.armed.clone()
    }

    /// The faults that hit a request, in the order they were set.
    pub(crate) fn hits(&mut self, subject: &Subject<'_>) -> Vec<(u64, Fault)> {
        let mut hits = Vec::new();
        for armed in &mut self.armed {
            let when = &armed.fault.when;
            if !when.fits(subject) {
                continue;
            }
            armed.matched += 1;
            let early = armed.matched < when.nth.unwrap_or(1);
            let spent = when.count.is_some_and(|count| armed.hit >= count);
            if early || spent {
                continue;
            }
            if when.probability.is_some_and(|chance| !self.rng.random_bool(chance.clamp(0.0, 1.0)))
            {
                continue;
            }
            armed.hit += 1;
            hits.push((armed.id, armed.fault.clone()));
        }
        hits
    }
}

impl When {
    fn fits(&self, subject: &Subject<'_>) -> bool {
        let later = subject.query.split('&').any(|part| part.starts_with("pageToken="));
        self.path.as_deref().is_none_or(|path| glob(path, subject.path))
            && self.query.as_deref().is_none_or(|query| glob(query, subject.query))
            && self.method.as_deref().is_none_or(|method| method == subject.method)
            && self.user.as_deref().is_none_or(|user| Some(user) == subject.user)
            && self.page.is_none_or(|page| (page == Pages::Later) == later)
    }
}

impl Fault {
    /// A fault that hits every request.
    pub fn always(then: Then) -> Self {
        Self { when: When::default(), then, headers: BTreeMap::new() }
    }

    /// A fault that hits the requests that `when` describes.
    pub fn when(when: When, then: Then) -> Self {
        Self { when, then, headers: BTreeMap::new() }
    }
}

impl When {
    /// Requests whose path fits a pattern with `*`.
    pub fn path(pattern: &str) -> Self {
        Self { path: Some(pattern.to_owned()), ..Self::default() }
    }

    /// The same, but only the first `count`.
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }
}

/// Whole-text match where `*` stands for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.into_iter().any(|at| glob(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, fits) in [
            ("/token", "/token", true),
            ("/token", "/token2", false),
            ("/calendar/*/events", "/calendar/v3/calendars/a/events", true),
            ("/calendar/*/events", "/calendar/v3/calendars/a/events/b", false),
            ("*pageToken=*", "a=b&pageToken=x", true),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_fault_hits_from_the_nth_match_on_and_count_times() {
        let mut faults = Faults::new(1);
        let when = When { nth: Some(2), count: Some(2), ..When::path("/token") };
        faults.add(Fault::when(when, Then::NoAnswer));
        let hit = |faults: &mut Faults, path: &str| {
            let subject = Subject { method: "POST", path, query: "", user: None };
            !faults.hits(&subject).is_empty()
        };
        assert!(!hit(&mut faults, "/other"));
        let hits: Vec<bool> = (0..5).map(|_| hit(&mut faults, "/token")).collect();
        assert_eq!(hits, [false, true, true, false, false]);
    }

    #[test]
    fn faults_read_from_json() {
        let text = r#"{"when": {"path": "/token", "page": "later"}, "then": {"error": "deleted"}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.then, Then::Error("deleted".to_owned()));
        let fault: Fault = serde_json::from_str(r#"{"then": "empty_page"}"#).unwrap();
        assert_eq!(fault.then, Then::EmptyPage);
        assert!(serde_json::from_str::<Fault>(r#"{"then": "no_such_thing"}"#).is_err());
    }
}
