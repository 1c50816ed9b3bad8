//! Dumps of databases, made and put back by the server's own programs, as an operator does.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::database::Database;
use crate::install;

/// A database as `pg_dump` wrote it.
#[derive(Debug)]
pub struct Dump {
    database: String,
    bytes: Vec<u8>,
}

impl Cluster {
    /// Dumps a database, while others write to it. The program is of a package that the server's needs.
    pub fn dump(&self, database: &str) -> Result<Dump> {
        let mut dump = self.client_program("pg_dump");
        dump.args(["--format", "custom", database]).stdin(Stdio::null());
        let output = dump.output().context("can't start pg_dump")?;
        if !output.status.success() {
            bail!("pg_dump {database}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Dump { database: database.to_owned(), bytes: output.stdout })
    }

    /// Puts a database back as it was dumped. Connections to it end.
    pub fn put_back(&self, dump: &Dump) -> Result<()> {
        let Dump { database, bytes } = dump;
        self.maintenance()?
            .query(&format!("drop database if exists \"{database}\" with (force)"))?;
        let mut restore = self.client_program("pg_restore");
        restore.args(["--create", "--exit-on-error", "--dbname", "postgres"]);
        restore.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = restore.spawn().context("can't start pg_restore")?;
        let written = child.stdin.take().context("it was asked for")?.write_all(bytes);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("pg_restore {database}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(written?)
    }

    fn client_program(&self, name: &str) -> Command {
        let mut command = install::command(self.program(name), self.account());
        let (host, port) = (self.address().ip().to_string(), self.address().port().to_string());
        command.args(["--host", &host, "--port", &port, "--username", crate::cluster::SUPERUSER]);
        command.current_dir("/");
        command
    }
}

impl Database<'_> {
    /// The server that it is on.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }
}
