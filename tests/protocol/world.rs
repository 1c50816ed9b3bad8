//! What the two hosts of the model share: real databases, a clock, an owner, the vendor.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::Arc;
use std::time::Duration;

use postgres_cluster::Cluster;
use rowgate::chance::Chance;
use rowgate::clock::Clock;
use rowgate::config::{DataDir, Isolation};
use rowgate::model::{Effects, InboxId, Micros, OrganizationId, OwnerId, StreamId, Write};
use rowgate::secrets::Keyring;
use rowgate::store::commit::{self, ReadyEffects, TreeTables, Under};
use rowgate::store::inbox::NewItem;
use rowgate::store::leases::{self, Claimant, Lease};
use rowgate::store::{Database, Error, ServerOptions, SessionLimits, Store, query_scalar};
use tempfile::TempDir;

use crate::rules::Rule;
use crate::tree;
use crate::vendor::Vendor;
use crate::{SEED, disk};

pub(crate) const LEASE_TTL: Micros = 10_000_000;
/// Far beyond what a walk lasts, so that no poll heals what was forgotten.
pub(crate) const POLL: Micros = 1_000_000 * 3600 * 24 * 365;

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
    clock: Clock,
    organization: OrganizationId,
    root_id: String,
    _dir: TempDir,
    /// None: the databases are files.
    _database: Option<postgres_cluster::Database<'static>>,
    /// The owner of the present walk.
    pub(crate) external_owner_id: String,
    pub(crate) owner_id: OwnerId,
    off: Option<Rule>,
    /// All items of the present walk, in order of acceptance.
    pub(crate) items: Vec<(InboxId, Verb)>,
    pub(crate) vendor: Vendor,
    /// The vendor puts calls off and lets cursors expire.
    pub(crate) has_faults: bool,
    /// How many items have been applied, by whomever.
    pub(crate) applied: u64,
    /// Until when the vendor has put streams off.
    put_off: BTreeMap<(String, String), Micros>,
    /// Pages that counted themselves on the account's row since it was made.
    pub(crate) tally: i64,
    pub(crate) tally_saved: i64,
    /// An older copy was put back: what it lacks and nobody told of is read at the next poll.
    pub(crate) is_restored: bool,
    /// What went wrong on the way.
    pub(crate) wrong: Option<String>,
}

impl World {
    /// Fresh databases. The walks of one world have owners of their own.
    pub(crate) async fn new() -> Result<Self, Error> {
        let dir = in_memory_dir();
        let data_dir = DataDir::new(dir.path());
        data_dir.create().expect("a fresh directory");
        let clock = Clock::simulated(1_700_000_000_000_000);
        let keyring = Keyring::new([7; 32], Chance::seeded(7));
        let database = tests::is_on_postgres().then(|| Cluster::shared().create_database());
        let database = database.transpose().expect("the server runs");
        let server = database.as_ref().map(server_options);
        let open = async || {
            let (data_dir, clock, keyring) = (data_dir.clone(), clock.clone(), keyring.clone());
            let chance = Chance::seeded(7);
            match &server {
                None => Store::open(data_dir, clock, keyring, chance).await,
                Some(server) => Store::open_server(server, data_dir, clock, keyring, chance).await,
            }
        };
        let stores = [open().await?, open().await?];
        let organization = stores[0].organization("default").await?.id;
        let (root_id, tables) = tree::create(&stores[0], organization).await?;
        let replication = [
            stores[0].replication(organization).await?,
            stores[1].replication(organization).await?,
        ];
        let tree = Arc::new(TreeTables { manifest: Arc::new(tree::manifest()), tables });
        Ok(Self {
            stores,
            replication,
            tree,
            clock,
            organization,
            root_id,
            _dir: dir,
            _database: database,
            external_owner_id: String::new(),
            owner_id: 0,
            off: None,
            items: Vec::new(),
            vendor: Vendor::default(),
            has_faults: true,
            applied: 0,
            put_off: BTreeMap::new(),
            tally: 0,
            tally_saved: 0,
            is_restored: false,
            wrong: None,
        })
    }

    /// Begins a walk: an owner and a vendor of its own.
    pub(crate) fn begin(&mut self, owner: String, off: Option<Rule>) {
        self.external_owner_id = owner;
        (self.owner_id, self.items, self.vendor) = Default::default();
        (self.applied, self.put_off, self.tally, self.tally_saved, self.wrong) = Default::default();
        (self.off, self.has_faults, self.is_restored) = (off, true, false);
    }

