//! `rowgate integrations`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Client, given};
use super::named::named;
use super::output::{self, Format};
use super::{prompt, services};
use crate::app::App;
use crate::app::integrations::{Described, Draft, Question};
use crate::egress::Origin;
use crate::store::integrations::Grant;

#[derive(Debug, Subcommand)]
pub(super) enum Integrations {
    /// Configure a service; what is missing is asked
    Create(Create),
    /// List the organization's integrations
    List,
    /// All of an integration, or one field of it
    Info(Info),
    /// What is still to be answered, and how to use it
    Setup(Named),
    /// Forget the secret of the endpoint, and begin again
    Reset(Named),
    /// Make a new key, which stands for the integration in the HTTP API
    RollKey(Named),
    /// How an integration is
    Stats(Named),
    /// Delete an integration with its table, and all that depend on it
    Delete(Delete),
    /// Let an integration's tree reach an origin that its plugin asks for
    Grant(GrantOrigin),
}

named!(
    /// Id, table or service
    Named, "INTEGRATION", "integration", 'i'
);

/// An integration, or all.
#[derive(Debug, Args)]
pub(super) struct OneOrAll {
    /// Integration, by id, table or service; all of the organization, if it isn't given
    integration: Option<String>,
    /// The same
    #[arg(long = "integration", short = 'i', value_name = "INTEGRATION", id = "named")]
    #[arg(conflicts_with = "integration")]
    named: Option<String>,
}

impl OneOrAll {
    pub(super) fn name(self) -> Option<String> {
        self.integration.or(self.named)
    }
}

#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    of: Named,
    /// One field: id, service, table, url, webhook_secret, webhookdb_api_key, api_url
    #[arg(long, short)]
    field: Option<String>,
    // Of the same name as the global one, which would be `-f` too.
    /// How results are written
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    of: Named,
    /// The name of its table, to be asked nothing
    #[arg(long, short)]
    confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    service: services::Named,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// The integration to hang under [default: the only one that fits]
    #[arg(long, value_name = "ID")]
    depends_on: Option<String>,
    /// Ask nothing: take generated values and defaults
    #[arg(long)]
    yes: bool,
    /// Don't ask whether another one of the service is wanted
    #[arg(long, short)]
    confirm: bool,
}

#[derive(Debug, Args)]
pub(super) struct GrantOrigin {
    /// Any integration of the tree
    integration: String,
    /// Scheme, host and port, e.g. https://api.example.com
    origin: Origin,
    /// Loopback and private ranges too
    #[arg(long)]
    private_addresses: bool,
}

impl GrantOrigin {
    async fn run(self, app: &App) -> anyhow::Result<()> {
        let Some(integration) = app.store.integration(&self.integration).await? else {
            anyhow::bail!("there is no integration {}", self.integration);
        };
        let grant =
            Grant { origin: self.origin.to_string(), private_addresses: self.private_addresses };
        app.store.grant(&integration.root_id, grant).await?;
        eprintln!("granted: {} may reach {}", integration.root_id, self.origin);
        Ok(())
    }
}

impl Integrations {
    /// On a data directory.
    pub(super) async fn run_here(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(app, format).await,
            Self::List => list(app, format).await,
            Self::Grant(grant) => grant.run(app).await,
            other => other.run(Client::local(app), format).await,
        }
    }

    pub(super) async fn run(self, client: Client, format: Format) -> anyhow::Result<()> {
        let of = |of: &Named, below: &str| client.of_integration(&of.name(), below);
        let answered = match self {
            Self::Create(create) => return create.run_there(client, format).await,
            Self::List => client.get(&client.of_org("service_integrations")?).await?,
            Self::Info(info) => {
                let body = given([("field", info.field)]);
                let answered = client.post(&of(&info.of, "info")?, body).await?;
                return client::print(info.format.unwrap_or(format), &answered);
            }
            Self::Setup(named) => client.post(&of(&named, "setup")?, json!({})).await?,
            Self::Reset(named) => client.post(&of(&named, "reset")?, json!({})).await?,
            Self::RollKey(named) => client.post(&of(&named, "roll_api_key")?, json!({})).await?,
            Self::Stats(named) => client.get(&of(&named, "stats")?).await?,
            Self::Delete(delete) => {
                let body = given([("confirm", delete.confirm)]);
                client.post(&of(&delete.of, "delete")?, body).await?
            }
            Self::Grant(_) => anyhow::bail!("origins are granted on the host's machine"),
        };
        client::print(format, &answered)
    }
}

