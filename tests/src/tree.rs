//! Integrations of one Google client: the list, its calendars, their events.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::TestHost;

/// A configured service.
#[derive(Clone, Debug)]
pub struct Integration {
    /// `svi_...`.
    pub id: String,
    /// Its table.
    pub table: String,
    /// Path of its endpoint; the host's port changes with each start.
    pub path: String,
    /// Only on the root.
    pub secret: String,
}

/// A tree of integrations, and who is linked in it.
#[derive(Debug)]
#[allow(missing_docs, reason = "the services of the plugin")]
pub struct Tree {
    pub list: Integration,
    pub calendar: Integration,
    pub event: Option<Integration>,
    pub source: Option<Integration>,
    /// Owners by id, and the emails of their Google accounts.
    pub(crate) linked: Mutex<BTreeMap<String, String>>,
}

impl Tree {
    /// The table of expanded events.
    pub fn events(&self) -> &str {
        &self.event.as_ref().expect("this tree has events").table
    }

    /// The table of events as they stand at the source.
    pub fn sources(&self) -> &str {
        &self.source.as_ref().expect("this tree has source events").table
    }

    /// Notes a link, or none, that a test posted by other means.
    pub fn note_linked(&self, owner: &str, email: Option<&str>) {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        match email {
            Some(email) => linked.insert(owner.to_owned(), email.to_owned()),
            None => linked.remove(owner),
        };
    }

    /// Its tables with rows of owners.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        let events = [self.event.as_ref(), self.source.as_ref()].into_iter().flatten();
        [&self.list, &self.calendar].into_iter().chain(events).map(|one| one.table.as_str())
    }
}

impl TestHost {
    /// List, calendars and expanded events.
    pub async fn integrations(&self) -> Tree {
        let mut tree = self.calendars_only().await;
        tree.event = Some(self.create("google_calendar_event_v1", &tree.calendar).await);
        tree
    }

    /// List, calendars, and both forms of events.
    pub async fn all_integrations(&self) -> Tree {
        let mut tree = self.integrations().await;
        tree.source = Some(self.create("google_calendar_source_event_v1", &tree.calendar).await);
        tree
    }

    /// List and calendars, with the simulator's client.
    pub async fn calendars_only(&self) -> Tree {
        let (client_id, client_secret) = {
            let model = self.simulator.model();
            (model.client_id.clone(), model.client_secret.clone())
        };
        let settings = [
            format!("client_id={client_id}"),
            format!("client_secret={client_secret}"),
            format!("api_url={}", self.simulator.api_url()),
            format!("token_url={}", self.simulator.token_url()),
            // Tests compare at once what doubtful series came to.
            "relist_after_s=0".to_owned(),
        ];
        let mut arguments = vec!["google_calendar_list_v1"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let list = self.create_with(&arguments).await;
        let calendar = self.create("google_calendar_v1", &list).await;
        Tree { list, calendar, event: None, source: None, linked: Mutex::default() }
    }

    /// A service below an integration.
    pub async fn create(&self, service: &str, depends_on: &Integration) -> Integration {
        self.create_with(&[service, "--depends-on", &depends_on.id]).await
    }

    /// A service, with arguments of `integrations create`.
    pub async fn create_with(&self, arguments: &[&str]) -> Integration {
        let mut all = vec!["integrations", "create", "--yes"];
        all.extend(arguments);
        let created = self.json(&all).await;
        let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
        let endpoint = text("endpoint");
        let path = endpoint.strip_prefix(self.base_url());
        let path = path.unwrap_or_else(|| panic!("{endpoint} isn't below {}", self.base_url()));
        assert_eq!(created["service_name"], arguments[0]);
        Integration {
            id: text("opaque_id"),
            table: text("table_name"),
            path: path.to_owned(),
            secret: text("webhook_secret"),
        }
    }

    /// State and reason of an integration.
    pub async fn integration_state(&self, integration: &Integration) -> (String, Value) {
        let all = self.json(&["integrations", "list"]).await;
        let all = all.as_array().into_iter().flatten();
        let mut found = all.filter(|one| one["opaque_id"] == integration.id.as_str());
        let one = found.next().expect("the integration is listed");
        (one["state"].as_str().unwrap_or_default().to_owned(), one["reason"].clone())
    }
}
