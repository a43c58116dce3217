//! The configuration files of the components, rendered from a place.

use std::fs;

use anyhow::{Context, Result};

use crate::network::NODE_IP;
use crate::pki;
use crate::place::{Place, write};

/// Where the API server listens inside the namespace.
pub const API_PORT: u16 = 16443;
/// What the cluster is called inside.
pub const DOMAIN: &str = "cluster.local";

/// Writes them all. `host_port` is where the API server is reached from the host.
pub fn ensure(place: &Place, host_port: u16) -> Result<()> {
    for directory in ["etcd", "containerd", "log", "kubelet", "volumes"] {
        let path = place.state(directory);
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
    }
    let cni = place.run("cni");
    fs::create_dir_all(&cni).with_context(|| format!("failed to create {}; are you root?", cni.display()))?;
    kubeconfig(place, "kubeconfig", "admin", host_port)?;
    kubeconfig(place, "inner.kubeconfig", "admin", API_PORT)?;
    for user in ["provisioner", "controller-manager", "scheduler", "proxy", "kubelet"] {
        kubeconfig(place, &format!("{user}.kubeconfig"), user, API_PORT)?;
    }
    write(&place.state("audit.yaml"), AUDIT)?;
    write(&place.state("containerd.toml"), &containerd(place))?;
    write(&cni.join("10-bridge.conflist"), &bridge(place))?;
    write(&place.state("kubelet.yaml"), &kubelet(place))?;
    write(&place.state("proxy.yaml"), &proxy(place))?;
    write(&place.state("Corefile"), &corefile(place))?;
    write(
        &place.run("resolv.conf"),
        &format!("nameserver {NODE_IP}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:2\n"),
    )
}

fn kubeconfig(place: &Place, file: &str, user: &str, port: u16) -> Result<()> {
    let pki = place.state("pki");
    let pki = pki.display();
    let text = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: {id}, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{pki}/ca.crt\"}}}}]
users: [{{name: {user}, user: {{client-certificate: \"{pki}/{user}.crt\", client-key: \"{pki}/{user}.key\"}}}}]
contexts: [{{name: {id}, context: {{cluster: {id}, user: {user}}}}}]
current-context: {id}
",
        id = place.id
    );
    write(&place.state(file), &text)
}

/// Who did what, without bodies: tests count the operator's reads and writes in it.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Everything at paths of its own, so that two of them can run on one machine.
fn containerd(place: &Place) -> String {
    let (run, root, opt) = (place.run.display(), place.state("containerd"), place.run("opt"));
    format!(
        r#"version = 3
root = "{root}"
state = "{run}/containerd"
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true   # some sandboxes lack CAP_SYS_RESOURCE
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{run}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "/usr/sbin/runc"
    Root = "{run}/runc"
    SystemdCgroup = false
"#,
        root = root.display(),
        opt = opt.display(),
        pause = crate::images::PAUSE,
    )
}

fn bridge(place: &Place) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": place.id,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": place.run("addresses"),
                    "ranges": [[{"subnet": "10.244.0.0/20"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// Images cannot be pulled again, so they must never be collected: hence the threshold of 100 %.
fn kubelet(place: &Place) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{id}
failSwapOn: false
maxPods: 250
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: \"{ca}\"}}}}
authorization: {{mode: Webhook}}
tlsCertFile: \"{certificate}\"
tlsPrivateKeyFile: \"{key}\"
clusterDomain: {DOMAIN}
clusterDNS: [{NODE_IP}]
containerRuntimeEndpoint: \"unix://{run}/containerd.sock\"
podLogsDir: \"{logs}\"
volumePluginDir: \"{plugins}\"
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
resolvConf: \"\"
",
        id = place.id,
        ca = pki::file(place, "ca.crt").display(),
        certificate = pki::file(place, "kubelet.crt").display(),
        key = pki::file(place, "kubelet.key").display(),
        run = place.run.display(),
        logs = place.state("log/pods").display(),
        plugins = place.state("kubelet/plugins-exec").display(),
    )
}

fn proxy(place: &Place) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: \"{}\"}}
clusterCIDR: 10.244.0.0/16
hostnameOverride: node1
conntrack: {{maxPerCore: 0}}
",
        place.state("proxy.kubeconfig").display()
    )
}

fn corefile(place: &Place) -> String {
    let file = |name| pki::file(place, name);
    format!(
        ".:53 {{
  bind {NODE_IP}
  errors
  kubernetes {DOMAIN} in-addr.arpa {{
    endpoint https://127.0.0.1:{API_PORT}
    tls {} {} {}
  }}
  cache 5
}}
",
        file("admin.crt").display(),
        file("admin.key").display(),
        file("ca.crt").display()
    )
}
