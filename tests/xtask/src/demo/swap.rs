//! Another version of the plugin takes over while a sync runs, and goes back again.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::load::{BOB, BOB_EMAIL};
use super::{Demo, screen, verbs};

const PLUGIN: &str = "google_calendar";

pub(super) fn versions(demo: &Demo<'_>, events: u32) -> Result<()> {
    screen::heading("Swap the plugin while it runs");
    screen::say(
        "A second version: the same code with a higher version in its manifest, so another \
         digest. It is checked and compiled when it is installed, and doesn't run yet.",
    );
    let old = active(demo)?;
    let file = second_version(demo, &old.version)?;
    let digest = demo.host.json(&["plugins", "install", &file])?;
    let digest = digest["digest"].as_str().context("no digest was printed")?.to_owned();
    demo.host.show(&["plugins", "list"])?;

    screen::say(&format!(
        "All {events} events of {BOB} are read again, and meanwhile the new version is activated. \
         A call in flight ends on the version that it began with; the next call is the new one's."
    ));
    demo.post("RESYNC", BOB)?;
    demo.host.show(&["plugins", "activate", &digest])?;
    demo.host.settle()?;
    let new = active(demo)?;
    ensure!(new.digest == digest, "{digest} should be active, not {}", new.digest);
    demo.host.show(&["owners", "list"])?;
    expect_healthy(demo)?;
    demo.expect_all(BOB, BOB_EMAIL)?;

    screen::say("The new version goes on where the old one stopped, from the same cursors:");
    continues(demo, "underthenew", "Under the new version")?;

    screen::say("And back with one command:");
    demo.host.show(&["plugins", "rollback", PLUGIN])?;
    ensure!(active(demo)? == old, "{} should be active again", old.digest);
    continues(demo, "undertheold", "Under the old version again")
}

#[derive(Debug, PartialEq)]
struct Version {
    version: String,
    digest: String,
}

fn active(demo: &Demo<'_>) -> Result<Version> {
    let listed = demo.host.json(&["plugins", "list"])?;
    let mut plugins = listed.as_array().into_iter().flatten();
    let is_active = |plugin: &&Value| plugin["name"] == PLUGIN && plugin["state"] == "active";
    let active = plugins.find(is_active).context("no google_calendar is active")?;
    let text = |name: &str| active[name].as_str().unwrap_or_default().to_owned();
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
    Ok(file.to_string_lossy().into_owned())
}

/// `1.2.3` becomes `1.2.4`.
fn next(version: &str) -> Option<String> {
    let (before, last) = version.rsplit_once('.')?;
    Some(format!("{before}.{}", last.parse::<u32>().ok()? + 1))
}

/// A change at Google arrives.
fn continues(demo: &Demo<'_>, id: &str, summary: &str) -> Result<()> {
    let event = verbs::event(id, summary, ("10T10:00:00Z", "10T11:00:00Z"));
    demo.google.control("add_event", &json!({ "calendar": BOB_EMAIL, "event": event }))?;
    demo.post_token("REFRESHED", BOB, BOB_EMAIL)?;
    demo.host.settle()?;
    let table = &demo.events.table;
    demo.host.show_sql(&format!(
        "select google_id, status, data->>'summary' as summary from {table} \
         where external_owner_id = '{BOB}' and google_id = '{id}'"
    ))?;
    expect_healthy(demo)?;
    demo.expect_all(BOB, BOB_EMAIL)
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
