//! Images on the node.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::binaries::Binaries;
use crate::command::{file_digest, output};
use crate::place::{Place, write};

/// Where tests read which digest an image has: a JSON object from name to `name@sha256:…`.
const DIGESTS: &str = "images.json";

/// containerd's own client, on this cluster.
pub fn ctr(place: &Place, binaries: &Binaries) -> Command {
    let mut ctr = Command::new(binaries.path("ctr"));
    ctr.arg("--address").arg(place.run("containerd.sock")).args(["--namespace", "k8s.io"]);
    ctr
}

/// Puts an image on the node unless it is there. `source` is what it was made from; when that is what it was at
/// the last import nothing is done. Returns the reference by digest.
pub fn import(
    place: &Place,
    binaries: &Binaries,
    name: &str,
    source: &str,
    archive: impl FnOnce() -> Result<std::path::PathBuf>,
) -> Result<(String, bool)> {
    let mark = place.state("containerd").join(format!("{}.imported", name.replace(['/', ':'], "_")));
    if fs::read_to_string(&mark).is_ok_and(|last| last == source)
        && let Some(digest) = digest(place, binaries, name)?
    {
        return Ok((reference(name, &digest), false));
    }
    let archive = archive()?;
    output(ctr(place, binaries).args(["images", "import"]).arg(&archive)).with_context(|| {
        format!("failed to import {}; the log is {}", archive.display(), place.log("containerd").display())
    })?;
    let digest = digest(place, binaries, name)?.with_context(|| format!("containerd imported no {name}"))?;
    // `name:tag@digest` in a pod is looked up as `name@digest`.
    let by_digest = reference(name, &digest);
    output(ctr(place, binaries).args(["images", "tag", "--force", name, &by_digest]))?;
    write(&mark, source)?;
    remember(place, name, &by_digest)?;
    Ok((by_digest, true))
}

/// The same for a file in the cache, which is what it was made from.
pub fn import_file(place: &Place, binaries: &Binaries, name: &str, file: &Path) -> Result<bool> {
    import(place, binaries, name, &file.display().to_string(), || Ok(file.into())).map(|(_, fresh)| fresh)
}

fn digest(place: &Place, binaries: &Binaries, name: &str) -> Result<Option<String>> {
    let list = output(ctr(place, binaries).args(["images", "ls", &format!("name=={name}")]))?;
    Ok(list.split_whitespace().find(|word| word.starts_with("sha256:")).map(String::from))
}

fn reference(name: &str, digest: &str) -> String {
    let repository = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    format!("{repository}@{digest}")
}

fn remember(place: &Place, name: &str, by_digest: &str) -> Result<()> {
    let path = place.state(DIGESTS);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut all: BTreeMap<String, String> = serde_json::from_str(&old).unwrap_or_default();
    all.insert(name.into(), by_digest.into());
    write(&path, &(serde_json::to_string_pretty(&all)? + "\n"))
}

/// What an image of ours is made from: the program and the layer below it.
pub fn source_of(program: &Path, base: &Path) -> Result<String> {
    Ok(format!("{} on {}", file_digest(program)?, base.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_by_digest_has_no_tag() {
        assert_eq!(reference("localhost/x:dev", "sha256:aa"), "localhost/x@sha256:aa");
    }
}
