//! What one guest call may use, and what it used.

use std::time::Duration;

use rowgate_manifest::Limits;
use wasmtime::ResourceLimiter;

const MIB: u64 = 1 << 20;

/// What one guest call may use. As an argument of `Component::call` these are the operator's
/// maxima; the manifest's own limits are below them or cut to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Wall time of the call, imports included.
    pub wall: Duration,
    /// CPU time inside the component.
    pub cpu: Duration,
    /// Sum over all linear memories, bytes.
    pub memory_bytes: u64,
    /// One HTTP answer after decoding, bytes.
    pub answer_bytes: u64,
    /// Rows in batches, plus one for each update, delete and lookup.
    pub rows: u64,
    /// Bytes that one call of an import may hand to the host.
    pub host_call_bytes: u64,
    /// Bytes that all writes of the call may hold.
    pub write_bytes: u64,
    /// Calls of imports.
    pub host_calls: u64,
    /// Requests.
    pub http_requests: u64,
    /// Log lines; what is over is dropped.
    pub log_lines: u64,
    /// Bytes of all log lines together; what is over is dropped.
    pub log_bytes: u64,
    /// Changes of streams and of the owner.
    pub changes: u64,
    /// The cursor that the call returns, bytes.
    pub cursor_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(300),
            cpu: Duration::from_secs(60),
            memory_bytes: 256 * MIB,
            answer_bytes: 64 * MIB,
            rows: 100_000,
            host_call_bytes: 32 * MIB,
            write_bytes: 128 * MIB,
            host_calls: 50_000,
            http_requests: 1_000,
            log_lines: 1_000,
            log_bytes: MIB,
            changes: 10_000,
            cursor_bytes: MIB,
        }
    }
}

impl Budget {
    /// What a plugin with these limits gets where `self` is the most.
    pub fn granted(&self, asked: &Limits) -> Self {
        Self {
            wall: self.wall.min(Duration::from_secs(asked.wall_s.into())),
            cpu: self.cpu.min(Duration::from_millis(asked.cpu_ms.into())),
            memory_bytes: self.memory_bytes.min(u64::from(asked.memory_mib) * MIB),
            answer_bytes: self.answer_bytes.min(u64::from(asked.answer_mib) * MIB),
            rows: self.rows.min(asked.rows.into()),
            ..self.clone()
        }
    }
}

/// What one guest call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Meters {
    /// CPU time of the component and the conversions at its edge, without what imports wait for or
    /// do outside.
    pub cpu_us: u64,
    /// From instantiation to return.
    pub wall_us: u64,
    pub memory_peak_bytes: u64,
    pub http_requests: u64,
    /// Bytes of answers after decoding.
    pub http_bytes: u64,
    pub rows: u64,
    pub host_calls: u64,
}

/// Sums the linear memories of a store, which wasmtime's own limits take one by one.
#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    used: u64,
    pub(super) peak: u64,
    /// A growth was refused; the trap that tends to follow is then "out of memory".
    pub(super) refused: bool,
}

/// Elements of one table; a component's tables hold its functions.
const TABLE_ELEMENTS: usize = 20_000;

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, peak: 0, refused: false }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_sub(current as u64).saturating_add(desired as u64);
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_asks_operator_caps() {
        let maxima = Budget { rows: 1_000, wall: Duration::from_secs(10), ..Budget::default() };
        let asked = Limits { rows: 5_000, wall_s: 5, cpu_ms: 7, memory_mib: 1, answer_mib: 1 };
        let granted = maxima.granted(&asked);
        assert_eq!(granted.rows, 1_000);
        assert_eq!(granted.wall, Duration::from_secs(5));
        assert_eq!(granted.cpu, Duration::from_millis(7));
        assert_eq!((granted.memory_bytes, granted.answer_bytes), (MIB, MIB));
    }

    #[test]
    fn memories_are_summed() {
        let mut memory = Memory::new(100);
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(!memory.memory_growing(0, 50, None).unwrap(), "a second memory over the sum");
        assert!(memory.refused);
        assert!(memory.memory_growing(60, 100, None).unwrap());
        assert_eq!(memory.peak, 100);
    }
}
