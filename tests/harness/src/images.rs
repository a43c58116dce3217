//! The container images of others, built from Debian packages and our own compiler into the cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::archive::{self, Start};
use crate::binaries::{Binaries, ENGINE_VERSION};
use crate::cache;
use crate::command::{command, output};
use crate::place::{key, write};
use crate::say::Step;

/// What CloudNativePG runs.
pub const POSTGRES: &str = "localhost/postgresql:15";
/// What an instance of the one before becomes when its major version is changed.
pub const NEXT_POSTGRES: &str = "localhost/postgresql:17";
/// What every pod's network namespace hangs on.
pub const PAUSE: &str = "localhost/pause:1";
/// The MongoDB protocol in front of PostgreSQL.
pub const GATEWAY: &str = "localhost/document-gateway:1.24.0";

/// Raise it when a recipe below changes.
const RECIPE: &str = "1";
const RELEASE: &str = "bookworm";
/// The next PostgreSQL comes from the next Debian, and so does nothing else.
const NEXT_RELEASE: &str = "trixie";
/// What PostgreSQL 17 is made of. The engine copies the programs of 15 out of its own image when it changes the version; the last
/// three are the libraries that those need and that the next Debian has no more.
const NEXT_PACKAGES: &str =
    "postgresql-17,ca-certificates,barman-cli-cloud,python3-boto3,libicu72,libldap-2.5-0,libllvm14";
const MIRROR: &str = "http://deb.debian.org/debian";
const PAUSE_SOURCE: &str = include_str!("pause.c");

/// Where the image files are.
#[derive(Debug, Clone)]
pub struct Images {
    directory: PathBuf,
    base: PathBuf,
    next: PathBuf,
}

impl Images {
    /// Every image of others with its file.
    pub fn all(&self) -> [(String, PathBuf); 5] {
        let file = |name: &str| self.directory.join(name);
        [
            (PAUSE.into(), file("pause.tar")),
            (engine_image(), file("engine.tar")),
            (GATEWAY.into(), file("gateway.tar")),
            (POSTGRES.into(), self.base.join("postgresql.tar")),
            (NEXT_POSTGRES.into(), self.next.join("postgresql.tar")),
        ]
    }

    /// The layer our own images stand on: the C library and the certificates of public authorities.
    pub fn base(&self) -> PathBuf {
        self.base.join("base.tar")
    }
}

/// The image of the CloudNativePG operator.
pub fn engine_image() -> String {
    format!("localhost/cloudnative-pg:{ENGINE_VERSION}")
}

/// The images, built first if they never were. Those from Debian and those from our compiler are kept apart, since
/// the slow ones change rarely.
pub fn ensure(binaries: &Binaries) -> Result<Images> {
    let debian = format!("images-debian-{}", &key([RECIPE.as_bytes(), RELEASE.as_bytes()])[..16]);
    let compiled = key([RECIPE.as_bytes(), binaries.key().as_bytes(), PAUSE_SOURCE.as_bytes()]);
    let next =
        key([RECIPE.as_bytes(), RELEASE.as_bytes(), NEXT_RELEASE.as_bytes(), NEXT_PACKAGES.as_bytes()]);
    Ok(Images {
        next: cache::ensure(&format!("images-next-{}", &next[..16]), next_from_debian)?,
        base: cache::ensure(&debian, from_debian)?,
        directory: cache::ensure(&format!("images-{}", &compiled[..16]), |fresh| {
            from_binaries(binaries, fresh)
        })?,
    })
}

fn from_debian(into: &Path) -> Result<()> {
    let step = Step::begin();
    bootstrap("extract", "libc6,libgcc-s1,ca-certificates", &[RELEASE], &into.join("base.tar"))?;
    step.done("image: base");
    let step = Step::begin();
    // In-tree object-store backup runs barman's cloud tools inside the database's own image.
    let packages = "postgresql-15,ca-certificates,barman-cli-cloud,python3-boto3";
    postgres(into, POSTGRES, "15", packages, &[RELEASE])?;
    step.done("image: postgresql");
    Ok(())
}

fn next_from_debian(into: &Path) -> Result<()> {
    let step = Step::begin();
    let source = |release: &str| format!("deb {MIRROR} {release} main");
    let sources = [NEXT_RELEASE.to_owned(), source(NEXT_RELEASE), source(RELEASE)];
    postgres(into, NEXT_POSTGRES, "17", NEXT_PACKAGES, &sources.each_ref().map(String::as_str))?;
    step.done("image: the next postgresql");
    Ok(())
}

