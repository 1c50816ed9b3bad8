//! The leases of what runs here are renewed as long as it does.

use std::sync::Arc;
use std::time::Duration;

use super::{ScheduleOptions, Wake};
use crate::model::OwnerId;
use crate::run::Runner;
use crate::store::leases::{self, Claimant};
use crate::tasks::Tasks;

pub(super) fn beating(
    runner: &Arc<Runner>,
    wake: &Wake,
    options: &ScheduleOptions,
) -> impl Future<Output = ()> + use<> {
    let tasks = Tasks::new(runner.clock.clone(), Arc::clone(&runner.metrics));
    let (runner, wake, options) = (Arc::clone(runner), wake.clone(), options.clone());
    let begin = move || heartbeat(Arc::clone(&runner), wake.clone(), options.clone());
    tasks.keep("heartbeat", begin)
}

/// Renews the leases that this host works under, three times in the life of one.
async fn heartbeat(runner: Arc<Runner>, wake: Wake, options: ScheduleOptions) {
    let Claimant { host, ttl, .. } = options.claimant;
    loop {
        runner.clock.sleep(Duration::from_micros((ttl / 3).unsigned_abs())).await;
        if let Err(error) = runner.store.follow_server_time().await {
            tracing::warn!(%error, "the server's time could not be asked for");
        }
        let until = runner.clock.now() + ttl;
        let held: Vec<OwnerId> = wake.holders().keys().copied().collect();
        if let Err(error) = leases::renew(runner.store.control(), &host, &held, until).await {
            tracing::error!(%error, "leases could not be renewed");
        }
    }
}
