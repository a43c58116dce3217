//! A private PostgreSQL from the binaries of this machine: for a laptop and for tests.
//!
//! It listens on a Unix socket only, in a directory that nobody else may enter. It runs as an unprivileged user, since
//! PostgreSQL refuses to run as root. When the api was killed, its PostgreSQL lives on; the next start takes it over.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// The oldest PostgreSQL that the schema needs.
const OLDEST: u32 = 15;
/// How long a start may take, recovery after a crash included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stop may take before it is made harder.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often to look.
const LOOK: Duration = Duration::from_millis(50);
/// How often to look whether it still runs.
const WATCH: Duration = Duration::from_secs(1);
/// Longest path of a Unix socket on Linux.
const LONGEST_SOCKET: usize = 107;
/// The superuser of the private server.
const USER: &str = "siyada";

/// How the private PostgreSQL runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Loses data when the machine stops: only for tests.
    pub unsafe_no_fsync: bool,
}

/// Who runs PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
}

/// Where everything is.
#[derive(Clone, Debug)]
struct Layout {
    binaries: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    log: PathBuf,
    /// Whom to become; nobody else when we are not root.
    account: Option<Account>,
    options: Options,
}

/// A private PostgreSQL that runs.
pub struct Embedded {
    layout: Layout,
    stopping: Arc<AtomicBool>,
    watcher: tokio::task::JoinHandle<()>,
    // Held as long as we live: two on one directory would fight.
    _lock: File,
}

impl Embedded {
    /// Starts a server on `directory`, or takes over the one that runs there already, and keeps it running.
    ///
    /// # Errors
    /// When there are no binaries, the directory cannot be used, another api uses it, or the server does not start.
    pub async fn start(directory: &Path, options: Options) -> anyhow::Result<Self> {
        let (layout, lock) = prepare(directory, options)?;
        if !layout.data.join("PG_VERSION").exists() {
            initialise(&layout).await?;
        }
        run(&layout).await?;
        create_database(&layout, "siyada").await?;
        let stopping = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn(watch(layout.clone(), stopping.clone()));
        Ok(Self { layout, stopping, watcher, _lock: lock })
    }

    /// How to connect to a database of this server.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        connect_options(&self.layout, database)
    }

    /// The process id of the server, if it runs.
    pub fn pid(&self) -> Option<u32> {
        running(&self.layout.data)
    }

    /// Stops the server in good order.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stopping.store(true, Ordering::Release);
        self.watcher.abort();
        stop(&self.layout.data).await
    }
}

fn connect_options(layout: &Layout, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&layout.sockets.to_string_lossy())
        .port(5432)
        .username(USER)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Finds binaries, makes the directories and locks them.
fn prepare(directory: &Path, options: Options) -> anyhow::Result<(Layout, File)> {
    fs::create_dir_all(directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let directory = directory.canonicalize().context("failed to find the directory of the database")?;
    let (data, sockets) = (directory.join("data"), directory.join("run"));
    if sockets.as_os_str().len() + "/.s.PGSQL.5432".len() > LONGEST_SOCKET {
        bail!("the path {} is too long for a Unix socket; choose a shorter one", directory.display());
    }
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
    if lock.try_lock().is_err() {
        bail!("another siyada-api uses {}; stop it or choose another directory", directory.display());
    }
    let version = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|v| v.trim().parse().ok());
    let binaries = binaries(version)?;
    let account = if geteuid().is_root() { Some(account(&data)?) } else { None };
    fs::create_dir_all(&sockets)?;
    for path in [&directory, &sockets] {
        if let Some(account) = account {
            chown(path, Some(account.uid), Some(account.gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok((Layout { binaries, data, sockets, log: directory.join("postgres.log"), account, options }, lock))
}

/// The directory of the newest binaries, or of those that fit the data.
fn binaries(version: Option<u32>) -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        if let Some(major) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((major, entry.path().join("bin")));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for directory in std::env::split_paths(&path) {
        if let Some(major) = version_of(&directory.join("postgres")) {
            found.push((major, directory));
        }
    }
    found.retain(|(_, directory)| directory.join("postgres").exists() && directory.join("initdb").exists());
    let fits = |major: u32| version.map_or(major >= OLDEST, |v| v == major);
    found
        .into_iter()
        .filter(|(major, _)| fits(*major))
        .max_by_key(|(major, _)| *major)
        .map(|(_, d)| d)
        .with_context(|| match version {
            Some(version) => {
                format!("the data needs PostgreSQL {version}; install it (Debian: postgresql-{version})")
            }
            None => format!("no PostgreSQL {OLDEST} or newer here; install it (Debian: postgresql)"),
        })
}

fn version_of(postgres: &Path) -> Option<u32> {
    if !postgres.exists() {
        return None;
    }
    let output = std::process::Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whom to become: the owner of the data if there is any, else `postgres`, else `nobody`.
fn account(data: &Path) -> anyhow::Result<Account> {
    if let Ok(owner) = fs::metadata(data).map(|m| Account { uid: m.uid(), gid: m.gid() })
        && owner.uid != 0
    {
        return Ok(owner);
    }
    let users = fs::read_to_string("/etc/passwd").context("failed to read /etc/passwd")?;
    ["postgres", "nobody"].into_iter().find_map(|name| account_of(&users, name)).context(
        "PostgreSQL cannot run as root, and there is neither a user postgres nor nobody; run me as a user",
    )
}

fn account_of(users: &str, name: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// A program of PostgreSQL, run by the right user in a place that user can be in.
fn command(layout: &Layout, program: &str) -> anyhow::Result<Command> {
    let program = layout.binaries.join(program);
    let mut command = match layout.account {
        None => Command::new(program),
        Some(account) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid))
                .args(["--clear-groups", "--"])
                .arg(program);
            command
        }
    };
    let log = OpenOptions::new().create(true).append(true).open(&layout.log)?;
    command
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Signals to our terminal are for us; we stop the server ourselves.
        .process_group(0);
    Ok(command)
}

/// Makes the data directory; one that was begun and not finished is begun again.
async fn initialise(layout: &Layout) -> anyhow::Result<()> {
    let begun = layout.data.with_extension("new");
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    let mut command = command(layout, "initdb")?;
    command.arg("-D").arg(&begun).args([
        "-U",
        USER,
        "--auth=trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-instructions",
    ]);
    if layout.options.unsafe_no_fsync {
        command.arg("--no-sync");
    }
    let status = command.status().await.context("failed to run initdb")?;
    if !status.success() {
        bail!("initdb failed: {}", last_words(&layout.log));
    }
    fs::rename(&begun, &layout.data).context("failed to put the new database in its place")?;
    Ok(())
}

/// Starts the server unless it runs, and waits until it answers.
async fn run(layout: &Layout) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let mut child = None;
        if running(&layout.data).is_none() {
            clear_stale_pid(&layout.data)?;
            child = Some(postgres(layout)?.spawn().context("failed to run postgres")?);
        }
        loop {
            if ping(layout).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("PostgreSQL did not answer in {START_TIMEOUT:?}: {}", last_words(&layout.log));
            }
            // A child that ends may have met the last workers of a server that was killed; they end soon as well.
            let ended = match &mut child {
                Some(child) => child.try_wait()?.is_some(),
                None => running(&layout.data).is_none(),
            };
            tokio::time::sleep(LOOK).await;
            if ended {
                break;
            }
        }
    }
}

