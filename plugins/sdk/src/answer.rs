//! Answers.

use serde::de::{Deserialize, DeserializeOwned};

use crate::bindings::rowgate::plugin::http::Response;
use crate::{Failure, Result, RetryScope, time};

const RETRY_AFTER_MS_MAX: u64 = 24 * 3_600_000;
const EXCERPT_CHARS: usize = 200;

/// An answer, of whatever status.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The decoded body; what the manifest captures is null in it.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(response: Response) -> Self {
        let Response { status, headers, body } = response;
        Self { status, headers, body }
    }

    /// Is the status 2xx?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, which may borrow from it. HTML and a body that broke off are a retry; JSON of
    /// another shape is a `Bug`, with the path. For a list whose items are kept as they came: [`Answer::list`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        // The path costs; it is only looked for when there is an error to tell.
        if let Ok(value) = serde_json::from_slice(&self.body) {
            return Ok(value);
        }
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let text = format!("answer {}, at `{}`: {}", self.status, e.path(), e.inner());
            if e.inner().is_data() { Failure::Bug(text) } else { Failure::retry(text) }
        })?;
        let text_behind = |e| Failure::retry(format!("answer {}: {e}", self.status));
        json.end().map_err(text_behind)?;
        Ok(value)
    }

    /// The body as JSON if it is such, else the default: for error bodies, which may be anything.
    pub fn json_lenient<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `Retry-After`, seconds or a date, in milliseconds from `now` (microseconds since the epoch);
    /// a day at most.
    pub fn retry_after_ms(&self, now: i64) -> Option<u64> {
        let value = self.header("retry-after")?.trim();
        let ms = match value.parse::<u64>() {
            Ok(seconds) => seconds.saturating_mul(1_000),
            Err(_) => {
                let until = time::micros_from_http_date(value)?;
                u64::try_from(until.saturating_sub(now)).unwrap_or(0).div_ceil(1_000)
            }
        };
        Some(ms.min(RETRY_AFTER_MS_MAX))
    }

    /// What most vendors mean by a status that isn't success: 408, 425, 429 and 5xx retry (429 for the
    /// owner; `Retry-After` counts), 401 wants a new grant, the rest is a bug.
    pub fn failure(&self, now: i64) -> Failure {
        let after_ms = self.retry_after_ms(now);
        match self.status {
            429 => Failure::retry_in(RetryScope::Owner, self.excerpt(), after_ms),
            408 | 425 | 500.. => {
                Failure::retry_in(RetryScope::ThisStream, self.excerpt(), after_ms)
            }
            401 => Failure::Reauthorise(self.excerpt()),
            _ => Failure::Bug(self.excerpt()),
        }
    }

    /// Status and beginning of the body, for error texts.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * EXCERPT_CHARS)]);
        let words: Vec<_> = text.split_whitespace().collect();
        let start: String = words.join(" ").chars().take(EXCERPT_CHARS).collect();
        if start.is_empty() {
            format!("answer {} without a body", self.status)
        } else {
            format!("answer {}: {start}", self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Answer { status, headers, body: body.into() }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_700_000_000_000_000; // Tue, 14 Nov 2023 22:13:20 GMT
        let cases = [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("99999999999999999999", None),
            ("9999999", Some(RETRY_AFTER_MS_MAX)),
            ("Tue, 14 Nov 2023 22:13:50 GMT", Some(30_000)),
            ("Tue, 14 Nov 2023 22:13:00 GMT", Some(0)),
            ("soon", None),
        ];
        for (value, expected) in cases {
            let found = answer(503, &[("retry-after", value)], "").retry_after_ms(now);
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(answer(503, &[], "").retry_after_ms(now), None);
    }

    #[test]
    fn json_errors_name_the_path() {
        #[derive(Debug, serde::Deserialize)]
        struct Page {
            #[allow(dead_code, reason = "only decoding is tested")]
            items: Vec<u32>,
        }
        let wrong = answer(200, &[], r#"{"items":[1,"x"]}"#).json::<Page>().unwrap_err();
        assert!(matches!(&wrong, Failure::Bug(text) if text.contains("items[1]")), "{wrong:?}");
        for broken in ["<html>", r#"{"items":[1"#, "", r#"{"items":[1]} <html>"#] {
            let failure = answer(200, &[], broken).json::<Page>().unwrap_err();
            assert!(matches!(failure, Failure::Retry(_)), "{broken}: {failure:?}");
        }
        assert_eq!(answer(500, &[], "<html>").json_lenient::<Vec<u32>>(), Vec::<u32>::new());
    }

    #[test]
    fn statuses_become_decisions() {
        let scope = |status| match answer(status, &[("retry-after", "1")], "").failure(0) {
            Failure::Retry(retry) => (Some(retry.scope), retry.after_ms),
            _ => (None, None),
        };
        assert_eq!(scope(429), (Some(RetryScope::Owner), Some(1_000)));
        assert_eq!(scope(503), (Some(RetryScope::ThisStream), Some(1_000)));
        assert!(matches!(answer(401, &[], "x").failure(0), Failure::Reauthorise(_)));
        assert!(matches!(answer(404, &[], "x").failure(0), Failure::Bug(_)));
    }

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(answer(502, &[], " <html>\n  no ").excerpt(), "answer 502: <html> no");
        assert_eq!(answer(403, &[], "").excerpt(), "answer 403 without a body");
        assert!(answer(500, &[], &"é".repeat(9_000)).excerpt().len() < 500);
    }
}
