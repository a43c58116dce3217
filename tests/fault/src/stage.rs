//! The platform as processes on a cluster without nodes: the charts, the ledger, and the operator behind the proxy.

use crate::cluster::{Cluster, secret_text, text};
use crate::database::{Programs, connect};
use crate::operation::LARGER;
use crate::player::Player;
use crate::proxy::Proxy;
use crate::snapshot::ENGINE;
use crate::upstream::{Login, Upstream};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Where the API server listens inside the cluster's network.
const API_SERVER: u16 = 16443;
/// Where the ledger listens: the network is the cluster's own.
const LEDGER: u16 = 8443;
/// Namespace of the platform.
const SYSTEM: &str = "siyada-system";
/// The name of the ledger's service, which its certificate has.
const LEDGER_NAME: &str = "siyada-api.siyada-system.svc";
/// The site that archives; the one of the examples does not.
pub const ARCHIVE: &str = "casablanca";
/// Secret with the login of its store.
const STORE: &str = "siyada-object-storage";
/// Between two looks.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Everything that runs; the processes end with it.
pub struct Stage {
    /// The API server, as the administrator.
    pub admin: Cluster,
    /// The ledger, as the operator.
    pub ledger: Cluster,
    /// What the operator takes for the API server.
    pub proxy: Proxy,
    /// An operation may take so long, with a fault in it.
    pub limit: Duration,
    /// Whether a site has an object store, and the engine that is played an archive.
    pub archives: bool,
    work: PathBuf,
    policies: String,
    operator: Child,
    api: Child,
    database: PathBuf,
    player: Option<JoinHandle<()>>,
}

/// Who is the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// [`Player`], on a cluster without nodes.
    Played,
    /// CloudNativePG, on a cluster with a node and the images.
    Real,
}

impl Engine {
    /// An operation may take so long, with a fault in it.
    fn limit(self) -> Duration {
        Duration::from_secs(if self == Self::Played { 90 } else { 300 })
    }
}

