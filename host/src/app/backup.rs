//! A copy of everything while a host writes, and a data directory made of such a copy.

mod manifest;
mod server;

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio::sync::OnceCell;

use super::{App, clock, reach_outside};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::OrganizationId;
use crate::secrets::Keyring;
use crate::store::restore::Restored;
use crate::store::{Error, Store, backup};
pub use manifest::{Entry, Manifest};
pub use server::put_right;

/// Names in a backup are those of the data directory.
const CONTROL: &str = "control.db";
const KEY: &str = "key";

/// What a backup or a restore does next: with much data each takes a while.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Progress<'a> {
    /// A file is copied.
    Copying { name: &'a str, bytes: u64 },
    /// A file of a backup is compared with its digest.
    Checking { name: &'a str, bytes: u64 },
    /// An organization's tables are made to go on.
    PuttingRight { organization: &'a str },
}

/// Copies that may be made in vain, because the configuration changed meanwhile.
const ATTEMPTS: usize = 3;

/// Copies the databases, and the key if that is wanted, to a directory that is empty or not there.
///
/// The organizations' tables come first, the control database last: so of two that don't fit, the tables
/// are the older ones, which is what happens when they are put back, and is repaired by whoever leases an
/// owner next (R4, `drive_again`). The other way round, the control database would lack posts that the tables
/// have applied: a restore makes both go on (`store/restore`), but those have to be posted again.
pub async fn back_up(
    app: &App,
    to: &Path,
    with_key: bool,
    told: impl Fn(Progress<'_>),
) -> anyhow::Result<Manifest> {
    if app.config.database_url.given().is_some() {
        bail!(
            "the databases lie on a server: copy them with pg_dump, first the organizations' tables (the \
             database of replication_url, else `<control>_data`; with isolation = \"database\" all of \
             them), then the control database; keep the key"
        );
    }
    let keys = app.store.data_dir().key();
    if with_key && !app.store.keyring().is_in_file() {
        bail!("the key is given by the configuration: there is no key file to copy");
    }
    // A change of the key that ends between the copies would take out what they are sealed with.
    let _lock = match with_key {
        true => app.store.keyring().lock_file()?,
        false => None,
    };
    make_empty(to)?;
    for _ in 0..ATTEMPTS {
        let begun_at = app.clock.now();
        let Some(mut manifest) = databases(app, to, begun_at, &told).await? else {
            fs::remove_dir_all(to.join("replication"))?;
            fs::remove_file(to.join(CONTROL))?;
            continue;
        };
        if with_key {
            copy_file(&keys, &to.join(KEY))?;
            manifest.files.push(Entry::of(to, KEY)?);
        }
        manifest.write(to)?;
        return Ok(manifest);
    }
    bail!("the configuration changed while it was copied, {ATTEMPTS} times: try again")
}

/// None: integrations came, went or changed meanwhile, so tables and control database don't fit.
async fn databases(
    app: &App,
    to: &Path,
    begun_at: i64,
    told: &impl Fn(Progress<'_>),
) -> anyhow::Result<Option<Manifest>> {
    let data_dir = app.store.data_dir();
    let epoch = app.store.config_epoch().await?;
    private_directory(&to.join("replication"))?;
    let mut files = Vec::new();
    let mut replication_schema = backup::known_schema_versions().1;
    for organization in app.store.organizations().await? {
        // Not ours to copy: it goes on from where it is.
        if let Some(database) = app.store.own_database(organization.id).await? {
            tracing::warn!(
                organization = organization.key,
                database,
                "its tables lie in a database of its own, and are not in the backup"
            );
            continue;
        }
        let from = data_dir.replication(&organization.key);
        // Nothing was ever written for it.
        if !from.exists() {
            continue;
        }
        let name = format!("replication/{}.db", organization.key);
        copy_database(&from, to, &name, told).await?;
        replication_schema = backup::inspect(&to.join(&name)).await?.schema_version;
        files.push(Entry::of(to, &name)?);
    }
    make_durable(&to.join("replication"))?;
    // The copy has what was there when it began, however long it takes.
    let taken_at = app.clock.now();
    copy_database(&data_dir.control(), to, CONTROL, told).await?;
    let control = backup::inspect(&to.join(CONTROL)).await?;
    if control.config_epoch != Some(epoch) {
        return Ok(None);
    }
    files.push(Entry::of(to, CONTROL)?);
    Ok(Some(Manifest {
        format: manifest::FORMAT,
        rowgate: env!("CARGO_PKG_VERSION").into(),
        begun_at,
        taken_at,
        control_schema: control.schema_version,
        replication_schema,
        keys: app.store.keyring().ids().iter().map(ToString::to_string).collect(),
        files,
    }))
}

/// To a file of this name in the backup.
async fn copy_database(
    from: &Path,
    directory: &Path,
    name: &str,
    told: &impl Fn(Progress<'_>),
) -> anyhow::Result<()> {
    let copying = || format!("copying {}", from.display());
    told(Progress::Copying { name, bytes: fs::metadata(from).with_context(copying)?.len() });
    let to = directory.join(name);
    backup::copy(from, &to).await.with_context(copying)?;
    make_durable(&to)
}

/// Fills the data directory of the configuration from a backup, and makes what is in it go on: a host
/// that starts there resyncs every owner, and receivers get whole copies.
pub async fn restore(
    config: &Config,
    from: &Path,
    told: impl Fn(Progress<'_>),
) -> anyhow::Result<(Manifest, Restored)> {
    if config.database_url.given().is_some() {
        bail!(
            "the databases lie on a server: put them back with pg_restore while no host runs, and then \
             run `rowgate restore --server`"
        );
    }
    let data_dir = config.data_dir();
    if data_dir.is_served() {
        bail!("a host serves {}: restore to another directory", data_dir.path().display());
    }
    let manifest = Manifest::read(from)?;
    manifest.check_schemas(backup::known_schema_versions())?;
    for file in &manifest.files {
        told(Progress::Checking { name: &file.name, bytes: file.bytes });
        file.check(from)?;
    }
    must_be_empty(data_dir.path())?;
    data_dir.create()?;
    let _lock = data_dir.lock()?;
    // Whoever starts a host here before all is in place is told so.
    File::create(data_dir.restoring())?.sync_all()?;
    make_durable(data_dir.path())?;
    for file in &manifest.files {
        told(Progress::Copying { name: &file.name, bytes: file.bytes });
        copy_file(&file.path(from), &file.path(data_dir.path()))?;
    }
    let (chance, now) = (Chance::from_system(), Clock::System.now());
    let reaching = OnceCell::new();
    let own = async |of: OrganizationId, key: String| {
        let store = reaching.get_or_try_init(|| reaching_outside(config, &key)).await?;
        store.open_put_back_own(of, &key).await
    };
    let putting = |organization: &str| told(Progress::PuttingRight { organization });
    let begun_at = manifest.begun_at;
    let restored = backup::put_right(&data_dir, begun_at, now, &chance, own, putting).await?;
    make_durable(&data_dir.path().join("replication"))?;
    fs::remove_file(data_dir.restoring())?;
    make_durable(data_dir.path())?;
    Ok((manifest, restored))
}

/// What opens tables in databases of organizations' own, by what the restored control database says of them.
/// `key`: the first such organization's.
async fn reaching_outside(config: &Config, key: &str) -> Result<Store, Error> {
    let data_dir = config.data_dir();
    if config.key.given().is_none() && !data_dir.key().exists() {
        return Err(Error::Refused(format!(
            "the tables of {key} lie in a database of its own, whose URL is sealed: give the key as \
             ROWGATE_KEY, and restore again"
        )));
    }
    // Not the customer's: the restore ends.
    let refused = |error: anyhow::Error| Error::Refused(error.to_string());
    let chance = Chance::from_system();
    let keyring = Keyring::load(data_dir.path(), config.key.given(), chance.clone());
    let keyring = keyring.map_err(refused)?;
    let store = Store::open(data_dir, clock(config), keyring, chance).await?;
    reach_outside(&store, config).map_err(refused)?;
    Ok(store)
}

fn make_empty(directory: &Path) -> anyhow::Result<()> {
    must_be_empty(directory)?;
    private_directory(directory)
}

fn must_be_empty(directory: &Path) -> anyhow::Result<()> {
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("{} isn't empty", directory.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("reading {}", directory.display())),
    }
}

/// It holds customers' data.
fn private_directory(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making the directory {}", path.display()))
}

fn copy_file(from: &Path, to: &PathBuf) -> anyhow::Result<()> {
    let of = || format!("copying {} to {}", from.display(), to.display());
    fs::copy(from, to).with_context(of)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).with_context(of)?;
    make_durable(to)
}

fn make_durable(path: &Path) -> anyhow::Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.with_context(|| format!("writing {} to disk", path.display()))
}
