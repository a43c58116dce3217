//! Storage for the local cluster: volumes with a real limit that can grow while in use.
//!
//! It looks at claims and volumes, decides, acts; every action can be repeated, so a crash at any point is made good
//! by the next look.

mod decide;
mod watch;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Result, bail};
use decide::{Action, PROVISIONER, Seen, decide, text};
use serde_json::{Value, json};
use watch::Event;

use crate::binaries;
use crate::command::{feed, output};
use crate::place::Place;
use crate::volume::Volume;

pub use decide::CLASS;

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
/// Failed actions are tried again this often.
const AGAIN: Duration = Duration::from_secs(3);

/// The storage class object.
pub fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
        "reclaimPolicy": "Delete",
    })
}

/// Serves claims until it is stopped.
pub fn run(place: &Place) -> Result<()> {
    let binaries = binaries::ensure(&place.checkout)?;
    let (program, kubeconfig) = (binaries.path("kubectl"), place.state("provisioner.kubeconfig"));
    let kubectl = move || {
        let mut command = Command::new(&program);
        command.env("KUBECONFIG", &kubeconfig).arg("--cache-dir=/nonexistent");
        command
    };
    let (sender, events) = mpsc::channel();
    watch::watch(CLAIMS, kubectl.clone(), sender.clone());
    watch::watch(VOLUMES, kubectl.clone(), sender);
    let mut seen = Seen::default();
    let mut failed = false;
    loop {
        absorb(&events, &mut seen, failed)?;
        let path = |name: &str| Volume::named(place, name).data().display().to_string();
        failed = false;
        for action in decide(&seen, path) {
            match act(place, &kubectl, &action) {
                Ok(()) => println!("did {}", sentence(&action)),
                Err(error) => {
                    failed = true;
                    println!("failed to {}: {error:#}", sentence(&action));
                }
            }
        }
    }
}

/// Waits for something new, then takes everything there is. After a failure it waits only a while.
fn absorb(events: &Receiver<Event>, seen: &mut Seen, failed: bool) -> Result<()> {
    let first = if failed {
        events.recv_timeout(AGAIN)
    } else {
        events.recv().map_err(|_| RecvTimeoutError::Disconnected)
    };
    match first {
        Ok(event) => remember(seen, event),
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => bail!("both watches ended"),
    }
    events.try_iter().for_each(|event| remember(seen, event));
    Ok(())
}

fn remember(seen: &mut Seen, event: Event) {
    let uid = |object: &Value| text(object, "/metadata/uid").to_string();
    match event {
        Event::Restarted(kind) => objects(seen, kind).clear(),
        Event::Is(kind, object) => drop(objects(seen, kind).insert(uid(&object), object)),
        Event::Gone(kind, object) => drop(objects(seen, kind).remove(&uid(&object))),
    }
}

fn objects<'a>(seen: &'a mut Seen, kind: &str) -> &'a mut BTreeMap<String, Value> {
    if kind == CLAIMS { &mut seen.claims } else { &mut seen.volumes }
}

/// The disk first, the API second: what the API says is there is there.
fn act(place: &Place, kubectl: &impl Fn() -> Command, action: &Action) -> Result<()> {
    match action {
        Action::Provision { volume, bytes, object } => {
            Volume::named(place, volume).create(*bytes)?;
            match feed(kubectl().args(["create", "--validate=ignore", "-f", "-"]), &object.to_string()) {
                Err(error) if !error.to_string().contains("AlreadyExists") => Err(error),
                _ => Ok(()),
            }
        }
        Action::Grow { volume, bytes, capacity } => {
            Volume::named(place, volume).grow(*bytes)?;
            patch(kubectl(), &["pv", volume], &json!({"spec": {"capacity": {"storage": capacity}}}))
        }
        Action::Report { namespace, claim, capacity } => {
            let status = json!({"status": {"capacity": {"storage": capacity}, "conditions": null}});
            patch(kubectl(), &["pvc", claim, "--namespace", namespace, "--subresource=status"], &status)
        }
        Action::Remove { volume } => {
            Volume::named(place, volume).remove()?;
            output(kubectl().args(["delete", "pv", volume, "--ignore-not-found", "--wait=false"])).map(drop)
        }
    }
}

fn patch(mut kubectl: Command, object: &[&str], patch: &Value) -> Result<()> {
    output(kubectl.arg("patch").args(object).args(["--type=merge", "-p", &patch.to_string()])).map(drop)
}

fn sentence(action: &Action) -> String {
    match action {
        Action::Provision { volume, bytes, .. } => format!("provision {volume} with {bytes} bytes"),
        Action::Grow { volume, capacity, .. } => format!("grow {volume} to {capacity}"),
        Action::Report { namespace, claim, capacity } => format!("report {capacity} on {namespace}/{claim}"),
        Action::Remove { volume } => format!("remove {volume}"),
    }
}
