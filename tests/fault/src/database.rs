//! PostgreSQL processes in the place of an engine's pods: one for each cluster, at the address of its service, with the
//! certificate and the logins that the operator gave it.

use crate::cluster::text;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

/// Where Debian keeps PostgreSQL.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// Who may do everything, at the socket only.
const SUPERUSER: &str = "postgres";
/// A start may take so long.
const START: Duration = Duration::from_secs(30);
/// A stop may take so long before it is made harder.
const STOP: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Whether there is a role.
const ROLE: &str = "select 1 from pg_roles where rolname = $1";
/// What no test of this kind needs; nothing here outlives the machine.
const SETTINGS: [&str; 7] = [
    "ssl=on",
    "ssl_cert_file=tls.crt",
    "ssl_key_file=tls.key",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=40",
];

/// The programs, whoever runs them, and a folder that every database begins as.
pub struct Programs {
    programs: PathBuf,
    account: (u32, u32),
    folder: PathBuf,
}

impl Programs {
    /// Finds PostgreSQL and makes the folder that every database begins as.
    ///
    /// # Errors
    /// When there is none, or nobody who may run it.
    pub async fn prepare(folder: PathBuf) -> Result<Self> {
        let programs = newest().context("no PostgreSQL here; `harness deps` installs it")?;
        let account = account().context("there is neither a user postgres nor nobody")?;
        let _absent = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let all = Self { programs, account, folder };
        all.give(&all.folder)?;
        let template = all.folder.join("template");
        let words = ["--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
        let mut command = all.command("initdb");
        command.args(["-U", SUPERUSER, "--wal-segsize=1"]).args(words).arg("-D").arg(&template);
        run(command).await?;
        Ok(all)
    }

    /// A program of PostgreSQL. It refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        let (user, group) = self.account;
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        command.arg("--").arg(self.programs.join(program)).current_dir("/").env("LC_ALL", "C");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn give(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.account.0), Some(self.account.1))
            .with_context(|| format!("failed to give {} away", path.display()))
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        self.give(path)
    }

    /// Where the backups of a bucket lie.
    fn archive(&self, bucket: &str) -> PathBuf {
        self.folder.join("archive").join(bucket)
    }

    /// The newest backup of a bucket, or the one that is named.
    pub fn backup(&self, bucket: &str, name: &str) -> Option<PathBuf> {
        let archive = self.archive(bucket);
        if !name.is_empty() {
            return Some(archive.join(name)).filter(|path| path.exists());
        }
        fs::read_dir(archive).ok()?.flatten().map(|entry| entry.path()).max()
    }

    /// Backs a database up into a bucket, under a name.
    ///
    /// # Errors
    /// What the program said; a second try begins again.
    pub async fn back_up(&self, database: &Database, bucket: &str, name: &str) -> Result<()> {
        let archive = self.archive(bucket);
        for path in [&self.folder.join("archive"), &archive] {
            fs::create_dir_all(path)?;
            self.give(path)?;
        }
        let (begun, whole) = (archive.with_extension("begun"), archive.join(name));
        let _absent = fs::remove_dir_all(&begun);
        let mut command = self.command("pg_basebackup");
        command.args(["-U", SUPERUSER, "-c", "fast", "-X", "fetch", "--no-sync", "-h"]).arg(&database.folder);
        command.arg("-D").arg(&begun);
        run(command).await?;
        fs::rename(begun, whole).context("failed to put the backup in its place")
    }

    /// Starts the database of a cluster; where there is none yet, it begins as `origin`, or else empty.
    ///
    /// # Errors
    /// What could not be done; a second try begins again.
    pub async fn start(
        &self,
        name: &str,
        address: IpAddr,
        files: &Files,
        origin: Option<PathBuf>,
    ) -> Result<Database> {
        let folder = self.folder.join(name);
        if !folder.join("PG_VERSION").exists() {
            let begun = self.folder.join(format!("{name}.new"));
            let _absent = fs::remove_dir_all(&begun);
            let mut command = Command::new("cp");
            command.arg("-a").arg(origin.unwrap_or_else(|| self.folder.join("template"))).arg(&begun);
            run(command).await?;
            fs::rename(&begun, &folder)?;
        }
        // Of a server that was killed, or of the one that was backed up.
        for stale in ["postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"] {
            let _absent = fs::remove_file(folder.join(stale));
        }
        self.tell(&folder, files)?;
        let mut ip = Command::new("ip");
        ip.args(["address", "replace", &format!("{address}/32"), "dev", "lo"]);
        run(ip).await?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&folder);
        let own =
            [format!("listen_addresses={address}"), format!("unix_socket_directories={}", folder.display())];
        own.iter().map(String::as_str).chain(SETTINGS).for_each(|setting| {
            command.args(["-c", setting]);
        });
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("failed to start PostgreSQL")?;
        let mut database = Database { child, folder, address, files: files.clone(), roles: Value::Null };
        database.wait().await?;
        Ok(database)
    }

    /// Writes the files that the server reads.
    fn tell(&self, folder: &Path, files: &Files) -> Result<()> {
        let access =
            format!("local all,replication all trust\n{}\nhostssl all all all scram-sha-256\n", files.access);
        self.write(&folder.join("pg_hba.conf"), &access)?;
        self.write(&folder.join("tls.crt"), &files.certificate)?;
        self.write(&folder.join("tls.key"), &files.key)
    }

    /// Brings the files of a server that runs to what they should be.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, database: &mut Database, files: &Files) -> Result<()> {
        if database.files != *files {
            self.tell(&database.folder, files)?;
            database.signal(Signal::HUP)?;
            database.files = files.clone();
        }
        Ok(())
    }

    /// Removes the data of a cluster.
    pub fn remove(&self, name: &str) {
        let _absent = fs::remove_dir_all(self.folder.join(name));
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _absent = fs::remove_dir_all(&self.folder);
    }
}

