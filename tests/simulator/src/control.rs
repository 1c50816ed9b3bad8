//! The control API, `/control/...`: everything that a test or a demo does to the service, in JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::{Fault, Then};
use crate::http::{Call, Reply};
use crate::model::push::{Push, State};
use crate::operation::Operation;
use crate::preset;
use crate::push::{Delivery, Outcome};
use crate::shared::{Shared, locked};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AwaitHeld {
    count: Option<usize>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AwaitPushes {
    count: Option<usize>,
    channel: Option<String>,
    state: Option<State>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleasePushes {
    number: Option<u64>,
    channel: Option<String>,
    #[serde(default)]
    reversed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLimits {
    enabled: bool,
}

/// Serves one control call; what goes wrong is a 400 with `{"error": "..."}`.
pub(crate) async fn serve(shared: &Shared, call: &Call) -> Reply {
    let name = call.path.trim_start_matches("/control").trim_matches('/');
    let result = match (&call.method, name) {
        (&Method::GET, _) => read(shared, name),
        (&Method::POST, "await_held") => await_held(shared, call).await,
        (&Method::POST, "await_pushes") => await_pushes(shared, call).await,
        (&Method::POST, _) => write(shared, call, name),
        _ => Err("Control calls are GET or POST.".to_owned()),
    };
    match result {
        Ok(body) => Reply::json(200, body.to_string()),
        Err(why) => Reply::json(400, json!({ "error": why }).to_string()),
    }
}

fn read(shared: &Shared, name: &str) -> Result<Value, String> {
    let to_json = |value: serde_json::Result<Value>| value.map_err(|error| error.to_string());
    match name {
        "" => Ok(json!({
            "read": [
                "expected", "requests", "faults", "holds", "channels", "pushes", "push_rules",
                "now", "presets",
            ],
            "post": "an operation's name, batch, add_fault, clear_faults, await_held, \
                release_held, await_pushes, release_pushes, clear_pushes, clear_requests, \
                set_limits",
        })),
        "expected" => to_json(serde_json::to_value(shared.model().expected())),
        "requests" => to_json(serde_json::to_value(&*locked(&shared.seen))),
        "faults" => to_json(serde_json::to_value(locked(&shared.faults).list())),
        "holds" => to_json(serde_json::to_value(shared.holds.list())),
        "channels" => {
            let model = shared.model();
            Ok(model.channels().values().map(|channel| channel.to_json(model.now_us)).collect())
        }
        "pushes" => to_json(serde_json::to_value(shared.pushes.list())),
        "push_rules" => to_json(serde_json::to_value(&shared.model().push_rules)),
        "now" => Ok(json!({ "now": crate::model::time::millis_text(shared.model().now_us) })),
        "presets" => Ok(preset::names().collect()),
        _ => Err(format!("There is no control value {name:?}; GET /control lists them.")),
    }
}

fn write(shared: &Shared, call: &Call, name: &str) -> Result<Value, String> {
    match name {
        "batch" => {
            let operations: Vec<Operation> = body(call)?;
            let mut model = shared.model();
            let apply =
                |operation: Operation| operation.apply(&mut model).map_err(|error| error.message);
            operations.into_iter().map(apply).collect()
        }
        "add_fault" => {
            let fault: Fault = body(call)?;
            check(&fault)?;
            Ok(json!({ "id": locked(&shared.faults).add(fault) }))
        }
        "clear_faults" => {
            shared.clear_faults(body::<Which>(call)?.id);
            Ok(json!({}))
        }
        "release_held" => {
            let which: Which = body(call)?;
            let fits = |id| which.id.is_none_or(|wanted| wanted == id);
            Ok(json!({ "released": shared.holds.release(|held| fits(held.id)) }))
        }
        "release_pushes" => {
            let which: ReleasePushes = body(call)?;
            let fits = |push: &Push| {
                which.number.is_none_or(|number| push.number == number)
                    && which.channel.as_ref().is_none_or(|channel| push.channel == *channel)
            };
            Ok(json!({ "released": shared.pushes.release(fits, which.reversed) }))
        }
        "clear_pushes" => {
            shared.pushes.clear();
            Ok(json!({}))
        }
        "clear_requests" => {
            locked(&shared.seen).clear();
            Ok(json!({}))
        }
        "set_limits" => {
            locked(&shared.limits).is_on = body::<SetLimits>(call)?.enabled;
            Ok(json!({}))
        }
        _ => {
            let mut operation: Value = body(call)?;
            let fields = operation.as_object_mut().ok_or("The body must be a JSON object.")?;
            fields.insert("op".to_owned(), name.into());
            let operation: Operation =
                serde_json::from_value(operation).map_err(|error| format!("{name}: {error}"))?;
            operation.apply(&mut shared.model()).map_err(|error| error.message)
        }
    }
}

/// Answers as soon as enough requests are held, or with fewer when the time is over.
async fn await_held(shared: &Shared, call: &Call) -> Result<Value, String> {
    let wanted: AwaitHeld = body(call)?;
    let timeout = Duration::from_millis(wanted.timeout_ms.unwrap_or(30_000));
    let held = shared.holds.at_least(wanted.count.unwrap_or(1));
    let held = tokio::time::timeout(timeout, held).await;
    Ok(json!({ "held": held.unwrap_or_else(|_| shared.holds.list()) }))
}

/// Answers as soon as enough pushes are settled, or without a count as soon as none is under way;
/// as things are when the time is over.
async fn await_pushes(shared: &Shared, call: &Call) -> Result<Value, String> {
    let wanted: AwaitPushes = body(call)?;
    let timeout = Duration::from_millis(wanted.timeout_ms.unwrap_or(30_000));
    let fits = |push: &&Delivery| {
        wanted.channel.as_ref().is_none_or(|channel| push.channel == *channel)
            && wanted.state.is_none_or(|state| push.state == state)
    };
    let enough = |pushes: &BTreeMap<u64, Delivery>| {
        let mut fitting = pushes.values().filter(fits);
        match wanted.count {
            Some(count) => fitting.filter(|push| push.outcome.is_settled()).count() >= count,
            None => fitting.all(|push| push.outcome != Outcome::UnderWay),
        }
    };
    // Whoever waited for more sees what there is.
    let _ = tokio::time::timeout(timeout, shared.pushes.until(enough)).await;
    let all = shared.pushes.list();
    Ok(json!({ "pushes": all.iter().filter(fits).collect::<Vec<_>>() }))
}

/// An unknown error name would be a fault that never happens.
fn check(fault: &Fault) -> Result<(), String> {
    match &fault.then {
        Then::Error(name) if preset::reply(name).is_none() => {
            Err(format!("There is no error named {name:?}; GET /control/presets lists them."))
        }
        _ => Ok(()),
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, String> {
    let bytes: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(bytes).map_err(|error| format!("The body doesn't fit: {error}"))
}