    /// Do hosts keep this rule?
    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// Shows a step of a walk that is walked again by its seed.
    pub(crate) fn tell(&self, what: Arguments<'_>) {
        if SEED.is_some() {
            println!("{}: {what}", self.now());
        }
    }

    /// The control database as this host has it open.
    pub(crate) fn control(&self, host: usize) -> &Database {
        self.stores[host].control()
    }

    /// What a call wants committed, made ready.
    pub(crate) fn ready(&self, under: &Under, effects: Effects) -> Result<ReadyEffects, Error> {
        let owner = under.external_owner_id.as_deref();
        let prepare = |write: &Arc<Write>| commit::prepare(owner, &self.tree, write).transpose();
        let writes: Result<Vec<_>, Error> = effects.writes.iter().filter_map(prepare).collect();
        Ok(ReadyEffects::of(effects, writes?))
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

    /// An item has been applied. It may have lifted back-offs.
    pub(crate) fn apply(&mut self, verb: Verb) {
        self.applied += 1;
        self.put_off.clear();
        if verb == Verb::Unlink {
            self.tally = 0;
        }
    }

    /// A stream was given back with a back-off, or without.
    pub(crate) fn put_off(&mut self, stream: &StreamId, until: Micros) {
        self.put_off.insert((stream.service.clone(), stream.key.clone()), until);
        if stream.service == "shelf_v1" {
            // Streams may have gone and come again, as new ones.
            self.put_off.retain(|(service, _), _| service == "shelf_v1");
        }
    }

    /// A host claims whatever of the organization is due.
    pub(crate) async fn claim(&self, host: usize, name: &str) -> Result<Option<Lease>, Error> {
        let claimant =
            Claimant { host: name.to_owned(), ttl: LEASE_TTL, organization_leases_max: 8 };
        leases::claim(self.control(host), &claimant, self.organization, self.now()).await
    }

    /// A holder asks the vendor, which it must not during a back-off. One that has lost its lease
    /// can't know.
    pub(crate) async fn asked(&mut self, lease: &Lease, stream: &StreamId) -> Result<(), Error> {
        let until = self.put_off.get(&(stream.service.clone(), stream.key.clone()));
        let too_early = until.is_some_and(|until| *until > self.now());
        if too_early && self.is_held(lease).await? {
            self.wrong = Some(format!("{}/{} asked in its back-off", stream.service, stream.key));
        }
        Ok(())
    }

    /// Does the lease still stand?
    pub(crate) async fn is_held(&self, lease: &Lease) -> Result<bool, Error> {
        Ok(disk::control_fence(self).await? == lease.fence)
    }

    /// How many pages have counted themselves; none: there is no account's row.
    pub(crate) async fn pages(&self, host: usize) -> Result<Option<i64>, Error> {
        let pages = query_scalar("select coalesce(pages, 0) from account_v1 where owner_id = $1");
        let reader = self.replication[host].readers();
        Ok(pages.bind(&self.external_owner_id).fetch_optional(reader).await?)
    }

    /// A notification by the vendor marks streams due (R6).
    pub(crate) async fn push(&self, service: &str, key: &str) -> Result<(), Error> {
        let now = self.now();
        let unless = if self.keeps(Rule::Activation) { "" } else { "and taken is null" };
        let earlier = format!("set due_at = case when due_at < {now} then due_at else {now} end");
        let due = format!("update streams {earlier}");
        let stream = format!(
            "{due} where owner_id = {{id}} and service = '{service}' and key = '{key}' {unless}"
        );
        let owner = format!(
            "update owners {earlier} where id = {{id}} and exists (
               select 1 from streams where owner_id = {{id}} and service = '{service}'
                 and key = '{key}' and due_at <= {now} {unless})"
        );
        disk::run(self, self.control(0), vec![stream, owner]).await
    }
}

/// Each store takes one step at a time, and no walk waits for a session's limits.
fn server_options(database: &postgres_cluster::Database<'_>) -> ServerOptions {
    ServerOptions {
        control_url: database.url(),
        replication_url: None,
        isolation: Isolation::Schema,
        limits: SessionLimits { lease_ttl: Duration::from_secs(60), connections_max: 2 },
    }
}

/// Walks sync to disk at every step: on a disk they would take minutes.
fn in_memory_dir() -> TempDir {
    let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    dir.expect("a temporary directory")
}
