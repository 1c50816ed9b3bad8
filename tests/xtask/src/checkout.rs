//! Where the checkout is, and how commands are run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A working copy of the repository.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout whose task runner this is.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets the variable for what it runs; a copied binary knows where it was built.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.join("../..");
        let root = root.canonicalize().with_context(|| format!("no checkout at {root:?}"))?;
        Ok(Self { root })
    }

    /// A path inside the checkout.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path below the checkout's `target`, whatever CARGO_TARGET_DIR is.
    pub(crate) fn target(&self, relative: &str) -> PathBuf {
        self.root.join("target").join(relative)
    }

    /// A command that runs in the checkout.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// The cargo that runs us. What it told us of our package isn't for the packages that it builds:
    /// build scripts read such variables, and would run again after each call by hand.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        of_no_package(&mut cargo);
        cargo
    }

    /// Build the programs of all tests of the workspace. For a part of it cargo gives some
    /// dependencies another profile (such as are then needed by macros only), and builds most of the
    /// others again.
    pub(crate) fn test_programs(&self) -> Result<Vec<TestProgram>> {
        let mut cargo = self.cargo();
        cargo.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
        Ok(output(&mut cargo)?.lines().filter_map(test_program).collect())
    }

    /// The workspace's packages, as `cargo metadata` prints them.
    pub(crate) fn packages(&self) -> Result<Vec<Value>> {
        let mut cargo = self.cargo();
        cargo.args(["metadata", "--format-version=1", "--no-deps"]);
        let mut metadata: Value = serde_json::from_str(&output(&mut cargo)?)
            .context("`cargo metadata` printed something else than JSON")?;
        match metadata["packages"].take() {
            Value::Array(packages) => Ok(packages),
            _ => bail!("`cargo metadata` printed no packages"),
        }
    }
}

fn of_no_package(command: &mut Command) {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| is_of_a_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
}

/// Variables that cargo sets for what it runs, about its package.
fn is_of_a_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Run a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("can't start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Run a command and return its standard output; its standard error goes where ours goes.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("can't start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something else than UTF-8", shown(command)))
}

/// Build with cargo and return the files it made (new or not), with their crate types.
pub(crate) fn build(cargo: &mut Command) -> Result<Vec<Artifact>> {
    cargo.arg("--message-format=json-render-diagnostics");
    Ok(output(cargo)?.lines().flat_map(artifacts).collect())
}

/// Where the binary of this name lies among what was built.
pub(crate) fn binary(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    let binary = artifacts.iter().find(|made| made.kind == "bin" && made.target == name);
    binary.map(|made| made.path.clone()).with_context(|| format!("cargo built no binary {name}"))
}

/// A program of tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestProgram {
    /// Name of its target.
    pub(crate) target: String,
    /// `test`: it stands beside the crate; else the crate is tested from inside.
    pub(crate) kind: String,
    /// Directory of its package, where cargo runs it.
    pub(crate) package: PathBuf,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

impl TestProgram {
    /// The command that runs it as cargo does.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.package).stdin(Stdio::null());
        of_no_package(&mut command);
        command
    }
}

/// The test program that one line of cargo's JSON messages speaks of.
fn test_program(line: &str) -> Option<TestProgram> {
    let message = serde_json::from_str::<Value>(line).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(TestProgram {
        target: text(&message["target"]["name"])?,
        kind: text(&message["target"]["kind"][0])?,
        package: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        path: text(&message["executable"])?.into(),
    })
}

/// A file that cargo made.
#[derive(Debug, PartialEq)]
pub(crate) struct Artifact {
    /// Name of its target.
    pub(crate) target: String,
    /// `cdylib`, `bin`, `test`...
    pub(crate) kind: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// The files that one line of cargo's JSON messages speaks of.
fn artifacts(line: &str) -> Vec<Artifact> {
    let Ok(message) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    if message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let files = list(&message["filenames"]);
    list(&message["target"]["kind"])
        .iter()
        .flat_map(|kind| files.iter().map(move |file| (kind, file)))
        .map(|(kind, file)| Artifact {
            target: text(&message["target"]["name"]),
            kind: text(kind),
            path: text(file).into(),
        })
        .collect()
}

/// A command as a person would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_of_a_cargo_message() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"probe","kind":["cdylib"]},
            "filenames":["/t/probe.wasm"]}"#
            .replace('\n', "");
        let path = PathBuf::from("/t/probe.wasm");
        let made = Artifact { target: "probe".into(), kind: "cdylib".into(), path };
        assert_eq!(artifacts(&line), [made]);
    }

    #[test]
    fn test_programs_of_a_cargo_message() {
        let line = |is_test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": "/r/host/Cargo.toml",
                "target": { "name": "rowgate", "kind": ["lib"] },
                "profile": { "test": is_test },
                "executable": "/t/rowgate-1",
            })
            .to_string()
        };
        let program = TestProgram {
            target: "rowgate".into(),
            kind: "lib".into(),
            package: "/r/host".into(),
            path: "/t/rowgate-1".into(),
        };
        assert_eq!(test_program(&line(true)), Some(program));
        assert_eq!(test_program(&line(false)), None);
        assert_eq!(test_program("text"), None);
    }

    #[test]
    fn other_lines_are_no_artifacts() {
        for line in ["", "warning: text", r#"{"reason":"build-finished","success":true}"#] {
            assert_eq!(artifacts(line), [], "{line}");
        }
    }

    #[test]
    fn what_cargo_says_of_our_package_goes_no_further() {
        assert!(is_of_a_package("CARGO_MANIFEST_DIR") && is_of_a_package("CARGO_PKG_NAME"));
        assert!(!is_of_a_package("CARGO_HOME") && !is_of_a_package("PATH"));
    }

    #[test]
    fn a_failing_command_is_named() {
        let error = run(Command::new("false").arg("x")).unwrap_err().to_string();
        assert!(error.starts_with("`false x` ended with"), "{error}");
        let error = format!("{:#}", run(&mut Command::new("/no/such")).unwrap_err());
        assert!(error.starts_with("can't start `/no/such`"), "{error}");
    }
}
