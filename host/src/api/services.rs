//! What can be configured, and the tables that come of it.

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::endpoint::Json::Text;
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::rows::TableSpec;
use crate::store::{Dialect, tables};

const SERVICE: &[Field] = &[
    field("name", "Name", Text),
    field("depends_on", "Depends on", Text),
    field("plugin", "Plugin", Text),
    field("version", "Version", Text),
];
const FIXTURES: &[Field] = &[field("schema_sql", "", Text)];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/organizations/{org}/services",
            "Services that an organization can configure",
            Access::Member,
            &[],
            &[(200, Shape::Collection(SERVICE))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::get(
            "/v1/services/{name}/fixtures",
            "SQL that makes a service's table, for tests of your own",
            Access::Anybody,
            const {
                &[Param::text("dialect", "postgres, if empty")
                    .of(Kind::OneOf(&["postgres", "sqlite"]))]
            },
            &[(200, Shape::Object(FIXTURES))],
            |call| Box::pin(fixtures(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let plugins = call.app.store.active_plugins().await?;
    let mut items: Vec<Value> = Vec::new();
    for plugin in plugins.values() {
        for (name, service) in &plugin.manifest.services {
            items.push(json!({
                "name": name,
                "depends_on": service.depends_on,
                "plugin": plugin.name,
                "version": plugin.manifest.plugin.version,
            }));
        }
    }
    Ok(Answer::collection(items, "No plugin is active.", SERVICE))
}

async fn fixtures(call: Call) -> Result<Answer, Failure> {
    let name = call.path("name");
    let plugins = call.app.store.active_plugins().await?;
    let found = plugins.values().find(|plugin| plugin.manifest.services.contains_key(name));
    let Some(plugin) = found else {
        let message = format!("No active plugin offers `{name}`");
        return Err(Failure::invalid("invalid_service", message));
    };
    let spec = TableSpec::new(&plugin.manifest, name, &format!("{name}_fixture"));
    let spec = spec.map_err(|error| Failure::conflict(error.to_string()))?;
    let dialect = match call.values.text("dialect").as_str() {
        "sqlite" => Dialect::Sqlite,
        _ => Dialect::Postgres,
    };
    Ok(Answer::object(json!({ "schema_sql": tables::script(dialect, &spec) })))
}
