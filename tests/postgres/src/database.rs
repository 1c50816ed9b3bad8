//! A database of one test.

use anyhow::Result;

use crate::client::Client;
use crate::cluster::Cluster;

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database<'a> {
    pub(crate) cluster: &'a Cluster,
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

    /// The same as the superuser.
    pub fn superuser(&self) -> Result<Client> {
        self.cluster.superuser(&self.name)
    }

    /// Ends every connection to it. Returns how many there were.
    pub fn cut_connections(&self) -> Result<usize> {
        self.cluster.cut_connections(&self.name)
    }

    /// It and the databases that a host made beside it, whose names begin with its own and `_`.
    pub fn all_names(&self) -> Result<Vec<String>> {
        self.named("pg_database", "datname")
    }

    fn named(&self, catalog: &str, column: &str) -> Result<Vec<String>> {
        let name = &self.name;
        let rows = self.cluster.maintenance()?.query(&format!(
            "select {column} from {catalog} where {column} = '{name}' or {column} like '{name}\\_%'"
        ))?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }
}

impl Drop for Database<'_> {
    /// With all that a host made: databases beside it, roles of the same beginning.
    fn drop(&mut self) {
        // A server that is down is about to be removed as a whole, so errors don't matter.
        let Ok(mut client) = self.cluster.maintenance() else { return };
        for name in self.all_names().unwrap_or_default() {
            let _ = client.query(&format!("drop database if exists \"{name}\" with (force)"));
        }
        for role in self.named("pg_roles", "rolname").unwrap_or_default() {
            let _ = client.query(&format!("drop role \"{role}\""));
        }
    }
}
