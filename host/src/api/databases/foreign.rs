//! SQL that lets another PostgreSQL server read an organization's tables, by `postgres_fdw`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::json;
use url::Url;

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::endpoint::Json::{ObjectOrNull, Text};
use crate::api::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use crate::api::failure::Failure;
use crate::store::integrations::Integration;
use crate::store::tables::{literal, quoted};

const FOREIGN: &[Field] = &[
    field("fdw_sql", "", Text),
    field("views_sql", "", Text),
    field("compound_sql", "", Text),
    field("views", "", ObjectOrNull),
    field("message", "", Text),
];

/// PostgreSQL cuts longer names.
const NAME_MAX: usize = 63;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::post(
        "/v1/db/{org}/fdw",
        "SQL for a PostgreSQL server of your own that reads the tables there",
        Access::Member,
        const {
            &[
                Param::text("remote_server_name", "What the server is called there"),
                Param::text("fetch_size", "Rows that are fetched at once").of(Kind::Integer),
                Param::text("local_schema", "Where the foreign tables go"),
                Param::text("view_schema", "Where the materialized views go"),
                Param::text("message_fdw", "The message is the server's part").of(Kind::Flag),
                Param::text("message_views", "The message is that of the views").of(Kind::Flag),
                Param::text("message_all", "The message is all of it").of(Kind::Flag),
            ]
        },
        &[(200, Shape::Object(FOREIGN))],
        |call| Box::pin(foreign(call)),
    )
}

async fn foreign(call: Call) -> Result<Answer, Failure> {
    let organization = call.organization().id;
    let names = Names {
        server: name(&call, "remote_server_name", "rowgate_remote")?,
        tables: name(&call, "local_schema", "rowgate_remote")?,
        views: name(&call, "view_schema", "rowgate")?,
        fetch_size: call.values.integer("fetch_size").unwrap_or(50_000),
    };
    if !(1..=1_000_000).contains(&names.fetch_size) {
        return Err(Failure::field("fetch_size", "must be between 1 and 1000000"));
    }
    let Some(schema) = call.app.store.schema(organization).await? else {
        let message = "The tables lie in a file; only those of a PostgreSQL server can be read so";
        return Err(Failure::conflict(message));
    };
    let url = call.app.store.connection_url(organization).await?;
    let url = Url::parse(&url).map_err(|error| Failure::conflict(error.to_string()))?;
    let integrations = call.app.store.integrations(organization).await?;
    let server = server(&url, &schema, &names);
    let views = views(&integrations, &names);
    let all_views = views.values().cloned().collect::<Vec<_>>().join("\n");
    let all = format!("{server}\n{all_views}");
    let message = match (call.values.flag("message_fdw"), call.values.flag("message_views")) {
        (true, _) => &server,
        (_, true) => &all_views,
        _ => &all,
    };
    Ok(Answer::object(json!({
        "message": message,
        "fdw_sql": server,
        "views_sql": all_views,
        "compound_sql": all,
        "views": views,
    })))
}

/// What things are called on the other server.
struct Names {
    server: String,
    tables: String,
    views: String,
    fetch_size: i64,
}

fn name(call: &Call, param: &str, otherwise: &str) -> Result<String, Failure> {
    let name = call.values.given(param).unwrap_or_else(|| otherwise.to_owned());
    let name = name.trim().to_owned();
    match name.len() <= NAME_MAX {
        true => Ok(name),
        false => Err(Failure::field(param, format!("must have at most {NAME_MAX} bytes"))),
    }
}

fn server(url: &Url, schema: &str, names: &Names) -> String {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    // A socket of the server's own machine stands in the query.
    let socket = url.query_pairs().find(|(name, _)| name == "host").map(|(_, socket)| socket);
    let host = socket.unwrap_or(Cow::Borrowed(url.host_str().unwrap_or_default()));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(5432).to_string();
    let database = decoded(url.path().trim_start_matches('/'));
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let (server, tables, views) =
        (quoted(&names.server), quoted(&names.tables), quoted(&names.views));
    format!(
        "CREATE EXTENSION IF NOT EXISTS postgres_fdw;
DROP SERVER IF EXISTS {server} CASCADE;
CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw
  OPTIONS (host {}, port {}, dbname {}, fetch_size {});
CREATE USER MAPPING FOR CURRENT_USER SERVER {server}
  OPTIONS (user {}, password {});
CREATE SCHEMA IF NOT EXISTS {tables};
IMPORT FOREIGN SCHEMA {} FROM SERVER {server} INTO {tables};
CREATE SCHEMA IF NOT EXISTS {views};
",
        literal(host),
        literal(&port),
        literal(&database),
        literal(&names.fetch_size.to_string()),
        literal(&user),
        literal(&password),
        quoted(schema),
    )
}

/// One of each table, named by its service where that has one table only.
fn views(integrations: &[Integration], names: &Names) -> BTreeMap<String, String> {
    let view = |of: &Integration| {
        let alone = integrations.iter().filter(|one| one.service == of.service).count() == 1;
        let name = if alone { &of.service } else { &of.table_name };
        let sql = format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {}.{} AS SELECT * FROM {}.{};",
            quoted(&names.views),
            quoted(name),
            quoted(&names.tables),
            quoted(&of.table_name)
        );
        (of.id.clone(), sql)
    };
    integrations.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            server: "far\"away".into(),
            tables: "remote".into(),
            views: "local".into(),
            fetch_size: 7,
        }
    }

    #[test]
    fn names_and_values_are_quoted() {
        for (url, options) in [
            (
                "postgres://reader:it's@db.example:5433/data",
                "(host 'db.example', port '5433', dbname 'data', fetch_size '7')",
            ),
            (
                "postgres://reader:it's@localhost/da%20ta?host=%2Frun%2Fpg",
                "(host '/run/pg', port '5432', dbname 'da ta', fetch_size '7')",
            ),
            (
                "postgres://reader:it's@[::1]:1/data",
                "(host '::1', port '1', dbname 'data', fetch_size '7')",
            ),
        ] {
            let sql = server(&Url::parse(url).unwrap(), "org_default", &names());
            assert!(sql.contains(options), "{sql}");
            assert!(sql.contains("OPTIONS (user 'reader', password 'it''s')"), "{sql}");
            assert!(sql.contains("DROP SERVER IF EXISTS \"far\"\"away\" CASCADE;"), "{sql}");
            assert!(sql.contains("IMPORT FOREIGN SCHEMA \"org_default\" FROM SERVER"), "{sql}");
        }
    }

    #[test]
    fn a_view_has_the_name_of_its_service_if_that_is_enough() {
        let of = |id: &str, service: &str| Integration {
            id: id.into(),
            organization_id: 1,
            plugin: "p".into(),
            service: service.into(),
            table_name: format!("{service}_{id}"),
            depends_on: None,
            root_id: id.into(),
            created_at: 0,
        };
        let views = views(&[of("a", "list"), of("b", "list"), of("c", "event")], &names());
        let shown = |id: &str| views[id].split(" AS ").next().unwrap().to_owned();
        let start = "CREATE MATERIALIZED VIEW IF NOT EXISTS \"local\".";
        assert_eq!(shown("a"), format!("{start}\"list_a\""));
        assert_eq!(shown("b"), format!("{start}\"list_b\""));
        assert_eq!(shown("c"), format!("{start}\"event\""));
        assert!(views["c"].ends_with("AS SELECT * FROM \"remote\".\"event_c\";"), "{}", views["c"]);
    }
}
