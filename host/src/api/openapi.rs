//! The OpenAPI document, made of the endpoints themselves.

use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::AUTH_TOKEN;
use super::answer::{Answer, fields};
use super::call::CONNECTION_DIGESTS;
use super::endpoint::{Access, Endpoint, Field, Json, Kind, Param, Shape};

/// Made at the first call: it doesn't change.
static DOCUMENT: LazyLock<Value> = LazyLock::new(super::document);

pub(super) fn endpoint() -> Endpoint {
    Endpoint::get(
        "/v1/openapi.json",
        "This document",
        Access::Anybody,
        &[],
        &[(200, Shape::Document)],
        |_| Box::pin(async { Ok(Answer::object(DOCUMENT.clone())) }),
    )
}

/// OpenAPI 3.1.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths = Map::new();
    for endpoint in endpoints {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        paths.entry(endpoint.path).or_insert_with(|| json!({}))[method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rowgate",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Third-party APIs as SQL tables",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Step": step(), "Error": error(), "Blocks": blocks() },
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "header", "name": AUTH_TOKEN },
                "bearer": { "type": "http", "scheme": "bearer" },
                "connection": { "type": "apiKey", "in": "header", "name": CONNECTION_DIGESTS[0],
                    "description": "SHA-256, in hex, of the connection URL" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "responses": responses(endpoint),
    });
    let mut parameters: Vec<Value> = path_parameters(endpoint.path);
    if endpoint.method == Method::GET {
        parameters.extend(endpoint.params.iter().map(query_parameter));
    } else if !endpoint.params.is_empty() {
        operation["requestBody"] = json!({
            "required": false,
            "content": { "application/json": { "schema": body(endpoint.params) } },
        });
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    match endpoint.access {
        Access::Anybody => {}
        Access::Reader => {
            operation["security"] =
                json!([{ "session": [] }, { "bearer": [] }, { "connection": [] }]);
        }
        _ => operation["security"] = json!([{ "session": [] }, { "bearer": [] }]),
    }
    if endpoint.access == Access::Admin {
        operation["description"] = "For admins of the organization.".into();
    }
    operation
}

/// `post_organizations_org_invite`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/v1/").replace(['{', '}'], "");
    let method = endpoint.method.as_str().to_ascii_lowercase();
    format!("{method}_{}", path.replace(['/', '.'], "_"))
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let says = match name {
            "org" => "Id, key or name of the organization; `-` with `?org=`",
            "i" => "Id, table or service of the integration",
            "t" => "Id of the target",
            "h" => "Id of the error handler",
            "w" => "Id of the subscription",
            "owner" => "The external owner id, as it was posted",
            "q" => "Id of the saved query",
            "job" => "Id of the job",
            "customer" => "Id of the customer",
            "name" => "Name of the service",
            _ => "Name of the step",
        };
        json!({
            "name": name, "in": "path", "required": true, "description": says,
            "schema": { "type": "string" },
        })
    };
    names.map(parameter).collect()
}

fn query_parameter(param: &Param) -> Value {
    json!({
        "name": param.name, "in": "query", "required": false,
        "description": param.says, "schema": value(param.kind),
    })
}

