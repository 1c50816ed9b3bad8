//! Request limits in a sliding window, unless a test says otherwise of a minute: 600 for a user, 10,000
//! for the project.

use std::collections::{BTreeMap, VecDeque};

const MINUTE_US: i64 = 60_000_000;

/// Requests of the last window.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) is_on: bool,
    pub(crate) per_user: usize,
    pub(crate) per_project: usize,
    pub(crate) window_us: i64,
    /// The most that the project had in a window.
    pub(crate) busiest: usize,
    project: VecDeque<i64>,
    users: BTreeMap<String, VecDeque<i64>>,
}

/// Which limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    User,
    Project,
}

impl Limits {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            per_user: 600,
            per_project: 10_000,
            window_us: MINUTE_US,
            busiest: 0,
            project: VecDeque::new(),
            users: BTreeMap::new(),
        }
    }

    /// Counts a request, unless a limit refuses it.
    pub(crate) fn admit(&mut self, user: &str, now_us: i64) -> Result<(), Exceeded> {
        if !self.is_on {
            return Ok(());
        }
        let mine = self.users.entry(user.to_owned()).or_default();
        for window in [&mut *mine, &mut self.project] {
            while window.front().is_some_and(|at| *at <= now_us - self.window_us) {
                window.pop_front();
            }
        }
        if mine.len() >= self.per_user {
            return Err(Exceeded::User);
        }
        if self.project.len() >= self.per_project {
            return Err(Exceeded::Project);
        }
        mine.push_back(now_us);
        self.project.push_back(now_us);
        self.busiest = self.busiest.max(self.project.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let mut limits = Limits::new(true);
        for n in 0..600 {
            assert_eq!(limits.admit("a", n * 100_000), Ok(()));
        }
        assert_eq!(limits.admit("a", 59_999_999), Err(Exceeded::User));
        assert_eq!(limits.admit("b", 59_999_999), Ok(()));
        assert_eq!(limits.admit("a", 60_000_000), Ok(()));
        assert_eq!(limits.admit("a", 60_000_000), Err(Exceeded::User));
    }

    #[test]
    fn the_project_has_a_limit_of_its_own() {
        let mut limits = Limits { per_project: 2, ..Limits::new(true) };
        assert_eq!(limits.admit("a", 0), Ok(()));
        assert_eq!(limits.admit("b", 0), Ok(()));
        assert_eq!(limits.admit("c", 0), Err(Exceeded::Project));
        limits.window_us = 1_000_000;
        assert_eq!(limits.admit("c", 1_000_000), Ok(()));
        assert_eq!(limits.busiest, 2);
    }
}
