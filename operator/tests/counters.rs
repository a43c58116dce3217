//! What a database counts, read by an ordinary login of a real PostgreSQL: over restarts, crashes and resets.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use siyada_model::counter::{Reading, is_new, sum, windows};
use siyada_operator::counters::{Transactions, transactions};
use siyada_operator::disk;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// A condition holds within this time or never.
const LIMIT: Duration = Duration::from_secs(30);

/// A PostgreSQL of its own on a Unix socket, stopped and removed at the end.
struct Server {
    directory: PathBuf,
}

fn binaries() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path).filter(|bin| bin.join("initdb").exists());
    path.chain(debian).next().expect("no initdb: apt-get install postgresql")
}

/// PostgreSQL does not run as root.
fn account() -> Option<(String, String)> {
    let id = |arguments: &[&str]| {
        let out = Command::new("id").args(arguments).stderr(Stdio::null()).output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap().trim().to_owned())
    };
    if id(&["-u"])? != "0" {
        return None;
    }
    ["postgres", "nobody"].into_iter().find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}

impl Server {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("siyada-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        if let Some((user, group)) = account() {
            let (user, group) = (user.parse().unwrap(), group.parse().unwrap());
            std::os::unix::fs::chown(&directory, Some(user), Some(group)).unwrap();
        }
        let server = Self { directory };
        server.run("initdb", &["-A", "trust", "-U", "siyada", "--no-sync"]);
        server.up();
        server
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = binaries().join(program);
        let mut command = match account() {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        };
        // Inherited, the output would be held open by the server.
        let log =
            std::fs::File::options().create(true).append(true).open(self.directory.join("log")).unwrap();
        command.arg("-D").arg(self.directory.join("data")).args(arguments).current_dir("/");
        let status =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
        assert!(
            status.success(),
            "{program:?}: {}",
            std::fs::read_to_string(self.directory.join("log")).unwrap(),
            program = arguments
        );
    }

    fn up(&self) {
        let socket = Path::new(&self.directory).display().to_string();
        self.run(
            "pg_ctl",
            &["-w", "-o", &format!("-k {socket} -c listen_addresses='' -c fsync=off"), "start"],
        );
    }

    fn down(&self, mode: &str) {
        self.run("pg_ctl", &["-w", "-m", mode, "stop"]);
    }

    async fn connect(&self, user: &str, database: &str) -> Client {
        let settings = format!("host={} user={user} dbname={database}", self.directory.display());
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The first reading that `holds`: statistics reach the others some moments after what they are about.
    async fn read(&self, holds: impl Fn(&Transactions) -> bool) -> Transactions {
        let began = Instant::now();
        loop {
            let client = self.connect("tenant", "app").await;
            let read =
                transactions(&client).await.expect("an ordinary login may read what its database counts");
            if holds(&read) {
                return read;
            }
            assert!(began.elapsed() < LIMIT, "{read:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.directory.join("data/postmaster.pid").exists() {
            self.down("immediate");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn transactions_are_read_by_an_ordinary_login_and_every_reset_has_an_id_of_its_own() {
    let server = Server::start("counters");
    let administrator = server.connect("siyada", "postgres").await;
    administrator.batch_execute("create role tenant login").await.unwrap();
    administrator.batch_execute("create database app owner tenant").await.unwrap();
    drop(administrator);
    let mut readings = vec![server.read(|_| true).await];
    let first = readings[0].clone();

    let client = server.connect("tenant", "app").await;
    for _ in 0..20 {
        client.batch_execute("select 1").await.unwrap();
    }
    drop(client);
    let read = server.read(|read| read.value >= first.value + 20).await;
    assert_eq!(read.reset_id, first.reset_id);
    readings.push(read.clone());

    server.down("fast");
    server.up();
    let restarted = server.read(|_| true).await;
    assert_eq!(restarted.reset_id, first.reset_id, "an orderly restart keeps what was counted");
    assert!(restarted.value >= read.value, "{restarted:?} {read:?}");
    readings.push(restarted.clone());

    server.down("immediate");
    server.up();
    let crashed = server.read(|_| true).await;
    assert!(crashed.value < restarted.value, "a crash loses what was counted: {crashed:?}");
    assert_ne!(crashed.reset_id, restarted.reset_id, "and says so");
    readings.push(crashed.clone());

    let tenant = server.connect("tenant", "app").await;
    assert!(
        tenant.batch_execute("select pg_stat_reset()").await.is_err(),
        "whoever is billed does not reset"
    );
    let administrator = server.connect("siyada", "app").await;
    administrator.batch_execute("select pg_stat_reset()").await.unwrap();
    let reset = server.read(|read| read.reset_id != crashed.reset_id).await;
    readings.push(reset);

    // What was read is what the ledger takes, and in all of it nothing falls.
    let mut on_record = BTreeMap::new();
    for read in &readings {
        let reading = Reading { at: read.at, reset_id: read.reset_id.clone(), value: read.value };
        assert_eq!(is_new(&on_record, &reading), Ok(true), "{reading:?}");
        assert!(read.reset_id.len() <= siyada_model::counter::LONGEST_RESET_ID, "{}", read.reset_id);
        on_record.insert(reading.at, reading);
    }
    let all = sum(&windows(&on_record.into_values().collect::<Vec<_>>())).unwrap();
    assert!(all.may_miss && all.quantity >= i128::from(restarted.value), "{all:?}");
}

/// Bytes of a folder and all below it.
fn size_of(folder: &Path) -> i64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| {
            let about = entry.metadata().unwrap();
            if about.is_dir() { size_of(&entry.path()) } else { i64::try_from(about.len()).unwrap() }
        })
        .sum()
}

#[tokio::test]
async fn an_ordinary_login_may_ask_how_full_the_disk_is_and_is_told_what_is_there() {
    let server = Server::start("disk");
    let administrator = server.connect("siyada", "postgres").await;
    administrator.batch_execute("create role tenant login").await.unwrap();
    administrator.batch_execute("create database app owner tenant").await.unwrap();
    administrator.batch_execute("alter system set wal_keep_size = '64MB'").await.unwrap();
    administrator.batch_execute("select pg_reload_conf()").await.unwrap();
    let client = server.connect("tenant", "app").await;
    let before = disk::used(&client).await.expect("any login may ask");
    client
        .batch_execute(
            "create table papers as select g, repeat(md5(g::text), 30) from generate_series(1, 40000) g",
        )
        .await
        .unwrap();
    administrator.batch_execute("checkpoint").await.unwrap();
    let after = disk::used(&client).await.unwrap();
    let table = client.query_one("select pg_table_size('papers')", &[]).await.unwrap().get::<_, i64>(0);
    assert!(table > 30 << 20, "{table}");
    assert!(after - before >= table, "{before} {after} {table}");
    // What is there: tables and the log. At most a segment or two of the log waits to be written again.
    let data = server.directory.join("data");
    let there = size_of(&data.join("base")) + size_of(&data.join("pg_wal"));
    assert!((there - after).abs() < 48 << 20, "{after} is told and {there} is there");
    // A standby that is behind holds the log back, and that is told.
    administrator.batch_execute("select pg_create_physical_replication_slot('behind', true)").await.unwrap();
    client
        .batch_execute(
            "insert into papers select g, repeat(md5(g::text), 30) from generate_series(1, 120000) g",
        )
        .await
        .unwrap();
    client.batch_execute("truncate papers").await.unwrap();
    administrator.batch_execute("checkpoint").await.unwrap();
    let held = disk::used(&client).await.unwrap();
    assert!(held > before + (80 << 20), "{before} {held}");
}
