//! Where one cluster lives: its names and its directories.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// Longest cluster name; Unix socket paths below the run directory must stay under 108 bytes.
const NAME_MAX: usize = 20;

/// One cluster of one checkout.
#[derive(Debug, Clone)]
pub struct Place {
    /// The name given with `--name`.
    pub name: String,
    /// The checkout's root.
    pub checkout: PathBuf,
    /// Names the network namespace, the run directory and the cgroups: unique on the machine.
    pub id: String,
    /// What outlives `down`: etcd's data, volumes, logs, certificates.
    pub state: PathBuf,
    /// What does not: sockets, process files, container state.
    pub run: PathBuf,
}

impl Place {
    /// The cluster of that name in the checkout around the current directory.
    pub fn find(name: &str) -> Result<Self> {
        Self::at(&Self::checkout()?, name)
    }

    /// The same, for a given checkout. Refuses a name that could not be part of a path or of a device name.
    pub fn at(checkout: &Path, name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_MAX || name.starts_with('-') || !name.chars().all(fits) {
            bail!(
                "{name:?} cannot name a cluster; use 1 to {NAME_MAX} of a-z, 0-9 and -, for example `test`"
            );
        }
        let directory = if name == "demo" { ".siyada".into() } else { format!(".siyada-{name}") };
        let id = format!("siyada-{name}-{}", &key([checkout.to_string_lossy().as_bytes()])[..8]);
        Ok(Self {
            name: name.into(),
            checkout: checkout.into(),
            state: checkout.join(directory),
            run: Path::new("/run").join(&id),
            id,
        })
    }

    /// The root of the checkout: above the current directory, else above this program.
    pub fn checkout() -> Result<PathBuf> {
        let here = std::env::current_dir().context("failed to read the current directory")?;
        let program = std::env::current_exe().context("failed to find this program's own path")?;
        let found = here
            .ancestors()
            .chain(program.ancestors())
            .find(|path| path.join("tests/harness/modules").is_dir());
        found
            .map(Path::to_path_buf)
            .context("no checkout around here; run harness from inside the repository")
    }

    /// A path in the state directory.
    pub fn state(&self, path: &str) -> PathBuf {
        self.state.join(path)
    }

    /// A path in the run directory.
    pub fn run(&self, path: &str) -> PathBuf {
        self.run.join(path)
    }

    /// The log of a component.
    pub fn log(&self, component: &str) -> PathBuf {
        self.state.join("log").join(format!("{component}.log"))
    }

    /// The network namespace's file.
    pub fn netns(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.id)
    }

    /// The administrator's kubeconfig for use on the host.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state("kubeconfig")
    }

    /// The administrator's kubeconfig for use inside the network namespace.
    pub fn inner_kubeconfig(&self) -> PathBuf {
        self.state("inner.kubeconfig")
    }

    /// ` --name NAME`, or nothing for the default: for the commands we advise people to type.
    pub fn flag(&self) -> String {
        if self.name == "demo" { String::new() } else { format!(" --name {}", self.name) }
    }
}

/// A hash over parts, each with its length, so that moving a border changes the key.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// Writes a file only if its text changes; the directory must exist. Never leaves half a file.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let fresh = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_and_two_checkouts_never_share_a_place() {
        let places: Vec<Place> = [("/a", "demo"), ("/a", "test"), ("/b", "demo")]
            .iter()
            .map(|(root, name)| Place::at(Path::new(root), name).unwrap())
            .collect();
        assert_eq!(places[0].state, Path::new("/a/.siyada"));
        assert_eq!(places[1].state, Path::new("/a/.siyada-test"));
        assert!(places[0].id != places[1].id && places[0].id != places[2].id);
        assert!(places[1].run("containerd.sock.ttrpc").as_os_str().len() < 108);
    }

    #[test]
    fn a_name_that_is_not_one_is_refused() {
        for name in ["", "a/b", "..", "Demo", "-x", "a-name-that-is-far-too-long"] {
            assert!(Place::at(Path::new("/a"), name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_border_between_parts_counts() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
        assert_eq!(key([b"a".as_slice()]), key([b"a".as_slice()]));
    }
}
