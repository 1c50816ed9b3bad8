//! The programs of the tests: how they are run, and how many of their tests passed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::built_binary;
use crate::checkout::{Checkout, TestProgram};
use crate::components;

/// The programs of all tests, and what they are told.
pub(super) struct Tests {
    programs: Vec<TestProgram>,
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Tests {
    pub(super) fn build(checkout: &Checkout, soak: bool) -> Result<Self> {
        let soaks = soak.then(|| ("ROWGATE_SOAK", "1".into()));
        Ok(Self { programs: checkout.test_programs()?, environment: soaks.into_iter().collect() })
    }

    /// For tests that start hosts.
    pub(super) fn with_host(mut self, checkout: &Checkout) -> Result<Self> {
        self.environment.extend([
            ("ROWGATE_TEST_HOST", built_binary(checkout, "rowgate")?.into()),
            ("ROWGATE_TEST_RECEIVER", built_binary(checkout, "receiver")?.into()),
            ("ROWGATE_TEST_PLUGINS", checkout.target(components::PLUGINS).into()),
            ("ROWGATE_TEST_GUESTS", checkout.target(components::GUESTS).into()),
        ]);
        Ok(self)
    }

    /// Run the wanted ones.
    pub(super) fn run(&self, wanted: impl Fn(&TestProgram) -> bool) -> Result<Passed> {
        self.run_parts(|test| wanted(test).then_some(Part::Whole))
    }

    /// Run the wanted parts, all of them whatever fails. To run no test at all is a failure, and so is one
    /// that isn't there.
    pub(super) fn run_parts(
        &self,
        wanted: impl Fn(&TestProgram) -> Option<Part>,
    ) -> Result<Passed> {
        let (mut passed, mut failed) = (0, Vec::new());
        for (test, part) in self.programs.iter().filter_map(|test| Some((test, wanted(test)?))) {
            eprintln!("-- {} --", test.target);
            let mut command = test.command();
            if let Part::Test(name) = part {
                command.args(["--exact", name]);
            }
            match (counted(command.envs(self.environment.iter().cloned())), part) {
                (Ok(Passed(0)), Part::Test(name)) => {
                    failed.push(format!("{}: there is no test {name}", test.target));
                }
                (Ok(Passed(tests)), _) => passed += tests,
                (Err(error), _) => failed.push(format!("{}: {error:#}", test.target)),
            }
        }
        match (passed, failed.is_empty()) {
            (_, false) => bail!("{}", failed.join("; ")),
            (0, true) => bail!("no test ran"),
            (tests, true) => Ok(Passed(tests)),
        }
    }
}

/// How much of a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// The one test of this name.
    Test(&'static str),
}

/// How many tests passed; 0 for a suite that only builds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Passed(pub(super) u64);

/// Run tests, show what they print, and count.
pub(super) fn counted(tests: &mut Command) -> Result<Passed> {
    let mut child = tests.stdout(Stdio::piped()).spawn().context("can't start the tests")?;
    let stdout = child.stdout.take().context("the tests have no standard output")?;
    let mut passed = 0;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        passed += passed_in(&String::from_utf8_lossy(&line));
        let mut out = std::io::stdout().lock();
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the tests ended with {status}");
    }
    Ok(Passed(passed))
}

/// The figure in `test result: ok. 3 passed; 0 failed; ...`, else 0.
fn passed_in(line: &str) -> u64 {
    let Some((_, counts)) = line.split_once("test result: ") else { return 0 };
    let passed = counts.split_once(" passed").and_then(|(before, _)| before.split(' ').next_back());
    passed.and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_passed_tests() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; finished in 0.1s";
        assert_eq!(passed_in(line), 12);
        assert_eq!(passed_in("test result: \x1b[32mok\x1b(B\x1b[m. 3 passed; 0 failed"), 3);
        assert_eq!(passed_in("test parses_passed_in ... ok"), 0);
        assert_eq!(passed_in("running 12 tests"), 0);
    }
}
