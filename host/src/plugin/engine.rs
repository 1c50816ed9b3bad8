//! The one wasmtime engine of the process: its settings, its ticker, its slots.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::Component;
use super::bindings::{PluginPre, rowgate::plugin as interfaces};
use super::inspect::{Inspection, Refused, inspect};
use super::precompiled::Precompiled;
use super::state::State;

/// How often a running guest is looked at: it yields to others, and its CPU time is checked.
const TICK: Duration = Duration::from_millis(10);

/// Memories of one component. QuickJS brings 3.
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Core instances of one component. Rust brings 3, QuickJS 13, Python up to 38.
const CORE_INSTANCES_PER_COMPONENT: u32 = 48;
const TABLES_PER_COMPONENT: u32 = 16;
const TABLE_ELEMENTS: u64 = 20_000;
const WASM_PAGE_BYTES: u64 = 65_536;
const SLOT_MEMORY_BYTES: usize = 256 << 20;
/// So much of a memory is zeroed after a call and kept, which takes less than to give its pages back and fault them
/// in again. In all it is at most this times [`EngineOptions::memories`], 256 MiB, once as many calls ran at a time.
const SLOT_KEPT_BYTES: usize = 4 << 20;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Key of the HMAC over compiled components on disk. Whoever knows it and can write there runs
    /// code in the host.
    pub cache_key: [u8; 32],
    /// Linear memories that may be live at once; a Rust plugin's call takes one. More calls wait.
    pub memories: u32,
    /// The most that a manifest gets of linear memory, bytes; at most 256 MiB.
    pub memory_max_bytes: u64,
}

impl EngineOptions {
    /// 64 memories of at most 256 MiB.
    pub fn new(cache_key: [u8; 32]) -> Self {
        Self { cache_key, memories: 64, memory_max_bytes: SLOT_MEMORY_BYTES as u64 }
    }
}

/// Compiles and links components. One per process; clones share it.
#[derive(Clone)]
pub struct Engine {
    wasm: wasmtime::Engine,
    /// One permit a memory of the pool, so that instantiation waits instead of failing.
    slots: Arc<Semaphore>,
    options: Arc<EngineOptions>,
}

impl Engine {
    /// Starts the engine and its ticker thread, which ends with the last clone.
    ///
    /// # Errors
    /// If the pool's address space can't be reserved or the thread not be started.
    pub fn new(options: EngineOptions) -> anyhow::Result<Self> {
        let memories = options.memories.max(MEMORIES_PER_COMPONENT);
        let wasm = wasmtime::Engine::new(&config(memories))
            .map_err(|error| anyhow::anyhow!("the WebAssembly engine doesn't start: {error:#}"))?;
        let weak = wasm.weak();
        std::thread::Builder::new().name("epoch".into()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        let slots = Arc::new(Semaphore::new(memories as usize));
        Ok(Self { wasm, slots, options: Arc::new(options) })
    }

    /// Inspects, compiles (or loads what was compiled before) and links a component. `cache_dir` is
    /// where compiled components are kept; losing it costs compiling again.
    pub async fn load(&self, wasm: Vec<u8>, cache_dir: &Path) -> Result<Arc<Component>, Refused> {
        let engine = self.clone();
        let cache_dir = cache_dir.to_owned();
        contained(move || engine.load_blocking(&wasm, &cache_dir)).await
    }

    fn load_blocking(&self, wasm: &[u8], dir: &Path) -> Result<Arc<Component>, Refused> {
        let Inspection { digest, manifest, .. } = inspect(wasm)?;
        let cache = Precompiled { engine: &self.wasm, key: &self.options.cache_key, dir };
        let (component, code) = cache.component(&digest, wasm)?;
        let memory_bytes =
            (u64::from(manifest.plugin.limits.memory_mib) << 20).min(self.options.memory_max_bytes);
        let memories = check_resources(&component, memory_bytes)?;
        let refused = |error: wasmtime::Error| Refused::Contract(format!("{error:#}"));
        let linker = self.linker(!manifest.egress.is_empty()).map_err(refused)?;
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        let pre = PluginPre::new(pre).map_err(refused)?;
        if let Some(code) = code {
            cache.keep(&digest, &code);
        }
        let slots = Arc::clone(&self.slots);
        Ok(Arc::new(Component { digest, manifest: Arc::new(manifest), pre, slots, memories }))
    }

    /// The interfaces that a plugin gets. An import that isn't here fails to link.
    fn linker(&self, http: bool) -> wasmtime::Result<Linker<State>> {
        let mut linker = Linker::new(&self.wasm);
        interfaces::types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        interfaces::db::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        interfaces::streams::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        interfaces::owners::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        interfaces::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        if http {
            interfaces::http::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        }
        Ok(linker)
    }
}

/// The compiler has panicked on hostile input before: that refuses the component alone.
pub(super) async fn contained<T: Send + 'static>(
    compile: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let compiled = tokio::task::spawn_blocking(compile).await;
    compiled.unwrap_or_else(|_| {
        let text = "the compiler panicked, which is its fault and not yours: the host's standard \
                    error says where; build the component without what is special about it";
        Err(Refused::Compile(text.into()))
    })
}

fn config(memories: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(memories)
        .total_component_instances(memories)
        .total_core_instances(memories * CORE_INSTANCES_PER_COMPONENT)
        .total_tables(memories * TABLES_PER_COMPONENT)
        .total_stacks(memories)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memory_size(SLOT_MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS as usize)
        .max_core_instance_size(10 << 20)
        .linear_memory_keep_resident(SLOT_KEPT_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        // The same input gives the same bits, on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Advisories cluster in what no plugin needs. Multi-memory stays: without it the compiler
        // panics on composed components.
        .gc_support(false)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_tail_call(false);
    config
}

/// Refuses what could never be instantiated; returns the number of memories.
fn check_resources(
    component: &wasmtime::component::Component,
    memory_bytes: u64,
) -> Result<u32, Refused> {
    let refused = |text: String| Err(Refused::Resources(text));
    let Some(needs) = component.resources_required() else {
        return refused("it imports core modules".into());
    };
    if needs.num_memories > MEMORIES_PER_COMPONENT {
        return refused(format!(
            "{} linear memories, {MEMORIES_PER_COMPONENT} are allowed",
            needs.num_memories
        ));
    }
    let initial = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(WASM_PAGE_BYTES);
    if initial > memory_bytes {
        return refused(format!(
            "a memory that begins with {initial} bytes, {memory_bytes} are allowed: raise \
             `limits.memory_mib` in plugin.toml"
        ));
    }
    if needs.num_tables > TABLES_PER_COMPONENT {
        return refused(format!("{} tables, {TABLES_PER_COMPONENT} are allowed", needs.num_tables));
    }
    let elements = needs.max_initial_table_size.unwrap_or(0);
    if elements > TABLE_ELEMENTS {
        return refused(format!("a table of {elements} elements, {TABLE_ELEMENTS} are allowed"));
    }
    Ok(needs.num_memories.max(1))
}
