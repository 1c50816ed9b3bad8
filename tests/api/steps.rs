//! Integrations made as WebhookDB's client makes them: a prompt at a time.

use serde_json::{Value, json};

use crate::setup::{Api, Person, Reply};

pub(crate) const LIST: &str = "google_calendar_list_v1";
pub(crate) const CALENDAR: &str = "google_calendar_v1";
pub(crate) const EVENT: &str = "google_calendar_event_v1";
pub(crate) const OF: &str = "/v1/organizations/default/service_integrations";
pub(crate) const SECRET: &str = "s3cret0s3cret0";

/// An integration as it is listed.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) table: String,
}

impl Person<'_> {
    pub(crate) async fn begin(&self, service: &str) -> Reply {
        self.post(&format!("{OF}/create"), json!({ "service_name": service })).await
    }

    /// Answers each prompt in turn; the last answer must be the end.
    pub(crate) async fn make(&self, service: &str, answers: &[&str]) -> Made {
        let known = self.listed().await.len();
        let mut reply = self.begin(service).await;
        if reply.status == 422 {
            reply = self.answer(&reply.body, "").await;
        }
        let mut step = reply.ok();
        for answer in answers {
            step = self.answer(&step, answer).await.ok();
        }
        assert_eq!((&step["complete"], &step["error_code"]), (&json!(true), &json!("")), "{step}");
        let mut listed = self.listed().await;
        assert_eq!(listed.len(), known + 1);
        let last = listed.pop().unwrap();
        assert_eq!(last["service_name"], service);
        let text = |name: &str| last[name].as_str().unwrap().to_owned();
        Made { id: text("opaque_id"), table: text("table_name") }
    }

    pub(crate) async fn listed(&self) -> Vec<Value> {
        let listed = self.get(OF).await.ok();
        assert_eq!(listed["object"], "list");
        assert_eq!(listed["total_count"], listed["items"].as_array().unwrap().len());
        listed["items"].as_array().unwrap().clone()
    }

    /// The root with the simulator's client, and its addresses.
    pub(crate) async fn make_list(&self) -> Made {
        let (id, secret) = {
            let model = self.api.host.simulator.model();
            (model.client_id.clone(), model.client_secret.clone())
        };
        let made = self.make(LIST, &[SECRET, &id, &secret]).await;
        let simulator = &self.api.host.simulator;
        for (step, url) in [("api_url", simulator.api_url()), ("token_url", simulator.token_url())]
        {
            let path = format!("{OF}/{}/transition/{step}", made.id);
            assert_eq!(self.post(&path, json!({ "value": url })).await.ok()["complete"], true);
        }
        made
    }

    /// Root, calendars and events, the latter by Enter.
    pub(crate) async fn make_tree(&self) -> [Made; 3] {
        let list = self.make_list().await;
        let calendar = self.make(CALENDAR, &[""]).await;
        let event = self.make(EVENT, &[""]).await;
        [list, calendar, event]
    }

    /// Rows of a query.
    pub(crate) async fn sql(&self, query: &str) -> Vec<Value> {
        let answered = self.post("/v1/db/default/sql", json!({ "query": query })).await.ok();
        answered["rows"].as_array().unwrap().clone()
    }
}

impl Api {
    /// A backend's post; its status.
    pub(crate) async fn hook(&self, id: &str, secret: &str, body: &Value) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v1/service_integrations/{id}", self.host.base_url());
        let request = client.post(url).header("Whdb-Webhook-Secret", secret);
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    }

    /// LINKED for an account with one event.
    pub(crate) async fn link(&self, list: &Made, owner: &str) {
        let email = format!("{owner}@google.example");
        let token = self.host.simulator.model().create_user(&email);
        let body = json!({
            "type": "LINKED", "external_owner_id": owner, "refresh_token": token,
        });
        assert_eq!(self.hook(&list.id, SECRET, &body).await, 202);
    }
}
