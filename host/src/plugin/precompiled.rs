//! Compiled components beside their wasm, so that a restart loads instead of compiling.
//!
//! A compiled component is native code and is trusted when it is loaded, so each file begins with
//! an HMAC-SHA256 over what it was made from and its content, under a key that only the host knows.
//! A file that is missing, torn, forged or from another engine is compiled anew.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::inspect::{Refused, hex};

const TAG_BYTES: usize = 32;

/// Where compiled components are kept.
pub(super) struct Precompiled<'a> {
    pub(super) engine: &'a wasmtime::Engine,
    pub(super) key: &'a [u8; 32],
    pub(super) dir: &'a Path,
}

impl Precompiled<'_> {
    /// The component with this digest: from its file, else compiled, and then with the code to keep.
    pub(super) fn component(
        &self,
        digest: &str,
        wasm: &[u8],
    ) -> Result<(Component, Option<Vec<u8>>), Refused> {
        if let Some(component) = self.load(digest, &self.path(digest)) {
            return Ok((component, None));
        }
        let refused = |error: wasmtime::Error| Refused::Compile(format!("{error:#}"));
        let code = self.engine.precompile_component(wasm).map_err(refused)?;
        let component = self.deserialize(&code).map_err(refused)?;
        Ok((component, Some(code)))
    }

    /// Keeps compiled code. To lose it costs compiling again.
    pub(super) fn keep(&self, digest: &str, code: &[u8]) {
        let path = self.path(digest);
        if let Err(error) = self.store(digest, &path, code) {
            tracing::warn!(path = %path.display(), %error, "compiled component not kept");
        }
    }

    /// Digest and the engine's compatibility hash, which covers wasmtime's exact version, the
    /// target and every setting that changes code.
    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", self.compatibility()))
    }

    fn compatibility(&self) -> String {
        let mut hasher = Sha256Hasher(Sha256::new());
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hex(&hasher.0.finalize()[..8])
    }

    fn load(&self, digest: &str, path: &Path) -> Option<Component> {
        let file = std::fs::read(path).ok()?;
        let (tag, code) = file.split_at_checked(TAG_BYTES)?;
        if self.mac(digest, code).verify_slice(tag).is_err() {
            tracing::warn!(path = %path.display(), "compiled component isn't ours, or was made before the key changed: compiling anew");
            return None;
        }
        self.deserialize(code).ok()
    }

    #[expect(unsafe_code, reason = "loading native code; see the safety comment")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `code` is the output of `precompile_component` unchanged: it either just came
        // from there, or its HMAC under the host's own key was checked in `load`. wasmtime itself
        // refuses code of another version, target or configuration.
        unsafe { Component::deserialize(self.engine, code) }
    }

    /// Writes beside and renames, so that a reader sees all of it or nothing.
    fn store(&self, digest: &str, path: &Path, code: &[u8]) -> std::io::Result<()> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{number}.new", std::process::id()));
        std::fs::create_dir_all(self.dir)?;
        let written = (|| {
            let mut file = std::fs::File::create_new(&beside)?;
            file.write_all(&self.mac(digest, code).finalize().into_bytes())?;
            file.write_all(code)?;
            drop(file);
            std::fs::rename(&beside, path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(self.key).expect("HMAC takes keys of any length");
        mac.update(digest.as_bytes());
        mac.update(self.compatibility().as_bytes());
        mac.update(code);
        mac
    }
}

/// The standard hasher may change with the compiler; a file name shouldn't.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}
