//! A bare HTTP client that shows everything: one connection a request, nothing decoded.

use std::io::Read;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simulator::{Options, Simulator};
use tokio::net::TcpStream;

use crate::setup::ANA;

/// A running simulator with one user and her tokens.
pub(crate) struct Service {
    pub(crate) simulator: Simulator,
    pub(crate) refresh_token: String,
    pub(crate) access_token: String,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ended before the body did.
    pub(crate) is_cut: bool,
    /// Pieces that the body came in.
    pub(crate) chunks: usize,
}

impl Service {
    pub(crate) fn start() -> Self {
        let simulator = Simulator::start(Options::default()).unwrap();
        let (refresh_token, access_token) = {
            let mut model = simulator.model();
            let refresh_token = model.create_user(ANA);
            let access_token = model.refresh(&refresh_token, None).unwrap().access_token;
            (refresh_token, access_token)
        };
        Self { simulator, refresh_token, access_token }
    }

    /// An authorized GET below the API root. Error: no answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.api("GET", path, &[], "").await
    }

    /// An authorized request below the API root.
    pub(crate) async fn api(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let bearer = format!("Bearer {}", self.access_token);
        let headers = [&[("authorization", bearer.as_str())], headers].concat();
        self.send(method, &format!("/calendar/v3/{path}"), &headers, body).await
    }

    /// A control call.
    pub(crate) async fn control(&self, name: &str, body: Value) -> Answer {
        let path = format!("/control/{name}");
        self.send("POST", &path, &[], &body.to_string()).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let host = self.simulator.base_url().replace("http://", "");
        let stream = TcpStream::connect(&host).await.map_err(|error| error.to_string())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", &host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (parts, mut incoming) = response.into_parts();
        let (mut body, mut is_cut, mut chunks) = (Vec::new(), false, 0);
        while let Some(frame) = incoming.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => {
                    chunks += 1;
                    body.extend_from_slice(&data);
                }
                Ok(Err(_)) => {}
                Err(_) => is_cut = true,
            }
        }
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: parts.status.as_u16(), headers, body, is_cut, chunks })
    }
}

impl Answer {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body; null if it isn't JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(json!(null))
    }

    pub(crate) fn gunzipped(&self) -> Value {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// `errors[0].reason`.
    pub(crate) fn reason(&self) -> Value {
        self.json()["error"]["errors"][0]["reason"].clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let body = self.json();
        let items = body["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn next_page(&self) -> Option<String> {
        self.json()["nextPageToken"].as_str().map(str::to_owned)
    }
}
