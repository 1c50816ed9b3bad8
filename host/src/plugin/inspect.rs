//! Reads a component without compiling it: digest, manifest, and what it imports.

use rowgate_manifest::Manifest;
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use super::convert::clip;

/// Largest component, bytes. SpiderMonkey or Python inside makes 12 to 18 MB.
pub const WASM_MAX_BYTES: usize = 64 << 20;

/// What a component says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// SHA-256 of the whole file, lower-case hex.
    pub digest: String,
    /// Its manifest, checked.
    pub manifest: Manifest,
    /// Names of its imports, e.g. `rowgate:plugin/http@0.1.0`. Unused ones are pruned when a
    /// component is built, so this is what it can do.
    pub imports: Vec<String>,
}

/// Why a component isn't accepted. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Larger than [`WASM_MAX_BYTES`].
    #[error("the file has {0} bytes; a component may have {WASM_MAX_BYTES}")]
    TooLarge(usize),
    /// Not a WebAssembly component.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// No manifest, several, or a wrong one.
    #[error("{0}")]
    Manifest(String),
    /// It imports what the host doesn't offer, or what its manifest doesn't ask for.
    #[error("the component imports `{import}`, beyond its world and grants: {advice}")]
    #[allow(missing_docs)]
    Import { import: String, advice: String },
    /// The compiler refused it.
    #[error("the component doesn't compile: {0}")]
    Compile(String),
    /// It asks for more memories, tables or instances than any call gets.
    #[error("the component needs more than a call gets: {0}")]
    Resources(String),
    /// Its imports or exports have other shapes than this version of the contract.
    #[error("the component doesn't fit the contract rowgate:plugin@0.1.0: {0}")]
    Contract(String),
}

/// Reads digest, manifest and imports of a component, and refuses what can't be a plugin.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, Refused> {
    if wasm.len() > WASM_MAX_BYTES {
        return Err(Refused::TooLarge(wasm.len()));
    }
    let imports = imports(wasm)?;
    let manifest = rowgate_manifest::read(wasm).map_err(|error| {
        Refused::Manifest(format!("the component has no usable manifest: {error}"))
    })?;
    for import in &imports {
        check_import(import, &manifest)?;
    }
    Ok(Inspection { digest: digest(wasm), manifest, imports })
}

fn digest(wasm: &[u8]) -> String {
    hex(&Sha256::digest(wasm))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Names of the imports of the outermost component.
fn imports(wasm: &[u8]) -> Result<Vec<String>, Refused> {
    let broken = |error: wasmparser::BinaryReaderError| Refused::NotAComponent(error.to_string());
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                let text = "it is a core module; build it with wasm-component-ld, or encode it \
                            with `wasm-tools component new`";
                return Err(Refused::NotAComponent(text.into()));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Is it an interface of the world, and may this plugin use it?
fn check_import(import: &str, manifest: &Manifest) -> Result<(), Refused> {
    let refused = |advice: &str| {
        Err(Refused::Import { import: clip(import.to_owned()), advice: advice.into() })
    };
    let Some((interface, version)) =
        import.strip_prefix("rowgate:plugin/").and_then(|rest| rest.split_once('@'))
    else {
        if import.starts_with("wasi:") {
            return refused(
                "a plugin has no WASI; build it for wasm32-unknown-unknown, or let your toolchain \
                 stub WASI",
            );
        }
        return refused("a plugin may import the interfaces of rowgate:plugin@0.1.0 alone");
    };
    if !version.starts_with("0.1.") {
        return refused("this host offers version 0.1.0; build it against that wit/");
    }
    match interface {
        "http" if manifest.egress.is_empty() => {
            refused("add the URLs that it calls as [[egress]] to plugin.toml")
        }
        "http" | "db" | "streams" | "owners" | "log" | "types" => Ok(()),
        _ => refused("rowgate:plugin@0.1.0 has no such interface"),
    }
}
