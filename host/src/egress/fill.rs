//! Fills the secrets of a request in: the last moment before it is sent, and only towards the URL
//! prefixes that each is bound to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;
use zeroize::Zeroizing;

use super::Session;
use super::message::{Body, HttpError, HttpRequest, Part};

/// Everything but the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Secrets in one request. A few bytes of a guest stand for a whole secret each.
const SECRETS_MAX: usize = 64;

/// Headers that frame the message or name the peer: the host's own business.
const RESERVED: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "content-encoding",
];

/// A request ready to be sent; it holds secrets.
pub(super) struct Filled {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// The secrets in it, and which version of each.
    pub(super) used: Vec<(String, i64)>,
}

/// Fills in the secrets of a request to `url`, which is the request's own, checked.
pub(super) async fn fill(
    session: &Session,
    method: Method,
    url: Url,
    request: &HttpRequest,
) -> Result<Filled, HttpError> {
    let mut filler = Filler { session, url: &url, used: Vec::new(), count: 0 };
    let query = filler.query(&request.query).await?;
    let mut headers = filler.headers(&request.headers).await?;
    let body = filler.body(&request.body, &mut headers).await?;
    let used = filler.used;
    let mut url = url;
    if !query.is_empty() {
        let joined = match url.query() {
            Some(own) if !own.is_empty() => Zeroizing::new(format!("{own}&{}", *query)),
            _ => query,
        };
        url.set_query(Some(&joined));
    }
    Ok(Filled { method, url, headers, body, used })
}

struct Filler<'a> {
    session: &'a Session,
    url: &'a Url,
    used: Vec<(String, i64)>,
    /// Secrets so far.
    count: usize,
}

impl Filler<'_> {
    async fn query(&mut self, pairs: &[(String, Part)]) -> Result<Zeroizing<String>, HttpError> {
        let mut query = Zeroizing::new(String::new());
        for (name, part) in pairs {
            let value = self.part(part).await?;
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, QUERY));
            query.push('=');
            query.extend(utf8_percent_encode(&value, QUERY));
        }
        Ok(query)
    }

    async fn headers(&mut self, headers: &[(String, Vec<Part>)]) -> Result<HeaderMap, HttpError> {
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, parts) in headers {
            let shown = name.escape_debug().take(100).collect::<String>();
            let denied = |why: &str| HttpError::Denied(format!("the header `{shown}` {why}"));
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| denied("isn't a header name"))?;
            if RESERVED.contains(&name.as_str()) {
                return Err(denied("is the host's own: leave it out"));
            }
            let mut value = Zeroizing::new(String::new());
            for part in parts {
                value.push_str(&self.part(part).await?);
            }
            // CR, LF and NUL would begin another header or request.
            let value = HeaderValue::from_str(&value)
                .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
                .map_err(|_| denied("has a value with line breaks or control characters"))?;
            if map.try_append(name, value).is_err() {
                return Err(HttpError::Denied("too many headers".into()));
            }
        }
        Ok(map)
    }

    async fn body(
        &mut self,
        body: &Body,
        headers: &mut HeaderMap,
    ) -> Result<Option<Vec<u8>>, HttpError> {
        let mut default_type = |value| {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(value));
        };
        match body {
            Body::None => Ok(None),
            Body::Bytes(bytes) => Ok(Some(bytes.clone())),
            Body::Form(pairs) => {
                default_type("application/x-www-form-urlencoded");
                let mut form = String::new();
                for (name, part) in pairs {
                    let value = self.part(part).await?;
                    let mut pair = url::form_urlencoded::Serializer::new(form);
                    form = pair.append_pair(name, &value).finish();
                }
                Ok(Some(form.into_bytes()))
            }
            Body::Json(parts) => {
                default_type("application/json");
                let mut json = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => json.push_str(text),
                        secret => {
                            let value = self.part(secret).await?;
                            json.push_str(&serde_json::Value::from(value.as_str()).to_string());
                        }
                    }
                }
                Ok(Some(json.into_bytes()))
            }
        }
    }

    async fn part(&mut self, part: &Part) -> Result<Zeroizing<String>, HttpError> {
        match part {
            Part::Text(text) => Ok(Zeroizing::new(text.clone())),
            Part::Secret(name) => self.secret(name).await,
            Part::Basic { user, password } => {
                let (user, password) = (self.secret(user).await?, self.secret(password).await?);
                let pair = Zeroizing::new(format!("{}:{}", *user, *password));
                self.session.known.add(&pair);
                Ok(Zeroizing::new(BASE64.encode(pair.as_bytes())))
            }
        }
    }

    async fn secret(&mut self, name: &str) -> Result<Zeroizing<String>, HttpError> {
        self.session.policy.permit_secret(name, self.url).map_err(HttpError::Denied)?;
        self.count += 1;
        if self.count > SECRETS_MAX {
            let text = format!("more than {SECRETS_MAX} secrets in one request");
            return Err(HttpError::Denied(text));
        }
        let value = self.session.secrets.value(name).await.map_err(|error| {
            HttpError::Other(format!("the secret `{name}` can't be read: {error}"))
        })?;
        let Some(value) = value else {
            return Err(HttpError::Other(format!("the secret `{name}` has no value now")));
        };
        self.session.known.add(&value.text);
        self.session.known.sent(name, value.version);
        let used = (name.to_owned(), value.version);
        if !self.used.contains(&used) {
            self.used.push(used);
        }
        Ok(value.text)
    }
}
