//! Google's own Python client against the simulator: a virtual environment, a server, a script.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

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
    let address = free_address()?;
    let mut server = checkout.command(simulator);
    let server = server.arg("--listen").arg(address.to_string());
    let mut server = Server(server.spawn().context("can't start the simulator")?);
    server.wait_until_it_listens(address)?;
    let mut script = checkout.command(python);
    script.arg(checkout.path(SOURCES).join("check.py"));
    checkout::run(script.arg(format!("http://{address}")))
}

/// A process that ends with its owner.
struct Server(Child);

impl Server {
    fn wait_until_it_listens(&mut self, address: SocketAddr) -> Result<()> {
        for _ in 0..300 {
            if let Some(status) = self.0.try_wait()? {
                bail!("the simulator ended with {status}");
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the simulator doesn't listen on {address} after 30 s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
    Ok(listener.local_addr()?)
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
