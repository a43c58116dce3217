//! What is expensive to make and the same for every checkout: kept in one directory, named by what it was made from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::say::say;

/// `$SIYADA_CACHE`, else `~/.cache/siyada`.
pub fn root() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/siyada"));
    let root = std::env::var_os("SIYADA_CACHE").map(PathBuf::from).or_else(home);
    root.context("no place for the cache; set HOME or SIYADA_CACHE")
}

/// The cached directory of that name, made by `make` if it is not there yet.
///
/// `make` works in a directory of its own that is renamed when it is complete, so a crash leaves nothing half made;
/// two callers at once wait for each other. Fails as `make` does.
pub fn ensure(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = root()?;
    let done = root.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    let path = root.join(format!("{name}.lock"));
    let lock = lock_at_once(&path).or_else(|_| {
        say(format!("waiting for {name}, which another process makes"));
        lock(&path)
    })?;
    if !done.is_dir() {
        let fresh = root.join(format!("{name}.new"));
        let _absent = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).with_context(|| format!("failed to create {}", fresh.display()))?;
        make(&fresh)?;
        fs::rename(&fresh, &done).with_context(|| format!("failed to complete {}", done.display()))?;
    }
    drop(lock);
    Ok(done)
}

/// Waits for, then holds, an exclusive lock; it ends with the file or with the process.
pub fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("failed to open {}", path.display()))?;
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

/// The same without waiting: fails when somebody holds it.
pub fn lock_at_once(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("failed to open {}", path.display()))?;
    file.try_lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}