/// Looks until `look` says so, at most `limit`.
///
/// # Errors
/// What was waited for.
pub async fn until(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    loop {
        let last = look().await;
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if started.elapsed() > limit {
            bail!("waited {} s for {what}; last seen: {last:?}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Runs a tool of the cluster; what it printed.
async fn tool(name: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(name).args(arguments).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("failed to run {name}: run this through `harness exec`"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {} said: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes what nobody else of the machine may read.
fn secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let _absent = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

async fn token(account: &str, audience: Option<&str>) -> Result<String> {
    let mut arguments = vec!["-n", SYSTEM, "create", "token", account, "--duration", "24h"];
    arguments.extend(audience.iter().flat_map(|audience| ["--audience", audience]));
    tool("kubectl", &arguments).await
}

/// A program of this build, beside this one or in a folder of the environment.
fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(name);
    let path = std::env::var_os("SIYADA_PROGRAMS").map_or(beside, |folder| PathBuf::from(folder).join(name));
    ensure!(path.is_file(), "no {}: build the workspace first", path.display());
    Ok(path)
}

async fn install(project: &Path) -> Result<()> {
    let chart = |name: &str| project.join("charts").join(name).display().to_string();
    let (definitions, platform) = (chart("siyada-crds"), chart("siyada"));
    tool("helm", &["upgrade", "--install", "siyada-crds", &definitions, "-n", SYSTEM, "--create-namespace"])
        .await?;
    let settings = "operator.replicas=0,api.replicas=0,ledger.cluster.enabled=false,\
                    ledger.external.secretName=none-here,operator.deletionsAtMost=10000";
    tool("helm", &["upgrade", "--install", "siyada", &platform, "-n", SYSTEM, "--set", settings]).await?;
    // The webhook only advises, and nothing leads to a process outside of a pod.
    let webhook = ["delete", "validatingwebhookconfiguration", "siyada-orders", "--ignore-not-found"];
    tool("kubectl", &webhook).await.map(|_| ())
}

/// Where the harness keeps what it knows of the cluster.
fn state() -> Result<PathBuf> {
    let state = std::env::var_os("SIYADA_STATE").context("run this through `harness exec`")?;
    Ok(PathBuf::from(state))
}

fn key(name: &str) -> Result<String> {
    let path = state()?.join("pki").join(name);
    fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// The API server, as the administrator.
///
/// # Errors
/// When this was not started by the harness.
pub fn administrator() -> Result<Cluster> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, API_SERVER));
    let login = Login::Certificate { chain: key("admin.crt")?, key: key("admin.key")? };
    Ok(Cluster::new(Upstream::new(server, "127.0.0.1", &key("ca.crt")?, login)?, "127.0.0.1"))
}

impl Stage {
    /// Brings everything up to the tenants of the examples.
    ///
    /// # Errors
    /// What could not be had.
    pub async fn start(project: &Path, engine: Engine) -> Result<Self> {
        let (state, admin) = (state()?, administrator()?);
        let (server, authority) = (SocketAddr::from((Ipv4Addr::LOCALHOST, API_SERVER)), key("ca.crt")?);
        install(project).await?;
        let work = state.join("faults");
        fs::create_dir_all(&work)?;
        let login = Login::Token(token("siyada-operator", None).await?);
        let proxy = Proxy::start(Upstream::new(server, "127.0.0.1", &authority, login)?).await?;
        secret(&work.join("kubeconfig"), &proxy.kubeconfig().to_string())?;
        let ledger_token = token("siyada-operator", Some("siyada-api")).await?;
        secret(&work.join("ledger-token"), &ledger_token)?;
        expire(&admin).await?;
        let policies = policies().await?;
        let operator = operator(&work, &policies)?;
        let address = SocketAddr::new(
            match engine {
                Engine::Played => service().await?,
                Engine::Real => endpoint(&admin).await?,
            },
            LEDGER,
        );
        let database = std::env::temp_dir().join(format!("siyada-faults-{}", std::process::id()));
        let (api, authority) = api(&admin, &work, &state, &database, address).await?;
        let upstream = Upstream::new(address, LEDGER_NAME, &authority, Login::Token(ledger_token))?;
        let ledger = Cluster::new(upstream, LEDGER_NAME);
        let player = match engine {
            Engine::Played => Some(play().await?),
            Engine::Real => None,
        };
        let limit = engine.limit();
        let store = state.join("object-store.json");
        let archives = engine == Engine::Played && store.exists();
        let stage =
            Self { admin, ledger, proxy, limit, archives, work, policies, operator, api, database, player };
        stage.set_up(project).await?;
        if archives {
            stage.archive(&fs::read_to_string(store)?).await?;
        }
        Ok(stage)
    }

    async fn set_up(&self, project: &Path) -> Result<()> {
        let limit = Duration::from_secs(60);
        until(limit, "the ledger", async || Ok(self.ledger.get("/readyz").await?.is_some())).await?;
        for name in ["00-site", "10-catalogue", "20-prices", "30-tenants"] {
            let file = project.join(format!("examples/platform/{name}.yaml"));
            tool("kubectl", &["apply", "-f", &file.display().to_string()]).await?;
        }
        // A login that is replaced ends at once: what is looked at are the steps, and not the time between them. The smallest plan
        // has one beside it that differs in nothing but memory and price.
        let offering = "/apis/siyada.cloud/v1alpha1/serviceofferings/postgresql";
        let usual = self.admin.get(offering).await?.context("no offering")?;
        let mut plans = usual.pointer("/spec/plans").and_then(Value::as_array).cloned().unwrap_or_default();
        if plans.iter().all(|plan| plan["name"] != LARGER.0) {
            let mut larger = plans.first().context("no plan")?.clone();
            (larger["name"], larger["memory"]) = (json!(LARGER.0), json!(LARGER.1));
            larger["computeSku"] = json!("postgresql-small");
            plans.push(larger);
        }
        let ours = json!({"spec": {"credentials": {"gracePeriodSeconds": 0}, "plans": plans}});
        self.admin.patch(offering, &ours).await?;
        for path in
            ["tenants/interior", "tenants/civil-registry", "tenants/health", "pricelists/tarif-2026-07"]
        {
            until(limit, path, async || {
                let found = self.admin.get(&format!("/apis/siyada.cloud/v1alpha1/{path}")).await?;
                Ok(ready(&found.unwrap_or_default()))
            })
            .await?;
        }
        Ok(())
    }

    /// A second site, with the object store that the harness runs.
    async fn archive(&self, store: &str) -> Result<()> {
        let store: Value = serde_json::from_str(store)?;
        let endpoint = store["endpoint"].as_str().unwrap_or_default();
        let address: SocketAddr = endpoint.trim_start_matches("https://").parse()?;
        until(Duration::from_secs(60), "the object store", async || {
            Ok(tokio::net::TcpStream::connect(address).await.is_ok())
        })
        .await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": STORE, "namespace": SYSTEM},
            "stringData": {"accessKeyId": store["accessKeyId"], "secretAccessKey": store["secretAccessKey"]},
        });
        self.admin.create(&format!("/api/v1/namespaces/{SYSTEM}/secrets"), &secret).await?;
        let site = json!({
            "apiVersion": "siyada.cloud/v1alpha1", "kind": "Site", "metadata": {"name": ARCHIVE},
            "spec": {
                "country": "MA", "operatingBody": "Faults", "dataClassification": "Confidential",
                "storageClass": "siyada-local", "objectStorage": {
                    "endpoint": endpoint, "ca": store["ca"], "bucketPrefix": "siyada", "credentialsSecret": STORE,
                },
            },
        });
        self.admin.create("/apis/siyada.cloud/v1alpha1/sites", &site).await
    }

    /// Enters the database of a cluster that is played.
    ///
    /// # Errors
    /// When it lets nobody in.
    pub async fn enter(&self, cluster: &Value) -> Result<tokio_postgres::Client> {
        connect(&engine_folder().join(text(cluster, "/metadata/uid")), "app").await
    }

    /// Whether the engine is played.
    pub fn plays(&self) -> bool {
        self.player.is_some()
    }

    /// The operator's process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn operator(&self) -> Result<Pid> {
        let id = self.operator.id().context("the operator has ended")?;
        Pid::from_raw(i32::try_from(id)?).context("no process")
    }

    /// Starts the operator again if it has ended; says whether it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn revive(&mut self) -> Result<bool> {
        if self.operator.try_wait()?.is_none() {
            return Ok(false);
        }
        expire(&self.admin).await?;
        self.operator = operator(&self.work, &self.policies)?;
        self.proxy.aim(self.operator()?);
        Ok(true)
    }

    /// Removes kept data as the platform does, with the operator's own command.
    ///
    /// # Errors
    /// What it said.
    pub async fn discard(&self, uid: &str, name: &str) -> Result<()> {
        let program = program("siyada-operator")?.display().to_string();
        tool(&program, &["retained", "remove", uid, "--confirm", name]).await.map(|_| ())
    }
}

