//! Another version of the plugin takes over while a sync runs, and goes back again.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::load::{BOB, BOB_EMAIL};
use super::{Demo, screen, verbs};

const PLUGIN: &str = "google_calendar";
/// How often a sync is looked for that has surely begun or ended by then.
const LOOKS: usize = 50;

pub(super) fn versions(demo: &Demo<'_>, events: u32) -> Result<()> {
    screen::heading("Swap the plugin while it runs");
    screen::say(
        "A second version: the same code with a higher version in its manifest, so another \
         digest. Installing checks it; it doesn't run yet.",
    );
    let old = active(demo)?;
    let file = second_version(demo, &old.version)?;
    demo.host.show(&["plugins", "install", &file])?;
    show_plugins(demo)?;
    let new = version(demo, "installed")?;

    screen::say(&format!(
        "All {events} events of {BOB} are read again, and meanwhile the new version is activated. \
         A call in flight ends on the version that it began with; the next call is the new one's."
    ));
    demo.post("RESYNC", BOB)?;
    let met = meet_sync(demo)?;
    demo.host.rowgate(&["plugins", "activate", &new.digest])?;
    screen::command(&format!("rowgate plugins activate {}", new.digest), "");
    show_plugins(demo)?;
    demo.host.settle()?;
    screen::say(match met {
        true => "(A sync of his was at work when the command was given.) Afterwards:",
        false => "(His sync was too quick to be met at work.) Afterwards:",
    });
    demo.show_owners()?;
    ensure!(active(demo)? == new, "{} should be active", new.digest);
    expect_healthy(demo)?;
    demo.expect_all(BOB, BOB_EMAIL)?;

    screen::say("The new version goes on where the old one stopped, from the same cursors:");
    continues(demo, "underthenew", "Under the new version")?;

    screen::say("And back with one command:");
    demo.host.rowgate(&["plugins", "rollback", PLUGIN])?;
    screen::command(&format!("rowgate plugins rollback {PLUGIN}"), "");
    show_plugins(demo)?;
    ensure!(active(demo)? == old, "{} should be active again", old.digest);
    continues(demo, "undertheold", "Under the old version again")
}

fn show_plugins(demo: &Demo<'_>) -> Result<()> {
    demo.host.show_columns(&["plugins", "list"], &["name", "version", "state", "digest"])
}

#[derive(Debug, PartialEq)]
struct Version {
    version: String,
    digest: String,
}

fn active(demo: &Demo<'_>) -> Result<Version> {
    version(demo, "active")
}

/// The version of the plugin that is in this state.
fn version(demo: &Demo<'_>, state: &str) -> Result<Version> {
    let listed = demo.host.json(&["plugins", "list"])?;
    let mut plugins = listed.as_array().into_iter().flatten();
    let wanted = |plugin: &&Value| plugin["name"] == PLUGIN && plugin["state"] == state;
    let found = plugins.find(wanted).with_context(|| format!("no {PLUGIN} is {state}"))?;
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Ok(Version { version: text("version"), digest: text("digest") })
}

/// Write the component with the next version in its manifest; returns the file's path.
fn second_version(demo: &Demo<'_>, version: &str) -> Result<String> {
    let component = demo.plugins.join(format!("{PLUGIN}.wasm"));
    let bytes =
        fs::read(&component).with_context(|| format!("can't read {}", component.display()))?;
    let mut manifest = rowgate_manifest::read(&bytes)?;
    manifest.plugin.version = next(version).with_context(|| format!("version {version}"))?;
    let bytes = rowgate_manifest::embed(&bytes, &manifest)?;
    let file = demo.directory.join(format!("{PLUGIN}-{}.wasm", manifest.plugin.version));
    fs::write(&file, bytes).with_context(|| format!("can't write {}", file.display()))?;
    Ok(demo.host.relative(&file))
}

/// `1.2.3` becomes `1.2.4`.
fn next(version: &str) -> Option<String> {
    let (before, last) = version.rsplit_once('.')?;
    Some(format!("{before}.{}", last.parse::<u32>().ok()? + 1))
}

/// A change at Google arrives.
fn continues(demo: &Demo<'_>, id: &str, summary: &str) -> Result<()> {
    let event = verbs::event(id, summary, ("10T10:00:00Z", "10T11:00:00Z"));
    demo.google.change("add_event", &json!({ "calendar": BOB_EMAIL, "event": event }))?;
    demo.post_token("REFRESHED", BOB, BOB_EMAIL)?;
    demo.host.settle()?;
    let table = &demo.events.table;
    demo.host.show_sql(&format!(
        "select google_id, status, data->>'summary' as summary\n  from {table}\n  \
         where external_owner_id = '{BOB}' and google_id = '{id}'"
    ))?;
    expect_healthy(demo)?;
    demo.expect_all(BOB, BOB_EMAIL)
}

/// Look until a run works on the second user. False: none was met.
fn meet_sync(demo: &Demo<'_>) -> Result<bool> {
    for _ in 0..LOOKS {
        let streams = demo.host.json(&["streams", "list", "--owner", BOB])?;
        if streams.as_array().into_iter().flatten().any(|stream| stream["state"] == "running") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// No owner has an error, none waits.
fn expect_healthy(demo: &Demo<'_>) -> Result<()> {
    let owners = demo.host.json(&["owners", "list"])?;
    for owner in owners.as_array().into_iter().flatten() {
        ensure!(
            owner["state"] == "current" && owner["last_error"].is_null(),
            "every owner should be current and without an error, but one is {owner}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_version() {
        assert_eq!(next("0.1.9").as_deref(), Some("0.1.10"));
        assert_eq!(next("1"), None);
        assert_eq!(next("1.x"), None);
    }
}
