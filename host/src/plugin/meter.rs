//! CPU time of one guest call, exact however often it waits, yields or moves to another thread.
//!
//! A call is a future; what it computes, it computes while it is polled. The meter sums the
//! thread's CPU time over the polls and takes off the polls of what imports wait for, so a guest
//! pays neither for a slow vendor nor for a busy machine. Epoch ticks only say when to look.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of one call.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    finished_polls_ns: AtomicU64,
    outside_ns: AtomicU64,
    poll_started_ns: AtomicU64,
}

impl CpuMeter {
    /// Used so far. Right inside a poll of the call (on its thread) and when it is over.
    pub(super) fn used(&self) -> Duration {
        let started = self.poll_started_ns.load(Ordering::Relaxed);
        let running = if started == 0 { 0 } else { thread_cpu_ns().saturating_sub(started) };
        let polls = self.finished_polls_ns.load(Ordering::Relaxed).saturating_add(running);
        Duration::from_nanos(polls.saturating_sub(self.outside_ns.load(Ordering::Relaxed)))
    }

    /// The whole call.
    pub(super) fn inside<F: Future>(self: &Arc<Self>, future: F) -> Inside<F> {
        Inside { future: Box::pin(future), meter: Arc::clone(self) }
    }

    /// What an import waits for.
    pub(super) fn outside<F: Future + Unpin>(self: &Arc<Self>, future: F) -> Outside<F> {
        Outside { future, meter: Arc::clone(self) }
    }
}

pub(super) struct Inside<F> {
    future: Pin<Box<F>>,
    meter: Arc<CpuMeter>,
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let started = thread_cpu_ns();
        self.meter.poll_started_ns.store(started, Ordering::Relaxed);
        let polled = self.future.as_mut().poll(context);
        let used = thread_cpu_ns().saturating_sub(started);
        self.meter.poll_started_ns.store(0, Ordering::Relaxed);
        self.meter.finished_polls_ns.fetch_add(used, Ordering::Relaxed);
        polled
    }
}

pub(super) struct Outside<F> {
    future: F,
    meter: Arc<CpuMeter>,
}

impl<F: Future + Unpin> Future for Outside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let started = thread_cpu_ns();
        let polled = Pin::new(&mut self.future).poll(context);
        let used = thread_cpu_ns().saturating_sub(started);
        self.meter.outside_ns.fetch_add(used, Ordering::Relaxed);
        polled
    }
}

/// CPU time of this thread; never 0, which means "not running" above.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let ns = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    u64::try_from(ns).unwrap_or(0).max(1)
}
