//! A guest that attacks its host. The external owner id says how, or `mode` in the configuration,
//! for all owners: `[receive:][ignore:]ATTACK[/anything]`.
//!
//! An attack starts in `sync`, with `receive:` already in the webhook. What it got to see becomes
//! the note of the item `seen`, and a log line. Where the host refuses, the call fails with `bug` and
//! the host's words; with `ignore:` it goes on as if nothing were. Any other id is a good neighbour,
//! who writes one item. The attacks stand in [`answers`], [`data`], [`reach`] and [`resources`].

#![allow(unsafe_code, missing_docs, reason = "the bindings are generated")]

mod answers;
mod batches;
mod data;
mod reach;
mod resources;

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "plugin", generate_all });
}

use bindings::exports::rowgate::plugin::integration::{
    Channel, Guest, Progress, Step, Subscription, Webhook,
};
use bindings::rowgate::plugin::types::{Context, Failure, StreamId, Topic};
use bindings::rowgate::plugin::{log, owners};

const ACCOUNTS: &str = "hostile_account_v1";
const ITEMS: &str = "hostile_item_v1";

/// What an attack got to see, or the host's words when it refused.
type Outcome = Result<String, String>;

/// A way to attack, by name.
type Attack = (&'static str, fn(&Context) -> Outcome);

struct Hostile;

impl Guest for Hostile {
    fn receive(context: Context, webhook: Webhook) -> Result<(), Failure> {
        let mode = Mode::of(&context);
        if mode.in_receive {
            attack(&context, &mode)?;
        }
        if mode.attack == "webhook-reader" {
            // All that a plugin gets of a post.
            let seen = format!("{:?} {}", webhook.headers, String::from_utf8_lossy(&webhook.body));
            batches::write_item("post", &seen).map_err(Failure::Bug)?;
        }
        let post: serde_json::Value = serde_json::from_slice(&webhook.body)
            .map_err(|error| Failure::Bug(format!("webhook body: {error}")))?;
        match post["type"].as_str() {
            Some("UNLINK" | "UNLINKED") => owners::unlink(),
            Some("RESYNC") => owners::resync(),
            _ => {
                batches::write_account().map_err(Failure::Bug)?;
                owners::link();
            }
        }
        Ok(())
    }

    fn sync(
        context: Context,
        _: StreamId,
        cursor: Option<Vec<u8>>,
        _: u32,
    ) -> Result<Step, Failure> {
        let mode = Mode::of(&context);
        if !mode.in_receive {
            if let Some(answer) = answers::answer(&mode.attack, cursor) {
                return answer;
            }
            attack(&context, &mode)?;
        }
        Ok(Step { cursor: Some(b"done".to_vec()), progress: Progress::Done(None) })
    }

    fn subscribe(_: Context, _: Topic, _: Channel) -> Result<Option<Subscription>, Failure> {
        Ok(None)
    }

    fn unsubscribe(_: Context, _: Option<Topic>, _: Subscription) -> Result<(), Failure> {
        Ok(())
    }
}

bindings::export!(Hostile with_types_in bindings);

/// Attack, and write down what was seen.
fn attack(context: &Context, mode: &Mode) -> Result<(), Failure> {
    let attacks = [data::ATTACKS, reach::ATTACKS, resources::ATTACKS].concat();
    let attack = attacks.iter().find(|(name, _)| *name == mode.attack);
    let seen = match attack {
        None => "a good neighbour".to_owned(),
        Some((_, run)) => match run(context) {
            Ok(seen) => seen,
            Err(refused) if mode.ignore => format!("ignored: {refused}"),
            Err(refused) => return Err(Failure::Bug(refused)),
        },
    };
    log::write(log::Level::Info, &seen, &[("attack".to_owned(), mode.attack.clone())]);
    batches::write_item("seen", &seen).map_err(Failure::Bug)
}

/// How to attack.
#[derive(Debug, PartialEq)]
struct Mode {
    in_receive: bool,
    ignore: bool,
    attack: String,
}

impl Mode {
    fn of(context: &Context) -> Self {
        let owner = context.owner.as_deref().unwrap_or_default();
        match config(context, "mode") {
            "" => Mode::parse(owner),
            mode => Mode::parse(mode),
        }
    }

    fn parse(text: &str) -> Self {
        let (in_receive, text) = strip(text, "receive:");
        let (ignore, text) = strip(text, "ignore:");
        let attack = text.split_once('/').map_or(text, |(attack, _)| attack).to_owned();
        Mode { in_receive, ignore, attack }
    }
}

fn strip<'a>(text: &'a str, prefix: &str) -> (bool, &'a str) {
    text.strip_prefix(prefix).map_or((false, text), |rest| (true, rest))
}

/// A configuration value; empty where there is none.
fn config<'a>(context: &'a Context, name: &str) -> &'a str {
    let value = context.config.iter().find(|(key, _)| key == name);
    value.map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let mode =
            |in_receive, ignore, attack: &str| Mode { in_receive, ignore, attack: attack.into() };
        assert_eq!(Mode::parse("loop"), mode(false, false, "loop"));
        assert_eq!(Mode::parse("receive:loop/7"), mode(true, false, "loop"));
        assert_eq!(Mode::parse("receive:ignore:x"), mode(true, true, "x"));
        assert_eq!(Mode::parse("ignore:x/a/b"), mode(false, true, "x"));
    }

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let attacks = [data::ATTACKS, reach::ATTACKS, resources::ATTACKS].concat();
        let mut names: Vec<_> = attacks.iter().map(|(name, _)| *name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(names.iter().all(|name| answers::answer(name, None).is_none()));
    }
}