/// Values that are asked for when they are missing aren't required: to miss them is how to be asked.
fn body(params: &[Param]) -> Value {
    let properties: Map<String, Value> = params
        .iter()
        .map(|param| {
            let mut schema = value(param.kind);
            schema["description"] = param.says.into();
            (param.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties })
}

fn value(kind: Kind) -> Value {
    let text = json!({ "type": ["string", "number", "boolean", "null"] });
    match kind {
        Kind::Text => text,
        Kind::Integer => json!({ "type": ["integer", "string", "null"] }),
        Kind::Flag => json!({ "type": ["boolean", "string", "null"] }),
        Kind::Texts => json!({ "type": ["array", "string", "null"], "items": text }),
        Kind::Named => json!({ "type": ["object", "null"], "additionalProperties": text }),
        Kind::OneOf(words) => {
            let words = words.iter().map(|word| json!(word));
            let all: Vec<Value> = words.chain([json!(""), Value::Null]).collect();
            json!({ "type": ["string", "null"], "enum": all })
        }
    }
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    for (status, shape) in endpoint.answers {
        let mut response = json!({
            "description": "It worked",
            "content": { "application/json": { "schema": schema(shape) } },
        });
        if endpoint.path == "/v1/auth" && *status == 200 {
            response["headers"] = json!({ AUTH_TOKEN: {
                "description": "The session, once the code was right",
                "schema": { "type": "string" },
            } });
        }
        responses.insert(status.to_string(), response);
    }
    let refused = json!({
        "description": "It was refused, or failed",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    });
    responses.insert("4XX".into(), refused.clone());
    responses.insert("5XX".into(), refused);
    responses.into()
}

fn schema(shape: &Shape) -> Value {
    let fields = fields(shape);
    match shape {
        Shape::Step => json!({ "$ref": "#/components/schemas/Step" }),
        Shape::Blocks => json!({ "$ref": "#/components/schemas/Blocks" }),
        Shape::Document => json!({ "type": "object" }),
        Shape::Object(_) => object(fields, &[]),
        Shape::Single(_) => object(fields, &[("message", text()), ("display_headers", headers())]),
        Shape::Collection(_) => {
            let integer = json!({ "type": "integer" });
            let members = [
                ("object", json!({ "const": "list" })),
                ("items", json!({ "type": "array", "items": object(fields, &[]) })),
                ("current_page", integer.clone()),
                ("page_count", integer.clone()),
                ("total_count", integer),
                ("has_more", json!({ "type": "boolean" })),
                ("message", text()),
                ("display_headers", headers()),
            ];
            object(&[], &members)
        }
    }
}

/// All members are there, and no others.
fn object(fields: &[Field], more: &[(&str, Value)]) -> Value {
    let own = fields.iter().map(|field| (field.name.to_owned(), json_type(field.json)));
    let more = more.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    let properties: Map<String, Value> = own.chain(more).collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object", "required": required, "properties": properties,
        "additionalProperties": false,
    })
}

fn json_type(json: Json) -> Value {
    match json {
        Json::Text => text(),
        Json::TextOrNull => json!({ "type": ["string", "null"] }),
        Json::Integer => json!({ "type": "integer" }),
        Json::IntegerOrNull => json!({ "type": ["integer", "null"] }),
        Json::Number => json!({ "type": "number" }),
        Json::Flag => json!({ "type": "boolean" }),
        Json::ObjectOrNull => json!({ "type": ["object", "null"] }),
        Json::Texts => json!({ "type": "array", "items": text() }),
        Json::Rows => json!({ "type": "array", "items": { "type": "array" } }),
    }
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn headers() -> Value {
    json!({ "type": "array", "items": {
        "type": "array", "items": { "type": "string" }, "minItems": 2, "maxItems": 2,
    } })
}

fn step() -> Value {
    let flag = json!({ "type": "boolean" });
    let members = [
        ("message", text()),
        ("needs_input", flag.clone()),
        ("prompt", text()),
        ("prompt_is_secret", flag.clone()),
        ("post_to_url", text()),
        ("post_params", json!({ "type": "object" })),
        ("post_params_value_key", text()),
        ("complete", flag),
        ("output", text()),
        ("error_code", text()),
        ("extras", json!({ "type": "object", "additionalProperties": { "type": "object" } })),
    ];
    object(&[], &members)
}

fn error() -> Value {
    json!({
        "type": "object", "required": ["error"], "additionalProperties": false,
        "properties": { "error": {
            "type": "object", "required": ["message", "status"], "additionalProperties": false,
            "properties": {
                "message": text(),
                "status": { "type": "integer" },
                "code": text(),
                "errors": { "type": "array", "items": text() },
                "field_errors": {
                    "type": "object",
                    "additionalProperties": { "type": "array", "items": text() },
                },
                "state_machine_step": { "$ref": "#/components/schemas/Step" },
            },
        } },
    })
}

fn blocks() -> Value {
    let table = object(
        &[],
        &[
            ("headers", json!({ "type": "array", "items": text() })),
            ("rows", json!({ "type": "array", "items": { "type": "array", "items": text() } })),
        ],
    );
    let block = json!({ "oneOf": [
        object(&[], &[("type", json!({ "const": "line" })), ("value", text())]),
        object(&[], &[("type", json!({ "const": "table" })), ("value", table)]),
    ] });
    object(&[], &[("blocks", json!({ "type": "array", "items": block }))])
}
