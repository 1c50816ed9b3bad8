//! The probe guest with secrets that would show themselves anywhere, and a vendor that repeats
//! whatever it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tests::{Integration, LeakScanner, Settings, TestHost, Vendor, VendorAnswer, VendorRequest};

pub(crate) const CLIENT_ID: &str = "probe-client-id-71";
/// Every encoding has to do something about it.
pub(crate) const CLIENT_SECRET: &str = "GOCSPX-q\"u\\o/t+e=& %41 üsecret";
pub(crate) const WEBHOOK_SECRET: &str = "hook-secret-5b1d0c";
pub(crate) const REFRESH_TOKEN: &str = "1//0g-Refresh/token+a=b~c";
pub(crate) const ROTATED_TOKEN: &str = "1//0g-Rotated/token+d=e~f";
pub(crate) const ACCESS_TOKEN: &str = "ya29.Access/token+g=h~i";

/// A host that serves the probe.
pub(crate) struct Probe {
    pub(crate) host: TestHost,
    pub(crate) vendor: Vendor,
    pub(crate) account: Integration,
    pub(crate) scanner: LeakScanner,
    item: Integration,
    /// The path that fails.
    broken: Arc<Mutex<Option<String>>>,
}

impl Probe {
    pub(crate) async fn start() -> Self {
        let broken = Arc::new(Mutex::new(None));
        let breaks = Arc::clone(&broken);
        let vendor = Vendor::start(move |request| {
            let broken = breaks.lock().unwrap_or_else(PoisonError::into_inner).clone();
            answer(request, broken.as_deref() == Some(request.path()))
        });
        // What a curious operator may set, beside what the dependencies say of the network.
        let levels = "info,rowgate=trace,plugin=trace,hyper=trace,hyper_util=trace,reqwest=trace,\
                      sqlx=debug,axum=trace";
        let settings = Settings::default().guest("probe").env("ROWGATE_LOG_LEVEL", levels);
        let host = settings.start().await;
        let settings = [
            format!("webhook_secret={WEBHOOK_SECRET}"),
            format!("client_id={CLIENT_ID}"),
            format!("client_secret={CLIENT_SECRET}"),
            format!("api_url={}", vendor.base_url()),
            format!("token_url={}/token", vendor.base_url()),
        ];
        let mut arguments = vec!["probe_account_v1"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let account = host.create_with(&arguments).await;
        let item = host.create("probe_item_v1", &account).await;
        let scanner = LeakScanner::new([
            ("client id", CLIENT_ID),
            ("client secret", CLIENT_SECRET),
            ("webhook secret", WEBHOOK_SECRET),
            ("refresh token", REFRESH_TOKEN),
            ("rotated token", ROTATED_TOKEN),
            ("access token", ACCESS_TOKEN),
        ]);
        Self { host, vendor, account, scanner, item, broken }
    }

    /// Requests to this path fail from now on, to all others not.
    pub(crate) fn break_at(&self, path: Option<&str>) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        *broken = path.map(str::to_owned);
    }

    pub(crate) async fn post(&self, body: &Value) -> (u16, Value) {
        self.host.post_to(&self.account, WEBHOOK_SECRET, body).await
    }

    /// Posts to a path below the endpoint; answers the status.
    pub(crate) async fn post_below(&self, below: &str, body: &Value) -> u16 {
        let account =
            Integration { path: format!("{}{below}", self.account.path), ..self.account.clone() };
        self.host.post_to(&account, WEBHOOK_SECRET, body).await.0
    }

    pub(crate) async fn link(&self, owner: &str) {
        assert_eq!(self.post(&linked(owner)).await, (202, json!({ "o": "k" })));
    }

    /// Waits for the owner's first failure.
    pub(crate) async fn until_error(&self, owner: &str) -> String {
        let mut text = String::new();
        let failed = async || {
            let owners = self.host.owners().await;
            let of_owner = |one: &&Value| one["external_owner_id"] == owner;
            let error = owners.iter().find(of_owner).and_then(|one| one["last_error"].as_str());
            text = error.unwrap_or_default().to_owned();
            !text.is_empty()
        };
        self.host.until("the owner fails", failed).await;
        text
    }

    /// Notes of all items by id.
    pub(crate) async fn notes(&self) -> BTreeMap<String, String> {
        let rows = self.host.sql(&format!("select item_id, note from {}", self.item.table)).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (text(&row["item_id"]), text(&row["note"]))).collect()
    }

    pub(crate) async fn account_note(&self, owner: &str) -> String {
        let table = &self.account.table;
        let query = format!("select note from {table} where external_owner_id = '{owner}'");
        let rows = self.host.sql(&query).await;
        rows[0]["note"].as_str().unwrap_or_default().to_owned()
    }

    /// Secrets in rows, files, output of the host and of its commands.
    pub(crate) async fn leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for table in [&self.account.table, &self.item.table] {
            for row in self.host.sql(&format!("select * from {table}")).await {
                let values = row.as_object().into_iter().flatten();
                for (_, value) in values {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    found.extend(self.scanner.scan(&format!("table {table}"), text.as_bytes()));
                }
            }
        }
        found.extend(self.host.scan_storage(&self.scanner));
        found.extend(self.scanner.scan("the host's output", self.host.log().as_bytes()));
        let mut commands: Vec<Vec<String>> = [
            "owners list",
            "streams list",
            "integrations list",
            "plugins list",
            "orgs list",
            "doctor",
        ]
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .to_vec();
        for owner in self.host.owners().await {
            let id = owner["external_owner_id"].as_str().unwrap_or_default().to_owned();
            commands.push(vec!["owners".to_owned(), "show".to_owned(), id]);
        }
        for command in commands {
            let arguments: Vec<_> = command.iter().map(String::as_str).collect();
            let output = self.host.command(&arguments).await;
            assert!(!output.stdout.is_empty(), "{command:?} says nothing: {output:?}");
            let all = [output.stdout, output.stderr].concat();
            found.extend(self.scanner.scan(&command.join(" "), &all));
        }
        found
    }
}

/// A backend's LINKED.
pub(crate) fn linked(owner: &str) -> Value {
    json!({ "type": "LINKED", "external_owner_id": owner, "refresh_token": REFRESH_TOKEN })
}

/// Names and values of a form or query.
pub(crate) fn decoded(form: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://localhost/?{form}")).expect("a query");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// Repeats the request, and what it is made of, as often as there are ways to.
fn answer(request: &VendorRequest, broken: bool) -> VendorAnswer {
    let told = json!({ "said": request.whole(), "fields": decoded(&request.text()) });
    let repeated = |status, mut body: Value| {
        body["told"] = told.clone();
        let mut headers = vec![("X-Target".to_owned(), request.target.clone())];
        let authorization = request.header("authorization").map(str::to_owned);
        headers.extend(authorization.map(|value| ("X-Authorization".to_owned(), value)));
        VendorAnswer::Reply { status, headers, body: body.to_string().into_bytes() }
    };
    match request.path() {
        "/token" if broken => repeated(400, json!({ "error": "invalid_grant" })),
        _ if broken => VendorAnswer::HangUp,
        "/token" => repeated(
            200,
            json!({
                "access_token": ACCESS_TOKEN,
                "refresh_token": ROTATED_TOKEN,
                "expires_in": 3600,
                "again": format!("{ACCESS_TOKEN} {ROTATED_TOKEN}"),
            }),
        ),
        "/items" => VendorAnswer::reply(200, r#"{"1":"one","2":"two"}"#),
        _ => repeated(200, json!({})),
    }
}
