//! How this machine compiles for wasm32-unknown-unknown: what is there, else what can be fetched.
//!
//! Rust's own installer has the target's standard library ready made. Where it is out of reach,
//! Debian's `rustc-web` with `rust-web-src` builds one from source (`-Z build-std`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, Checkout};

/// The target of every component.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler and the sources of its standard library.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";

/// A way to compile for wasm.
pub(crate) enum Route {
    /// The toolchain has the target.
    Installed,
    /// Debian's compiler builds the standard library too.
    BuildStd {
        /// `rust-lld`, which Debian's package lacks and the toolchain has.
        linker: PathBuf,
    },
}

impl Route {
    /// Set cargo up to compile for wasm. What a path says of this machine stays out of the
    /// component, so that the same sources make the same digest anywhere.
    pub(crate) fn apply(&self, checkout: &Checkout, cargo: &mut Command) {
        let mut flags = vec![remap(&checkout.path(""), "/rowgate")];
        if let Some(home) = cargo_home() {
            flags.push(remap(&home, "/cargo"));
        }
        if let Route::BuildStd { linker } = self {
            flags.push(remap(Path::new("/usr/src"), "/rustc"));
            cargo
                .env("RUSTC", DEBIAN_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .args(["-Z", "build-std=std,panic_abort"]);
        }
        // CI's wrapper goes with the host's compiler, and has seen these sources.
        cargo.env_remove("RUSTC_WORKSPACE_WRAPPER");
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).args(["--target", TARGET]);
    }
}

/// Find a way, and install what it needs.
pub(crate) fn prepare(checkout: &Checkout) -> Result<Route> {
    let mut facts = Facts::gather(checkout)?;
    loop {
        match facts.next() {
            Step::UseInstalled => return Ok(Route::Installed),
            Step::UseBuildStd => {
                let linker = facts.linker.context(
                    "the Rust toolchain brings no rust-lld; install it from https://rustup.rs",
                )?;
                eprintln!(
                    "wasm: the toolchain has no {TARGET}: Debian's rustc builds std from source"
                );
                return Ok(Route::BuildStd { linker });
            }
            Step::RustupAdd => {
                eprintln!("wasm: the toolchain has no {TARGET}: `rustup target add` fetches it");
                facts.rustup = false;
                facts.installed = rustup_target_add(checkout);
            }
            Step::AptInstall => {
                eprintln!("wasm: installing Debian's {}", DEBIAN_PACKAGES.join(" and "));
                apt_install(checkout, &DEBIAN_PACKAGES)?;
                facts.apt = false;
                facts.sources = debian_sources(checkout);
            }
            Step::AskForApt => bail!(
                "no way to compile for {TARGET}; run this once: sudo apt-get install -y {}",
                DEBIAN_PACKAGES.join(" ")
            ),
            Step::GiveUp => {
                bail!("no way to compile for {TARGET}; run this once: rustup target add {TARGET}")
            }
        }
    }
}

/// What is known of this machine. `rustup` and `apt` say whether they are left to try.
#[derive(Clone, Debug, Default)]
struct Facts {
    installed: bool,
    sources: bool,
    linker: Option<PathBuf>,
    rustup: bool,
    apt: bool,
    root: bool,
}

#[derive(Debug, PartialEq)]
enum Step {
    UseInstalled,
    UseBuildStd,
    RustupAdd,
    AptInstall,
    AskForApt,
    GiveUp,
}

impl Facts {
    fn gather(checkout: &Checkout) -> Result<Self> {
        let mut rustc = checkout.command("rustc");
        let libraries =
            checkout::output(rustc.args(["--print", "target-libdir", "--target", TARGET]))?;
        Ok(Self {
            installed: Path::new(libraries.trim()).is_dir(),
            sources: debian_sources(checkout),
            linker: rust_lld(checkout)?,
            rustup: answers(checkout.command("rustup").arg("--version")),
            apt: answers(checkout.command("apt-get").arg("--version")),
            root: is_root(checkout),
        })
    }

