//! The third-party programs, compiled from Go modules into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{command, output, succeeds, tail};
use crate::place::key;
use crate::say::{Step, say};

/// Version of CloudNativePG; `modules/together/go.mod` names the same one, and a test compares them.
pub const ENGINE_VERSION: &str = "1.30.0";
const KUBERNETES_LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 \
    -X github.com/cloudnative-pg/cloudnative-pg/pkg/versions.buildVersion=1.30.0";

/// One `go build`: many programs of one module share its compiled packages.
struct Build {
    module: &'static str,
    title: &'static str,
    flags: &'static [&'static str],
    packages: &'static [&'static str],
    /// (what `go build` calls it, what we call it)
    renamed: &'static [(&'static str, &'static str)],
}

const BUILDS: [Build; 4] = [
    Build {
        module: "together",
        title: "Kubernetes, etcd, CloudNativePG and Helm",
        flags: &["-ldflags", KUBERNETES_LDFLAGS],
        packages: &[
            "go.etcd.io/etcd/server/v3",
            "helm.sh/helm/v3/cmd/helm",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
            "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
        ],
        renamed: &[("server", "etcd"), ("manager", "cnpg-manager")],
    },
    Build {
        module: "containerd",
        title: "containerd",
        flags: &["-tags", "no_btrfs no_zfs no_devmapper", "-ldflags", "-s -w"],
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        renamed: &[],
    },
    Build {
        module: "coredns",
        title: "CoreDNS",
        flags: &["-ldflags", "-s -w"],
        packages: &["github.com/coredns/coredns"],
        renamed: &[],
    },
    Build {
        module: "document-gateway",
        title: "document gateway",
        flags: &["-ldflags", "-s -w"],
        packages: &["."],
        renamed: &[],
    },
];

/// The directory the programs are in.
#[derive(Debug, Clone)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// The path of one program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// The directory itself, for `PATH`.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// What names this set of programs in the cache.
    pub fn key(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The programs, compiled first if this set of sources has never been. Instant the second time.
pub fn ensure(checkout: &Path) -> Result<Binaries> {
    let modules = checkout.join("tests/harness/modules");
    let name = format!("bin-{}", &sources_key(&modules)?[..16]);
    Ok(Binaries(cache::ensure(&name, |fresh| compile(&modules, fresh))?))
}

fn sources_key(modules: &Path) -> Result<String> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for build in &BUILDS {
        for file in ["go.mod", "go.sum", "main.go"] {
            parts.push(fs::read(modules.join(build.module).join(file)).unwrap_or_default());
        }
        parts.push(build.flags.join("\n").into_bytes());
        parts.push(build.packages.join("\n").into_bytes());
    }
    if parts.first().is_none_or(Vec::is_empty) {
        bail!("no Go modules in {}; the checkout is incomplete", modules.display());
    }
    Ok(key(parts.iter().map(Vec::as_slice)))
}

fn compile(modules: &Path, into: &Path) -> Result<()> {
    if !succeeds(&mut command("go", ["version"])) {
        bail!("no `go` on the PATH; install Go 1.26 or newer, see https://go.dev/dl");
    }
    say(
        "compiling the third-party programs, once: 6 to 12 minutes on 2 cores, some 2 GB of downloads and build cache",
    );
    let steps = BUILDS.len() + 1;
    let step = Step::begin();
    download(modules)?;
    say(format!("[1/{steps}] Go modules … {} s", step.seconds()));
    for (index, build) in BUILDS.iter().enumerate() {
        let step = Step::begin();
        build.run(modules, into).with_context(|| format!("failed to compile {}", build.title))?;
        say(format!("[{}/{steps}] {} … {} s", index + 2, build.title, step.seconds()));
    }
    keep_engine_manifest(modules, into)
}

impl Build {
    fn run(&self, modules: &Path, into: &Path) -> Result<()> {
        let mut child = go(modules, self.module)
            .args(["build", "-trimpath"])
            .args(self.flags)
            .arg("-o")
            .arg(format!("{}/", into.display()))
            .args(self.packages)
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start go")?;
        watch(&mut child, self.title);
        finish(child)?;
        for (from, to) in self.renamed {
            fs::rename(into.join(from), into.join(to)).with_context(|| format!("go build made no {from}"))?;
        }
        Ok(())
    }
}

/// All modules side by side: this is waiting for the network, not work. Listing what the packages need fetches just
/// that; `go mod download` would fetch everything any of their tests ever wanted.
fn download(modules: &Path) -> Result<()> {
    let tags =
        |build: &Build| build.flags.windows(2).find(|pair| pair[0] == "-tags").map_or("", |pair| pair[1]);
    let start = |build: &Build| {
        let list = ["list", "-deps", "-f", "{{.Name}}", "-tags", tags(build)];
        go(modules, build.module).args(list).args(build.packages).stderr(Stdio::piped()).spawn()
    };
    let children: Vec<_> = BUILDS.iter().map(|build| (build.title, start(build))).collect();
    for (title, child) in children {
        finish(child.context("failed to start go")?)
            .with_context(|| format!("failed to download the modules of {title}"))?;
    }
    Ok(())
}

fn go(modules: &Path, module: &str) -> Command {
    let mut go = Command::new("go");
    go.current_dir(modules.join(module)).env("CGO_ENABLED", "0").stdin(Stdio::null()).stdout(Stdio::null());
    go
}

/// A sign of life once a minute while a long build is silent.
fn watch(child: &mut Child, title: &str) {
    let step = Step::begin();
    let mut told = 0;
    while matches!(child.try_wait(), Ok(None)) {
        sleep(Duration::from_millis(200));
        if step.seconds() >= told + 60 {
            told = step.seconds();
            say(format!("      {title}: still compiling, {told} s"));
        }
    }
}

fn finish(child: Child) -> Result<()> {
    let done = child.wait_with_output()?;
    match done.status.success() {
        true => Ok(()),
        false => bail!("go said: {}", tail(&String::from_utf8_lossy(&done.stderr), 20)),
    }
}

/// CloudNativePG ships its release manifest inside its module.
fn keep_engine_manifest(modules: &Path, into: &Path) -> Result<()> {
    let module = "github.com/cloudnative-pg/cloudnative-pg";
    let mut list = Command::new("go");
    list.current_dir(modules.join("together")).args(["list", "-m", "-f", "{{.Dir}}", module]);
    let manifest = Path::new(output(&mut list)?.trim()).join(format!("releases/cnpg-{ENGINE_VERSION}.yaml"));
    fs::copy(&manifest, into.join("engine.yaml"))
        .with_context(|| format!("failed to copy {}", manifest.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("modules")
    }

    #[test]
    fn the_versions_here_are_those_of_the_modules() {
        let text = fs::read_to_string(modules().join("together/go.mod")).unwrap();
        assert!(text.contains(&format!("cloudnative-pg/cloudnative-pg v{ENGINE_VERSION}\n")));
        assert!(KUBERNETES_LDFLAGS.contains(&format!("buildVersion={ENGINE_VERSION}")));
        let kubernetes =
            text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes ")).unwrap();
        assert!(KUBERNETES_LDFLAGS.contains(&format!("gitVersion={kubernetes} ")));
    }

    #[test]
    fn every_module_has_both_its_files() {
        for build in &BUILDS {
            for file in ["go.mod", "go.sum"] {
                assert!(modules().join(build.module).join(file).is_file(), "{}/{file}", build.module);
            }
        }
        assert_eq!(sources_key(&modules()).unwrap(), sources_key(&modules()).unwrap());
    }
}