/// An image of PostgreSQL as the engine runs it.
fn postgres(into: &Path, image: &str, version: &str, packages: &str, sources: &[&str]) -> Result<()> {
    let (system, users) = (into.join("system.tar"), into.join("users.tar"));
    bootstrap("minbase", packages, sources, &system)?;
    postgres_users(&system, &into.join("users"), &users)?;
    let path = format!("PATH=/usr/lib/postgresql/{version}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let start = Start { entrypoint: &[], user: "26", env: &[&path, "LANG=C.UTF-8"] };
    archive::write(&into.join("postgresql.tar"), image, &start, &[system.clone(), users.clone()])?;
    fs::remove_file(system)?;
    fs::remove_file(users)?;
    Ok(())
}

/// A root of Debian packages. `sources` are the release, and where to take packages from if that is not the usual.
fn bootstrap(variant: &str, packages: &str, sources: &[&str], out: &Path) -> Result<()> {
    let mut mmdebstrap = command("mmdebstrap", ["--quiet", &format!("--variant={variant}")]);
    for path in ["man", "doc", "locale", "info"] {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    mmdebstrap
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg(format!("--include={packages}"))
        .args(sources.first())
        .arg(out)
        .args(sources.iter().skip(1));
    output(&mut mmdebstrap)
        .context("failed to build an image from Debian packages; is a Debian mirror reachable?")?;
    Ok(())
}

/// CloudNativePG runs PostgreSQL as uid 26; Debian's `postgres` is another, so a second layer renumbers it.
fn postgres_users(system: &Path, work: &Path, out: &Path) -> Result<()> {
    let run = work.join("run/postgresql");
    fs::create_dir_all(&run)?;
    fs::create_dir_all(work.join("etc"))?;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o3777))?;
    let entry = "postgres:x:26:26:PostgreSQL:/var/lib/postgresql:/bin/bash";
    for (file, entry) in [("etc/passwd", entry), ("etc/group", "postgres:x:26:")] {
        let old = output(command("tar", ["-xOf"]).arg(system).arg(format!("./{file}")))?;
        let kept = old.lines().filter(|line| !line.starts_with("postgres:") && !line.contains(":26:"));
        let text = kept.chain([entry]).collect::<Vec<_>>().join("\n") + "\n";
        write(&work.join(file), &text)?;
    }
    archive::layer(work, out)?;
    fs::remove_dir_all(work).context("failed to clean up")
}

fn from_binaries(binaries: &Binaries, into: &Path) -> Result<()> {
    let step = Step::begin();
    let nobody = "10001:10001";
    write(&into.join("pause.c"), PAUSE_SOURCE)?;
    let pause = root(into, "pause")?;
    output(command("gcc", ["-static", "-O2", "-o"]).arg(pause.join("pause")).arg(into.join("pause.c")))?;
    pack(into, "pause", PAUSE, &Start { entrypoint: &["/pause"], user: "65535:65535", env: &[] })?;

    let engine = root(into, "engine")?;
    fs::create_dir_all(engine.join("operator"))?;
    fs::create_dir_all(engine.join("tmp"))?;
    fs::set_permissions(engine.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let manager = binaries.path("cnpg-manager");
    // The operator copies itself into every database pod from the second path, by architecture.
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    fs::copy(&manager, engine.join("manager"))?;
    fs::hard_link(engine.join("manager"), engine.join(format!("operator/manager_{architecture}")))?;
    pack(into, "engine", &engine_image(), &Start { entrypoint: &["/manager"], user: nobody, env: &[] })?;

    let gateway = root(into, "gateway")?;
    fs::copy(binaries.path("document-gateway"), gateway.join("document-gateway"))?;
    pack(into, "gateway", GATEWAY, &Start { entrypoint: &["/document-gateway"], user: nobody, env: &[] })?;
    step.done("images: pause, cloudnative-pg, document-gateway");
    Ok(())
}

fn root(into: &Path, name: &str) -> Result<PathBuf> {
    let root = into.join(format!("{name}.root"));
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    Ok(root)
}

fn pack(into: &Path, name: &str, image: &str, start: &Start<'_>) -> Result<()> {
    let (root, layer) = (into.join(format!("{name}.root")), into.join(format!("{name}.layer")));
    archive::layer(&root, &layer)?;
    archive::write(&into.join(format!("{name}.tar")), image, start, std::slice::from_ref(&layer))?;
    fs::remove_dir_all(&root).and_then(|()| fs::remove_file(&layer)).context("failed to clean up")
}