impl Create {
    async fn run_there(self, mut client: Client, format: Format) -> anyhow::Result<()> {
        let confirm = (self.confirm || self.yes).then(String::new);
        let mut body = given([
            ("service_name", Some(self.service.name())),
            ("depends_on", self.depends_on.clone()),
            ("guard_confirm", confirm),
        ]);
        body["settings"] =
            self.set.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        client.silent = self.yes;
        let path = client.of_org("service_integrations/create")?;
        client::print(format, &client.post(&path, body).await?)
    }

    async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let organization = app.organization().await?;
        let mut draft = Draft::begin(app, organization.id, &self.service.name()).await?;
        draft.choose_named(app, self.depends_on.as_deref()).await?;
        for (name, value) in &self.set {
            draft.answer(name, value, true)?;
        }
        if !self.yes {
            for question in draft.questions() {
                ask(&mut draft, &question)?;
            }
        }
        let created = draft.create(app).await?;
        for grant in &created.grants {
            let private = if grant.private_addresses { ", private addresses included" } else { "" };
            eprintln!("granted: this integration may reach {}{private}", grant.origin);
        }
        print(app, format, &created.described)
    }
}

/// Asks until the answer is good; an empty one leaves the default.
fn ask(draft: &mut Draft, question: &Question) -> anyhow::Result<()> {
    let offer = match (&question.default, question.generated) {
        (_, true) => " [generated]".to_owned(),
        (Some(default), false) => format!(" [{default}]"),
        (None, false) => String::new(),
    };
    loop {
        let answer = prompt::ask(&format!("{}{offer}", question.prompt), question.secret)?;
        let optional = question.generated || question.default.is_some();
        match answer.as_deref() {
            // The end of the input: what is still missing is listed all at once.
            None => return Ok(()),
            Some("") if optional => return Ok(()),
            Some(answer) => match draft.answer(&question.name, answer, true) {
                Ok(()) => return Ok(()),
                Err(error) => eprintln!("{error}"),
            },
        }
    }
}

fn print(app: &App, format: Format, created: &Described) -> anyhow::Result<()> {
    let integration = &created.integration;
    let secret = created.webhook_secret.as_ref();
    let data_dir = app.config.data_dir.to_string_lossy();
    let query = format!(
        "rowgate db sql --data-dir {} --org {} 'select * from {}'",
        output::shell_word(&data_dir),
        output::shell_word(&app.config.org),
        integration.table_name
    );
    let curl = secret.map(|(header, secret)| {
        let body = created.example_body.as_ref().map(Value::to_string).unwrap_or_default();
        let header = output::shell_word(&format!("{header}: {}", **secret));
        let (endpoint, body) = (&created.endpoint, output::shell_word(&body));
        format!("curl -X POST {endpoint} -H {header} -d {body}")
    });
    let mut fields: Vec<(&str, Value)> = vec![
        ("opaque_id", integration.id.clone().into()),
        ("service_name", integration.service.clone().into()),
        ("table_name", integration.table_name.clone().into()),
        ("endpoint", created.endpoint.clone().into()),
        ("webhook_secret", secret.map(|(_, secret)| secret.to_string()).into()),
        ("depends_on", integration.depends_on.clone().into()),
        ("curl", curl.into()),
        ("sql", query.into()),
    ];
    if format == Format::Table {
        fields.retain(|(_, value)| !value.is_null());
    }
    output::print_object(format, &fields)
}

async fn list(app: &App, format: Format) -> anyhow::Result<()> {
    let organization = app.organization().await?;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for integration in app.store.integrations(organization.id).await? {
        let misconfigured = app.store.tree(&integration.root_id).await?.misconfigured;
        rows.push(vec![
            integration.id.clone().into(),
            integration.service.into(),
            integration.table_name.into(),
            integration.depends_on.into(),
            app.endpoint(&integration.id).into(),
            if misconfigured.is_some() { "misconfigured" } else { "ok" }.into(),
            misconfigured.into(),
            output::time(Some(integration.created_at)),
        ]);
    }
    let columns = [
        "opaque_id",
        "service_name",
        "table_name",
        "depends_on",
        "endpoint",
        "state",
        "reason",
        "created_at",
    ];
    output::print(format, &columns, &rows)
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}
