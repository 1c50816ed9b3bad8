//! What the two hosts of the model share: real databases, a clock, an owner, the vendor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rowgate::chance::Chance;
use rowgate::clock::Clock;
use rowgate::config::DataDir;
use rowgate::model::{InboxId, Micros, OrganizationId, OwnerId};
use rowgate::rows::TableSpec;
use rowgate::secrets::Keyring;
use rowgate::store::commit::TreeTables;
use rowgate::store::inbox::NewItem;
use rowgate::store::integrations::NewIntegration;
use rowgate::store::{Database, Error, Store, tables};
use rowgate_manifest::Manifest;
use tempfile::TempDir;

use crate::vendor::Vendor;

pub(crate) const LEASE_TTL: Micros = 10_000_000;
/// Far beyond what a walk lasts, so that no poll heals what was forgotten.
pub(crate) const POLL: Micros = 1_000_000 * 3600 * 24 * 365;

/// A tree of three services: the owner's row makes a stream of shelves, a shelf one of things.
const MANIFEST: &str = r#"{
  "plugin": {
    "name": "model", "version": "0.1.0", "cursor": {"writes": 1, "reads": [1]},
    "streams_per_owner": 3
  },
  "services": {
    "account_v1": {"table": "account"},
    "shelf_v1": {"table": "shelf", "depends_on": "account_v1", "streams": {"all": {
      "per_row": {"table": "account_v1"}, "page_limit": 2,
      "poll_s": {"pushed": 1, "unpushed": 1, "unsupported": 1}}}},
    "thing_v1": {"table": "thing", "depends_on": "shelf_v1", "streams": {"all": {
      "per_row": {"table": "shelf_v1", "key": "shelf"}, "rows": {"shelf": "{key}"},
      "removed": {"set": {"gone": true}}, "page_limit": 2,
      "poll_s": {"pushed": 1, "unpushed": 1, "unsupported": 1}}}}
  },
  "tables": {
    "account": {"owner": "owner_id", "key": [], "columns": {"title": "text"}},
    "shelf": {"owner": "owner_id", "key": ["shelf"],
      "computed": {"identity": "{owner_id}-{shelf}"}, "columns": {"shelf": "text"}},
    "thing": {"owner": "owner_id", "key": ["shelf", "id"],
      "computed": {"identity": "{owner_id}-{shelf}-{id}"},
      "columns": {"shelf": "text", "id": "text", "value": "int", "gone": "bool"}}
  }
}"#;

/// What a webhook says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// To the account with this number.
    Link(usize),
    Refresh,
    Unlink,
    Resync,
}

/// See the module.
pub(crate) struct World {
    stores: [Store; 2],
    pub(crate) replication: [Database; 2],
    pub(crate) tree: Arc<TreeTables>,
    pub(crate) clock: Clock,
    organization: OrganizationId,
    root_id: String,
    /// The owner of the present walk.
    pub(crate) external_owner_id: String,
    pub(crate) owner_id: OwnerId,
    /// All items of the present walk, in order of acceptance.
    pub(crate) items: Vec<(InboxId, Verb)>,
    pub(crate) vendor: Vendor,
    /// The vendor puts calls off and lets cursors expire.
    pub(crate) has_faults: bool,
    _dir: TempDir,
}

impl World {
    /// Fresh databases. The walks of one world have owners of their own.
    pub(crate) async fn new() -> Result<Self, Error> {
        let dir = in_memory_dir();
        let data_dir = DataDir::new(dir.path());
        data_dir.create().expect("a fresh directory");
        let clock = Clock::simulated(1_700_000_000_000_000);
        let keyring = Keyring::new([7; 32], Chance::seeded(7));
        let open =
            || Store::open(data_dir.clone(), clock.clone(), keyring.clone(), Chance::seeded(7));
        let stores = [open().await?, open().await?];
        let organization = stores[0].organization("default").await?.id;
        let (root_id, tables) = create_tree(&stores[0], organization).await?;
        let replication = [
            stores[0].replication(organization).await?,
            stores[1].replication(organization).await?,
        ];
        let tree = Arc::new(TreeTables { manifest: Arc::new(manifest()), tables });
        Ok(Self {
            stores,
            replication,
            tree,
            clock,
            organization,
            root_id,
            external_owner_id: String::new(),
            owner_id: 0,
            items: Vec::new(),
            vendor: Vendor::default(),
            has_faults: true,
            _dir: dir,
        })
    }

    /// Begins a walk: an owner and a vendor of its own.
    pub(crate) fn begin(&mut self, owner: String) {
        self.external_owner_id = owner;
        (self.owner_id, self.items, self.vendor) = Default::default();
        self.has_faults = true;
    }

