//! From a plugin's sources to its component: built for wasm, encoded, checked, with its manifest.
//!
//! A package is a plugin if it has a `plugin.toml` beside its `Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rowgate_manifest::Manifest;
use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::checkout::{self, Checkout};
use crate::wasm_route;

/// Where plugins lie, and their components.
pub(crate) const PLUGINS: &str = "plugins";
/// Where the tests' guests lie below the checkout.
const GUEST_SOURCES: &str = "tests/guests";
/// Where their components lie below `target`; apart, so that a host never loads them by accident.
pub(crate) const GUESTS: &str = "guests";
/// What a plugin may import.
const CONTRACT: &str = "rowgate:plugin/";
/// What a plugin must export.
const EXPORT: &str = "rowgate:plugin/integration@";

/// Build every plugin to `target/plugins/NAME.wasm`.
pub(crate) fn build_plugins(checkout: &Checkout) -> Result<()> {
    for component in build_all(checkout, PLUGINS, PLUGINS)? {
        let foreign = component.foreign_imports();
        if !foreign.is_empty() {
            bail!(
                "{} imports {}; a plugin has nothing but {CONTRACT}*: look for a dependency that \
                 wants a clock, randomness, files or sockets",
                component.name,
                foreign.join(", ")
            );
        }
    }
    Ok(())
}

/// Build the tests' guests to `target/guests/NAME.wasm`. They may import what a host must refuse.
pub(crate) fn build_guests(checkout: &Checkout) -> Result<()> {
    build_all(checkout, GUEST_SOURCES, GUESTS).map(drop)
}

struct Component {
    name: String,
    imports: Vec<String>,
}

impl Component {
    fn foreign_imports(&self) -> Vec<&str> {
        let imports = self.imports.iter().map(String::as_str);
        imports.filter(|import| !import.starts_with(CONTRACT)).collect()
    }
}

fn build_all(checkout: &Checkout, sources: &str, into: &str) -> Result<Vec<Component>> {
    let packages = packages_with_manifest(checkout, &checkout.path(sources))?;
    if packages.is_empty() {
        bail!("no package with a plugin.toml under {sources}/");
    }
    let route = wasm_route::prepare(checkout)?;
    let into = checkout.target(into);
    fs::create_dir_all(&into).with_context(|| format!("can't make {}", into.display()))?;
    let build = |package: &Package| {
        let module = compile(checkout, &route, package)?;
        finish(package, &module, &into).with_context(|| format!("package {}", package.name))
    };
    packages.iter().map(build).collect()
}

struct Package {
    name: String,
    manifest: PathBuf,
}

fn packages_with_manifest(checkout: &Checkout, under: &Path) -> Result<Vec<Package>> {
    let packages = checkout.packages()?;
    let packages = packages.iter().filter_map(|package| {
        let directory = Path::new(package["manifest_path"].as_str()?).parent()?;
        let manifest = directory.join("plugin.toml");
        let name = package["name"].as_str()?.to_owned();
        (directory.starts_with(under) && manifest.is_file()).then_some(Package { name, manifest })
    });
    Ok(packages.collect())
}

/// Compile one package for wasm. One cargo call each: packages built together would share the
/// features of their dependencies, and a plugin's digest would depend on its neighbours.
fn compile(checkout: &Checkout, route: &wasm_route::Route, package: &Package) -> Result<Vec<u8>> {
    let mut cargo = checkout.cargo();
    // With a single crate type for all, they share one standard library: how it is compiled depends
    // on whether an rlib is wanted beside the component.
    cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--profile", "plugin"]);
    cargo.args(["-p", &package.name]);
    cargo.arg("--target-dir").arg(checkout.target("wasm"));
    route.apply(checkout, &mut cargo);
    let artifacts = checkout::build(&mut cargo)?;
    let is_module = |path: &Path| path.extension().is_some_and(|extension| extension == "wasm");
    let module = artifacts
        .into_iter()
        .find(|made| made.kind == "cdylib" && made.target == package.name && is_module(&made.path))
        .with_context(|| format!("package {} makes no cdylib of its name", package.name))?;
    fs::read(&module.path).with_context(|| format!("can't read {}", module.path.display()))
}

/// Encode, embed, check, write, and say what came out.
fn finish(package: &Package, module: &[u8], into: &Path) -> Result<Component> {
    let text = fs::read_to_string(&package.manifest)
        .with_context(|| format!("can't read {}", package.manifest.display()))?;
    let manifest =
        Manifest::from_toml(&text).with_context(|| format!("in {}", package.manifest.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .context("can't make a component of the module")?
        .encode()?;
    let bytes = rowgate_manifest::embed(&component, &manifest)?;

    let name = manifest.plugin.name;
    if name != package.name {
        bail!("{} calls itself {name}: name both alike", package.manifest.display());
    }
    let imports = imports(&bytes)?;
    let path = into.join(format!("{name}.wasm"));
    write_if_changed(&path, &bytes)?;
    println!(
        "{name} {} {} bytes sha256:{:x}\n  {}\n  imports {}",
        manifest.plugin.version,
        bytes.len(),
        Sha256::digest(&bytes),
        path.display(),
        if imports.is_empty() { "nothing".into() } else { imports.join(" ") }
    );
    Ok(Component { name, imports })
}

/// What a component imports: all it can ever reach. It must export the contract's one interface.
fn imports(component: &[u8]) -> Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("this is a package of interfaces, not a component");
    };
    let world = &resolve.worlds[world];
    if !world.exports.keys().any(|key| resolve.name_world_key(key).starts_with(EXPORT)) {
        bail!("the crate doesn't export {EXPORT}*; is the export macro missing?");
    }
    Ok(world.imports.keys().map(|key| resolve.name_world_key(key)).collect())
}

/// Replace a file in one step, so that a host that watches it never reads half of it.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let partial = path.with_extension("wasm.partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contract_is_no_foreign_import() {
        let imports = ["rowgate:plugin/http@0.1.0", "wasi:io/poll@0.2.6", "rowgate:pluginx/a"];
        let imports = imports.map(str::to_owned).to_vec();
        let component = Component { name: "x".into(), imports };
        assert_eq!(component.foreign_imports(), ["wasi:io/poll@0.2.6", "rowgate:pluginx/a"]);
    }

    #[test]
    fn a_module_is_no_component() {
        assert!(imports(b"\0asm\x01\0\0\0").is_err());
    }
}
