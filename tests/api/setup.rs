//! A host with its API, and people who use it.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Settings, TestHost};

use crate::schema;

pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const MEMBER: &str = "member@example.com";

/// A host whose API is called.
pub(crate) struct Api {
    pub(crate) host: TestHost,
    client: reqwest::Client,
    document: Value,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: reqwest::header::HeaderMap,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The body of what must have worked.
    pub(crate) fn ok(self) -> Value {
        assert!(matches!(self.status, 200 | 202), "{}: {}", self.status, self.body);
        self.body
    }

    /// Status and code of what must have been refused.
    pub(crate) fn refused(&self) -> (u16, &str) {
        assert_eq!(self.body["error"]["status"], self.status, "{}", self.body);
        (self.status, self.code())
    }
}

/// Somebody, or nobody, who calls.
#[derive(Clone)]
pub(crate) struct Person<'a> {
    pub(crate) api: &'a Api,
    /// As a client keeps it: `sess=...`.
    pub(crate) token: Option<String>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let host = settings.start().await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let document = serde_json::from_str(&host.get("/v1/openapi.json").await).unwrap();
        Self { host, client, document }
    }

    pub(crate) fn nobody(&self) -> Person<'_> {
        Person { api: self, token: None }
    }

    /// Asks for a code and takes it from the host's log.
    pub(crate) async fn code(&self, email: &str) -> String {
        let before = self.codes(email).len();
        let reply = self.nobody().post("/v1/auth", json!({ "email": email, "token": "" })).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        self.host.until("the code is logged", async || self.codes(email).len() > before).await;
        self.codes(email).pop().unwrap()
    }

    fn codes(&self, email: &str) -> Vec<String> {
        let log = self.host.log();
        let says = format!("login code for {email}: ");
        let codes = log.lines().filter_map(|line| line.split_once(&says));
        codes.map(|(_, code)| code.chars().take_while(char::is_ascii_digit).collect()).collect()
    }

    /// Logs in.
    pub(crate) async fn person(&self, email: &str) -> Person<'_> {
        let code = self.code(email).await;
        let reply = self.nobody().post("/v1/auth", json!({ "email": email, "token": code })).await;
        let header = reply.header("whdb-auth-token").unwrap().to_owned();
        assert_eq!(reply.body["complete"], true, "{}", reply.body);
        let token = header.split(';').next().unwrap().to_owned();
        Person { api: self, token: Some(token) }
    }

    /// The first who logs in.
    pub(crate) async fn owner(&self) -> Person<'_> {
        self.person(OWNER).await
    }

    /// A member of the organization `default`, who isn't its admin.
    pub(crate) async fn member(&self, owner: &Person<'_>) -> Person<'_> {
        let invited = owner.post("/v1/organizations/default/invite", json!({ "email": MEMBER }));
        let code = invited.await.ok()["invitation_code"].clone();
        let member = self.person(MEMBER).await;
        member.post("/v1/organizations/join", json!({ "invitation_code": code })).await.ok();
        member
    }

    /// Paths of the document, and what can be done with each.
    pub(crate) fn paths(&self) -> Vec<(String, Value)> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        paths.map(|(path, methods)| (path.clone(), methods.clone())).collect()
    }

    async fn send(&self, person: &Person<'_>, method: Method, path: &str, body: Value) -> Reply {
        let reply = self.exchange(person, &method, path, &body).await;
        self.check(&method, path, &body, &reply);
        reply
    }

    async fn exchange(
        &self,
        person: &Person<'_>,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Reply {
        let url = format!("{}{path}", self.host.base_url());
        let mut request = self.client.request(method.clone(), url);
        if *method != Method::GET {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if let Some(token) = &person.token {
            request = request.header("Whdb-Auth-Token", token);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text);
        let body = body.unwrap_or_else(|_| panic!("{path}: no JSON: {text}"));
        Reply { status, headers, body }
    }

    /// Against the document.
    fn check(&self, method: &Method, path: &str, body: &Value, reply: &Reply) {
        let operation = self.operation(method, path);
        self.check_reply(operation, path, reply);
        let said = format!("{method} {path} {body}");
        if reply.status < 300
            && *method != Method::GET
            && let Some(taken) = operation.get("requestBody")
        {
            let schema = &taken["content"]["application/json"]["schema"];
            schema::check(&self.document, schema, body)
                .unwrap_or_else(|wrong| panic!("{said}: {wrong}"));
        }
    }

    fn check_reply(&self, operation: &Value, path: &str, reply: &Reply) {
        let said = format!("{path} -> {} {}", reply.status, reply.body);
        let status = reply.status.to_string();
        let class = format!("{}XX", &status[..1]);
        let responses = &operation["responses"];
        let response = responses.get(&status).or_else(|| responses.get(&class));
        let response = response.unwrap_or_else(|| panic!("{said}: not in the document"));
        let schema = &response["content"]["application/json"]["schema"];
        schema::check(&self.document, schema, &reply.body)
            .unwrap_or_else(|wrong| panic!("{said}: {wrong}"));
        assert_eq!(reply.header("content-type"), Some("application/json"), "{said}");
    }

    /// The operation whose path has the fewest variables.
    fn operation(&self, method: &Method, path: &str) -> &Value {
        let path = path.split('?').next().unwrap();
        let method = method.as_str().to_lowercase();
        let fits = |template: &str| {
            let (ours, theirs) = (path.split('/'), template.split('/'));
            ours.clone().count() == theirs.clone().count()
                && ours.zip(theirs).all(|(our, their)| their.starts_with('{') || our == their)
        };
        let paths = self.document["paths"].as_object().unwrap().iter();
        let found = paths.filter(|(t, operations)| fits(t) && operations.get(&method).is_some());
        let best = found.min_by_key(|(template, _)| template.matches('{').count());
        let (_, operations) = best.unwrap_or_else(|| panic!("{method} {path} isn't documented"));
        &operations[&method]
    }
}

impl Person<'_> {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.api.send(self, Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.api.send(self, Method::POST, path, body).await
    }

    /// A body that may be anything; the reply is checked all the same.
    pub(crate) async fn post_unchecked(&self, path: &str, body: Value) -> Reply {
        let reply = self.api.exchange(self, &Method::POST, path, &body).await;
        self.api.check_reply(self.api.operation(&Method::POST, path), path, &reply);
        reply
    }

    /// Answers a step as WebhookDB's client does.
    pub(crate) async fn answer(&self, step: &Value, answer: &str) -> Reply {
        let step = match step.get("error") {
            Some(error) => &error["state_machine_step"],
            None => step,
        };
        assert_eq!(step["needs_input"], true, "{step}");
        let mut body = step["post_params"].clone();
        body[step["post_params_value_key"].as_str().unwrap()] = answer.into();
        self.post(step["post_to_url"].as_str().unwrap(), body).await
    }
}
