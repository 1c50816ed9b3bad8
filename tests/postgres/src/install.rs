//! Where the server's programs are, and as whom they run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The package that brings the server.
pub const DEBIAN_PACKAGE: &str = "postgresql";
/// Debian keeps the programs of each version apart, and out of PATH.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";
/// Users that the server may run as where we are root; it refuses to run as root.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Are the server's programs on this machine?
pub fn is_installed() -> bool {
    programs().is_ok()
}

/// The directory with `initdb` and `postgres`.
pub(crate) fn programs() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed = std::env::split_paths(&path).collect::<Vec<_>>();
    let versions = fs::read_dir(DEBIAN_VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(number(version)));
    let debian = versions.into_iter().map(|version| version.join("bin"));
    let mut places = debian.chain(listed);
    let complete =
        |place: &PathBuf| place.join("initdb").exists() && place.join("postgres").exists();
    places.find(complete).with_context(|| {
        format!("PostgreSQL isn't installed; on Debian: sudo apt-get install -y {DEBIAN_PACKAGE}")
    })
}

fn number(version: &Path) -> u32 {
    let name = version.file_name().unwrap_or_default().to_string_lossy();
    name.parse().unwrap_or_default()
}

/// The user and group that the server runs as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Account {
    /// None: as we do.
    pub(crate) fn find() -> Result<Option<Self>> {
        // A process's directory belongs to its user.
        if fs::metadata("/proc/self").context("can't read /proc")?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("can't read /etc/passwd")?;
        let found = USERS.iter().find_map(|name| Self::in_passwd(&users, name));
        let found = found.with_context(|| format!("none of the users {USERS:?} exists"))?;
        Ok(Some(found))
    }

    fn in_passwd(users: &str, name: &str) -> Option<Self> {
        let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = lines.find(|fields| fields.first() == Some(&name))?;
        Some(Self { user: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? })
    }
}

/// A command that runs as this account, without settings for other servers.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    if let Some(account) = account {
        // Extra groups of ours are dropped with it.
        command.uid(account.user).gid(account.group);
    }
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts() {
        let users = "daemon:x:1:1:,,,:/usr/sbin:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/sh\n";
        let found = Account::in_passwd(users, "postgres");
        assert_eq!(found, Some(Account { user: 101, group: 104 }));
        assert_eq!(Account::in_passwd(users, "post"), None);
    }

    #[test]
    fn versions_are_numbers() {
        assert!(number(Path::new("/p/15")) > number(Path::new("/p/9.6")));
        assert!(number(Path::new("/p/15")) > number(Path::new("/p/9")));
    }
}
