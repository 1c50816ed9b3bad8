//! What a component file says of itself: its digest and its manifest.

use anyhow::{Context, bail, ensure};
use rowgate_manifest::{Manifest, SECTION};
use sha2::{Digest, Sha256};

/// A component file that was looked into.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// SHA-256, lower-case hex.
    pub digest: String,
    /// From its custom section.
    pub manifest: Manifest,
}

/// Looks into a component; nothing of it is run.
pub fn inspect(wasm: &[u8]) -> anyhow::Result<Inspected> {
    // Magic, then version 13 of layer 1: a component. Layer 0 would be a core module.
    ensure!(wasm.starts_with(b"\0asm"), "this is not a WebAssembly file");
    ensure!(
        wasm.get(4..8) == Some(&[0x0d, 0, 1, 0]),
        "this is not a component (a core module must be wrapped by the build first)"
    );
    let mut rest = &wasm[8..];
    while let Some((id, after)) = rest.split_first() {
        let section = take(after)?;
        rest = section.1;
        if *id != 0 {
            continue;
        }
        let (name, json) = take(section.0)?;
        if name == SECTION.as_bytes() {
            let manifest = serde_json::from_slice(json).context("reading its manifest")?;
            let digest = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Inspected { digest, manifest });
        }
    }
    bail!("it has no manifest (custom section `{SECTION}`)");
}

/// Bytes with their length before them (LEB128), and what follows.
fn take(bytes: &[u8]) -> anyhow::Result<(&[u8], &[u8])> {
    let mut length = 0usize;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let rest = &bytes[at + 1..];
            ensure!(length <= rest.len(), "the file is cut off");
            return Ok(rest.split_at(length));
        }
    }
    bail!("the file is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::plugins::install_directory;
    use crate::chance::Chance;
    use crate::clock::Clock;
    use crate::config::DataDir;
    use crate::secrets::Keyring;
    use crate::store::Store;

    fn component(version: &str) -> Vec<u8> {
        let text = include_str!("../../tests/fixtures/google_calendar.toml");
        let mut manifest: Manifest = toml::from_str(text).unwrap();
        manifest.plugin.version = version.into();
        let json = serde_json::to_vec(&manifest).unwrap();
        let name = SECTION.as_bytes();
        let section = [&[u8::try_from(name.len()).unwrap()], name, &json].concat();
        let length = section.len();
        let length = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        [b"\0asm\x0d\0\x01\0", &[1, 2, 0, 0, 0][..], &length, &section].concat()
    }

    #[test]
    fn the_manifest_is_found_behind_other_sections() {
        let wasm = component("9.9.9");
        let inspected = inspect(&wasm).unwrap();
        assert_eq!(inspected.manifest.plugin.version, "9.9.9");
        assert_eq!(inspected.digest.len(), 64);
        for end in 0..wasm.len() {
            assert!(inspect(&wasm[..end]).is_err(), "cut at {end}");
        }
    }

    #[tokio::test]
    async fn a_directory_installs_what_is_new_and_respects_a_rollback() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(dir.path().join("data"));
        data_dir.create().unwrap();
        let chance = Chance::seeded(1);
        let keyring = Keyring::new([1; 32], chance.clone());
        let store = Store::open(data_dir, Clock::System, keyring, chance).await.unwrap();
        let file = dir.path().join("google_calendar.wasm");
        for version in ["1.0.0", "2.0.0"] {
            std::fs::write(&file, component(version)).unwrap();
            install_directory(&store, dir.path()).await.unwrap();
            let active = store.active_plugin("google_calendar").await.unwrap().unwrap();
            assert_eq!(active.manifest.plugin.version, version);
        }
        store.rollback_plugin("google_calendar").await.unwrap();
        install_directory(&store, dir.path()).await.unwrap();
        let active = store.active_plugin("google_calendar").await.unwrap().unwrap();
        assert_eq!(active.manifest.plugin.version, "1.0.0");
        std::fs::write(dir.path().join("broken.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let refused = install_directory(&store, dir.path()).await.unwrap_err();
        assert!(format!("{refused:#}").contains("not a component"));
    }
}
