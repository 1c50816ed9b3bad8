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
