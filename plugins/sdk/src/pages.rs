//! A listing's place among its pages.

use serde::{Deserialize, Serialize};

use crate::{Failure, Result};

/// Holds the page token between calls, as part of a cursor, and notices when the vendor's tokens go
/// round in a circle (Brent's algorithm: one remembered token, moved on at powers of two).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
    /// Steps since the anchor was set.
    #[serde(default)]
    steps: u32,
    #[serde(default)]
    restarted: bool,
}

impl Pages {
    /// The token of the next page to read. None: the first.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Is the next page another than the first?
    pub fn started(&self) -> bool {
        self.token.is_some()
    }

    /// Goes on to the page of `token`. `CursorExpired` where that page was read before.
    pub fn advance(&mut self, token: String) -> Result<()> {
        if self.anchor.as_ref() == Some(&token) || self.token.as_ref() == Some(&token) {
            return Err(Failure::cursor_expired("the vendor's page tokens go round in a circle"));
        }
        self.steps += 1;
        if self.anchor.is_none() || self.steps.is_power_of_two() {
            self.anchor = Some(token.clone());
        }
        self.token = Some(token);
        Ok(())
    }

    /// Back to the first page, since the vendor refused the page token. False: that was done before
    /// in this listing and didn't help.
    pub fn restart(&mut self) -> bool {
        let first_time = !self.restarted;
        *self = Self { restarted: true, ..Self::default() };
        first_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_any_shape_is_noticed() {
        for tail in 0..20u32 {
            for circle in 1..20u32 {
                let mut pages = Pages::default();
                let mut read = 0;
                let result = loop {
                    let at = if read < tail { read } else { tail + (read - tail) % circle };
                    read += 1;
                    if let Err(failure) = pages.advance(format!("t{at}")) {
                        break failure;
                    }
                };
                assert!(matches!(result, Failure::CursorExpired(_)));
                assert!(read <= 5 * (tail + circle) + 2, "{tail} {circle}: {read} pages");
            }
        }
    }

    #[test]
    fn a_long_listing_is_no_circle() {
        let mut pages = Pages::default();
        assert!(!pages.started());
        for page in 0..10_000 {
            pages.advance(page.to_string()).unwrap();
        }
        assert_eq!(pages.token(), Some("9999"));
        let kept: Pages = serde_json::from_str(&serde_json::to_string(&pages).unwrap()).unwrap();
        assert_eq!(kept, pages);
    }

    #[test]
    fn one_restart_a_listing() {
        let mut pages = Pages::default();
        pages.advance("a".into()).unwrap();
        assert!(pages.restart());
        assert!(!pages.started());
        pages.advance("a".into()).unwrap();
        assert!(!pages.restart());
    }
}
