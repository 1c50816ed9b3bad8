//! An integration tree ready to run: stored configuration joined with the running component, its
//! tables created. Cached; a change of configuration or version makes it anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rowgate_manifest::{Manifest, StreamKind};
use zeroize::Zeroizing;

use super::components::Components;
use crate::egress::Grant;
use crate::model::StreamId;
use crate::plugin::Component;
use crate::rows::TableSpec;
use crate::secrets::Keyring;
use crate::store::commit::TreeTables;
use crate::store::trees::{self, StoredTree};
use crate::store::{Database, Error, Store, tables};

/// See the module.
pub(crate) struct Tree {
    pub(super) component: Arc<Component>,
    pub(super) tables: Arc<TreeTables>,
    pub(super) replication: Database,
    /// Service to integration id.
    pub(super) integrations: HashMap<String, String>,
    /// Configuration without secrets, defaults filled in.
    pub(super) config: BTreeMap<String, String>,
    pub(super) secrets: Arc<HashMap<String, Zeroizing<String>>>,
    pub(super) grants: Vec<Grant>,
}

impl Tree {
    pub(super) fn kind(&self, stream: &StreamId) -> Option<&StreamKind> {
        let mut kinds = self.tables.manifest.streams(&stream.service);
        kinds.find(|(name, _)| *name == stream.kind).map(|(_, kind)| kind)
    }
}

/// Trees by root, each as the active version of its plugin has it.
pub(crate) struct Trees {
    store: Arc<Store>,
    keyring: Keyring,
    components: Arc<Components>,
    ready: Mutex<HashMap<String, (u64, Arc<Tree>)>>,
}

impl Trees {
    pub(crate) fn new(store: Arc<Store>, keyring: Keyring, components: Arc<Components>) -> Self {
        Self { store, keyring, components, ready: Mutex::default() }
    }

    /// The tree under this root.
    pub(crate) async fn get(&self, root_id: &str) -> Result<Arc<Tree>, Error> {
        // Read before the rows: a change in between makes the next call load again.
        let epoch = self.store.config_epoch();
        if let Some((of, tree)) = self.lock().get(root_id)
            && *of == epoch
        {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(self.load(root_id).await?);
        self.lock().insert(root_id.to_owned(), (epoch, Arc::clone(&tree)));
        Ok(tree)
    }

    async fn load(&self, root_id: &str) -> Result<Tree, Error> {
        let stored = trees::load(self.store.control(), root_id).await?;
        let stored = stored.ok_or_else(|| {
            Error::Inconsistent(format!("an owner of {root_id}, which doesn't exist"))
        })?;
        let component = self.components.active(&stored.plugin).await?;
        let manifest = Arc::clone(&component.manifest);
        let replication = self.store.replication(stored.organization_id).await?;
        let tables = create_tables(&replication, &manifest, &stored).await?;
        let config = resolved(&manifest, &stored);
        Ok(Tree {
            tables: Arc::new(TreeTables { manifest, tables }),
            component,
            replication,
            config,
            secrets: Arc::new(open_secrets(&self.keyring, &stored)?),
            integrations: stored.services.into_iter().map(|(name, (id, _))| (name, id)).collect(),
            grants: stored
                .grants
                .into_iter()
                .map(|(origin, private_addresses)| Grant { origin, private_addresses })
                .collect(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u64, Arc<Tree>)>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn create_tables(
    replication: &Database,
    manifest: &Manifest,
    stored: &StoredTree,
) -> Result<HashMap<String, Arc<TableSpec>>, Error> {
    let mut specs = HashMap::new();
    for (service, (_, table_name)) in &stored.services {
        // A service that the running version no longer offers keeps its rows and rests.
        if !manifest.services.contains_key(service) {
            continue;
        }
        let spec = TableSpec::new(manifest, service, table_name)
            .map_err(|error| Error::Refused(format!("table of {service}: {error}")))?;
        specs.insert(service.clone(), Arc::new(spec));
    }
    let create: Vec<Arc<TableSpec>> = specs.values().cloned().collect();
    replication
        .write(move |connection| {
            Box::pin(async move {
                for spec in create {
                    tables::create(connection, &spec).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(specs)
}

/// Values of the root, else the manifest's defaults.
fn resolved(manifest: &Manifest, stored: &StoredTree) -> BTreeMap<String, String> {
    let root = stored.services.keys().next().map(|service| manifest.root(service));
    let fields = root.and_then(|root| manifest.services.get(root)).map(|root| &root.config);
    let fields = fields.into_iter().flatten().filter(|(_, field)| !field.secret);
    fields
        .filter_map(|(name, field)| {
            let value = stored.config.get(name).or(field.default.as_ref())?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

fn open_secrets(
    keyring: &Keyring,
    stored: &StoredTree,
) -> Result<HashMap<String, Zeroizing<String>>, Error> {
    let mut secrets = HashMap::new();
    for (name, sealed) in &stored.sealed {
        let place = format!("integration_secrets/{}/{name}", stored.root_id);
        let opened = keyring.open(&place, sealed);
        let opened = opened.map_err(|error| Error::Refused(format!("{error:#}")))?;
        let text = String::from_utf8(opened.to_vec())
            .map_err(|_| Error::Inconsistent(format!("{place} is not text")))?;
        secrets.insert(name.clone(), Zeroizing::new(text));
    }
    Ok(secrets)
}
