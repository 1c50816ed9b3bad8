//! Tasks that go on for as long as a host does. A panic of one would else end it in silence.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::metrics::Metrics;

/// Between a panic and the next beginning.
const PAUSE: Duration = Duration::from_secs(1);

/// What begins tasks again. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tasks {
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Tasks {
    /// Panics are counted in `metrics`, pauses made by `clock`.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { clock, metrics }
    }

    /// Lets a task go on beside: see [`Tasks::keep`].
    pub fn spawn<F>(
        &self,
        name: &'static str,
        begin: impl FnMut() -> F + Send + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.clone().keep(name, begin))
    }

    /// Works until `begin`'s future ends by itself. If that panics, it is begun again in a while. `name`: of
    /// the task, in the log and in `/metrics`.
    pub async fn keep<F>(self, name: &'static str, mut begin: impl FnMut() -> F)
    where
        F: Future<Output = ()>,
    {
        while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
            self.metrics.panicked(name);
            tracing::error!(task = name, "a task panicked; it begins again");
            self.clock.sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::metrics::Load;

    /// A task that panics the first two times, and says each time that it has begun.
    struct Kept {
        clock: Clock,
        metrics: Arc<Metrics>,
        begun: mpsc::UnboundedReceiver<usize>,
        task: JoinHandle<()>,
    }

    impl Kept {
        fn start(then: impl Future<Output = ()> + Clone + Send + 'static) -> Self {
            let (clock, metrics) = (Clock::simulated(0), Arc::<Metrics>::default());
            let (begins, begun) = mpsc::unbounded_channel();
            let times = Arc::new(AtomicUsize::new(0));
            let begin = move || {
                let (time, begins) = (times.fetch_add(1, Ordering::Relaxed), begins.clone());
                let then = then.clone();
                async move {
                    begins.send(time).unwrap();
                    assert!(time >= 2, "on purpose");
                    then.await;
                }
            };
            let tasks = Tasks::new(clock.clone(), Arc::clone(&metrics));
            let task = tasks.spawn("test", begin);
            Self { clock, metrics, begun, task }
        }

        /// Moves the clock until the task has begun so often.
        async fn begins(&mut self, times: usize) {
            for time in 0..times {
                let begun = loop {
                    match self.begun.try_recv() {
                        Ok(begun) => break begun,
                        Err(_) => self.clock.advance(PAUSE),
                    }
                    tokio::task::yield_now().await;
                };
                assert_eq!(begun, time);
            }
        }
    }

    #[tokio::test]
    async fn one_that_panics_twice_goes_on_and_ends_by_itself() {
        let mut kept = Kept::start(std::future::ready(()));
        kept.begins(3).await;
        (&mut kept.task).await.unwrap();
        assert!(kept.begun.recv().await.is_none(), "it doesn't begin again");
        let text = kept.metrics.text(&Load::default());
        assert!(text.contains("rowgate_task_panics_total{task=\"test\"} 2"), "{text}");
    }

    #[tokio::test]
    async fn one_that_is_aborted_is_over() {
        let mut kept = Kept::start(futures_util::future::pending());
        kept.begins(3).await;
        assert!(!kept.task.is_finished());
        kept.task.abort();
        assert!((&mut kept.task).await.unwrap_err().is_cancelled());
        assert!(kept.begun.recv().await.is_none(), "nothing of it is left");
    }
}