/// Where the databases of the engine that is played lie.
fn engine_folder() -> PathBuf {
    std::env::temp_dir().join(format!("siyada-engine-{}", std::process::id()))
}

/// Plays the engine until it is aborted.
async fn play() -> Result<JoinHandle<()>> {
    let player = Player::new(administrator()?, ENGINE, Programs::prepare(engine_folder()).await?)?;
    Ok(tokio::spawn(player.play()))
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(player) = &self.player {
            player.abort();
        }
        // The api takes its database along when it is told to stop, not when it is killed.
        let id = self.api.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = id {
            let _gone = kill_process(pid, Signal::TERM);
            let started = Instant::now();
            while matches!(self.api.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(PAUSE);
            }
        }
        let _absent = fs::remove_dir_all(&self.database);
    }
}

/// Whether an object says that it is Ready.
pub fn ready(object: &Value) -> bool {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Lets the lease of an operator that is known to be dead end now and not in 20 seconds.
async fn expire(admin: &Cluster) -> Result<()> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/siyada-operator");
    let over = json!({"spec": {"holderIdentity": null, "renewTime": "2026-01-01T00:00:00.000000Z"}});
    admin.patch(&path, &over).await.map(|_| ())
}

/// The address of the ledger's service. No node leads it to a pod here, so it becomes one of this network itself.
async fn service() -> Result<IpAddr> {
    let found = ["-n", SYSTEM, "get", "service", "siyada-api", "-o", "jsonpath={.spec.clusterIP}"];
    let address: IpAddr =
        tool("kubectl", &found).await?.parse().context("the ledger's service has no address")?;
    tool("ip", &["address", "replace", &format!("{address}/32"), "dev", "lo"]).await?;
    Ok(address)
}

