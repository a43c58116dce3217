//! The long-running programs of a cluster: what each is started with, and whether it runs.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::binaries::Binaries;
use crate::command::tail;
use crate::config::API_PORT;
use crate::network::NODE_IP;
use crate::object_store;
use crate::pki;
use crate::place::{Place, key};
use crate::process::{self, Identity};

/// A log longer than this is put aside when its component is started again.
const LOG_BYTES_MAX: u64 = 50_000_000;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Etcd,
    ApiServer,
    RelayInside,
    RelayOutside,
    ControllerManager,
    Scheduler,
    Dns,
    Containerd,
    Kubelet,
    Proxy,
    Provisioner,
    ObjectStore,
}

/// All, in the order they are started.
pub const ALL: [Component; 12] = [
    Component::Etcd,
    Component::ApiServer,
    Component::RelayInside,
    Component::RelayOutside,
    Component::ControllerManager,
    Component::Scheduler,
    Component::Dns,
    Component::Containerd,
    Component::Kubelet,
    Component::Proxy,
    Component::Provisioner,
    Component::ObjectStore,
];

/// What the command lines are made of.
pub struct Setting<'a> {
    /// Where the cluster lives.
    pub place: &'a Place,
    /// The programs.
    pub binaries: &'a Binaries,
    /// Where the host reaches the API server.
    pub host_port: u16,
}

impl Component {
    /// Its name in files, messages and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::RelayInside => "relay-inside",
            Self::RelayOutside => "relay-outside",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Dns => "coredns",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Provisioner => "provisioner",
            Self::ObjectStore => "object-store",
        }
    }

    /// Whether it is needed only to run pods.
    pub fn of_node(self) -> bool {
        matches!(self, Self::Containerd | Self::Kubelet | Self::Proxy | Self::Provisioner | Self::ObjectStore)
    }

    /// Its process, if it runs.
    pub fn running(self, place: &Place) -> Option<Identity> {
        Identity::read(&self.process_file(place)).filter(Identity::alive)
    }

    /// Starts it unless it runs as it should; one that runs with an older command line is replaced.
    /// Says whether it was started.
    pub fn ensure(self, setting: &Setting<'_>) -> Result<bool> {
        let words = self.words(setting);
        let hash = key(words.iter().map(|word| word.as_bytes()))[..16].to_string();
        match self.running(setting.place) {
            Some(running) if running.command == hash => return Ok(false),
            Some(running) if !running.stop(10) => {
                bail!("failed to stop {}, pid {}", self.name(), running.pid)
            }
            Some(_) => {}
            // A crash between start and note, or a lost note: one must never run twice.
            None => stop_all(with_command_line(&words)),
        }
        self.start(setting, &words, &hash)?;
        Ok(true)
    }

    fn start(self, setting: &Setting<'_>, words: &[String], hash: &str) -> Result<()> {
        let log = self.open_log(setting.place)?;
        // setsid: a Ctrl-C at the terminal must not reach what outlives this command. Neither it nor nsenter forks.
        let mut command = Command::new("setsid");
        if self != Self::RelayOutside {
            command.arg("nsenter").arg(format!("--net={}", setting.place.netns().display())).arg("--");
        }
        command.args(words).current_dir(&setting.place.state).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        // containerd looks for its shim, and CNI plugins look for iptables, on the PATH.
        let path = std::env::var("PATH").unwrap_or_default();
        let directory = setting.binaries.directory().display();
        command.env("PATH", format!("{directory}:/usr/local/sbin:/usr/sbin:/sbin:{path}"));
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let child = command.spawn().with_context(|| format!("failed to start {}", self.name()))?;
        let identity = Identity::of(child.id(), hash).with_context(|| {
            format!("{} ended at once; its log is {}", self.name(), setting.place.log(self.name()).display())
        })?;
        let file = self.process_file(setting.place);
        fs::write(&file, identity.to_string()).with_context(|| format!("failed to write {}", file.display()))
    }

    fn open_log(self, place: &Place) -> Result<File> {
        let path = place.log(self.name());
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("failed to open {}", path.display()))
    }

    /// Where its process is remembered.
    pub fn process_file(self, place: &Place) -> PathBuf {
        place.run(&format!("{}.pid", self.name()))
    }

    /// The sentence for a wait that was given up, with the end of the log.
    pub fn explain(self, place: &Place, what: &str) -> String {
        let log = place.log(self.name());
        let state = if self.running(place).is_some() { "still runs" } else { "is not running" };
        let end = tail(&fs::read_to_string(&log).unwrap_or_default(), 8);
        format!("{what}; {} {state}, its log is {}\n{end}", self.name(), log.display())
    }

    fn words(self, setting: &Setting<'_>) -> Vec<String> {
        let place = setting.place;
        let program = |name: &str| setting.binaries.path(name).display().to_string();
        let state = |name: &str| place.state(name).display().to_string();
        let socket = place.run("api.sock").display().to_string();
        let own =
            || std::env::current_exe().map_or_else(|_| "harness".into(), |path| path.display().to_string());
        match self {
            Self::Etcd => etcd(setting),
            Self::ApiServer => api_server(setting),
            // From the host: TCP on the loopback, then a Unix socket, then the namespace.
            Self::RelayInside => words([
                "socat",
                &format!("UNIX-LISTEN:{socket},fork,unlink-early"),
                &format!("TCP:127.0.0.1:{API_PORT}"),
            ]),
            Self::RelayOutside => {
                let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", setting.host_port);
                words(["socat", &listen, &relay_target(place)])
            }
            Self::ControllerManager => controller_manager(setting),
            Self::Scheduler => {
                let kubeconfig = format!("--kubeconfig={}", state("scheduler.kubeconfig"));
                words([
                    program("kube-scheduler").as_str(),
                    &kubeconfig,
                    "--leader-elect=false",
                    "--bind-address=127.0.0.1",
                ])
            }
            Self::Dns => words([program("coredns").as_str(), "-conf", &state("Corefile")]),
            Self::Containerd => words([program("containerd").as_str(), "-c", &state("containerd.toml")]),
            Self::Kubelet => words([
                program("kubelet").as_str(),
                &format!("--config={}", state("kubelet.yaml")),
                &format!("--kubeconfig={}", state("kubelet.kubeconfig")),
                &format!("--root-dir={}", state("kubelet")),
                &format!("--cert-dir={}", state("kubelet/pki")),
                &format!("--node-ip={NODE_IP}"),
                "--hostname-override=node1",
            ]),
            Self::Proxy => {
                words([program("kube-proxy").as_str(), &format!("--config={}", state("proxy.yaml"))])
            }
            Self::Provisioner => words([own().as_str(), "provisioner", "--name", &place.name]),
            Self::ObjectStore => object_store::words(place),
        }
    }
}

