//! What is mounted, read from the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{command, succeeds};

/// Every mount point at or below one of the directories, deepest first.
pub fn below(directories: &[&Path]) -> Vec<PathBuf> {
    select(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), directories)
}

/// Whether something is mounted exactly there.
pub fn is_mounted(directory: &Path) -> bool {
    below(&[directory]).iter().any(|mount| mount == directory)
}

/// Unmounts; detaches a mount that is still busy. Says whether it is gone.
pub fn unmount(directory: &Path) -> bool {
    succeeds(command("umount", [directory]).arg("-n")) || succeeds(command("umount", ["-l"]).arg(directory))
}

/// Later mounts come later in the file and may lie on top of earlier ones, so the order is simply reversed.
fn select(table: &str, directories: &[&Path]) -> Vec<PathBuf> {
    let points =
        table.lines().filter_map(|line| line.split(' ').nth(1)).map(|point| PathBuf::from(unescape(point)));
    let mut found: Vec<PathBuf> =
        points.filter(|point| directories.iter().any(|directory| point.starts_with(directory))).collect();
    found.reverse();
    found
}

/// The kernel writes a space as `\040`.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_chosen_and_the_last_comes_first() {
        let table = "a /s rw 0 0\nb /s/vol\\040one rw 0 0\nc /state rw 0 0\nd /r/x rw 0 0\n";
        let found = select(table, &[Path::new("/s"), Path::new("/r")]);
        assert_eq!(found, [Path::new("/r/x"), Path::new("/s/vol one"), Path::new("/s")]);
    }
}
