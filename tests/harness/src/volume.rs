//! One volume: a sparse file holding XFS, mounted through a loop device. Its size is a real limit, and it can grow.
//!
//! XFS, because growing a mounted ext4 needs CAP_SYS_RESOURCE, which sandboxes take away even from root.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::mounts;
use crate::place::Place;

/// XFS cannot be smaller than this.
const BYTES_MIN: u64 = 32 << 20;

/// The files of one volume; none of them need exist.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Holds the data.
    image: PathBuf,
    /// Where it is mounted.
    mount: PathBuf,
}

impl Volume {
    /// The volume of that name.
    pub fn named(place: &Place, name: &str) -> Self {
        let root = place.state("volumes");
        Self { image: root.join(format!("{name}.disk")), mount: root.join(name) }
    }

    /// Every volume that has a file.
    pub fn all(place: &Place) -> Vec<Self> {
        let entries = fs::read_dir(place.state("volumes")).into_iter().flatten();
        let names = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".disk")?.to_string()));
        names.map(|name| Self::named(place, &name)).collect()
    }

    /// The directory pods get. It is below the mount point, so that it does not exist while nothing is mounted: a
    /// pod that starts too early waits instead of finding an empty disk.
    pub fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Makes the file unless it is there, and mounts it.
    pub fn create(&self, bytes: u64) -> Result<()> {
        if !self.image.exists() {
            let fresh = self.image.with_extension("new");
            let file =
                File::create(&fresh).with_context(|| format!("failed to create {}", fresh.display()))?;
            file.set_len(bytes.max(BYTES_MIN)).context("failed to size a volume")?;
            // --unsupported: below 300 MB, which a test may well ask for.
            output(command("mkfs.xfs", ["-q", "-f", "--unsupported"]).arg(&fresh))?;
            fs::rename(&fresh, &self.image).context("failed to complete a volume")?;
        }
        self.mount()
    }

    /// Mounts the file unless it is. The kernel frees the loop device when it is unmounted.
    pub fn mount(&self) -> Result<()> {
        if !mounts::is_mounted(&self.mount) {
            fs::create_dir_all(&self.mount).context("failed to create a mount point")?;
            output(
                command("mount", ["-t", "xfs", "-o", "loop,noatime,discard"])
                    .arg(&self.image)
                    .arg(&self.mount),
            )?;
        }
        let data = self.data();
        if !data.exists() {
            fs::create_dir(&data)?;
            fs::set_permissions(&data, Permissions::from_mode(0o777))?;
        }
        Ok(())
    }

    /// Raises the size, while in use. Never shrinks. Any step may be repeated after a crash.
    pub fn grow(&self, bytes: u64) -> Result<()> {
        let file = File::options().write(true).open(&self.image).context("failed to open a volume's file")?;
        if file.metadata()?.len() < bytes {
            file.set_len(bytes).context("failed to grow a volume's file")?;
        }
        self.mount()?;
        for device in loop_devices(&self.image)? {
            output(command("losetup", ["-c"]).arg(&device))?;
        }
        output(command("xfs_growfs", ["-d"]).arg(&self.mount))?;
        Ok(())
    }

    /// Unmounts and deletes.
    pub fn remove(&self) -> Result<()> {
        while mounts::is_mounted(&self.mount) {
            output(&mut command("umount", [&self.mount]))?;
        }
        for file in [&self.image, &self.image.with_extension("new")] {
            if file.exists() {
                fs::remove_file(file).with_context(|| format!("failed to delete {}", file.display()))?;
            }
        }
        if self.mount.exists() {
            fs::remove_dir(&self.mount)
                .with_context(|| format!("failed to delete {}", self.mount.display()))?;
        }
        Ok(())
    }
}

/// Loop devices whose file is `image`.
fn loop_devices(image: &Path) -> Result<Vec<PathBuf>> {
    let list = output(command("losetup", ["-n", "-O", "NAME", "-j"]).arg(image))?;
    Ok(list.lines().map(|line| PathBuf::from(line.trim())).collect())
}

/// Frees every loop device whose file lies below `directory`; returns how many there were.
pub fn free_loop_devices(directory: &Path) -> usize {
    let list = output(&mut command("losetup", ["-n", "-l", "-O", "NAME,BACK-FILE"])).unwrap_or_default();
    let devices = devices_below(&list, directory);
    devices.iter().filter(|device| output(command("losetup", ["-d"]).arg(device)).is_ok()).count()
}

fn devices_below(list: &str, directory: &Path) -> Vec<String> {
    let pairs = list.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    pairs
        .filter(|(_, file)| Path::new(file.trim()).starts_with(directory))
        .map(|(device, _)| device.into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_loop_devices_are_freed() {
        let list = "/dev/loop0 /c/.siyada/volumes/a.disk\n/dev/loop1 /c/.siyada-test/volumes/a.disk (deleted)\n/dev/loop2  /srv/disk\n";
        assert_eq!(devices_below(list, Path::new("/c/.siyada")), ["/dev/loop0"]);
        assert_eq!(devices_below(list, Path::new("/c/.siyada-test")), ["/dev/loop1"]);
    }
}