    /// What is installed comes before what must be fetched.
    fn next(&self) -> Step {
        match self {
            Facts { installed: true, .. } => Step::UseInstalled,
            Facts { sources: true, .. } => Step::UseBuildStd,
            Facts { rustup: true, .. } => Step::RustupAdd,
            Facts { apt: true, root: true, .. } => Step::AptInstall,
            Facts { apt: true, .. } => Step::AskForApt,
            _ => Step::GiveUp,
        }
    }
}

/// Install Debian packages. Needs root.
pub(crate) fn apt_install(checkout: &Checkout, packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut apt = checkout.command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        // Standard output is for results.
        apt.stdout(std::io::stderr());
        checkout::run(&mut apt)
    };
    apt(&["-q", "update"])?;
    apt(&[&["-q", "install", "-y", "--no-install-recommends"], packages].concat())
}

/// Does this process run as root?
pub(crate) fn is_root(checkout: &Checkout) -> bool {
    checkout::output(checkout.command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn rustup_target_add(checkout: &Checkout) -> bool {
    let mut rustup = checkout.command("rustup");
    let output = rustup.args(["target", "add", TARGET]).output();
    let works = output.as_ref().is_ok_and(|output| output.status.success());
    if !works {
        let said = output.map_or_else(|e| e.to_string(), |o| last_line(&o.stderr));
        eprintln!("wasm: rustup can't fetch it here ({said})");
    }
    works
}

/// Debian's compiler with its sources, recent enough for the workspace.
fn debian_sources(checkout: &Checkout) -> bool {
    let version = checkout.command(DEBIAN_RUSTC).arg("--version").stderr(Stdio::null()).output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    Path::new(DEBIAN_SOURCES).join("library/Cargo.lock").is_file()
        && version.is_ok_and(|version| is_recent(&version))
}

/// Is what `rustc --version` printed at least the workspace's `rust-version`?
fn is_recent(version: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut numbers = text.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let asked = numbers(env!("CARGO_PKG_RUST_VERSION"));
    version.split(' ').nth(1).and_then(numbers) >= asked
}

fn rust_lld(checkout: &Checkout) -> Result<Option<PathBuf>> {
    let sysroot = checkout::output(checkout.command("rustc").args(["--print", "sysroot"]))?;
    let host = checkout::output(checkout.command("rustc").args(["--print", "host-tuple"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    let linker = rustlib.join(host.trim()).join("bin/rust-lld");
    Ok(linker.is_file().then_some(linker))
}

fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn remap(path: &Path, to: &str) -> String {
    let path = path.to_string_lossy();
    format!("--remap-path-prefix={}={to}", path.trim_end_matches('/'))
}

/// Can the command be run, and ends it well?
pub(crate) fn answers(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim_end().lines().next_back().unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_comes_before_what_must_be_fetched() {
        let facts = |names: &str| Facts {
            installed: names.contains("installed"),
            sources: names.contains("sources"),
            linker: None,
            rustup: names.contains("rustup"),
            apt: names.contains("apt"),
            root: names.contains("root"),
        };
        for (names, step) in [
            ("installed sources rustup apt root", Step::UseInstalled),
            ("sources rustup apt root", Step::UseBuildStd),
            ("rustup apt root", Step::RustupAdd),
            ("rustup", Step::RustupAdd),
            ("apt root", Step::AptInstall),
            ("apt", Step::AskForApt),
            ("root", Step::GiveUp),
            ("", Step::GiveUp),
        ] {
            assert_eq!(facts(names).next(), step, "{names}");
        }
    }

    #[test]
    fn a_compiler_older_than_the_workspace_asks_is_left_alone() {
        assert!(is_recent("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"));
        assert!(is_recent("rustc 2.0.0"));
        for old in ["rustc 1.63.0", "rustc 1.94.9", "", "rustc unknown"] {
            assert!(!is_recent(old), "{old}");
        }
    }
}
