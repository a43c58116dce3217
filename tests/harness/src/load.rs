//! `harness load`: our own programs as images on the node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::archive::{self, Start};
use crate::binaries::{self, Binaries};
use crate::command::{command, output};
use crate::component::Component;
use crate::containerd::{import, source_of};
use crate::images;
use crate::place::Place;
use crate::previous::Previous;
use crate::programs::{self, PROGRAMS, Profile};
use crate::say::{print, say};

/// Below the state directory: a link to what the images of the previous landing were made from.
const PREVIOUS: &str = "previous";

/// Builds and imports what changed since the last time, and the previous landing beside it when it is given; prints
/// the reference by digest of each image.
pub fn load(place: &Place, previous: Option<&Previous>) -> Result<()> {
    if Component::Containerd.running(place).is_none() {
        bail!("the cluster {:?} has no node to load images on; run `harness up{}`", place.name, place.flag());
    }
    let binaries = binaries::ensure(&place.checkout)?;
    let node = Node { place, base: images::ensure(&binaries)?.base(), binaries };
    let profile = Profile::wanted()?;
    for program in PROGRAMS {
        node.put(program, "dev", &programs::find(&place.checkout, profile, program)?)?;
    }
    let Some(previous) = previous else { return Ok(()) };
    for program in PROGRAMS {
        node.put(program, "previous", &previous.program(program))?;
    }
    link(&place.state(PREVIOUS), previous.folder())
}

/// Points the link at the folder, whatever it pointed at before.
fn link(link: &Path, folder: &Path) -> Result<()> {
    let _absent = fs::remove_file(link);
    std::os::unix::fs::symlink(folder, link).with_context(|| format!("failed to link {}", link.display()))
}

/// Where images are put, and what they stand on.
struct Node<'a> {
    place: &'a Place,
    binaries: Binaries,
    base: PathBuf,
}

impl Node<'_> {
    fn put(&self, program: &str, tag: &str, path: &Path) -> Result<()> {
        let name = format!("localhost/{program}:{tag}");
        let source = source_of(path, &self.base)?;
        let build = || build(self.place, path, program, &name, &self.base);
        let (reference, fresh) = import(self.place, &self.binaries, &name, &source, build)?;
        say(format!("{name} {}", if fresh { "loaded" } else { "unchanged" }));
        print(&format!("{reference}\n"));
        Ok(())
    }
}

fn build(place: &Place, path: &Path, program: &str, name: &str, base: &Path) -> Result<PathBuf> {
    let work = place.state("images");
    let root = work.join(format!("{program}.root"));
    let _absent = fs::remove_dir_all(&root);
    let bin = root.join("usr/local/bin");
    fs::create_dir_all(&bin).with_context(|| format!("failed to create {}", bin.display()))?;
    // Debug information is most of a dev build.
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
