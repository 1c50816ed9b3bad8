//! From a change at the vendor to its row, through a push; and how soon the vendor is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres_cluster::Cluster;
use serde_json::json;
use simulator::model::channel::{Channel, Resource};
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use super::filled::{Filled, STREAMS_AN_OWNER};
use super::{Sizes, control};
use crate::report::{Aim, Report, quantile};
use crate::times::Stopwatch;

/// Linked users, whose changes are pushed in turn: none so often that the vendor's limits are near.
const USERS: u32 = 20;
/// Between two looks whether all channels are there.
const LOOK: Duration = Duration::from_millis(20);
/// No row takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server tells by this name of rows that came.
const ARRIVED: &str = "arrived";

pub(super) async fn to_row(
    filled: &Filled,
    sizes: &Sizes,
    report: &mut Report,
    at: &dyn Fn(&str) -> String,
) -> Result<()> {
    link(filled).await?;
    let mut arrivals = arrivals(filled).await?;
    let (simulator, mut latencies) = (&filled.host.simulator, Vec::new());
    for number in 0..sizes.changes {
        filled.host.idle().await;
        let id = format!("change{number}");
        let event = json!({
            "id": id, "summary": id,
            "start": { "dateTime": "2026-12-01T10:00:00Z" },
            "end": { "dateTime": "2026-12-01T11:00:00Z" },
        });
        let stopwatch = Stopwatch::start();
        simulator.model().add_event(&email(number % USERS), &event).expect("the account is there");
        let arrived = timeout(PATIENCE, arrivals.recv()).await.context("no row came")??;
        latencies.push(stopwatch.milliseconds());
        ensure!(arrived.payload() == id, "{} came instead of {id}", arrived.payload());
    }
    report.add(&at("push to row, p50"), "ms", Aim::Below(50.0), quantile(&latencies, 0.5));
    report.add(&at("push to row, p99"), "ms", Aim::None, quantile(&latencies, 0.99));
    let answers = answers(filled, sizes).await?;
    report.add(&at("notification answered, p50"), "ms", Aim::None, quantile(&answers, 0.5));
    let p99 = quantile(&answers, 0.99);
    report.add(&at("notification answered, p99"), "ms", Aim::Below(100.0), p99);
    Ok(())
}

fn email(number: u32) -> String {
    format!("user{number}@example.com")
}

/// Links the users and waits until every list and calendar has its channel.
async fn link(filled: &Filled) -> Result<()> {
    let host = &filled.host;
    for number in 0..USERS {
        host.link(&filled.tree, &format!("linked-{number}"), &email(number)).await;
    }
    let mut client = control(host).connect()?;
    let mut looks = tokio::time::interval(LOOK);
    let wanted = (USERS * STREAMS_AN_OWNER).to_string();
    loop {
        looks.tick().await;
        host.idle().await;
        let active = client.value("select count(*) from channels where state = 'active'")?;
        if active == wanted {
            host.simulator.await_no_push().await;
            host.idle().await;
            return Ok(());
        }
    }
}

/// Every event row that comes from now on.
async fn arrivals(filled: &Filled) -> Result<PgListener> {
    let names = control(&filled.host).all_names()?;
    let data = names.iter().find(|name| name.ends_with("_data")).context("the host made it")?;
    let mut client = Cluster::shared().connect(data)?;
    client.query(&format!(
        "create function public.tell_arrival() returns trigger language plpgsql as $$
         begin perform pg_notify('{ARRIVED}', new.google_id); return null; end $$;
         create trigger tell_arrival after insert on org_default.{}
         for each row execute function public.tell_arrival()",
        filled.tree.events()
    ))?;
    let mut listener = PgListener::connect(&Cluster::shared().url(data)).await?;
    listener.listen(ARRIVED).await?;
    Ok(listener)
}

/// How long the host takes to answer a notification that makes a resting stream due.
async fn answers(filled: &Filled, sizes: &Sizes) -> Result<Vec<f64>> {
    let host = &filled.host;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let channels = live_channels(filled);
    let owners: BTreeSet<&str> = channels.iter().map(|channel| channel.user.as_str()).collect();
    ensure!(owners.len() == USERS as usize, "every user has a channel on the calendar");
    let mut latencies = Vec::new();
    for number in 0..sizes.changes {
        host.idle().await;
        let channel = &channels[number as usize % channels.len()];
        let request = client
            .post(&channel.address)
            .header("X-Goog-Channel-ID", &channel.id)
            .header("X-Goog-Channel-Token", channel.token.as_deref().unwrap_or_default())
            .header("X-Goog-Resource-ID", &channel.resource_id)
            .header("X-Goog-Resource-State", "exists");
        let stopwatch = Stopwatch::start();
        let answer = request.send().await?;
        latencies.push(stopwatch.milliseconds());
        ensure!(answer.status() == 202, "a notification is answered {}", answer.status());
    }
    // What the last one made due isn't left to what is measured next.
    host.idle().await;
    Ok(latencies)
}

fn live_channels(filled: &Filled) -> Vec<Channel> {
    let model = filled.host.simulator.model();
    let on_events = |channel: &&Channel| matches!(channel.resource, Resource::Events(_));
    let live = model.channels().values().filter(|channel| channel.is_live(model.now_us));
    live.filter(on_events).cloned().collect()
}
