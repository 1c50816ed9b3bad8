//! `rowgate auth`.

use anyhow::{Context, bail};
use clap::Subcommand;

use super::client::{self, Client, given};
use super::output::Format;
use crate::api;
use crate::app::App;
use crate::config::{Profile, Profiles};
use crate::store::accounts::{Asker, Issued};

#[derive(Debug, Subcommand)]
pub(super) enum Auth {
    /// Log in to a host with a one-time code
    #[command(visible_aliases = ["signup", "signin", "register"])]
    Login {
        /// Your address
        #[arg(long, short, visible_alias = "email")]
        username: Option<String>,
        /// The one-time code
        #[arg(long, short)]
        token: Option<String>,
    },
    /// End the session
    Logout {
        /// On all machines
        #[arg(long)]
        everywhere: bool,
        /// Forget the host too
        #[arg(long, short)]
        remove: bool,
    },
    /// Who is logged in
    Whoami,
    /// End all sessions of somebody; for the host's operator
    Revoke {
        /// Whose; they may log in again as long as they belong to an organization, or are allowed to
        email: String,
    },
    /// Make a one-time code for an address; for whoever has the data directory
    Code {
        /// The address
        email: String,
    },
}

impl Auth {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Login { username, token } => login(client, username, token).await,
            Self::Logout { everywhere, remove } => logout(client, everywhere, remove).await,
            Self::Whoami => client::print(format, &client.get("/v1/me").await?),
            Self::Revoke { email } => {
                let body = serde_json::json!({ "email": email });
                let answered = client.post("/v1/auth/revoke", body).await?;
                eprintln!("{}", answered.body["message"].as_str().unwrap_or_default());
                Ok(())
            }
            Self::Code { .. } => bail!("codes are made on the host's machine, without --host"),
        }
    }
}

/// Prints a code.
pub(super) async fn print_code(app: &App, email: &str) -> anyhow::Result<()> {
    let email = email.trim().to_lowercase();
    match app.store.issue_code(&email, Asker::Operator).await? {
        Issued::Code(code) => super::output::print_text(&format!("{code}\n")),
        Issued::TooMany => bail!("there were too many codes"),
    }
}

async fn login(
    client: &Client,
    username: Option<String>,
    token: Option<String>,
) -> anyhow::Result<()> {
    let Some(base_url) = client.base_url() else {
        bail!("say where: rowgate auth login --host https://.. (here, all is allowed without)");
    };
    let body = given([("email", username), ("token", token)]);
    let answered = client.post("/v1/auth", body).await?;
    let output = answered.body["output"].as_str().unwrap_or_default();
    let customer = &answered.body["extras"]["current_customer"];
    let Some(email) = customer["email"].as_str() else { bail!("{output}") };
    let header = answered.headers.get(api::AUTH_TOKEN).and_then(|value| value.to_str().ok());
    let header = header.context("the host gave no session")?;
    let organization = customer["default_organization"]["id"].as_i64();
    let profile = Profile {
        auth_token: header.split(';').next().unwrap_or_default().to_owned(),
        email: email.to_owned(),
        org: organization.map(|id| id.to_string()).unwrap_or_default(),
    };
    let mut profiles = Profiles::load()?;
    profiles.current = Some(base_url.to_owned());
    profiles.hosts.insert(base_url.to_owned(), profile);
    profiles.store()?;
    eprintln!("{output}");
    Ok(())
}

async fn logout(client: &Client, everywhere: bool, remove: bool) -> anyhow::Result<()> {
    let Some(base_url) = client.base_url() else { bail!("you aren't logged in to any host") };
    let body = serde_json::json!({ "everywhere": everywhere });
    let answered = client.post("/v1/auth/logout", body).await?;
    let mut profiles = Profiles::load()?;
    match profiles.hosts.get_mut(base_url) {
        Some(profile) if !remove => profile.auth_token.clear(),
        _ => {
            profiles.hosts.remove(base_url);
        }
    }
    profiles.current.take_if(|current| remove && current.as_str() == base_url);
    profiles.store()?;
    eprintln!("{}", answered.body["message"].as_str().unwrap_or_default());
    Ok(())
}
