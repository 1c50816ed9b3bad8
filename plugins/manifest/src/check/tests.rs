//! One mistake at a time, made to a manifest that is right.

use crate::{
    ColumnType, Error, Literal, MANIFEST_BYTES_MAX, Manifest, PartialCondition, StreamRef,
    WebhookAuth,
};

pub(crate) const SMALL: &str = r#"
[plugin]
name = "tickets"
version = "1.2.3-beta"
cursor = { writes = 2, reads = [1, 2] }

[services.desk_v1.config]
hook_secret = { prompt = "Secret:", secret = true, generate = "base36/16", step = "webhook_secret" }
key = { prompt = "Key:", secret = true }
api_url = { kind = "url", default = "https://api.example.org/v1" }

[services.desk_v1]
table = "desk"
[services.desk_v1.webhook]
headers = ["x-event"]
auth = [
  { kind = "channel", id = "x-id", token = "x-token" },
  { kind = "header", header = "x-secret", secret = "hook_secret" },
]
[services.desk_v1.webhook.body]
type = { enum = ["ON", "OFF"] }
who = { min = 1, max = 9, owner = true }
grant = { seal = "grant", when = { type = ["ON"] } }

[services.ticket_v1]
depends_on = "desk_v1"
table = "ticket"
streams = { tickets = "per_desk" }
stale = { where = { desk = { equal = "old" } }, since = "changed" }

[stream_kinds.per_desk]
per_row = { table = "desk_v1", key = "name", unless = { closed = true } }
rows = { desk = "{key}" }
removed = { set = { state = "gone" } }
page_limit = 100
poll_s = { pushed = 60, unpushed = 60, unsupported = 60 }
push = "desk-news"

[secrets]
key = { config = "key", to = ["{api_url}/token"] }
grant = { per = "owner", to = ["{api_url}"], captured = { from = "{api_url}", at = "/grant" } }

[[egress]]
url = "{api_url}"
methods = ["GET"]
limits = [{ per = "owner", requests = 60, window_s = 60, rate_s = 1 }]

[tables.desk]
owner = "owner_id"
key = ["name"]
columns = { name = "text", closed = "bool", chan = "text", vendor = "text", ends = "timestamptz" }

[tables.ticket]
owner = "owner_id"
key = ["desk", "number"]
computed = { identity = "{owner_id}-{desk}-{number}" }
columns = { desk = "text", number = "int", state = "text", changed = "timestamptz", old = "json" }
never_written = ["old"]
newer = "changed"
indexes = [["owner_id", "row_created_at"], ["identity"]]
partial = [{ on = ["changed"], where = { state = { distinct_from = "gone" } } }]

[push.desk-news]
endpoint = "desk_v1"
row = { table = "desk_v1", key = "name" }
fills = { channel = "chan", vendor = "vendor", expires = "ends" }
ttl_s = 600
renew_s = 60

[lists]
special = ["a"]
"#;

#[test]
fn a_manifest_that_holds_together() {
    let manifest = Manifest::from_toml(SMALL).unwrap();
    assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
    assert_eq!(manifest.root("ticket_v1"), "desk_v1");
    let (name, kind) = manifest.streams("ticket_v1").next().unwrap();
    assert_eq!((name, kind.page_limit_min), ("tickets", 1));
    assert_eq!(manifest.table("ticket_v1").unwrap().columns["number"], ColumnType::Int);
    assert!(matches!(manifest.services["ticket_v1"].streams["tickets"], StreamRef::Named(_)));
    let auth = &manifest.services["desk_v1"].webhook.as_ref().unwrap().auth;
    assert!(matches!(auth[0], WebhookAuth::Channel { data: false, .. }));
    assert_eq!(manifest.plugin.limits.rows, 5_000);
    let stale = manifest.services["ticket_v1"].stale.as_ref().unwrap();
    let old = PartialCondition::Equal(Literal::Text("old".into()));
    assert_eq!((&stale.conditions["desk"], stale.since.as_deref()), (&old, Some("changed")));
    assert!(manifest.services["desk_v1"].stale.is_none());
}

/// Replaces `from`, which stands once in [`SMALL`], and expects these pieces in the error.
fn check(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(SMALL.matches(from).count(), 1, "`{from}` stands once");
    let error = Manifest::from_toml(&SMALL.replace(from, to)).expect_err(to).to_string();
    for piece in expected {
        assert!(error.contains(piece), "`{to}` should tell `{piece}`:\n{error}");
    }
}

