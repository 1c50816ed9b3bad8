//! `cargo xtask test`: the suites that CI runs, one after another, with the minutes of each.

mod programs;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::checkout::{self, Checkout, TestProgram};
use crate::{components, conformance, demo, postgres, wasm_route};
use programs::{Part, Passed, Tests, counted};

/// What to run, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these suites, in the order of this list. None: all.
    suites: Vec<Suite>,
    /// Run the other suites too when one fails.
    #[arg(long)]
    keep_going: bool,
    /// Larger sizes: more seeds, more kills, longer runs (ROWGATE_SOAK=1 for the tests).
    #[arg(long)]
    soak: bool,
}

/// In the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Suite {
    /// Install what is missing on this machine.
    Setup,
    /// Build plugins and guests.
    Plugins,
    /// Rules about the sources.
    Tidy,
    /// Tests inside the crates.
    Unit,
    /// The rules of the protocols as a model: seeded walks of two hosts over the real store.
    Protocol,
    /// The real host with real components over real sockets.
    #[value(alias = "e2e")]
    EndToEnd,
    /// Several hosts on one PostgreSQL server; the model and end-to-end tests on it.
    Postgres,
    /// The demo, checked step by step, on each database.
    Demo,
    /// Google's own Python client against the simulator, schemathesis against the host.
    Conformance,
}

/// The package with the tests of the whole; most need a host and components.
const TESTS: &str = "tests";
const TIDY: &str = "tidy";
const PROTOCOL: &str = "protocol";
const HOSTS: &str = "hosts";

/// The change feed under kills of hosts and receivers.
const FEED: Part = Part::Test("feed::each_copy_becomes_its_table");
/// All else of keeping says itself where it runs.
const KEYS: Part = Part::Test("keys::keys_of_the_configuration_are_changed_in_steps");
/// The model, every rule switched on.
const WALKS: Part = Part::Test("walks_end_right");

/// What runs on PostgreSQL after it ran on files.
const ON_POSTGRES: [(&str, Part); 8] = [
    (HOSTS, Part::Whole),
    ("api", Part::Whole),
    ("contract", Part::Whole),
    ("convergence", Part::Whole),
    ("delivery", FEED),
    ("keeping", KEYS),
    (PROTOCOL, WALKS),
    ("webhookdb", Part::Whole),
];
/// And what takes so long there, with a database a test and a connection a command, that the whole of it
/// runs with `--soak`.
const ON_POSTGRES_SOAKING: [&str; 7] =
    [PROTOCOL, "crash", "delivery", "google_calendar", "hostile", "push", "swap"];

/// Run the suites, then print a table of them. An error names the suites that failed.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let mut results = Vec::new();
    for suite in selected(&options.suites) {
        eprintln!("\n== {} ==", suite.name());
        let stopwatch = Stopwatch::start();
        let outcome = suite.run(checkout, options.soak);
        if let Err(error) = &outcome {
            eprintln!("error: suite {}: {error:#}", suite.name());
        }
        let result = SuiteResult { suite, took: stopwatch.elapsed(), tests: outcome.ok() };
        let failed = result.tests.is_none();
        results.push(result);
        if failed && !options.keep_going {
            break;
        }
    }
    println!("\n{}", table(&results));
    let failed: Vec<_> =
        results.iter().filter(|result| result.tests.is_none()).map(|r| r.suite.name()).collect();
    if !failed.is_empty() {
        bail!("failed: {}; again: cargo xtask test {}", failed.join(", "), failed.join(" "));
    }
    Ok(())
}

/// The suites that were asked for, and those that they need.
fn selected(asked: &[Suite]) -> Vec<Suite> {
    let all = Suite::value_variants().iter().copied();
    let needing = [Suite::EndToEnd, Suite::Postgres, Suite::Conformance];
    let needs_components = needing.iter().any(|suite| asked.contains(suite));
    all.filter(|suite| {
        asked.is_empty() || asked.contains(suite) || (*suite == Suite::Plugins && needs_components)
    })
    .collect()
}

impl Suite {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns how many tests passed.
    fn run(self, checkout: &Checkout, soak: bool) -> Result<Passed> {
        match self {
            Suite::Setup => {
                wasm_route::prepare(checkout)?;
                postgres::prepare(checkout)?;
                conformance::prepare(checkout)?;
                Ok(Passed(0))
            }
            Suite::Plugins => {
                components::build_plugins(checkout)?;
                components::build_guests(checkout)?;
                Ok(Passed(0))
            }
            Suite::Tidy => {
                Tests::build(checkout, soak)?.run(|test| of_the_whole(test) == Some(TIDY))
            }
            Suite::Unit => {
                let inside =
                    Tests::build(checkout, soak)?.run(|test| of_the_whole(test).is_none())?;
                let mut cargo = checkout.cargo();
                let examples = counted(cargo.args(["test", "--workspace", "--doc"]))?;
                Ok(Passed(inside.0 + examples.0))
            }
            Suite::Protocol => {
                Tests::build(checkout, soak)?.run(|test| of_the_whole(test) == Some(PROTOCOL))
            }
            Suite::EndToEnd => {
                let elsewhere = [TIDY, PROTOCOL, HOSTS];
                let wanted = |name: &str| !elsewhere.contains(&name);
                let tests = Tests::build(checkout, soak)?.with_host(checkout)?;
                tests.run(|test| of_the_whole(test).is_some_and(wanted))
            }
            Suite::Postgres => {
                let mut tests = Tests::build(checkout, soak)?.with_host(checkout)?;
                tests.environment.push(("ROWGATE_TEST_DATABASE", "postgres".into()));
                tests.run_parts(|test| on_postgres(of_the_whole(test)?, soak))
            }
            Suite::Demo => {
                demo::run(checkout, &demo::Options::CI)?;
                demo::run(checkout, &demo::Options::CI_ON_POSTGRES)?;
                Ok(Passed(2))
            }
            Suite::Conformance => {
                let simulator = built_binary(checkout, "simulator")?;
                conformance::google_client(checkout, &simulator)?;
                let host = built_binary(checkout, "rowgate")?;
                conformance::schemathesis(checkout, &host, &checkout.target(components::PLUGINS))?;
                Ok(Passed(2))
            }
        }
    }
}

