//! Outbound HTTP.
mod message;
pub use message::{Body, HttpError, HttpRequest, HttpResponse, Part, Presence};
