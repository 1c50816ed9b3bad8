//! Calls of the HTTP API: over the network to a host, or within this process on a data directory.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Map, Value};

use super::output::{self, Format};
use super::prompt;
use crate::api;
use crate::app::App;
use crate::config::Profiles;
use crate::egress::Direct;

/// A query takes its time.
const TIMEOUT: Duration = Duration::from_secs(90);
const ANSWER_BYTES: u64 = 256 << 20;

/// Where calls go, and for which organization.
pub(super) struct Client {
    transport: Transport,
    /// Id, key or name; empty where whoever is logged in has none.
    pub(super) org: String,
    /// Answer every question with nothing.
    pub(super) silent: bool,
}

enum Transport {
    Local(Router),
    Host { direct: Direct, base_url: String, token: String },
}

/// An answer that was no error.
pub(super) struct Answered {
    pub(super) body: Value,
    pub(super) headers: HeaderMap,
}

/// What a call came to.
enum Outcome {
    Answered(Answered),
    /// The host wants to know something first.
    Asked(Value),
}

/// What the host says to a call that it refuses.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refused {
    code: String,
    message: String,
}

impl Client {
    /// On this data directory, with all rights: who may read its key may do anything.
    pub(super) fn local(app: &App) -> Self {
        let transport = Transport::Local(api::router(app.clone()));
        Self { transport, org: app.config.org.clone(), silent: false }
    }

    /// To a host, as whoever is logged in there.
    pub(super) fn host(url: &str, org: Option<&str>) -> anyhow::Result<Self> {
        let base_url = url.trim_end_matches('/').to_owned();
        let profile = Profiles::load()?.hosts.get(&base_url).cloned().unwrap_or_default();
        let org = org.map_or(profile.org, str::to_owned);
        let direct = Direct::new()?.with_answers_of(ANSWER_BYTES);
        let transport = Transport::Host { direct, base_url, token: profile.auth_token };
        Ok(Self { transport, org, silent: false })
    }

    /// The host's URL; none: this process.
    pub(super) fn base_url(&self) -> Option<&str> {
        match &self.transport {
            Transport::Local(_) => None,
            Transport::Host { base_url, .. } => Some(base_url),
        }
    }

    /// The organization, which there must be.
    pub(super) fn org(&self) -> anyhow::Result<&str> {
        match self.org.as_str() {
            "" => bail!("no organization is chosen: say which by --org, or `rowgate org activate`"),
            org => Ok(org),
        }
    }

    /// A path below the organization.
    pub(super) fn of_org(&self, below: &str) -> anyhow::Result<String> {
        Ok(format!("/v1/organizations/{}/{below}", segment(self.org()?)))
    }

    /// A path below the organization's database.
    pub(super) fn of_db(&self, below: &str) -> anyhow::Result<String> {
        Ok(format!("/v1/db/{}/{below}", segment(self.org()?)))
    }

    /// A path below an integration.
    pub(super) fn of_integration(&self, integration: &str, below: &str) -> anyhow::Result<String> {
        self.of_org(&format!("service_integrations/{}/{below}", segment(integration)))
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answered> {
        match self.call(Method::GET, path, None).await? {
            Outcome::Answered(answered) => Ok(answered),
            Outcome::Asked(_) => bail!("the host asks for something that this command can't give"),
        }
    }

    /// The same; none, where the host refuses with this code.
    pub(super) async fn find(&self, path: &str, code: &str) -> anyhow::Result<Option<Answered>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|r| r.code == code) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Posts, and asks whatever the host wants to know, until there is an end.
    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answered> {
        let (mut path, mut body) = (path.to_owned(), body);
        loop {
            let step = match self.call(Method::POST, &path, Some(&body)).await? {
                Outcome::Asked(step) => step,
                Outcome::Answered(answered) if answered.body["needs_input"] == true => {
                    answered.body
                }
                Outcome::Answered(answered) => return ended_well(answered),
            };
            (path, body) = self.answer(&step)?;
        }
    }

    /// Where the answer to a step is posted, and with which values.
    fn answer(&self, step: &Value) -> anyhow::Result<(String, Value)> {
        let text = |name: &str| step[name].as_str().unwrap_or_default();
        if !text("output").is_empty() {
            eprintln!("{}", output::lines(text("output")));
        }
        let answer = match self.silent {
            true => Some(String::new()),
            false => {
                prompt::ask(&output::escaped(text("prompt")), step["prompt_is_secret"] == true)?
            }
        };
        let Some(answer) = answer else {
            bail!("the input ended at the question: {}", text("prompt"));
        };
        let mut body: Map<String, Value> =
            step["post_params"].as_object().cloned().unwrap_or_default();
        body.insert(text("post_params_value_key").to_owned(), answer.into());
        Ok((text("post_to_url").to_owned(), body.into()))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Outcome> {
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = Request::builder().method(method);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let (status, headers, bytes) = match &self.transport {
            Transport::Local(router) => {
                let request = request.uri(path).extension(api::Local).body(Body::from(bytes))?;
                let service = TowerToHyperService::new(router.clone());
                let Ok(response) = service.call(request).await;
                let (parts, body) = response.into_parts();
                (parts.status, parts.headers, body.collect().await?.to_bytes())
            }
            Transport::Host { direct, base_url, token } => {
                if !token.is_empty() {
                    request = request.header(api::AUTH_TOKEN, token);
                }
                let request = request.uri(format!("{base_url}{path}")).body(Bytes::from(bytes))?;
                let sent = direct.send(request, TIMEOUT).await;
                let (parts, bytes) =
                    sent.with_context(|| format!("calling {base_url}"))?.into_parts();
                (parts.status, parts.headers, bytes)
            }
        };
        let body: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} answered {status}, and no JSON", self.name()))?;
        if status.is_success() {
            return Ok(Outcome::Answered(Answered { body, headers }));
        }
        let error = &body["error"];
        if error["state_machine_step"].is_object() {
            return Ok(Outcome::Asked(error["state_machine_step"].clone()));
        }
        let message = error["message"].as_str().unwrap_or("no reason was given");
        match status.as_u16() {
            401 => bail!("not logged in to {}: rowgate auth login", self.name()),
            _ => {
                let code = error["code"].as_str().unwrap_or_default().to_owned();
                Err(Refused { code, message: message.to_owned() }.into())
            }
        }
    }

