//! A request on its way to its handler: who calls, in which organization, with which values.

mod client;
mod connection;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Map, Value};
use std::time::Duration;

pub(super) use connection::HEADERS as CONNECTION_DIGESTS;

use super::endpoint::{Access, Endpoint};
use super::failure::Failure;
use super::values::Values;
use crate::app::{App, integrations};
use crate::auth;
use crate::model::OrganizationId;
use crate::server::Peer;
use crate::store::accounts::Customer;
use crate::store::memberships::Role;
use crate::store::organizations::Organization;
use crate::webhook::read::{self, Unread};

/// A larger body is refused.
const BODY_MAX_BYTES: usize = 1 << 20;

/// What a handler is given.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) caller: Caller,
    /// That of the path.
    organization: Option<(Organization, Role)>,
    pub(super) values: Values,
    path_values: BTreeMap<String, String>,
    /// Of the URL of an organization's tables, as it was sent.
    connection_digest: Option<String>,
    /// Where it came from, if that is known.
    client: Option<String>,
    /// Where it was sent to.
    pub(super) url: String,
    /// A client that asks for it gets a session of two hours.
    pub(super) short_session: bool,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Caller {
    Nobody,
    /// Somebody with a session.
    Customer {
        customer: Customer,
        token: String,
    },
    /// Whoever knows the connection URL of this organization: a member who runs queries alone.
    Connection(OrganizationId),
    /// A program with the key of this integration: a member who sees nothing else.
    Key(String),
    /// Whoever has the data directory, on this machine.
    Local,
}

/// In the extensions of a request that never went over a network.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl Call {
    /// Reads a request and checks that it may come in.
    pub(super) async fn read(
        app: App,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Self, Failure> {
        let (clock, (mut parts, mut body)) = (app.clock.clone(), request.into_parts());
        let call = Self::check(app, endpoint, &mut parts, &mut body).await;
        if call.is_err() {
            // So that the sender sees the refusal.
            read::discard(&clock, &parts.headers, &mut body).await;
        }
        call
    }

    async fn check(
        app: App,
        endpoint: &Endpoint,
        parts: &mut Parts,
        body: &mut Body,
    ) -> Result<Self, Failure> {
        let path_values = path_values(parts).await?;
        let mut caller = caller(&app, parts).await?;
        let connection_digest = connection::digest(&parts.headers);
        if let (Access::Reader, Caller::Nobody, Some(org), Some(digest)) =
            (endpoint.access, &caller, path_values.get("org"), &connection_digest)
        {
            caller = Caller::Connection(connection::opened(&app, org, digest).await?.id);
        }
        let has_come = match endpoint.access {
            Access::Anybody => true,
            Access::Reader => caller != Caller::Nobody || connection_digest.is_some(),
            _ => caller != Caller::Nobody,
        };
        if !has_come {
            return Err(Failure::unauthorized());
        }
        let query = query(parts);
        let organization = match path_values.get("org") {
            Some(org) => Some(organization(&app, &caller, org, &query).await?),
            None => None,
        };
        authorize(&app, endpoint, &caller, organization.as_ref(), &path_values).await?;
        let sent = match parts.method {
            Method::GET => query,
            _ => read_body(&app, &parts.headers, body).await?,
        };
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
        let client = client::client(peer, &parts.headers);
        let url = parts.uri.path().to_owned();
        let values = Values::check(sent, endpoint.params, &url)?;
        let short = parts.headers.get("whdb-short-session");
        let short_session = short.is_some_and(|value| !value.as_bytes().trim_ascii().is_empty());
        Ok(Self {
            app,
            caller,
            organization,
            values,
            path_values,
            connection_digest,
            client,
            url,
            short_session,
        })
    }

    /// The organization of the path.
    pub(super) fn organization(&self) -> &Organization {
        let (organization, _) = self.organization.as_ref().expect("the path of it has `{org}`");
        organization
    }

    /// What the caller is in it.
    pub(super) fn is_admin(&self) -> bool {
        self.organization.as_ref().is_some_and(|(_, role)| *role == Role::Admin)
    }

    /// Whether the caller may do what only the host's operator may.
    pub(super) fn is_operator(&self) -> bool {
        match &self.caller {
            Caller::Customer { customer, .. } => customer.operator,
            Caller::Local => true,
            Caller::Nobody | Caller::Connection(_) | Caller::Key(_) => false,
        }
    }

    /// The address of whoever calls.
    pub(super) fn email(&self) -> Option<&str> {
        match &self.caller {
            Caller::Customer { customer, .. } => Some(&customer.email),
            _ => None,
        }
    }

    /// The network that the request came from, if that is known.
    pub(super) fn client(&self) -> Option<String> {
        self.client.clone()
    }

    /// What stands for `{name}` in the path.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path_values.get(name).map_or("", String::as_str)
    }
}

async fn path_values(parts: &mut Parts) -> Result<BTreeMap<String, String>, Failure> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| Failure::invalid("invalid_path", error.to_string()))?;
    let values: BTreeMap<String, String> =
        params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match values.values().any(|value| value.contains('\0')) {
        true => Err(Failure::invalid("invalid_path", "The path holds the character NUL")),
        false => Ok(values),
    }
}

