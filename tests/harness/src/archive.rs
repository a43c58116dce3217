//! Container images as files, without a container engine.
//!
//! A docker-archive is a tar of a config, its layers and a manifest: what `ctr images import` reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::command::{command, file_digest, output};
use crate::place::key;

/// What a container of the image starts as.
pub struct Start<'a> {
    /// The program.
    pub entrypoint: &'a [&'a str],
    /// `uid` or `uid:gid`; empty for root.
    pub user: &'a str,
    /// `NAME=value`.
    pub env: &'a [&'a str],
}

/// Packs the content of a directory as a layer, always to the same bytes.
pub fn layer(directory: &Path, layer: &Path) -> Result<()> {
    let options = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    output(command("tar", options).arg("-C").arg(directory).arg("-cf").arg(layer).arg(".")).map(drop)
}

/// Writes `out`: the image `name` made of `layers`, lowest first. Works in a directory beside `out`.
pub fn write(out: &Path, name: &str, start: &Start<'_>, layers: &[PathBuf]) -> Result<()> {
    let work = out.with_extension("d");
    let _absent = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).with_context(|| format!("failed to create {}", work.display()))?;
    let digests = layers.iter().map(|layer| file_digest(layer)).collect::<Result<Vec<_>>>()?;
    let config = config(start, &digests).to_string();
    let config_name = format!("{}.json", key([config.as_bytes()]));
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}.tar")).collect();
    fs::write(work.join(&config_name), &config)?;
    fs::write(work.join("manifest.json"), manifest(name, &config_name, &names).to_string())?;
    for (layer, link) in layers.iter().zip(&names) {
        std::os::unix::fs::symlink(fs::canonicalize(layer)?, work.join(link))?;
    }
    // -h: the layers are links, so that only one copy of them is made.
    let pack = ["--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-h", "-C"];
    output(
        command("tar", pack)
            .arg(&work)
            .arg("-cf")
            .arg(out)
            .arg("manifest.json")
            .arg(&config_name)
            .args(&names),
    )
    .with_context(|| format!("failed to pack the image {name}"))?;
    fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))
}

fn config(start: &Start<'_>, digests: &[String]) -> Value {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let layers: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": start.entrypoint, "User": start.user, "Env": start.env},
        "rootfs": {"type": "layers", "diff_ids": layers},
    })
}

fn manifest(name: &str, config: &str, layers: &[String]) -> Value {
    json!([{"Config": config, "RepoTags": [name], "Layers": layers}])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_names_layers_by_digest_and_runs_as_the_user() {
        let start = Start { entrypoint: &["/x"], user: "10001", env: &[] };
        let config = config(&start, &["aa".into(), "bb".into()]);
        assert_eq!(config["rootfs"]["diff_ids"], json!(["sha256:aa", "sha256:bb"]));
        assert_eq!(config["config"]["User"], "10001");
    }

    #[test]
    fn an_image_is_the_same_bytes_each_time() {
        let directory = std::env::temp_dir().join(format!("siyada-archive-{}", std::process::id()));
        fs::create_dir_all(directory.join("root")).unwrap();
        fs::write(directory.join("root/file"), "content").unwrap();
        let digests: Vec<String> = ["a", "b"]
            .iter()
            .map(|name| {
                let (packed, out) =
                    (directory.join(format!("{name}-layer")), directory.join(format!("{name}.tar")));
                layer(&directory.join("root"), &packed).unwrap();
                write(
                    &out,
                    "localhost/x:1",
                    &Start { entrypoint: &["/file"], user: "", env: &[] },
                    &[packed],
                )
                .unwrap();
                file_digest(&out).unwrap()
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
