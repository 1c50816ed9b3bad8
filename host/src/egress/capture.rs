//! Takes the secrets out of answers that hold some, before anybody else sees them.

use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::message::{HttpError, HttpResponse};
use super::policy::CaptureRule;

/// Longest value that is stored, bytes.
const SECRET_BYTES_MAX: usize = 65_536;

/// A secret out of an answer.
pub(super) struct Captured {
    pub(super) secret: String,
    pub(super) value: Zeroizing<String>,
    pub(super) expires_in_s: Option<u64>,
}

/// Puts null in the place of every secret that the rules find in the answer of `url`. Only 2xx
/// answers, only strings. An answer that can't be searched is an error: it might hold a token.
pub(super) fn take(
    rules: &[CaptureRule],
    url: &Url,
    response: &mut HttpResponse,
) -> Result<Vec<Captured>, HttpError> {
    let rules: Vec<_> = rules.iter().filter(|rule| rule.from.covers(url)).collect();
    if rules.is_empty() || !(200..300).contains(&response.status) || response.body.is_empty() {
        return Ok(Vec::new());
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(&response.body) else {
        let text = format!(
            "{} should answer JSON, since plugin.toml captures `{}` from it, and answered \
             something else: it is kept from the plugin, because it may hold that secret",
            rules[0].from, rules[0].secret
        );
        return Err(HttpError::Transfer(text));
    };
    // Lives are read before anything is taken out: a pointer may be shared.
    let lives: Vec<_> = rules.iter().map(|rule| life(rule, &json)).collect();
    let mut captured = Vec::new();
    for (rule, expires_in_s) in rules.iter().zip(lives) {
        let Some(place) = json.pointer_mut(&rule.at) else { continue };
        if !place.is_string() {
            continue;
        }
        let Value::String(value) = place.take() else { continue };
        if value.len() > SECRET_BYTES_MAX {
            let text =
                format!("the secret `{}` is longer than {SECRET_BYTES_MAX} bytes", rule.secret);
            return Err(HttpError::Transfer(text));
        }
        if !value.is_empty() {
            let (secret, value) = (rule.secret.clone(), Zeroizing::new(value));
            captured.push(Captured { secret, value, expires_in_s });
        }
    }
    // Always as parsed: of a key that stands there twice, only the last value was looked at.
    response.body = json.to_string().into_bytes();
    Ok(captured)
}

/// The life of a secret, as a number or a number's text, with the margin taken off.
fn life(rule: &CaptureRule, json: &Value) -> Option<u64> {
    let life = json.pointer(rule.expires_in.as_ref()?)?;
    let seconds = match life {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        number => number.as_f64()?,
    };
    // Saturating, and 0 for what isn't a positive number.
    Some((seconds as u64).saturating_sub(rule.margin_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::url_prefix::{UrlPrefix, parse_target};

    fn rule(secret: &str, at: &str) -> CaptureRule {
        CaptureRule {
            secret: secret.into(),
            from: UrlPrefix::parse("https://a.example/token").unwrap(),
            at: at.into(),
            expires_in: Some("/expires_in".into()),
            margin_s: 120,
        }
    }

    fn run(status: u16, url: &str, body: &str) -> Result<(String, Vec<String>), HttpError> {
        let rules = [rule("access", "/access_token"), rule("id", "/nested/0/id")];
        let mut response =
            HttpResponse { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        let captured = take(&rules, &parse_target(url).unwrap(), &mut response)?;
        let captured = captured
            .iter()
            .map(|one| format!("{} {} {:?}", one.secret, *one.value, one.expires_in_s));
        Ok((String::from_utf8(response.body).unwrap(), captured.collect()))
    }

    #[test]
    fn strings_become_null() {
        const TOKEN: &str = "https://a.example/token";
        let cases: [(u16, &str, &str, &str, &[&str]); 9] = [
            (
                200,
                TOKEN,
                r#"{"access_token":"t","expires_in":3600}"#,
                r#"{"access_token":null,"expires_in":3600}"#,
                &["access t Some(3480)"],
            ),
            (
                201,
                TOKEN,
                r#"{"access_token":"t","expires_in":"60"}"#,
                r#"{"access_token":null,"expires_in":"60"}"#,
                &["access t Some(0)"],
            ),
            (
                200,
                TOKEN,
                r#"{"nested":[{"id":"i"}]}"#,
                r#"{"nested":[{"id":null}]}"#,
                &["id i None"],
            ),
            (
                200,
                TOKEN,
                r#"{"access_token":"a","access_token":"b"}"#,
                r#"{"access_token":null}"#,
                &["access b None"],
            ),
            (200, TOKEN, r#"{"access_token":7}"#, r#"{"access_token":7}"#, &[]),
            (200, TOKEN, r#"{"access_token":""}"#, r#"{"access_token":null}"#, &[]),
            (400, TOKEN, r#"{"access_token":"t"}"#, r#"{"access_token":"t"}"#, &[]),
            (
                200,
                "https://a.example/tokens",
                r#"{"access_token":"t"}"#,
                r#"{"access_token":"t"}"#,
                &[],
            ),
            (200, TOKEN, "", "", &[]),
        ];
        for (status, url, body, left, captured) in cases {
            let (got, values) = run(status, url, body).unwrap();
            assert_eq!(
                (got.as_str(), &values[..]),
                (left, &captured.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..]),
                "{body}"
            );
        }
    }

    #[test]
    fn what_cannot_be_searched_is_kept_back() {
        let error = run(200, "https://a.example/token", "access_token=t&x=1").unwrap_err();
        assert!(!error.to_string().contains("=t"), "{error}");
        assert!(matches!(error, HttpError::Transfer(_)));
    }
}
