//! The PostgreSQL of a demo that wants one.

use anyhow::Result;
use postgres_cluster::{Cluster, Options};

use super::screen;
use crate::checkout::Checkout;
use crate::postgres;

/// The host's control database; the rows go to another one, whose name the host makes of this one.
pub(super) const CONTROL: &str = "rowgate";
/// The host's default.
const DATA: &str = "rowgate_data";

/// A server with an empty control database, installed first if need be.
pub(super) fn start(checkout: &Checkout) -> Result<Cluster> {
    postgres::prepare(checkout)?;
    let cluster = Cluster::start(&Options::default())?;
    cluster.connect("postgres")?.query(&format!("create database {CONTROL}"))?;
    Ok(cluster)
}

/// Says where the rows are.
pub(super) fn introduce(cluster: &Cluster) {
    screen::say(
        "A PostgreSQL server was started for this demo, and goes with it. Each organization has a \
         schema; look at the rows with any client:",
    );
    let url = cluster.url(DATA);
    println!("\npsql {url} -c 'set search_path to org_default' -c '\\dt'");
}