fn postgres(layout: &Layout) -> anyhow::Result<Command> {
    let mut command = command(layout, "postgres")?;
    let sockets = format!("unix_socket_directories={}", layout.sockets.display());
    command.arg("-D").arg(&layout.data);
    for setting in [
        "listen_addresses=",
        &sockets,
        "unix_socket_permissions=0700",
        "port=5432",
        "max_connections=100",
        "shared_buffers=64MB",
        "log_min_messages=warning",
    ] {
        command.args(["-c", setting]);
    }
    if layout.options.unsafe_no_fsync {
        for setting in ["fsync=off", "full_page_writes=off"] {
            command.args(["-c", setting]);
        }
    }
    Ok(command)
}

async fn ping(layout: &Layout) -> bool {
    let options = connect_options(layout, "postgres");
    let connect = PgConnection::connect_with(&options);
    match tokio::time::timeout(Duration::from_secs(2), connect).await {
        Ok(Ok(connection)) => connection.close().await.is_ok(),
        _ => false,
    }
}

async fn create_database(layout: &Layout, name: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect_with(&connect_options(layout, "postgres")).await?;
    let sql = "select exists (select 1 from pg_database where datname = $1)";
    let exists: bool = sqlx::query_scalar(sql).bind(name).fetch_one(&mut connection).await?;
    if !exists && name == "siyada" {
        sqlx::query("create database siyada").execute(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Starts the server again when it dies.
async fn watch(layout: Layout, stopping: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(WATCH).await;
        if stopping.load(Ordering::Acquire) {
            return;
        }
        if running(&layout.data).is_some() {
            continue;
        }
        tracing::warn!("the private PostgreSQL died; starting it again");
        if let Err(cause) = run(&layout).await {
            tracing::error!(cause = format!("{cause:#}"), "failed to start the private PostgreSQL again");
        }
    }
}

/// The process id in the pid file, whether or not it lives.
fn written_pid(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// The process id of the server on this data, if it really is that server: a pid may have been given to another.
fn running(data: &Path) -> Option<u32> {
    let pid = written_pid(data)?;
    let of_process = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let is_postgres = of_process("exe")?.file_name()?.to_string_lossy().starts_with("postgres");
    (is_postgres && of_process("cwd")? == data).then_some(pid)
}

/// Removes the pid file of a server that is no more, in case its number belongs to another process now.
fn clear_stale_pid(data: &Path) -> anyhow::Result<()> {
    let path = data.join("postmaster.pid");
    if path.exists() && running(data).is_none() {
        fs::remove_file(&path).context("failed to remove a stale pid file")?;
    }
    Ok(())
}

async fn stop(data: &Path) -> anyhow::Result<()> {
    for signal in [Signal::INT, Signal::QUIT] {
        let Some(pid) = running(data) else { return Ok(()) };
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        // It may end between the look and the signal.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if running(data).is_none() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    bail!("the private PostgreSQL does not stop")
}

/// The end of the log, for the message of an error.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.reverse();
    lines.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_the_list_of_users() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npostgres:x:102:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account_of(users, "postgres"), Some(Account { uid: 102, gid: 104 }));
        assert_eq!(account_of(users, "nobody"), None);
    }

    #[test]
    fn a_pid_of_another_process_is_not_taken_for_the_server() {
        let data = std::env::temp_dir().join(format!("siyada-pid-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
        assert_eq!(written_pid(&data), Some(std::process::id()));
        assert_eq!(running(&data), None);
        clear_stale_pid(&data).unwrap();
        assert_eq!(written_pid(&data), None);
        fs::remove_dir_all(&data).unwrap();
    }
}
