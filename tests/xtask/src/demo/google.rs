//! The Google of the demo: the simulator and what is done to it.

use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::process::Server;
use super::{http, screen};
use crate::checkout::Checkout;

pub(super) struct Google {
    url: String,
    _server: Server,
}

impl Google {
    /// Start the simulator on a free port.
    pub(super) fn start(checkout: &Checkout, binary: &Path, log: &Path) -> Result<Self> {
        let mut command = checkout.command(binary);
        command.args(["--listen", "127.0.0.1:0"]);
        let mut server = Server::start("simulator", &command, log)?;
        let mut url = String::new();
        BufReader::new(server.stdout()?).read_line(&mut url)?;
        let url = url.trim().to_owned();
        if url.is_empty() {
            bail!("the simulator said no URL; its log is {}", log.display());
        }
        Ok(Self { url, _server: server })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn api_url(&self) -> String {
        format!("{}/calendar/v3", self.url)
    }

    pub(super) fn token_url(&self) -> String {
        format!("{}/token", self.url)
    }

    /// Sign a user up, or give a known one a new refresh token.
    pub(super) fn refresh_token(&self, email: &str) -> Result<String> {
        let made = self.control("create_user", &json!({ "email": email }))?;
        let token = made["refresh_token"].as_str();
        Ok(token.context("the simulator made no refresh token")?.to_owned())
    }

    /// Change something, quietly.
    pub(super) fn control(&self, operation: &str, body: &Value) -> Result<Value> {
        http::post(&self.control_url(operation), &[], &body.to_string())?
            .json()
            .with_context(|| format!("control call {operation}"))
    }

    /// Change something, and show the request.
    pub(super) fn change(&self, operation: &str, body: &Value) -> Result<Value> {
        let said = self.control(operation, body)?;
        let line = screen::curl(&self.control_url(operation), &[], &body.to_string());
        screen::command(&line, &said.to_string());
        Ok(said)
    }

    /// How many live calendars and events (recurrences expanded) a copy of this user must hold.
    pub(super) fn expected(&self, email: &str) -> Result<(u64, u64)> {
        let expected = http::get(&self.control_url("expected"))?.json()?;
        let calendars = expected["users"][email].as_object();
        let calendars = calendars.with_context(|| format!("the simulator has no user {email}"))?;
        let live = calendars.values().filter(|calendar| calendar["deleted"] == false);
        let events = |calendar: &Value| calendar["expanded"].as_object().map_or(0, |map| map.len());
        Ok(live.fold((0, 0), |(count, sum), calendar| (count + 1, sum + events(calendar) as u64)))
    }

    fn control_url(&self, name: &str) -> String {
        format!("{}/control/{name}", self.url)
    }
}
