//! PostgreSQL's server, which tests and benchmarks start and throw away.

use anyhow::{Result, bail};
use postgres_cluster::{DEBIAN_PACKAGE, is_installed};

use crate::checkout::Checkout;
use crate::wasm_route::{answers, apt_install, is_root};

/// Install the server, unless it is there.
pub(crate) fn prepare(checkout: &Checkout) -> Result<()> {
    let apt = || answers(checkout.command("apt-get").arg("--version"));
    match next(is_installed(), apt(), is_root(checkout)) {
        Step::Use => Ok(()),
        Step::AptInstall => {
            eprintln!(
                "postgres: installing Debian's {DEBIAN_PACKAGE}; tests start servers of their own, \
                 and leave the one alone that the package sets up"
            );
            apt_install(checkout, &[DEBIAN_PACKAGE])?;
            if !is_installed() {
                bail!(
                    "{DEBIAN_PACKAGE} is installed, but its `initdb` and `postgres` aren't found"
                );
            }
            Ok(())
        }
        Step::AskForApt => {
            bail!("no PostgreSQL; run this once: sudo apt-get install -y {DEBIAN_PACKAGE}")
        }
        Step::GiveUp => bail!("no PostgreSQL; install version 15 or newer, and put it into PATH"),
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    Use,
    AptInstall,
    AskForApt,
    GiveUp,
}

fn next(is_installed: bool, apt: bool, root: bool) -> Step {
    match (is_installed, apt, root) {
        (true, ..) => Step::Use,
        (false, true, true) => Step::AptInstall,
        (false, true, false) => Step::AskForApt,
        (false, false, _) => Step::GiveUp,
    }
}

#[test]
fn what_is_there_is_used_and_only_root_installs() {
    for (facts, step) in [
        ((true, true, true), Step::Use),
        ((true, false, false), Step::Use),
        ((false, true, true), Step::AptInstall),
        ((false, true, false), Step::AskForApt),
        ((false, false, true), Step::GiveUp),
    ] {
        let (is_installed, apt, root) = facts;
        assert_eq!(next(is_installed, apt, root), step, "{facts:?}");
    }
}
