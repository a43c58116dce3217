//! `harness load`: our own programs as images on the node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::archive::{self, Start};
use crate::binaries;
use crate::command::{command, output};
use crate::component::Component;
use crate::containerd::{import, source_of};
use crate::images;
use crate::place::Place;
use crate::say::{print, say};

const PROGRAMS: [&str; 2] = ["siyada-operator", "siyada-api"];

/// Builds and imports what changed since the last time; prints the reference by digest of each image.
pub fn load(place: &Place) -> Result<()> {
    if Component::Containerd.running(place).is_none() {
        bail!("the cluster {:?} has no node to load images on; run `harness up{}`", place.name, place.flag());
    }
    let binaries = binaries::ensure(&place.checkout)?;
    let base = images::ensure(&binaries)?.base();
    for program in PROGRAMS {
        let path = target_directory(&place.checkout).join("debug").join(program);
        if !path.is_file() {
            bail!("no {}; run `cargo build --workspace` first", path.display());
        }
        let name = format!("localhost/{program}:dev");
        let source = source_of(&path, &base)?;
        let (reference, fresh) =
            import(place, &binaries, &name, &source, || build(place, &path, program, &name, &base))?;
        say(format!("{name} {}", if fresh { "loaded" } else { "unchanged" }));
        print(&format!("{reference}\n"));
    }
    Ok(())
}

fn target_directory(checkout: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from)
}

fn build(place: &Place, path: &Path, program: &str, name: &str, base: &Path) -> Result<PathBuf> {
    let work = place.state("images");
    let root = work.join(format!("{program}.root"));
    let _absent = fs::remove_dir_all(&root);
    let bin = root.join("usr/local/bin");
    fs::create_dir_all(&bin).with_context(|| format!("failed to create {}", bin.display()))?;
    // Debug information is most of a debug build.
    output(command("strip", ["-o"]).arg(bin.join(program)).arg(path))?;
    fs::create_dir_all(root.join("tmp"))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let (layer, out) = (work.join(format!("{program}.layer")), work.join(format!("{program}.tar")));
    archive::layer(&root, &layer)?;
    let entrypoint = format!("/usr/local/bin/{program}");
    let start = Start {
        entrypoint: &[&entrypoint],
        user: "10001:10001",
        env: &["PATH=/usr/local/bin:/usr/bin:/bin"],
    };
    archive::write(&out, name, &start, &[base.into(), layer.clone()])?;
    fs::remove_dir_all(&root).and_then(|()| fs::remove_file(&layer)).context("failed to clean up")?;
    Ok(out)
}
