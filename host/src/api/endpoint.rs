//! What an endpoint is: the same words serve requests and make the OpenAPI document.

use axum::http::Method;
use futures_util::future::BoxFuture;

use super::answer::Answer;
use super::call::Call;
use super::failure::Failure;

/// One method of one path.
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// With `{name}` for what varies; `{org}` is looked up before the handler runs.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// In the body, of a GET in the query.
    pub(super) params: &'static [Param],
    pub(super) answers: &'static [(u16, Shape)],
    pub(super) handler: Handler,
    /// Pages of any origin may call it: it goes by no cookie.
    pub(super) any_origin: bool,
}

pub(super) type Handler = fn(Call) -> BoxFuture<'static, Result<Answer, Failure>>;

impl Endpoint {
    pub(super) const fn get(
        path: &'static str,
        summary: &'static str,
        access: Access,
        params: &'static [Param],
        answers: &'static [(u16, Shape)],
        handler: Handler,
    ) -> Self {
        let (method, any_origin) = (Method::GET, false);
        Self { method, path, summary, access, params, answers, handler, any_origin }
    }

    pub(super) const fn post(
        path: &'static str,
        summary: &'static str,
        access: Access,
        params: &'static [Param],
        answers: &'static [(u16, Shape)],
        handler: Handler,
    ) -> Self {
        let (method, any_origin) = (Method::POST, false);
        Self { method, path, summary, access, params, answers, handler, any_origin }
    }

    pub(super) const fn for_any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Anybody,
    Customer,
    /// A member of the organization, or whoever knows where its tables are read: a digest of that URL
    /// will do.
    Reader,
    /// Of the organization in the path.
    Member,
    /// The same.
    Admin,
}

/// A named value of a request.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) kind: Kind,
    /// How the client is told to ask for it when it is missing; none: it may be.
    pub(super) prompt: Option<&'static str>,
    /// What is typed isn't shown.
    pub(super) secret: bool,
}

/// What a value is. Clients send what people typed, so text that reads as such will do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    Integer,
    Flag,
    /// Texts, or one text with commas between.
    Texts,
    /// Texts by name.
    Named,
    OneOf(&'static [&'static str]),
}

impl Param {
    pub(super) const fn text(name: &'static str, says: &'static str) -> Self {
        Self { name, says, kind: Kind::Text, prompt: None, secret: false }
    }

    pub(super) const fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) const fn asked(mut self, prompt: &'static str) -> Self {
        self.prompt = Some(prompt);
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Step,
    /// An object with a message and the headers of a table.
    Single(&'static [Field]),
    /// A page of such objects.
    Collection(&'static [Field]),
    Blocks,
    /// Just these members.
    Object(&'static [Field]),
    /// JSON of another kind.
    Document,
}

/// A member of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// What a table calls it; empty: it stands in no table.
    pub(super) header: &'static str,
    pub(super) json: Json,
}

/// Types of JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Json {
    Text,
    TextOrNull,
    Integer,
    IntegerOrNull,
    Number,
    Flag,
    ObjectOrNull,
    Texts,
    /// Of arrays of anything.
    Rows,
}

pub(super) const fn field(name: &'static str, header: &'static str, json: Json) -> Field {
    Field { name, header, json }
}
