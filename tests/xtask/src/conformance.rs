//! Google's own Python client against the simulator: a virtual environment, a server, a script.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, Checkout};
use crate::wasm_route::{apt_install, is_root};

/// `check.py` with its `requirements.txt`.
const SOURCES: &str = "tests/conformance/google_client";

/// Make the virtual environment, unless it is there with these requirements.
pub(crate) fn prepare(checkout: &Checkout) -> Result<PathBuf> {
    let requirements = checkout.path(SOURCES).join("requirements.txt");
    let wanted = fs::read(&requirements)
        .with_context(|| format!("can't read {}", requirements.display()))?;
    let venv = checkout.target("conformance-venv");
    let python = venv.join("bin/python");
    // Written last, so an installation that broke off is made again.
    let installed = venv.join("requirements.installed");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) && python.is_file() {
        return Ok(python);
    }
    install_python(checkout)?;
    eprintln!("conformance: Google's Python client goes to {}", venv.display());
    let mut make = checkout.command("python3");
    checkout::run(make.args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = checkout.command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    checkout::run(pip.arg(&requirements))?;
    fs::write(&installed, wanted)
        .with_context(|| format!("can't write {}", installed.display()))?;
    Ok(python)
}

/// Start the simulator, run the script against it, stop the simulator.
pub(crate) fn run(checkout: &Checkout, simulator: &Path) -> Result<()> {
    let python = prepare(checkout)?;
    let mut command = checkout.command(simulator);
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Server(command.spawn().context("can't start the simulator")?);
    let url = server.url()?;
    let mut script = checkout.command(python);
    checkout::run(script.arg(checkout.path(SOURCES).join("check.py")).arg(url))
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
