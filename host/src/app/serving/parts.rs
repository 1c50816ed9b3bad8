//! The parts of a host that works, made from its configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::{App, targets};
use crate::clock::micros;
use crate::delivery::{Deliveries, DeliveryOptions, Patience};
use crate::plugin::{Budget, Engine};
use crate::run::components::Components;
use crate::run::tree::Trees;
use crate::run::{BackOff, InFlight, RunOptions, Runner};
use crate::store::retention::Kept;

pub(super) fn deliveries(app: &App, host: String) -> anyhow::Result<Deliveries> {
    let delivery = &app.config.delivery;
    let options = DeliveryOptions {
        host,
        workers: delivery.workers,
        timeout: Duration::from_millis(delivery.timeout_ms),
        turn: Duration::from_millis(delivery.turn_ms),
        poll: Duration::from_millis(app.config.run.poll_ms),
        patience: Patience {
            back_off_base: micros(Duration::from_millis(delivery.back_off_base_ms)),
            back_off_max: micros(Duration::from_millis(delivery.back_off_max_ms)),
            alert_after: micros(Duration::from_secs(delivery.alert_after_s)),
            pause_after: micros(Duration::from_secs(delivery.pause_after_s)),
        },
        rules: targets::rules(delivery),
    };
    let metrics = Arc::clone(&app.metrics);
    Ok(Deliveries::new(Arc::clone(&app.store), app.clients()?, metrics, options))
}

pub(super) fn kept(app: &App) -> Kept {
    let retention = &app.config.retention;
    Kept {
        inbox: micros(inbox_kept(app)),
        parked: micros(days(retention.parked_days)),
        tombstones: micros(days(retention.tombstone_days)),
        left: micros(days(retention.left_days)),
    }
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(24 * 3_600))
}

fn inbox_kept(app: &App) -> Duration {
    Duration::from_secs(app.config.retention.inbox_hours.saturating_mul(3_600))
}

pub(super) fn runner(
    app: &App,
    engine: Engine,
    push_base_url: Option<String>,
) -> anyhow::Result<Runner> {
    let store = &app.store;
    let stale_row_days = Some(app.config.retention.stale_row_days).filter(|days| *days > 0);
    let components = Components::new(engine, Arc::clone(store), store.data_dir().plugins());
    Ok(Runner {
        trees: Trees::new(Arc::clone(store), components),
        store: Arc::clone(store),
        egress: app.egress()?,
        keyring: store.keyring().clone(),
        clock: app.clock.clone(),
        chance: store.chance().clone(),
        budget: Budget::default(),
        metrics: Arc::clone(&app.metrics),
        options: RunOptions {
            back_off: BackOff {
                base_ms: app.config.run.back_off_base_ms,
                max_ms: app.config.run.back_off_max_ms,
            },
            turn: Duration::from_millis(app.config.run.turn_ms),
            inbox_kept: inbox_kept(app),
            stale_rows_kept: stale_row_days.map(days),
        },
        push_base_url,
        in_flight: InFlight::default(),
        stopping: watch::Sender::new(false),
    })
}
