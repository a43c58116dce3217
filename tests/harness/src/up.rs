//! `harness up`: everything that is not yet as it should be, in order.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, Result, bail};

use crate::binaries;
use crate::cache;
use crate::cgroup;
use crate::command::{feed, succeeds, wait_until};
use crate::component::{ALL, Component, Setting, outside_relays, stop_all};
use crate::config::{self, DOMAIN};
use crate::containerd;
use crate::engine;
use crate::exec::{kubectl, resolving};
use crate::images;
use crate::network;
use crate::object_store;
use crate::pki;
use crate::place::{Place, write};
use crate::provisioner;
use crate::say::{Step, say};
use crate::volume::Volume;

/// The first choice for the API server's port on the host, so that a kubeconfig once copied stays right.
const HOST_PORT: u16 = 26443;

/// Starts the cluster, or repairs it. Harmless when everything runs.
pub fn up(place: &Place, node: bool, store: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a cluster needs root, for network namespaces and mounts; run it with sudo");
    }
    let binaries = binaries::ensure(&place.checkout)?;
    let images = if node { Some(images::ensure(&binaries)?) } else { None };
    if store {
        object_store::ensure()?;
    }
    fs::create_dir_all(&place.state)
        .with_context(|| format!("failed to create {}", place.state.display()))?;
    let lock = cache::lock(&place.state("lock"))?;
    let step = Step::begin();
    let host_port = host_port(place)?;
    network::ensure(place)?;
    pki::ensure(place)?;
    config::ensure(place, host_port)?;
    let setting = Setting { place, binaries: &binaries, host_port };
    control_plane(&setting, &step)?;
    if store {
        object_store::configure(place)?;
        Component::ObjectStore.ensure(&setting)?;
    }
    if let Some(images) = images {
        start_node(&setting, &images, &step)?;
    } else {
        engine::apply(place, &binaries, false)?;
        step.done("CloudNativePG's resource definitions");
    }
    dns(&setting)?;
    drop(lock);
    say(format!("up: export KUBECONFIG={}", place.kubeconfig().display()));
    Ok(())
}

fn control_plane(setting: &Setting<'_>, step: &Step) -> Result<()> {
    let place = setting.place;
    for component in [Component::Etcd, Component::ApiServer, Component::RelayInside, Component::RelayOutside]
    {
        component.ensure(setting)?;
    }
    if !wait_until(90, || succeeds(kubectl(place, setting.binaries).args(["get", "--raw", "/readyz"]))) {
        let parts = [Component::Etcd, Component::RelayInside, Component::RelayOutside];
        let dead =
            parts.into_iter().find(|part| part.running(place).is_none()).unwrap_or(Component::ApiServer);
        bail!("{}", dead.explain(place, "gave up waiting 90 s for the API server"));
    }
    for component in [Component::ControllerManager, Component::Scheduler, Component::Dns] {
        component.ensure(setting)?;
    }
    apply(setting, &provisioner::storage_class().to_string())?;
    // Pods are refused until their namespace has a service account, which the controller manager makes.
    let account = || {
        succeeds(kubectl(place, setting.binaries).args(["-n", "default", "get", "serviceaccount", "default"]))
    };
    if !wait_until(60, account) {
        bail!(
            "{}",
            Component::ControllerManager.explain(place, "gave up waiting 60 s for the controller manager")
        );
    }
    step.done("control plane");
    Ok(())
}

fn start_node(setting: &Setting<'_>, images: &images::Images, step: &Step) -> Result<()> {
    let (place, binaries) = (setting.place, setting.binaries);
    cgroup::ensure(place)?;
    Component::Containerd.ensure(setting)?;
    if !wait_until(60, || succeeds(containerd::ctr(place, binaries).arg("version"))) {
        bail!("{}", Component::Containerd.explain(place, "gave up waiting 60 s for containerd"));
    }
    let mut fresh = 0;
    for (name, file) in images.all() {
        fresh += usize::from(containerd::import_file(place, binaries, &name, &file)?);
    }
    if fresh > 0 {
        step.done(format!("{fresh} images imported"));
    }
    // Before the kubelet: what runs again after a stop must find its data.
    Volume::all(place).iter().try_for_each(Volume::mount).context("failed to mount a volume")?;
    for component in [Component::Kubelet, Component::Proxy, Component::Provisioner] {
        component.ensure(setting)?;
    }
    engine::apply(place, binaries, true)?;
    let ready = ["wait", "--for=condition=Ready", "node/node1", "--timeout=1s"];
    if !wait_until(90, || succeeds(kubectl(place, binaries).args(ready))) {
        bail!("{}", Component::Kubelet.explain(place, "gave up waiting 90 s for the node"));
    }
    step.done("node");
    engine::wait(place, binaries)?;
    step.done("CloudNativePG");
    all_alive(place, true)
}

/// A component that ends right after its start is found here rather than by the first test that needs it.
fn all_alive(place: &Place, node: bool) -> Result<()> {
    for component in ALL.into_iter().filter(|component| node || !component.of_node()) {
        if component.running(place).is_none() {
            bail!("{}", component.explain(place, &format!("{} did not stay up", component.name())));
        }
    }
    Ok(())
}

/// Looks up a name the way a test will.
fn dns(setting: &Setting<'_>) -> Result<()> {
    let words = ["getent", "hosts", &format!("kubernetes.default.svc.{DOMAIN}")].map(String::from);
    if !wait_until(30, || succeeds(&mut resolving(setting.place, setting.binaries, &words))) {
        bail!("{}", Component::Dns.explain(setting.place, "gave up waiting 30 s for names to resolve"));
    }
    Ok(())
}

fn apply(setting: &Setting<'_>, object: &str) -> Result<String> {
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=harness", "-f", "-"];
    feed(kubectl(setting.place, setting.binaries).args(apply), object)
}

/// The port used last time, if it is still ours or free; else the first choice; else any.
pub fn host_port(place: &Place) -> Result<u16> {
    let file = place.state("port");
    let last: Option<u16> = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let free =
        |port: u16| TcpListener::bind(("127.0.0.1", port)).ok().and_then(|socket| socket.local_addr().ok());
    if Component::RelayOutside.running(place).is_none() {
        stop_all(outside_relays(place));
    }
    let ours = last.filter(|_| Component::RelayOutside.running(place).is_some());
    let port = ours
        .or_else(|| [last?, HOST_PORT].into_iter().find_map(|port| Some(free(port)?.port())))
        .or_else(|| Some(free(HOST_PORT).or_else(|| free(0))?.port()))
        .context("no free port on 127.0.0.1")?;
    write(&file, &port.to_string())?;
    Ok(port)
}
