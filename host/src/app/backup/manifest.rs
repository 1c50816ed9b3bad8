//! What a backup says of itself: `backup.json`, written last, so a directory without it is none.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::Micros;

/// Of this file and of what it lists.
pub(super) const FORMAT: u32 = 1;
const NAME: &str = "backup.json";
const READ_BYTES: usize = 1 << 20;

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How a backup is laid out.
    pub format: u32,
    /// Version of the program that made it.
    pub rowgate: String,
    /// When the first database was copied.
    pub begun_at: Micros,
    /// Before the last one was, the control database: what was posted since may be missing in it.
    pub taken_at: Micros,
    /// Schema of the control database.
    pub control_schema: i64,
    /// Schema of the organizations' tables.
    pub replication_schema: i64,
    /// Ids of the keys that its secrets may be sealed with, the newest first.
    pub keys: Vec<String>,
    /// All files but this one.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Entry {
    /// Below the backup's directory, and below the data directory.
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    pub(super) fn read(backup: &Path) -> anyhow::Result<Self> {
        let path = backup.join(NAME);
        let of = || format!("reading {}", path.display());
        let text = fs::read(&path).with_context(of)?;
        let manifest: Self = serde_json::from_slice(&text).with_context(of)?;
        if manifest.format != FORMAT {
            bail!("{}: format {}, this program knows {FORMAT}", path.display(), manifest.format);
        }
        for file in &manifest.files {
            let parts = Path::new(&file.name).components();
            if file.name.is_empty() || !parts.into_iter().all(|p| matches!(p, Component::Normal(_)))
            {
                bail!("{}: a file can't be called {:?}", path.display(), file.name);
            }
        }
        Ok(manifest)
    }

    pub(super) fn write(&self, backup: &Path) -> anyhow::Result<()> {
        let path = backup.join(NAME);
        let written = || -> std::io::Result<()> {
            let mut file = File::create_new(&path)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            File::open(backup)?.sync_all()
        };
        written().with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn check_schemas(&self, (control, replication): (i64, i64)) -> anyhow::Result<()> {
        if self.control_schema > control || self.replication_schema > replication {
            bail!(
                "the backup was made by rowgate {} and has a newer schema: restore it with that version",
                self.rowgate
            );
        }
        Ok(())
    }

    /// Whether the key file is in it.
    pub fn has_key(&self) -> bool {
        self.files.iter().any(|file| file.name == super::KEY)
    }
}

impl Entry {
    pub(super) fn of(backup: &Path, name: &str) -> anyhow::Result<Self> {
        let (bytes, sha256) = digest(&backup.join(name))?;
        Ok(Self { name: name.to_owned(), bytes, sha256 })
    }

    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(&self.name)
    }

    pub(super) fn check(&self, backup: &Path) -> anyhow::Result<()> {
        let found = Self::of(backup, &self.name)?;
        if found != *self {
            bail!(
                "{} isn't what was backed up: {} bytes with SHA-256 {}, not {} with {}",
                self.path(backup).display(),
                found.bytes,
                found.sha256,
                self.bytes,
                self.sha256
            );
        }
        Ok(())
    }
}

fn digest(path: &Path) -> anyhow::Result<(u64, String)> {
    let of = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(of)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    loop {
        let read = file.read(&mut buffer).with_context(of)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(backup: &Path) -> Manifest {
        fs::write(backup.join("control.db"), b"content").unwrap();
        Manifest {
            format: FORMAT,
            rowgate: "9.9".into(),
            begun_at: 1,
            taken_at: 2,
            control_schema: 3,
            replication_schema: 4,
            keys: vec!["0badc0de".into()],
            files: vec![Entry::of(backup, "control.db").unwrap()],
        }
    }

    #[test]
    fn what_was_written_is_read_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(dir.path());
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        manifest.files[0].check(dir.path()).unwrap();
        fs::write(dir.path().join("control.db"), b"Content").unwrap();
        let error = manifest.files[0].check(dir.path()).unwrap_err().to_string();
        assert!(error.contains("isn't what was backed up"), "{error}");
        for (control, replication, fits) in
            [(3, 4, true), (4, 4, true), (2, 4, false), (3, 3, false)]
        {
            assert_eq!(manifest.check_schemas((control, replication)).is_ok(), fits);
        }
    }

    #[test]
    fn files_elsewhere_and_other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let whole = manifest(dir.path());
        let refused = |manifest: &Manifest| {
            let _ = fs::remove_file(dir.path().join(NAME));
            manifest.write(dir.path()).unwrap();
            Manifest::read(dir.path()).unwrap_err().to_string()
        };
        for name in ["../key", "/key", "", "replication/../../key"] {
            let mut manifest = whole.clone();
            manifest.files[0].name = name.into();
            assert!(refused(&manifest).contains("can't be called"), "{name}");
        }
        let newer = Manifest { format: FORMAT + 1, ..whole };
        assert!(refused(&newer).contains("this program knows"));
    }
}
