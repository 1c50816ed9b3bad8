//! Runs components: a fresh store for each call, everything it may use counted, everything it did
//! handed back only if it returned ok. The only module that knows wasmtime.

mod bindings;
mod budget;
mod convert;
mod engine;
mod environment;
mod imports;
mod inspect;
mod meter;
mod precompiled;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod trap;

use std::sync::Arc;

use rowgate_manifest::Manifest;
use tokio::sync::Semaphore;
use wasmtime::{Store, UpdateDeadline};

pub use budget::{Budget, Meters};
pub use engine::{Engine, EngineOptions};
pub use environment::{DbError, Environment, LogLevel};
pub use inspect::{Inspection, Refused, WASM_MAX_BYTES, inspect};
pub use trap::TrapCause;

use crate::clock::monotonic;
use crate::model::{Call, CallContext, Effects, Failure, Step, Subscription};
use bindings::{PluginPre, rowgate::plugin::types};
use meter::CpuMeter;
use state::State;

/// A compiled and linked component. Dropping it doesn't disturb calls in flight.
pub struct Component {
    /// SHA-256 of the component, lower-case hex.
    pub digest: String,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    pre: PluginPre<State>,
    slots: Arc<Semaphore>,
    memories: u32,
}

/// How one call ended, and what it used.
#[derive(Debug)]
pub struct Called {
    /// What it returned.
    pub result: Result<Returned, CallError>,
    /// What it wants committed; empty unless it returned ok.
    pub effects: Effects,
    /// What it used, however it ended.
    pub meters: Meters,
}

/// What a call returned that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Returned {
    /// A `receive`.
    Received,
    /// A `sync`.
    Stepped(Step),
    /// A `subscribe`; none: the vendor offers no push for the topic.
    Subscribed(Option<Subscription>),
    /// An `unsubscribe`.
    Unsubscribed,
}

/// Why nothing of a call may be committed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CallError {
    /// The guest said so, or an import ended the call on its behalf.
    #[error(transparent)]
    Failed(Failure),
    /// It was stopped.
    #[error("{cause}: {text}")]
    Trapped { cause: TrapCause, text: String },
    /// It returned ok, but did or returned what can't be committed.
    #[error("refused: {0}")]
    Refused(String),
    /// The host couldn't run it; not the component's fault.
    #[error("the host can't run the component now: {0}")]
    Unavailable(String),
}

impl Component {
    /// Calls the component in a fresh store. `budget` is the most that the operator allows; the
    /// manifest's own limits hold where they are lower. Dropping the future ends the call.
    pub async fn call(
        &self,
        context: &CallContext,
        call: &Call,
        environment: Arc<dyn Environment>,
        budget: &Budget,
    ) -> Called {
        // Waiting for a slot isn't the call's time.
        let Ok(_slot) = self.slots.acquire_many(self.memories).await else {
            return Called::unavailable("it is shutting down");
        };
        let started = monotonic();
        let budget = budget.granted(&self.manifest.plugin.limits);
        let wall = budget.wall;
        let cpu = Arc::new(CpuMeter::default());
        let mut store = self.store(call, environment, budget, &cpu);
        let entered = cpu.inside(self.enter(&mut store, context, call));
        let returned = tokio::time::timeout(wall, entered).await;
        let mut state = store.into_data();
        state.meters.cpu_us = micros(cpu.used());
        state.meters.wall_us = micros(started.elapsed());
        state.meters.memory_peak_bytes = state.memory.peak;
        Called::settle(returned.ok(), state)
    }

