#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::egress::url_prefix::parse_target;

const MANIFEST: &str = r#"
[plugin]
name = "probe"
version = "0.1.0"
cursor = { writes = 1, reads = [1] }

[services.item_v1]
table = "item"
[services.item_v1.config]
api_url = { kind = "url", default = "https://api.example/v3" }
token_url = { kind = "url", default = "https://login.example/token" }

[secrets.token]
per = "owner"
to = ["{api_url}"]
[secrets.hidden]
per = "owner"
to = []

[[egress]]
url = "{api_url}"
methods = ["GET"]
[[egress]]
url = "{token_url}"
methods = ["POST"]
[[egress]]
url = "https://files.example/public"
methods = ["GET", "HEAD"]

[tables.item]
owner = "owner_id"
key = ["id"]
columns = { id = "text" }
"#;

fn policy(config: &[(&str, &str)], grants: &[(&str, bool)]) -> Policy {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let mut all = defaults(&manifest);
    all.extend(config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let grants = grants.iter().map(|(origin, private_addresses)| Grant {
        origin: origin.parse().unwrap(),
        private_addresses: *private_addresses,
    });
    Policy::new(&manifest, &all, grants.collect())
}

fn permit(policy: &Policy, method: &str, url: &str) -> Result<bool, String> {
    Ok(policy.permit(method, &parse_target(url).unwrap())?.private_addresses)
}

#[test]
fn what_the_manifest_fixes_needs_no_grant() {
    let policy = policy(&[], &[]);
    let allowed = [
        ("GET", "https://api.example/v3/calendars"),
        ("POST", "https://login.example/token"),
        ("HEAD", "https://files.example/public/x"),
    ];
    for (method, url) in allowed {
        assert_eq!(permit(&policy, method, url), Ok(false), "{method} {url}");
    }
    let denied = [
        ("GET", "https://api.example/v2", "add an [[egress]]"),
        ("GET", "https://evil.example/v3?key=k", "add an [[egress]]"),
        ("POST", "https://api.example/v3/x", "add it to the `methods`"),
        ("get", "https://api.example/v3/x", "add it to the `methods`"),
        ("GET", "https://login.example/token", "add it to the `methods`"),
    ];
    for (method, url, advice) in denied {
        let text = permit(&policy, method, url).unwrap_err();
        assert!(text.contains(advice) && !text.contains("key="), "{method} {url}: {text}");
    }
}

#[test]
fn other_origins_need_a_grant() {
    let config = [("api_url", "http://127.0.0.1:4920/calendar/v3")];
    const URL: &str = "http://127.0.0.1:4920/calendar/v3/x";
    let text = permit(&policy(&config, &[]), "GET", URL).unwrap_err();
    assert!(
        text.contains("rowgate integrations grant INTEGRATION http://127.0.0.1:4920"),
        "{text}"
    );
    let text = permit(&policy(&config, &[("http://127.0.0.1:4921", true)]), "GET", URL);
    assert!(text.unwrap_err().contains("no grant for http://127.0.0.1:4920"));

    let granted = policy(&config, &[("http://127.0.0.1:4920", true)]);
    assert_eq!(permit(&granted, "GET", URL), Ok(true));
    assert_eq!(permit(&granted, "POST", "https://login.example/token"), Ok(false));
    let text = permit(&granted, "GET", "http://127.0.0.1:4920/other").unwrap_err();
    assert!(text.contains("add an [[egress]]"), "a grant doesn't widen the manifest: {text}");
    assert!(permit(&granted, "GET", "https://api.example/v3").is_err(), "the default is replaced");

    let public = policy(&config, &[("http://127.0.0.1:4920", false)]);
    assert_eq!(permit(&public, "GET", URL), Ok(false));
    let any = policy(&[("api_url", "https://*")], &[("https://*", true)]);
    assert_eq!(permit(&any, "GET", "https://feeds.example/x"), Ok(false), "never private by `*`");
    let ungranted = policy(&[("api_url", "https://*")], &[]);
    assert!(permit(&ungranted, "GET", "https://feeds.example/x").is_err());
}

#[test]
fn secrets_go_where_they_are_bound_to() {
    let policy = policy(&[], &[]);
    let to = |name: &str, url: &str| policy.permit_secret(name, &parse_target(url).unwrap());
    assert_eq!(to("token", "https://api.example/v3/x"), Ok(()));
    let text = to("token", "https://login.example/token?q=1").unwrap_err();
    assert!(text.contains("isn't bound to https://login.example/token:"), "{text}");
    assert!(to("hidden", "https://api.example/v3/x").is_err());
    assert!(to("nothing", "https://api.example/v3/x").unwrap_err().contains("unknown secret"));
}

#[test]
fn a_missing_configuration_value_is_named() {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let policy = Policy::new(&manifest, &BTreeMap::new(), Vec::new());
    let text = permit(&policy, "GET", "https://api.example/v3").unwrap_err();
    assert!(text.contains("needs the configuration value `api_url`"), "{text}");
}