/// An address of this network, to which the node leads whoever asks for the ledger's service.
async fn endpoint(admin: &Cluster) -> Result<IpAddr> {
    let node = admin.get("/api/v1/nodes/node1").await?.context("there is no node")?;
    let all = node.pointer("/status/addresses").and_then(Value::as_array);
    let internal = all.into_iter().flatten().find(|one| one["type"] == "InternalIP");
    let address: IpAddr = internal.map(|one| text(one, "/address")).unwrap_or_default().parse()?;
    let service = admin.get(&format!("/api/v1/namespaces/{SYSTEM}/services/siyada-api")).await?;
    let port = service.as_ref().and_then(|service| service.pointer("/spec/ports/0/name").cloned());
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "siyada-api-faults", "namespace": SYSTEM,
            "labels": {"kubernetes.io/service-name": "siyada-api"}},
        "endpoints": [{"addresses": [address]}], "ports": [{"name": port, "port": LEDGER, "protocol": "TCP"}],
    });
    admin.create(&format!("/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices"), &slice).await?;
    Ok(address)
}

fn log(work: &Path, name: &str) -> Result<File> {
    Ok(OpenOptions::new().create(true).append(true).open(work.join(name))?)
}

/// The policies that the chart tells the operator to wait for.
async fn policies() -> Result<String> {
    let path =
        "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"SIYADA_REQUIRED_POLICIES\")].value}";
    let found = tool("kubectl", &["-n", SYSTEM, "get", "deployment", "siyada-operator", "-o", path]).await?;
    ensure!(!found.is_empty(), "the chart names no policies");
    Ok(found)
}

fn operator(work: &Path, policies: &str) -> Result<Child> {
    Command::new(program("siyada-operator")?)
        .arg("run")
        .env("KUBECONFIG", work.join("kubeconfig"))
        .env("SIYADA_LEDGER_URL", format!("https://{LEDGER_NAME}:{LEDGER}"))
        .env("SIYADA_LEDGER_TOKEN_FILE", work.join("ledger-token"))
        .env("SIYADA_WORK_DIR", work)
        .env("SIYADA_LISTEN_HEALTH", "127.0.0.1:0")
        .env("SIYADA_LISTEN_WEBHOOK", "127.0.0.1:0")
        .env("SIYADA_DELETIONS_AT_MOST", "10000")
        .env("SIYADA_REQUIRED_POLICIES", policies)
        .stdin(Stdio::null())
        .stderr(log(work, "operator.log")?)
        .kill_on_drop(true)
        .spawn()
        .context("failed to start the operator")
}

/// The ledger with a database of its own; and the authority of its certificate, which the operator makes.
async fn api(
    admin: &Cluster,
    work: &Path,
    state: &Path,
    database: &Path,
    address: SocketAddr,
) -> Result<(Child, String)> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/secrets/siyada-api-tls");
    until(Duration::from_secs(60), "the ledger's certificate", async || {
        Ok(admin.get(&path).await?.is_some())
    })
    .await?;
    let made = admin.get(&path).await?.context("no certificate")?;
    let part = |key: &str| secret_text(&made, key).with_context(|| format!("the certificate has no {key}"));
    secret(&work.join("tls.crt"), &part("tls.crt")?)?;
    secret(&work.join("tls.key"), &part("tls.key")?)?;
    secret(&work.join("api-token"), &token("siyada-api", None).await?)?;
    let child = Command::new(program("siyada-api")?)
        .args(["serve", "--embedded-unsafe-no-fsync", "--metrics-listen=127.0.0.1:0"])
        .arg(format!("--listen={address}"))
        .env("SIYADA_EMBEDDED_POSTGRES", database)
        .env("SIYADA_TLS_CERT", work.join("tls.crt"))
        .env("SIYADA_TLS_KEY", work.join("tls.key"))
        .env("SIYADA_ISSUER", "https://kubernetes.default.svc")
        .env("SIYADA_JWKS_URL", format!("https://127.0.0.1:{API_SERVER}/openid/v1/jwks"))
        .env("SIYADA_JWKS_CA", state.join("pki/ca.crt"))
        .env("SIYADA_JWKS_TOKEN_FILE", work.join("api-token"))
        .env("SIYADA_PLATFORM_OPERATOR", format!("system:serviceaccount:{SYSTEM}:siyada-operator"))
        .stdin(Stdio::null())
        .stderr(log(work, "api.log")?)
        .kill_on_drop(true)
        .spawn()
        .context("failed to start the ledger")?;
    Ok((child, part("ca.crt")?))
}