    fn store(
        &self,
        call: &Call,
        environment: Arc<dyn Environment>,
        budget: Budget,
        cpu: &Arc<CpuMeter>,
    ) -> Store<State> {
        let own_stream = match call {
            Call::Sync { stream, .. } => Some(stream.clone()),
            Call::Receive(_) | Call::Subscribe { .. } | Call::Unsubscribe { .. } => None,
        };
        let (cpu_limit, cpu) = (budget.cpu, Arc::clone(cpu));
        let host_call_bytes = usize::try_from(budget.host_call_bytes).unwrap_or(usize::MAX);
        let manifest = Arc::clone(&self.manifest);
        let state = State::new(environment, manifest, own_stream, budget, Arc::clone(&cpu));
        let mut store = Store::new(self.pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(host_call_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if cpu.used() >= cpu_limit {
                return Ok(UpdateDeadline::Interrupt);
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }

    async fn enter(
        &self,
        store: &mut Store<State>,
        context: &CallContext,
        call: &Call,
    ) -> wasmtime::Result<Result<Returned, types::Failure>> {
        let plugin = self.pre.instantiate_async(&mut *store).await?;
        let integration = plugin.rowgate_plugin_integration();
        let context = convert::to_context(context);
        match call {
            Call::Receive(webhook) => {
                let webhook = convert::to_webhook(webhook);
                let received = integration.call_receive(store, &context, &webhook).await?;
                Ok(received.map(|()| Returned::Received))
            }
            Call::Sync { stream, cursor, page_limit } => {
                let stream = convert::to_stream(stream);
                let stepped = integration
                    .call_sync(store, &context, &stream, cursor.as_deref(), *page_limit)
                    .await?;
                Ok(stepped.map(|step| Returned::Stepped(convert::from_step(step))))
            }
            Call::Subscribe { topic, channel } => {
                let (topic, channel) = (convert::to_topic(topic), convert::to_channel(channel));
                let answer = integration.call_subscribe(store, &context, &topic, &channel).await?;
                Ok(answer.map(|made| Returned::Subscribed(made.map(convert::from_subscription))))
            }
            Call::Unsubscribe { topic, subscription } => {
                let topic = topic.as_ref().map(convert::to_topic);
                let subscription = convert::to_subscription(subscription);
                let ended = integration
                    .call_unsubscribe(store, &context, topic.as_ref(), &subscription)
                    .await?;
                Ok(ended.map(|()| Returned::Unsubscribed))
            }
        }
    }
}

impl Called {
    fn unavailable(text: &str) -> Self {
        let result = Err(CallError::Unavailable(text.into()));
        Self { result, effects: Effects::default(), meters: Meters::default() }
    }

    /// None: the wall time ran out.
    fn settle(
        returned: Option<wasmtime::Result<Result<Returned, types::Failure>>>,
        state: State,
    ) -> Self {
        let meters = state.meters;
        let result = match returned {
            None => Err(trap::out_of_time(&state)),
            Some(Err(error)) => Err(trap::classify(&error, &state)),
            Some(Ok(Err(failure))) => Err(CallError::Failed(convert::from_failure(failure))),
            Some(Ok(Ok(returned))) => accept(returned, &state),
        };
        let effects = if result.is_ok() { state.effects } else { Effects::default() };
        Self { result, effects, meters }
    }
}

/// Can what the call did be committed?
fn accept(returned: Returned, state: &State) -> Result<Returned, CallError> {
    if let Some(refused) = &state.refused {
        return Err(CallError::Refused(format!("it went on after a refused write: {refused}")));
    }
    if matches!(returned, Returned::Subscribed(_) | Returned::Unsubscribed) {
        let Effects { writes, streams, owner, .. } = &state.effects;
        if !(writes.is_empty() && streams.is_empty() && owner.is_empty()) {
            let text = "subscribe and unsubscribe only speak to the vendor: rows, streams and owners \
                        are for receive and sync";
            return Err(CallError::Refused(text.into()));
        }
    }
    if let Returned::Stepped(Step { cursor: Some(cursor), .. }) = &returned {
        let limit = state.budget.cursor_bytes;
        if cursor.len() as u64 > limit {
            let text = format!("a cursor of {} bytes, {limit} are allowed", cursor.len());
            return Err(CallError::Refused(text));
        }
    }
    Ok(returned)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
