//! A cluster is gone with the process that started it, and outlives what is done to its server.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use postgres_cluster::{Client, Cluster, Options, Refused};

/// A process with a cluster, where that lies, and its address.
struct Started {
    process: Child,
    directory: PathBuf,
    address: String,
}

fn started() -> Started {
    let mut program = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = program.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let url = lines.next().expect("a URL").unwrap();
    let directory = PathBuf::from(lines.next().expect("a directory").unwrap());
    let address = url.split(['@', '/']).nth(3).unwrap().to_owned();
    Started { process, directory, address }
}

impl Started {
    fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(self.address.parse().unwrap(), "rowgate", "postgres")
    }

    /// The watchdog holds the process's standard error and lets go when all is done.
    fn assert_gone(mut self, mut client: Client) {
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        self.process.wait().unwrap();
        assert!(!self.directory.exists(), "{} is left: {said}", self.directory.display());
        assert!(client.query("select 1").is_err(), "the server still answers");
        assert!(self.connect().is_err(), "the port is still open");
    }
}

#[test]
fn nothing_is_left_of_a_process_that_ends() {
    let mut started = started();
    let client = started.connect().unwrap();
    assert!(started.directory.join("data").exists());
    drop(started.process.stdin.take());
    started.assert_gone(client);
}

#[test]
fn nothing_is_left_of_a_process_that_is_killed() {
    let mut started = started();
    let client = started.connect().unwrap();
    started.process.kill().unwrap();
    started.assert_gone(client);
}

#[test]
fn nothing_is_left_of_a_frozen_server() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let directory = cluster.directory().to_owned();
    cluster.freeze();
    drop(cluster);
    assert!(!directory.exists());
}

#[test]
fn what_was_committed_survives_the_end_of_the_server() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let database = cluster.create_database().unwrap();
    database.connect().unwrap().query("create table t (n int)").unwrap();
    for (n, end) in [Cluster::kill, Cluster::crash, Cluster::stop].into_iter().enumerate() {
        let mut open = database.connect().unwrap();
        open.query(&format!("insert into t values ({n})")).unwrap();
        open.query("begin; insert into t values (100)").unwrap();
        end(&cluster).unwrap();
        assert!(open.query("commit").is_err());
        assert!(database.connect().is_err());
        cluster.start_again().unwrap();
    }
    assert_eq!(database.connect().unwrap().value("select count(*) from t").unwrap(), "3");
    assert_eq!(database.connect().unwrap().value("select max(n) from t").unwrap(), "2");
}

#[test]
fn databases_are_apart_and_can_be_copied_and_cut_off() {
    let cluster = Cluster::shared();
    let template = cluster.create_database().unwrap();
    template.connect().unwrap().query("create table t as select 1 as n").unwrap();
    let copies: Vec<_> =
        (0..2).map(|_| cluster.create_database_from(template.name()).unwrap()).collect();
    let mut first = copies[0].connect().unwrap();
    first.query("update t set n = 2").unwrap();
    assert_eq!(first.value("select n from t").unwrap(), "2");
    assert_eq!(copies[1].connect().unwrap().value("select n from t").unwrap(), "1");

    assert_eq!(copies[0].cut_connections().unwrap(), 1);
    let cut = first.query("select 1").unwrap_err();
    assert_eq!(cut.downcast::<Refused>().unwrap().code, "57P01");

    let (name, beside) = (copies[0].name().to_owned(), format!("{}_data", copies[0].name()));
    let mut maintenance = cluster.maintenance().unwrap();
    maintenance.query(&format!("create database {beside}")).unwrap();
    maintenance.query(&format!("create role {name}_reader")).unwrap();
    assert_eq!(copies[0].all_names().unwrap().len(), 2);
    drop(copies);
    let roles = format!("select count(*) from pg_roles where rolname = '{name}_reader'");
    assert_eq!(maintenance.value(&roles).unwrap(), "0");
    for name in [name, beside] {
        let gone = cluster.connect(&name).unwrap_err().downcast::<Refused>().unwrap();
        assert_eq!(gone.code, "3D000", "{name}: {gone}");
    }
}

/// As hosts and customers have it.
#[test]
fn databases_belong_to_a_role_that_is_no_superuser() {
    let database = Cluster::shared().create_database().unwrap();
    let mut client = database.connect().unwrap();
    let may =
        "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = current_user";
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(client.query(may).unwrap(), [vec![text("f"), text("t"), text("t")]]);
    let owns = "select pg_get_userbyid(datdba) = current_user from pg_database
                where datname = current_database()";
    assert_eq!(client.value(owns).unwrap(), "t");
    let mut superuser = database.superuser().unwrap();
    assert_eq!(superuser.value("show is_superuser").unwrap(), "on");
}

#[test]
fn a_refused_statement_leaves_the_connection_usable() {
    let mut client = Cluster::shared().maintenance().unwrap();
    let refused = client.query("select 1; selec 2").unwrap_err().downcast::<Refused>().unwrap();
    assert_eq!(refused.code, "42601");
    let rows = client.query("select null, 'a', ''; select 'b'").unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [vec![None, text("a"), text("")], vec![text("b")]]);
}

#[test]
fn text_sorts_by_language() {
    let mut client = Cluster::shared().maintenance().unwrap();
    assert_eq!(client.value("select 'a' < 'B'").unwrap(), "t");
}