    fn name(&self) -> &str {
        self.base_url().unwrap_or("this data directory")
    }
}

/// A conversation may end with what was in the way.
fn ended_well(answered: Answered) -> anyhow::Result<Answered> {
    match answered.body["error_code"].as_str() {
        None | Some("") => Ok(answered),
        Some(code) => {
            bail!("{} ({code})", answered.body["output"].as_str().unwrap_or_default())
        }
    }
}

/// Text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    encoded.to_string().replace("%5F", "_").replace("%2D", "-")
}

/// Writes an answer in the envelope of a step, one thing, a collection or blocks.
pub(super) fn print(format: Format, answered: &Answered) -> anyhow::Result<()> {
    print_body(format, &answered.body)
}

/// The same of an answer's body.
pub(super) fn print_body(format: Format, body: &Value) -> anyhow::Result<()> {
    if format == Format::Json {
        let shown = if body["items"].is_array() { &body["items"] } else { body };
        return output::print_text(&format!("{shown}\n"));
    }
    if let Some(blocks) = body["blocks"].as_array() {
        return blocks.iter().try_for_each(|block| print_block(format, block));
    }
    if let Some(output) = body["output"].as_str() {
        return output::print_text(&format!("{}\n", output::lines(output)));
    }
    let headers = pairs(&body["display_headers"]);
    let message = body["message"].as_str().unwrap_or_default();
    if !message.is_empty() {
        eprintln!("{}", output::escaped(message));
    }
    if headers.is_empty() {
        return Ok(());
    }
    let row = |entity: &Value| headers.iter().map(|(name, _)| entity[name].clone()).collect();
    let labels: Vec<&str> = headers.iter().map(|(_, label)| label.as_str()).collect();
    match body["items"].as_array() {
        Some(items) => output::print(format, &labels, &items.iter().map(row).collect::<Vec<_>>()),
        None => {
            let values: Vec<Value> = row(body);
            let fields: Vec<(&str, Value)> = labels.into_iter().zip(values).collect();
            output::print_object(format, &fields)
        }
    }
}

fn print_block(format: Format, block: &Value) -> anyhow::Result<()> {
    let value = &block["value"];
    if block["type"] == "line" {
        let text = value.as_str().unwrap_or_default();
        return output::print_text(&format!("{}\n", output::escaped(text)));
    }
    let texts = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let headers = texts(&value["headers"]);
    let headers: Vec<&str> = headers.iter().map(|h| h.as_str().unwrap_or_default()).collect();
    let rows: Vec<Vec<Value>> = texts(&value["rows"]).iter().map(texts).collect();
    output::print(format, &headers, &rows)
}

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let pair = |pair: &Value| {
        let text = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
        (text(0), text(1))
    };
    headers.as_array().into_iter().flatten().map(pair).collect()
}

/// An object of the members that aren't null.
pub(super) fn given<V: Into<Value>, const N: usize>(members: [(&str, V); N]) -> Value {
    let members = members.map(|(name, value)| -> (String, Value) { (name.into(), value.into()) });
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn segments_hold_any_text() {
        assert_eq!(segment("acme_inc"), "acme_inc");
        assert_eq!(segment("a/b ?#"), "a%2Fb%20%3F%23");
    }

    #[test]
    fn what_is_null_is_not_given() {
        assert_eq!(given([("a", Some("1")), ("b", None)]), json!({ "a": "1" }));
        assert_eq!(given([("a", Value::from(1)), ("b", Value::Null)]), json!({ "a": 1 }));
        assert_eq!(given([("a", None::<i64>)]), json!({}));
    }

    #[test]
    fn who_has_no_organization_is_told_to_say_which() {
        let transport = Transport::Local(Router::new());
        let mut client = Client { transport, org: String::new(), silent: false };
        let told = client.of_org("members").unwrap_err().to_string();
        assert!(told.contains("say which by --org, or `rowgate org activate`"), "{told}");
        assert!(client.of_db("sql").is_err() && client.of_integration("a", "b").is_err());
        client.org = "acme".into();
        assert_eq!(client.of_org("members").unwrap(), "/v1/organizations/acme/members");
    }
}