#[test]
fn plugin_and_services() {
    check(r#"name = "tickets""#, r#"name = "Tickets""#, &["plugin.name: `Tickets` is no name"]);
    check("1.2.3-beta", "1.2", &["plugin.version: `1.2` is no version"]);
    check("reads = [1, 2]", "reads = [1]", &["plugin.cursor.reads: version 2", "add it"]);
    check(
        r#"depends_on = "desk_v1""#,
        r#"depends_on = "desc_v1""#,
        &["services.ticket_v1.depends_on: there is no service `desc_v1`", "known: desk_v1"],
    );
    let depends = "[services.desk_v1]\ndepends_on = \"ticket_v1\"";
    check("[services.desk_v1]\n", &format!("{depends}\n"), &["comes round to itself"]);
    check(r#"table = "desk""#, r#"table = "dusk""#, &["services.desk_v1.table", "`dusk`"]);
    check(
        r#"streams = { tickets = "per_desk" }"#,
        "config = { x = { default = \"1\" } }",
        &["services.ticket_v1.config: only a root service"],
    );
}

#[test]
fn configuration() {
    let api = r#"api_url = { kind = "url", default = "https://api.example.org/v1" }"#;
    let path = "services.desk_v1.config.api_url";
    check(api, r#"api_url = { kind = "url" }"#, &[path, "never gets a value"]);
    check(api, r#"api_url = { kind = "url", default = "api.example.org" }"#, &[path, ".default"]);
    check(api, r#"api_url = { kind = "url", default = "https://x/" }"#, &[path, "not end with /"]);
    check(r#""Key:""#, r#""Key""#, &["config.key.prompt: must end with a colon"]);
    check(r#""base36/16""#, r#""hex""#, &["hook_secret.generate", "known: base36/16"]);
    check(
        r#"secret = true }
api"#,
        r#"secret = true, default = "x" }
api"#,
        &["config.key", "anybody can read"],
    );
}

#[test]
fn webhooks() {
    let path = "services.desk_v1.webhook";
    check(
        r#"secret = "hook_secret""#,
        r#"secret = "api_url""#,
        &[path, "auth[1].secret: `api_url` is no secret configuration value"],
    );
    check(r#"header = "x-secret""#, r#"header = "X-Secret""#, &["in lower case"]);
    check(r#"seal = "grant""#, r#"seal = "key""#, &["body.grant.seal", "per = \"owner\""]);
    check(r#"when = { type"#, r#"when = { kind"#, &["when.kind", "no field `kind`"]);
    check(r#"["ON"] }"#, r#"["UP"] }"#, &["`type` is never `UP`; known: ON, OFF"]);
    check("min = 1, max = 9", "min = 9, max = 1", &["body.who: min 9 is more than max 1"]);
    check(r#"grant = { seal"#, r#"grant = { owner = true, seal"#, &["more than one field"]);
    check("type = { enum", "type = { type = \"integer\", enum", &["body.type", "for strings"]);
}

#[test]
fn secrets_and_egress() {
    check(r#"key = { config = "key""#, r#"key = { config = "api_url""#, &["secrets.key.config"]);
    check(r#"key = { config = "key", to"#, "key = { to", &["secrets.key", "give one"]);
    check(r#"["{api_url}/token"]"#, r#"["https://x"]"#, &["secrets.key.to[0]", "[[egress]]"]);
    check(r#"["{api_url}/token"]"#, r#"["{apiurl}"]"#, &["there is no value `apiurl`"]);
    check(r#"["{api_url}/token"]"#, r#"["{key}"]"#, &["`{key}` is a secret"]);
    check(r#"["{api_url}/token"]"#, r#"["{api_url"]"#, &["without its other half"]);
    check(r#"["{api_url}/token"]"#, r#"["ftp://x"]"#, &["must begin with http"]);
    check(r#"at = "/grant""#, r#"at = "grant""#, &["captured.at", "begins with /"]);
    check(r#"methods = ["GET"]"#, r#"methods = ["get"]"#, &["egress[0].methods[0]: `get`"]);
    check("rate_s = 1", "rate_s = 2", &["egress[0].limits[0]", "lower `rate_s`"]);
}

#[test]
fn tables() {
    check(r#"key = ["name"]"#, r#"key = ["nam"]"#, &["tables.desk.key[0]", "no column `nam`"]);
    check("closed = \"bool\"", "data = \"bool\"", &["tables.desk.columns.data", "by itself"]);
    check("closed = \"bool\"", "owner_id = \"text\"", &["the host adds"]);
    check("closed = \"bool\"", "Closed = \"bool\"", &["`Closed` is no name"]);
    check("{owner_id}-{desk}-{number}", "{owner_id}-{number}", &["computed.identity", "desk"]);
    check("{owner_id}-{desk}-{number}", "{owner_id}/{desk}-{number}", &["joined by `-`"]);
    check("{owner_id}-{desk}-{number}", "{owner}-{desk}-{number}", &["no column `owner`"]);
    check("[\"old\"]", "[\"older\"]", &["never_written[0]", "`older`"]);
    check("[\"old\"]", "[\"desk\"]", &["part of the key"]);
    check("newer = \"changed\"", "newer = \"state\"", &["tables.ticket.newer"]);
    check("[\"identity\"]", "[\"identities\"]", &["tables.ticket.indexes[1]"]);
    check("on = [\"changed\"]", "on = []", &["partial[0].on", "needs a column"]);
    check("where = { state", "where = { status", &["partial[0].where.status"]);
    check(
        "distinct_from = \"gone\"",
        "equal = true",
        &["partial[0].where.state: compares bool with a column of type text"],
    );
    check(
        "[lists]",
        "[tables.spare]\nkey = [\"a\"]\ncolumns = { a = \"text\" }\n[lists]",
        &["tables.spare: no service"],
    );
}

#[test]
fn stale_rows() {
    let path = "services.ticket_v1.stale";
    let old = "where = { desk = { equal = \"old\" } }";
    check(old, "where = { dusk = { null = true } }", &[path, ".where.dusk", "no column `dusk`"]);
    check(old, "where = {}", &[path, ".where: without a condition every row would be stale"]);
    check(old, "where = { identity = { null = true } }", &["the host fills `identity`"]);
    check(old, "where = { row_updated_at = { null = false } }", &["fills `row_updated_at`"]);
    check(
        "equal = \"old\"",
        "equal = 7",
        &[path, ".where.desk: compares int with a column of type text"],
    );
    check("equal = \"old\"", "equal = 1.5", &["a text, a whole number, true or false"]);
    check("desk = { equal", "number = { distinct_from", &[".where.number: compares text with"]);
    check("since = \"changed\"", "since = \"number\"", &[path, ".since: `number` is no column"]);
    check("since = \"changed\"", "snce = \"changed\"", &["unknown field `snce`"]);
}

#[test]
fn streams_and_push() {
    check("tickets = \"per_desk\"", "tickets = \"per_dusk\"", &["no stream kind `per_dusk`"]);
    check("per_row = { table = \"desk_v1\"", "per_row = { table = \"desk\"", &["per_row.table"]);
    check(
        "unless = { closed = true }",
        "unless = { closed = 1 }",
        &["unless.closed: 1 is no value of type bool"],
    );
    check("rows = { desk = \"{key}\" }", "rows = { dusk = \"{key}\" }", &["rows.dusk"]);
    check("rows = { desk = \"{key}\" }", "rows = { desk = \"{k}\" }", &["only `{key}`"]);
    check("rows = { desk = \"{key}\" }\n", "", &["removed: nobody knows which rows"]);
    check("set = { state", "set = { status", &["removed.set.status"]);
    check("page_limit = 100", "page_limit = 0", &["page_limit: the limit shrinks"]);
    check("unpushed = 60", "unpushed = 0", &["poll_s: must be at least 1"]);
    check("push = \"desk-news\"", "push = \"news\"", &["no push channel `news`; known: desk-news"]);
    check("endpoint = \"desk_v1\"", "endpoint = \"ticket_v1\"", &["push.desk-news.endpoint"]);
    check("expires = \"ends\"", "expires = \"chan\"", &["fills.expires"]);
    check("renew_s = 60", "renew_s = 600", &["push.desk-news.renew_s"]);
    check("special = [\"a\"]", "Special = [\"a\"]", &["lists.Special"]);
}

#[test]
fn shapes() {
    check("page_limit = 100", "page_limits = 100", &["unknown field `page_limits`", "line"]);
    check("[services.ticket_v1]", "[services.ticket_v1]\nwebhok = 1", &["unknown field `webhok`"]);
    check("kind = \"header\"", "kind = \"hmac\"", &["unknown variant `hmac`"]);
    check(
        "tickets = \"per_desk\"",
        "tickets = { page_limit = 1, pol_s = 1 }",
        &["unknown field `pol_s`"],
    );
    check("closed = \"bool\"", "closed = \"boolean\"", &["unknown variant `boolean`"]);
    check("distinct_from = \"gone\"", "is = \"gone\"", &["unknown variant `is`"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let twice = SMALL.replace("renew_s = 60", "renew_s = 600").replace("1.2.3-beta", "x");
    let Err(Error::Invalid(problems)) = Manifest::from_toml(&twice) else { panic!("not found") };
    let paths: Vec<_> = problems.0.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["plugin.version", "push.desk-news.renew_s"]);
    assert_eq!(problems.to_string().lines().count(), 2);
}

#[test]
fn json_errors_name_the_path_and_size_is_capped() {
    let json = String::from_utf8(Manifest::from_toml(SMALL).unwrap().to_json()).unwrap();
    let cases = [
        (
            json.replace("\"page_limit\":100", "\"page_limit\":\"x\""),
            "stream_kinds.per_desk.page_limit",
        ),
        (json.replace("\"closed\":\"bool\"", "\"closed\":7"), "tables.desk.columns.closed"),
        (format!("{json} x"), "trailing characters"),
        (String::new(), "EOF"),
        (" ".repeat(MANIFEST_BYTES_MAX + 1), "at most"),
    ];
    for (text, expected) in cases {
        let error = Manifest::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let large = "#".repeat(MANIFEST_BYTES_MAX + 1);
    assert!(matches!(Manifest::from_toml(&large), Err(Error::TooLarge(_))));
}