/// What a server reads from files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Its certificate, PEM.
    pub certificate: String,
    /// The key of it, PEM.
    pub key: String,
    /// Lines of `pg_hba.conf` that come before ours.
    pub access: String,
}

/// A server that runs; it ends with this.
pub struct Database {
    child: Child,
    folder: PathBuf,
    address: IpAddr,
    files: Files,
    /// The roles that it was brought to last.
    roles: Value,
}

impl Database {
    /// Where it listens.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    async fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let last = self.connect("postgres").await;
            if last.is_ok() {
                return Ok(());
            }
            ensure!(
                self.child.try_wait()?.is_none(),
                "PostgreSQL ended at once; its log is beside its folder"
            );
            if started.elapsed() > START {
                bail!("PostgreSQL does not answer: {:?}", last.err());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self, database: &str) -> Result<Client> {
        connect(&self.folder, database).await
    }

    /// Makes what a cluster begins with, be it empty or restored; any number of times.
    ///
    /// # Errors
    /// What the server said.
    pub async fn begin(&self, bootstrap: &Value, password: &str) -> Result<()> {
        let (owner, name) = (text(bootstrap, "/owner"), text(bootstrap, "/database"));
        let client = self.connect("postgres").await?;
        if !is_there(&client, ROLE, &owner).await? {
            client.batch_execute(&format!("create role {}", quoted(&owner))).await?;
        }
        let password = literal(password);
        client.batch_execute(&format!("alter role {} password {password}", quoted(&owner))).await?;
        if !is_there(&client, "select 1 from pg_database where datname = $1", &name).await? {
            let made = format!("create database {} owner {}", quoted(&name), quoted(&owner));
            client.batch_execute(&made).await?;
        }
        let inside = self.connect(&name).await?;
        for statement in bootstrap["postInitApplicationSQL"].as_array().into_iter().flatten() {
            inside.batch_execute(statement.as_str().unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Whether the roles were brought to these.
    pub fn has_roles(&self, roles: &Value) -> bool {
        self.roles == *roles
    }

    /// Brings the roles to what a cluster says; `password` finds what a Secret of a name holds.
    ///
    /// # Errors
    /// What the server said; the next look tries again.
    pub async fn bring_roles(
        &mut self,
        roles: &Value,
        password: impl Fn(&str) -> Option<String>,
    ) -> Result<()> {
        let client = self.connect("postgres").await?;
        for role in roles.as_array().into_iter().flatten() {
            let name = text(role, "/name");
            let there = is_there(&client, ROLE, &name).await?;
            let name = quoted(&name);
            if text(role, "/ensure") == "absent" {
                client.batch_execute(&format!("drop role if exists {name}")).await?;
                continue;
            }
            if !there {
                client.batch_execute(&format!("create role {name}")).await?;
            }
            let flag = |field: &str, yes: &'static str, no: &'static str| {
                if role[field].as_bool().unwrap_or(field == "inherit") { yes } else { no }
            };
            let (login, inherit) =
                (flag("login", "login", "nologin"), flag("inherit", "inherit", "noinherit"));
            client.batch_execute(&format!("alter role {name} {login} {inherit}")).await?;
            for member in role["inRoles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                client.batch_execute(&format!("grant {} to {name}", quoted(member))).await?;
            }
            if let Some(secret) = role.pointer("/passwordSecret/name").and_then(Value::as_str) {
                let password =
                    password(secret).with_context(|| format!("Secret {secret} has no password"))?;
                client.batch_execute(&format!("alter role {name} password {}", literal(&password))).await?;
            } else if role["disablePassword"] == true {
                client.batch_execute(&format!("alter role {name} password null")).await?;
            }
        }
        self.roles = roles.clone();
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().context("PostgreSQL has ended")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("no process")?;
        kill_process(pid, signal).context("failed to signal PostgreSQL")
    }

    /// Ends it in good order, with the sessions of its clients.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(mut self) -> Result<()> {
        // One that has ended already cannot be told to.
        let _ended = self.signal(Signal::INT);
        tokio::time::timeout(STOP, self.child.wait()).await.context("PostgreSQL does not end")??;
        let mut ip = Command::new("ip");
        ip.args(["address", "delete", &format!("{}/32", self.address), "dev", "lo"]);
        run(ip).await
    }
}

/// Enters a database as the superuser, by the folder of its server.
///
/// # Errors
/// When it lets nobody in.
pub async fn connect(folder: &Path, database: &str) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(folder).user(SUPERUSER).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    // How a session ends is told by its queries.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn is_there(client: &Client, query: &str, name: &str) -> Result<bool> {
    Ok(client.query_opt(query, &[&name]).await?.is_some())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

async fn run(mut command: Command) -> Result<()> {
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The programs of the newest PostgreSQL.
fn newest() -> Option<PathBuf> {
    let all = fs::read_dir(PROGRAMS).ok()?.flatten().filter_map(|entry| {
        let major: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").exists().then_some((major, programs))
    });
    all.max_by_key(|(major, _)| *major).map(|(_, programs)| programs)
}

/// Who runs PostgreSQL: `postgres`, else `nobody`.
fn account() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    ["postgres", "nobody"].into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_end_no_statement() {
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("a'; drop"), "'a''; drop'");
    }
}
