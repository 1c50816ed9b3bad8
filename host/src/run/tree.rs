//! An integration tree ready to run: stored configuration joined with the running component, its
//! tables created. Cached; a change of configuration or version makes it anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rowgate_manifest::{Manifest, StreamKind};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::components::Components;
use crate::egress::{Grant, Origin};
use crate::model::StreamId;
use crate::plugin::Component;
use crate::rows::TableSpec;
use crate::store::commit::TreeTables;
use crate::store::integrations::Tree as Stored;
use crate::store::{Database, Error, Store, tables};

/// See the module.
pub(crate) struct Tree {
    pub(super) component: Arc<Component>,
    pub(super) tables: Arc<TreeTables>,
    pub(super) replication: Database,
    /// It is being deleted: its tables are gone, and its push channels are stopped.
    pub(super) ended: bool,
    root_service: String,
    /// Service to integration id.
    pub(super) integrations: HashMap<String, String>,
    /// Configuration without secrets, defaults filled in.
    pub(super) config: BTreeMap<String, String>,
    pub(super) secrets: Arc<HashMap<String, Zeroizing<String>>>,
    pub(super) grants: Vec<Grant>,
}

impl Tree {
    /// The service at the top.
    pub(super) fn root_service(&self) -> &str {
        &self.root_service
    }

    pub(super) fn kind(&self, stream: &StreamId) -> Option<&StreamKind> {
        let mut kinds = self.tables.manifest.streams(&stream.service);
        kinds.find(|(name, _)| *name == stream.kind).map(|(_, kind)| kind)
    }
}

/// A stored grant, as egress knows it.
pub(crate) fn grant(stored: crate::store::integrations::Grant) -> Result<Grant, Error> {
    let origin = Origin::of(&stored.origin).map_err(Error::Inconsistent)?;
    Ok(Grant { origin, private_addresses: stored.private_addresses })
}

/// Trees by root, each as the active version of its plugin has it.
pub(crate) struct Trees {
    store: Arc<Store>,
    components: Components,
    ready: Mutex<Ready>,
}

/// What was loaded since the configuration last moved.
#[derive(Default)]
struct Ready {
    epoch: i64,
    trees: HashMap<String, Arc<OnceCell<Arc<Tree>>>>,
}

impl Trees {
    pub(crate) fn new(store: Arc<Store>, components: Components) -> Self {
        Self { store, components, ready: Mutex::default() }
    }

    /// The tree under this root, loaded once, however many ask for it together.
    pub(crate) async fn get(&self, root_id: &str) -> Result<Arc<Tree>, Error> {
        // Read before the rows: a change in between makes the next call load again.
        let epoch = self.store.config_epoch().await?;
        let place = self.place(epoch, root_id);
        let tree = place.get_or_try_init(|| async { self.loaded(root_id).await.map(Arc::new) });
        tree.await.map(Arc::clone)
    }

    /// Lets go of all trees; those that are needed are loaded again.
    pub(crate) fn let_go(&self) {
        self.lock().trees.clear();
    }

    fn place(&self, epoch: i64, root_id: &str) -> Arc<OnceCell<Arc<Tree>>> {
        let mut ready = self.lock();
        if ready.epoch < epoch {
            *ready = Ready { epoch, trees: HashMap::new() };
        }
        Arc::clone(ready.trees.entry(root_id.to_owned()).or_default())
    }

    async fn loaded(&self, root_id: &str) -> Result<Tree, Error> {
        loop {
            match self.load(root_id).await {
                // Some of its tables may have another name now, or be gone.
                Err(Error::Superseded(_)) => {}
                loaded => return loaded,
            }
        }
    }

    async fn load(&self, root_id: &str) -> Result<Tree, Error> {
        let organization = self.store.organization_of(root_id).await?;
        let replication = self.store.replication(organization).await?;
        let layout = tables::layout(&replication).await?;
        let stored = self.store.tree(root_id).await?;
        let component = self.components.active(&stored.root.plugin).await?;
        let manifest = Arc::clone(&component.manifest);
        let tables = match stored.ended {
            true => HashMap::new(),
            false => create_tables(&replication, &manifest, &stored, layout).await?,
        };
        let secrets = self.secrets(&manifest, &stored).await?;
        let members = stored.members.into_iter();
        Ok(Tree {
            tables: Arc::new(TreeTables { manifest, tables }),
            component,
            replication,
            ended: stored.ended,
            root_service: stored.root.service,
            config: stored.config,
            secrets: Arc::new(secrets),
            integrations: members.map(|member| (member.service, member.id)).collect(),
            grants: stored.grants.into_iter().map(grant).collect::<Result<_, Error>>()?,
        })
    }

    /// Secret configuration of the root, opened.
    async fn secrets(
        &self,
        manifest: &Manifest,
        stored: &Stored,
    ) -> Result<HashMap<String, Zeroizing<String>>, Error> {
        let mut secrets = HashMap::new();
        let fields = manifest.services.get(&stored.root.service).map(|service| &service.config);
        for (name, _) in fields.into_iter().flatten().filter(|(_, field)| field.secret) {
            let Some(opened) = self.store.tree_secret(&stored.root.id, name).await? else {
                continue;
            };
            let text = String::from_utf8(opened.to_vec())
                .map_err(|_| Error::Inconsistent(format!("secret {name} is not text")))?;
            secrets.insert(name.clone(), Zeroizing::new(text));
        }
        Ok(secrets)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn create_tables(
    replication: &Database,
    manifest: &Manifest,
    stored: &Stored,
    layout: i64,
) -> Result<HashMap<String, Arc<TableSpec>>, Error> {
    let mut specs = HashMap::new();
    for member in &stored.members {
        // A service that the running version no longer offers keeps its rows and rests.
        if !manifest.services.contains_key(&member.service) {
            continue;
        }
        let spec = TableSpec::new(manifest, &member.service, &member.table_name)
            .map_err(|error| Error::Refused(format!("table of {}: {error}", member.service)))?;
        specs.insert(member.service.clone(), Arc::new(spec));
    }
    tables::create_all(replication, specs.values().cloned().collect(), layout).await?;
    Ok(specs)
}

#[cfg(test)]
mod tests;
