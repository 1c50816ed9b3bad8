//! Python programs of others against ours, each in a virtual environment of its own: Google's client
//! against the simulator, schemathesis against the host.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, Checkout};
use crate::wasm_route::{apt_install, is_root};

/// A directory with `check.py` and its `requirements.txt`.
struct Program {
    sources: &'static str,
    /// Inside the target directory.
    venv: &'static str,
}

const GOOGLE_CLIENT: Program =
    Program { sources: "tests/conformance/google_client", venv: "conformance-venv" };
const SCHEMATHESIS: Program =
    Program { sources: "tests/conformance/schemathesis", venv: "schemathesis-venv" };

/// Make the virtual environments.
pub(crate) fn prepare(checkout: &Checkout) -> Result<()> {
    python(checkout, &GOOGLE_CLIENT)?;
    python(checkout, &SCHEMATHESIS)?;
    Ok(())
}

/// Make a virtual environment, unless it is there with these requirements.
fn python(checkout: &Checkout, program: &Program) -> Result<PathBuf> {
    let requirements = checkout.path(program.sources).join("requirements.txt");
    let wanted = fs::read(&requirements)
        .with_context(|| format!("can't read {}", requirements.display()))?;
    let venv = checkout.target(program.venv);
    let python = venv.join("bin/python");
    // Written last, so an installation that broke off is made again.
    let installed = venv.join("requirements.installed");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) && python.is_file() {
        return Ok(python);
    }
    install_python(checkout)?;
    eprintln!("conformance: {} gets {}", program.sources, venv.display());
    let mut make = checkout.command("python3");
    checkout::run(make.args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = checkout.command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    checkout::run(pip.arg(&requirements))?;
    fs::write(&installed, wanted)
        .with_context(|| format!("can't write {}", installed.display()))?;
    Ok(python)
}

/// Start the simulator, run Google's client against it, stop the simulator.
pub(crate) fn google_client(checkout: &Checkout, simulator: &Path) -> Result<()> {
    let python = python(checkout, &GOOGLE_CLIENT)?;
    let mut command = checkout.command(simulator);
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Server(command.spawn().context("can't start the simulator")?);
    let url = server.url()?;
    let mut script = checkout.command(python);
    checkout::run(script.arg(checkout.path(GOOGLE_CLIENT.sources).join("check.py")).arg(url))
}

/// Send requests made from the host's OpenAPI document to a host that serves these plugins.
pub(crate) fn schemathesis(checkout: &Checkout, host: &Path, plugins: &Path) -> Result<()> {
    let mut script = checkout.command(python(checkout, &SCHEMATHESIS)?);
    let check = checkout.path(SCHEMATHESIS.sources).join("check.py");
    checkout::run(script.arg(check).arg(host).arg(plugins))
}

/// A process that ends with its owner.
struct Server(Child);

impl Server {
    /// The first line that the simulator prints, when it is ready.
    fn url(&mut self) -> Result<String> {
        let stdout = self.0.stdout.take().context("the simulator has no standard output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        if url.trim().is_empty() {
            bail!("the simulator ended with {} before it was ready", self.0.wait()?);
        }
        Ok(url.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian ships Python without what makes virtual environments.
fn install_python(checkout: &Checkout) -> Result<()> {
    let mut probe = checkout.command("python3");
    probe.args(["-c", "import venv, ensurepip"]).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    const PACKAGES: [&str; 2] = ["python3", "python3-venv"];
    if !is_root(checkout) {
        bail!(
            "Python can't make virtual environments here; run this once: sudo apt-get install \
               -y {}",
            PACKAGES.join(" ")
        );
    }
    eprintln!("conformance: installing Debian's {}", PACKAGES.join(" and "));
    apt_install(checkout, &PACKAGES)
}
