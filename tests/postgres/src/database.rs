//! A database of one test.

use anyhow::Result;

use crate::client::Client;
use crate::cluster::Cluster;

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl<'a> Database<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: String) -> Self {
        Self { cluster, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<Client> {
        self.cluster.connect(&self.name)
    }

    /// Ends every connection to it. Returns how many there were.
    pub fn cut_connections(&self) -> Result<usize> {
        self.cluster.cut_connections(&self.name)
    }
}

impl Drop for Database<'_> {
    /// With the databases that a host made beside it, whose names begin with its own and `_`.
    fn drop(&mut self) {
        // A server that is down is about to be removed as a whole.
        let Ok(mut client) = self.cluster.maintenance() else { return };
        let name = &self.name;
        let mine = format!(
            "select datname from pg_database where datname = '{name}' or datname like '{name}\\_%'"
        );
        let names = client.query(&mine).into_iter().flatten().flatten().flatten();
        for name in names {
            // The same.
            let _ = client.query(&format!("drop database if exists \"{name}\" with (force)"));
        }
    }
}
