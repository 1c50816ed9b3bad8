//! A throw-away PostgreSQL as a program: prints a URL when it is ready, and is gone when its standard
//! input ends or it is killed.

use std::io::{Read, Write};

use anyhow::Result;
use postgres_cluster::{Cluster, Options};

fn main() -> Result<()> {
    let cluster = Cluster::start(&Options::default())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", cluster.maintenance_url())?;
    writeln!(out, "{}", cluster.directory().display())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