/// How much of a test of the whole runs on PostgreSQL: once, whatever lists it stands in.
fn on_postgres(name: &str, soak: bool) -> Option<Part> {
    if soak && ON_POSTGRES_SOAKING.contains(&name) {
        return Some(Part::Whole);
    }
    let part = ON_POSTGRES.iter().find(|(known, _)| *known == name);
    part.map(|(_, part)| *part)
}

/// The name of a test of the whole.
fn of_the_whole(test: &TestProgram) -> Option<&str> {
    (test.kind == "test" && test.package.ends_with(TESTS)).then_some(test.target.as_str())
}

/// Build the workspace's binaries, all for the reason of [`Checkout::test_programs`], and return where
/// one of them is.
pub(crate) fn built_binary(checkout: &Checkout, name: &str) -> Result<PathBuf> {
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--workspace", "--bins"]);
    checkout::binary(&checkout::build(&mut cargo)?, name)
}

/// Build the host as README says that it is built for use; its path.
pub(crate) fn released_host(checkout: &Checkout) -> Result<PathBuf> {
    let mut cargo = checkout.cargo();
    cargo.args(["build", "--release", "--package", "rowgate"]);
    checkout::binary(&checkout::build(&mut cargo)?, "rowgate")
}

struct SuiteResult {
    suite: Suite,
    took: Duration,
    /// None: failed.
    tests: Option<Passed>,
}

fn table(results: &[SuiteResult]) -> String {
    let row = |name: &str, took: Duration, said: String| {
        format!("{name:<12} {:>6.1} min  {said}\n", took.as_secs_f64() / 60.0)
    };
    let mut table = String::new();
    for result in results {
        let said = match result.tests {
            None => "FAILED".to_owned(),
            Some(Passed(0)) => "ok".to_owned(),
            Some(Passed(tests)) => format!("ok, {tests} tests"),
        };
        table += &row(&result.suite.name(), result.took, said);
    }
    let failed = results.iter().filter(|result| result.tests.is_none()).count();
    let passed: u64 = results.iter().filter_map(|result| result.tests).map(|tests| tests.0).sum();
    table += &row("all", results.iter().map(|result| result.took).sum(), String::new());
    // Tests that passed, suites that failed: the closing line that scripts look for.
    table + &format!("\n{passed} passed, {failed} failed")
}

/// Real time since its start.
pub(crate) struct Stopwatch(Instant);

#[allow(clippy::disallowed_methods, reason = "a task runner measures real time")]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_run_in_their_own_order_with_what_they_need() {
        use Suite::{Conformance, Demo, EndToEnd, Plugins, Postgres, Protocol, Setup, Tidy, Unit};
        let all = vec![Setup, Plugins, Tidy, Unit, Protocol, EndToEnd, Postgres, Demo, Conformance];
        assert_eq!(selected(&[]), all);
        assert_eq!(selected(&[Unit, Tidy]), [Tidy, Unit]);
        assert_eq!(selected(&[EndToEnd]), [Plugins, EndToEnd]);
    }

    #[test]
    fn what_runs_on_postgres() {
        for (name, usually, soaking) in [
            (HOSTS, Some(Part::Whole), Some(Part::Whole)),
            ("api", Some(Part::Whole), Some(Part::Whole)),
            ("delivery", Some(FEED), Some(Part::Whole)),
            (PROTOCOL, Some(WALKS), Some(Part::Whole)),
            ("keeping", Some(KEYS), Some(KEYS)),
            ("crash", None, Some(Part::Whole)),
            (TIDY, None, None),
        ] {
            assert_eq!(on_postgres(name, false), usually, "{name}");
            assert_eq!(on_postgres(name, true), soaking, "{name}, soaking");
        }
    }

    #[test]
    fn tests_of_the_whole_stand_in_their_package() {
        let test = |package: &str, kind: &str| TestProgram {
            target: "tidy".into(),
            kind: kind.into(),
            package: package.into(),
            path: PathBuf::new(),
        };
        assert_eq!(of_the_whole(&test("/rowgate/tests", "test")), Some("tidy"));
        assert_eq!(of_the_whole(&test("/rowgate/tests", "lib")), None);
        assert_eq!(of_the_whole(&test("/rowgate/tests/simulator", "test")), None);
        assert_eq!(of_the_whole(&test("/rowgate/host", "test")), None);
    }

    #[test]
    fn the_table_ends_with_a_line_for_scripts() {
        let result = |suite, tests| SuiteResult { suite, took: Duration::from_secs(90), tests };
        let table = table(&[
            result(Suite::Setup, Some(Passed(0))),
            result(Suite::Unit, Some(Passed(7))),
            result(Suite::EndToEnd, None),
        ]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "setup           1.5 min  ok");
        assert_eq!(lines[1], "unit            1.5 min  ok, 7 tests");
        assert_eq!(lines[2], "end-to-end      1.5 min  FAILED");
        assert_eq!(lines[5], "7 passed, 1 failed");
    }
}
