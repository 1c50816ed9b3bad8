//! `rowgate orgs`.

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::client::{self, Client, given};
use super::named::named;
use super::output::{self, Format};
use crate::app::App;
use crate::config::Profiles;

#[derive(Debug, Subcommand)]
pub(super) enum Orgs {
    /// Make an organization
    Create(Named),
    /// List organizations
    List,
    /// The organization that commands work on
    Current,
    /// Let commands work on another organization
    Activate {
        /// Its id, key or name; --org does as well
        organization: Option<String>,
    },
    /// Members, and who is invited
    Members,
    /// Invite somebody
    Invite {
        /// Their address
        #[arg(long, short, visible_alias = "email")]
        username: Option<String>,
        /// As what
        #[arg(long, short, value_enum)]
        role: Option<RoleName>,
    },
    /// Accept an invitation
    Join {
        /// Its code
        #[arg(long, short)]
        code: Option<String>,
    },
    /// Remove a member, or take an invitation back
    Remove {
        /// Their address
        #[arg(long, short, visible_alias = "email")]
        username: Option<String>,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Give members another role
    #[command(visible_alias = "change-role")]
    Changerole {
        /// Their addresses, with commas between them
        #[arg(long, short)]
        usernames: Option<String>,
        /// The role
        #[arg(long, short, value_enum)]
        role: Option<RoleName>,
    },
    /// Give the organization another name
    Rename {
        /// The name
        name: Option<String>,
    },
    /// Delete the organization with its integrations, tables and members
    Close {
        /// Its key, to be asked nothing
        #[arg(long, short)]
        confirm: Option<String>,
    },
    /// Change a field
    Update {
        /// Which
        #[arg(long)]
        field: Option<String>,
        /// Its new value
        #[arg(long, short)]
        value: Option<String>,
    },
}

named!(
    /// Its name; the key is made from it
    Named, "NAME", "name", 'n'
);

/// What somebody is in an organization.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    Admin,
    Member,
}

impl RoleName {
    fn text(self) -> String {
        match self {
            Self::Admin => "admin".into(),
            Self::Member => "member".into(),
        }
    }
}

impl Orgs {
    /// On a data directory, where all organizations are there.
    pub(super) async fn run_here(self, app: &App, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Create(named) => {
                let made = app.store.create_organization(&named.name()).await?;
                output::print_object(
                    format,
                    &[
                        ("id", made.id.into()),
                        ("key", made.key.into()),
                        ("name", made.name.into()),
                        ("created_at", output::time(Some(made.created_at))),
                    ],
                )
            }
            Self::List => {
                let rows: Vec<Vec<Value>> = (app.store.organizations().await?.into_iter())
                    .map(|org| {
                        let created_at = output::time(Some(org.created_at));
                        vec![org.id.into(), org.key.into(), org.name.into(), created_at]
                    })
                    .collect();
                output::print(format, &["id", "key", "name", "created_at"], &rows)
            }
            other => other.run(&Client::local(app), format).await,
        }
    }

    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let answered = match self {
            Self::Create(named) => {
                let body = given([("name", named.name())]);
                client.post("/v1/organizations/create", body).await?
            }
            Self::List => {
                let active = url::form_urlencoded::byte_serialize(client.org.as_bytes());
                let active: String = active.collect();
                let path = "/v1/me/organization_memberships?active_org_identifier=";
                client.get(&format!("{path}{active}")).await?
            }
            Self::Current => show(client, client.org()?).await?,
            Self::Activate { organization } => {
                return activate(client, organization, format).await;
            }
            Self::Members => client.get(&client.of_org("members")?).await?,
            Self::Invite { username, role } => {
                let body = given([("email", username), ("role_name", role.map(RoleName::text))]);
                client.post(&client.of_org("invite")?, body).await?
            }
            Self::Join { code } => {
                let body = given([("invitation_code", code)]);
                client.post("/v1/organizations/join", body).await?
            }
            Self::Remove { username, yes } => {
                let confirm = yes.then(String::new);
                let body = given([("email", username), ("guard_confirm", confirm)]);
                client.post(&client.of_org("remove_member")?, body).await?
            }
            Self::Changerole { usernames, role } => {
                let role = role.map(RoleName::text);
                let body = given([("emails", usernames), ("role_name", role)]);
                client.post(&client.of_org("change_roles")?, body).await?
            }
            Self::Rename { name } => {
                client.post(&client.of_org("rename")?, given([("name", name)])).await?
            }
            Self::Close { confirm } => {
                let body = given([("confirm", confirm)]);
                let path = client.of_org("close")?;
                output::takes_a_while("closing");
                client.post(&path, body).await?
            }
            Self::Update { field, value } => {
                let body = given([("field", field), ("value", value)]);
                client.post(&client.of_org("update")?, body).await?
            }
        };
        client::print(format, &answered)
    }
}

async fn show(client: &Client, org: &str) -> anyhow::Result<client::Answered> {
    let query: String = url::form_urlencoded::byte_serialize(org.as_bytes()).collect();
    client.get(&format!("/v1/organizations/-?org={query}")).await
}

async fn activate(
    client: &Client,
    organization: Option<String>,
    format: Format,
) -> anyhow::Result<()> {
    let Some(base_url) = client.base_url() else {
        anyhow::bail!("on a data directory, say it by --org or ROWGATE_ORG");
    };
    let organization = match organization.as_deref() {
        Some(organization) => organization,
        None => client.org()?,
    };
    let answered = show(client, organization).await?;
    let mut profiles = Profiles::load()?;
    let profile = profiles.hosts.entry(base_url.to_owned()).or_default();
    profile.org = answered.body["id"].to_string();
    profiles.store()?;
    client::print(format, &answered)
}
