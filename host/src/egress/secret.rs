//! Where secrets come from and go to, and what one session knows of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use super::message::Presence;

/// The secrets of one owner. Names are those of the manifest.
pub trait SecretSource: Send + Sync {
    /// The current value. The error is trouble of the host's.
    fn value<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<SecretValue>, String>>;

    /// Stores a value that an answer brought; durable when it returns. `expires_in_s` has the
    /// manifest's margin taken off; `used` are the versions of the secrets that the request sent.
    fn capture<'a>(
        &'a self,
        name: &'a str,
        value: &'a str,
        expires_in_s: Option<u64>,
        used: Vec<(String, i64)>,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Is it there and alive? With `wait`, one caller is told `Missing`, the others wait for it.
    fn presence<'a>(&'a self, name: &'a str, wait: bool) -> BoxFuture<'a, Presence>;

    /// The vendor refused this version (none: the call sent none); a newer one stays.
    fn forget<'a>(&'a self, name: &'a str, version: Option<i64>) -> BoxFuture<'a, ()>;
}

/// A secret and which one of its successive values this is.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct SecretValue {
    pub text: Zeroizing<String>,
    pub version: i64,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue {{ version: {}, .. }}", self.version)
    }
}

/// What one session has sent and received.
#[derive(Default)]
pub(super) struct Known(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Texts to mask: values sent or captured, and the Basic pairs made of them.
    texts: Vec<Arc<Zeroizing<String>>>,
    /// The version of each secret that was sent last.
    sent: BTreeMap<String, i64>,
}

impl Known {
    /// Texts to look for in answers.
    pub(super) fn texts(&self) -> Vec<Arc<Zeroizing<String>>> {
        self.lock().texts.clone()
    }

    pub(super) fn add(&self, text: &str) {
        let mut inner = self.lock();
        if !inner.texts.iter().any(|known| known.as_str() == text) {
            inner.texts.push(Arc::new(Zeroizing::new(text.to_owned())));
        }
    }

    pub(super) fn sent(&self, name: &str, version: i64) {
        self.lock().sent.insert(name.to_owned(), version);
    }

    pub(super) fn sent_version(&self, name: &str) -> Option<i64> {
        self.lock().sent.get(name).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