    /// The control database as this host has it open.
    pub(crate) fn control(&self, host: usize) -> &Database {
        self.stores[host].control()
    }

    pub(crate) fn now(&self) -> Micros {
        self.clock.now()
    }

    pub(crate) fn advance(&self, micros: Micros) {
        self.clock.advance(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    }

    /// Accepts a webhook, by either host.
    pub(crate) async fn post(&mut self, host: usize, verb: Verb) -> Result<(), Error> {
        let secrets = match verb {
            Verb::Link(_) | Verb::Refresh => vec![("token".to_owned(), "secret".to_owned().into())],
            Verb::Unlink | Verb::Resync => Vec::new(),
        };
        let item = NewItem {
            organization: self.organization,
            root_id: self.root_id.clone(),
            integration_id: self.root_id.clone(),
            external_owner_id: self.external_owner_id.clone(),
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            secrets,
        };
        let (id, owner_id) = self.stores[host].accept(item).await?;
        self.owner_id = owner_id;
        match verb {
            Verb::Link(account) => drop(self.vendor.grants.insert(id, account)),
            // The customer's new token is one of the account that was linked last.
            Verb::Refresh => drop(self.vendor.grants.insert(id, self.account())),
            Verb::Unlink | Verb::Resync => {}
        }
        self.items.push((id, verb));
        Ok(())
    }

    /// The account that was linked last.
    pub(crate) fn account(&self) -> usize {
        let links = self.items.iter().rev().find_map(|(_, verb)| match verb {
            Verb::Link(account) => Some(*account),
            _ => None,
        });
        links.unwrap_or(0)
    }

    pub(crate) fn verb(&self, id: InboxId) -> Verb {
        let found = self.items.iter().find(|(item, _)| *item == id);
        found.map(|(_, verb)| *verb).expect("an item of this walk")
    }

    /// The item whose grant holds when all items are applied; none: unlinked.
    pub(crate) fn last_grant(&self) -> Option<InboxId> {
        let mut grant = None;
        for (id, verb) in &self.items {
            match verb {
                Verb::Link(_) | Verb::Refresh => grant = Some(*id),
                Verb::Unlink => grant = None,
                Verb::Resync => {}
            }
        }
        grant
    }

    /// A notification by the vendor marks streams due (R6).
    pub(crate) async fn push(&self, service: &str, key: &str) -> Result<(), Error> {
        let (owner_id, now) = (self.owner_id, self.now());
        let (service, key) = (service.to_owned(), key.to_owned());
        self.control(0)
            .write(move |connection| {
                Box::pin(async move {
                    let marked = sqlx::query(
                        "update streams set due_at = min(coalesce(due_at, $1), $1)
                         where owner_id = $2 and service = $3 and key = $4",
                    )
                    .bind(now)
                    .bind(owner_id)
                    .bind(service)
                    .bind(key)
                    .execute(&mut *connection)
                    .await?;
                    if marked.rows_affected() > 0 {
                        sqlx::query(
                            "update owners set due_at = min(coalesce(due_at, $1), $1)
                             where id = $2",
                        )
                        .bind(now)
                        .bind(owner_id)
                        .execute(connection)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

fn manifest() -> Manifest {
    serde_json::from_str(MANIFEST).expect("the model's manifest")
}

/// Walks sync to disk at every step: on a disk they would take minutes.
fn in_memory_dir() -> TempDir {
    let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    dir.expect("a temporary directory")
}

async fn create_tree(
    store: &Store,
    organization: OrganizationId,
) -> Result<(String, HashMap<String, Arc<TableSpec>>), Error> {
    let manifest = manifest();
    let (mut parent, mut root_id, mut specs) = (None, None, HashMap::new());
    for service in manifest.services.keys() {
        let new = NewIntegration {
            organization,
            plugin: "model".to_owned(),
            service: service.clone(),
            depends_on: parent.clone(),
            config: Default::default(),
            secrets: Vec::new(),
            grants: Vec::new(),
        };
        let integration = store.create_integration(new).await?;
        let root = root_id.get_or_insert_with(|| integration.id.clone());
        parent = Some(root.clone());
        let spec = TableSpec::new(&manifest, service, service)
            .map_err(|error| Error::Refused(error.to_string()))?;
        specs.insert(service.clone(), Arc::new(spec));
    }
    let create: Vec<Arc<TableSpec>> = specs.values().cloned().collect();
    let replication = store.replication(organization).await?;
    replication
        .write(move |connection| {
            Box::pin(async move {
                for spec in create {
                    tables::create(connection, &spec)
                        .await
                        .map_err(|error| Error::Refused(error.to_string()))?;
                }
                Ok(())
            })
        })
        .await?;
    Ok((root_id.unwrap_or_default(), specs))
}