async fn caller(app: &App, parts: &Parts) -> Result<Caller, Failure> {
    if parts.extensions.get::<Local>().is_some() {
        return Ok(Caller::Local);
    }
    let Some(token) = token(&parts.headers) else { return Ok(Caller::Nobody) };
    if let Some(id) = token.strip_prefix("sk/").and_then(|rest| rest.split_once('/')) {
        let key = integrations::key(app, id.0).await?;
        let right = key.is_some_and(|key| auth::matches(token.as_bytes(), &key));
        return Ok(if right { Caller::Key(id.0.to_owned()) } else { Caller::Nobody });
    }
    let customer = app.store.session(token).await?;
    Ok(customer
        .map_or(Caller::Nobody, |customer| Caller::Customer { customer, token: token.to_owned() }))
}

/// What a client sends back of `sess=..; path=/`, or a bearer.
fn token(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let value = text(header::AUTHORIZATION.as_str())?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    };
    let session = text(super::AUTH_TOKEN).filter(|value| !value.is_empty());
    let token = session.or_else(bearer)?;
    let token = token.split(';').next().unwrap_or_default().trim();
    let token = token.strip_prefix("sess=").unwrap_or(token);
    Some(token).filter(|token| !token.is_empty())
}

/// Finds the organization, and what the caller is in it. Whether there is one that isn't the caller's
/// isn't told.
async fn organization(
    app: &App,
    caller: &Caller,
    org: &str,
    query: &Map<String, Value>,
) -> Result<(Organization, Role), Failure> {
    let named = match org {
        "-" => query.get("org").and_then(Value::as_str).unwrap_or_default(),
        other => other,
    };
    let none = || {
        let message = format!("There is no organization `{named}` that you belong to");
        Failure::forbidden("forbidden", message)
    };
    if named.contains('\0') {
        return Err(none());
    }
    let found = match app.store.find_organization(named).await? {
        Some(found) => Some(found),
        None => named_so(app, caller, named).await?,
    };
    let found = found.ok_or_else(none)?;
    let role = match caller {
        Caller::Local => Some(Role::Admin),
        Caller::Customer { customer, .. } => app.store.role(found.id, &customer.email).await?,
        Caller::Key(_) => Some(Role::Member),
        Caller::Connection(of) => (*of == found.id).then_some(Role::Member),
        Caller::Nobody => None,
    };
    Ok((found, role.ok_or_else(none)?))
}

/// The caller's organization of this name.
async fn named_so(app: &App, caller: &Caller, name: &str) -> Result<Option<Organization>, Failure> {
    let mut all = match caller {
        Caller::Customer { customer, .. } => {
            let all = app.store.memberships(&customer.email).await?;
            all.into_iter().map(|membership| membership.organization).collect()
        }
        Caller::Local => app.store.organizations().await?,
        _ => Vec::new(),
    };
    all.retain(|organization| organization.name == name);
    match all.len() {
        0 | 1 => Ok(all.pop()),
        _ => Err(Failure::conflict(format!(
            "There are several organizations called {name}: say which by its key"
        ))),
    }
}

async fn authorize(
    app: &App,
    endpoint: &Endpoint,
    caller: &Caller,
    organization: Option<&(Organization, Role)>,
    path_values: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let denied = || {
        let message = "You need to be an admin of the organization for that";
        Err(Failure::forbidden("forbidden", message))
    };
    if endpoint.access == Access::Admin && organization.is_none_or(|(_, r)| *r != Role::Admin) {
        return denied();
    }
    // A key is good for its own integration alone.
    let Caller::Key(id) = caller else { return Ok(()) };
    let (Some((organization, _)), Some(named)) = (organization, path_values.get("i")) else {
        return Err(Failure::unauthorized());
    };
    let found = integrations::find(app, organization.id, named).await;
    match found {
        Ok(found) if found.id == *id => Ok(()),
        _ => Err(Failure::unauthorized()),
    }
}

fn query(parts: &Parts) -> Map<String, Value> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let pairs = url::form_urlencoded::parse(query);
    pairs.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect()
}

async fn read_body(
    app: &App,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Map<String, Value>, Failure> {
    let timeout = Duration::from_millis(app.config.server.body_timeout_ms);
    let read = read::body(&app.clock, headers, body, BODY_MAX_BYTES, timeout).await;
    let bytes = read.map_err(|unread| match unread {
        Unread::TooLarge => {
            let message = format!("The request body is larger than {BODY_MAX_BYTES} bytes");
            Failure::body(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        Unread::TooSlow => {
            let message = "The request body did not arrive in time";
            Failure::body(StatusCode::REQUEST_TIMEOUT, message)
        }
        Unread::Broken => {
            Failure::body(StatusCode::BAD_REQUEST, "The request body did not arrive whole")
        }
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| !kind.to_ascii_lowercase().contains("json")) {
        let message = "The request body must be JSON";
        return Err(Failure::body(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(sent)) => Ok(sent),
        Ok(_) => Err(Failure::body(StatusCode::BAD_REQUEST, "The request body must be an object")),
        Err(error) => {
            let message = format!("The request body isn't JSON: {error}");
            Err(Failure::body(StatusCode::BAD_REQUEST, message))
        }
    }
}
