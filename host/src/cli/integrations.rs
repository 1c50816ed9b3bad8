//! `rowgate integrations`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::{self, Format};
use super::prompt;
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
    /// Let an integration's tree reach an origin that its plugin asks for
    Grant(GrantOrigin),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A service that an active plugin offers, e.g. google_calendar_list_v1
    service: String,
    /// A setting; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// The integration to hang under [default: the only one that fits]
    #[arg(long, value_name = "ID")]
    depends_on: Option<String>,
    /// Ask nothing: take generated values and defaults
    #[arg(long)]
    yes: bool,
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
    pub(super) async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(app, format).await,
            Self::List => list(app, format).await,
            Self::Grant(grant) => grant.run(app).await,
        }
    }
}

impl Create {
    async fn run(self, app: &App, format: Format) -> anyhow::Result<()> {
        let organization = app.organization().await?;
        let mut draft = Draft::begin(app, organization.id, &self.service).await?;
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