/// Every process with exactly this command line. It holds our own paths, so none of another cluster's can have it.
fn with_command_line(words: &[String]) -> Vec<u32> {
    process::all().into_iter().filter(|pid| process::command_line(*pid) == words).collect()
}

/// Every process of the relay on the host, which has one per connection, whatever port it listens on.
pub fn outside_relays(place: &Place) -> Vec<u32> {
    let target = relay_target(place);
    process::all().into_iter().filter(|pid| process::command_line(*pid).last() == Some(&target)).collect()
}

fn relay_target(place: &Place) -> String {
    format!("UNIX-CONNECT:{}", place.run("api.sock").display())
}

/// Ends processes that no process file names.
pub fn stop_all(pids: Vec<u32>) {
    for stray in pids.into_iter().filter_map(|pid| Identity::of(pid, "-")) {
        stray.stop(5);
    }
}

fn etcd(setting: &Setting<'_>) -> Vec<String> {
    words([
        setting.binaries.path("etcd").display().to_string().as_str(),
        &format!("--data-dir={}", setting.place.state("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:12379",
        "--advertise-client-urls=http://127.0.0.1:12379",
        "--listen-peer-urls=http://127.0.0.1:12380",
        "--quota-backend-bytes=4294967296",
        // A power cut may lose this cluster; a killed process does not.
        "--unsafe-no-fsync",
    ])
}

fn api_server(setting: &Setting<'_>) -> Vec<String> {
    let file = |name: &str| pki::file(setting.place, name).display().to_string();
    words([
        setting.binaries.path("kube-apiserver").display().to_string().as_str(),
        "--etcd-servers=http://127.0.0.1:12379",
        &format!("--secure-port={API_PORT}"),
        "--bind-address=0.0.0.0",
        &format!("--advertise-address={NODE_IP}"),
        &format!("--tls-cert-file={}", file("apiserver.crt")),
        &format!("--tls-private-key-file={}", file("apiserver.key")),
        &format!("--client-ca-file={}", file("ca.crt")),
        &format!("--service-account-key-file={}", file("sa.pub")),
        &format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        // Webhooks are called at pod addresses, since the API server has no kube-proxy of its own to rely on.
        "--enable-aggregator-routing=true",
        &format!("--kubelet-client-certificate={}", file("admin.crt")),
        &format!("--kubelet-client-key={}", file("admin.key")),
        // Nothing resolves the node's name.
        "--kubelet-preferred-address-types=InternalIP",
        &format!("--audit-policy-file={}", setting.place.state("audit.yaml").display()),
        &format!("--audit-log-path={}", setting.place.state("log/audit.log").display()),
        "--audit-log-maxsize=1000",
        "--audit-log-maxbackup=1",
    ])
}

fn controller_manager(setting: &Setting<'_>) -> Vec<String> {
    let file = |name: &str| pki::file(setting.place, name).display().to_string();
    words([
        setting.binaries.path("kube-controller-manager").display().to_string().as_str(),
        &format!("--kubeconfig={}", setting.place.state("controller-manager.kubeconfig").display()),
        &format!("--service-account-private-key-file={}", file("sa.key")),
        &format!("--root-ca-file={}", file("ca.crt")),
        &format!("--cluster-signing-cert-file={}", file("ca.crt")),
        &format!("--cluster-signing-key-file={}", file("ca.key")),
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ])
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.into_iter().map(String::from).collect()
}

/// The component of that name. Fails with the list of names.
pub fn named(name: &str) -> Result<Component> {
    let names = || ALL.map(Component::name).join(", ");
    ALL.into_iter()
        .find(|component| component.name() == name)
        .with_context(|| format!("no component {name:?}; there are {}", names()))
}
