//! Files of the ledger: written whole or not at all, and never over one that is there unless that is asked.

use crate::arguments::Save;
use crate::error::Error;
use crate::server::{Query, Server};
use crate::table::{self, Cell, Output};
use crate::web;
use crate::whole::Whole;
use reqwest::Response;
use reqwest::header::CONTENT_DISPOSITION;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// What was written.
#[derive(Serialize)]
struct Saved {
    file: PathBuf,
    bytes: u64,
    sha256: String,
    /// Rows of a file whose last record proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

/// Fetches a file of the ledger to where it is wanted.
pub async fn save(
    server: &Server,
    output: Output,
    asked: (&[&str], &Query<'_>),
    save: &Save,
) -> Result<(), Error> {
    fetch(server, output, asked, save, None).await
}

/// The same of a file whose last record proves it: unless it does, there is no file.
pub async fn save_whole(
    server: &Server,
    output: Output,
    asked: (&[&str], &Query<'_>),
    save: &Save,
    whole: Whole,
) -> Result<(), Error> {
    fetch(server, output, asked, save, Some(whole)).await
}

async fn fetch(
    server: &Server,
    output: Output,
    (path, query): (&[&str], &Query<'_>),
    save: &Save,
    whole: Option<Whole>,
) -> Result<(), Error> {
    if save.file.as_deref() == Some(Path::new("-")) {
        return to_standard_output(server.open(path, query), whole).await;
    }
    // Whoever is stopped drops the half that there is, which removes it.
    let saved = tokio::select! {
        saved = to_file(server.open(path, query), save, whole) => saved?,
        () = stopped() => return Err(Error::Stopped("stopped; nothing was written".to_owned())),
    };
    let mut facts = vec![
        ("file", Cell::Text(saved.file.display().to_string())),
        ("bytes", (&saved.bytes).into()),
        ("sha256", (&saved.sha256).into()),
    ];
    facts.extend(saved.rows.map(|rows| ("rows", Cell::Text(format!("{rows}, and nothing is missing")))));
    table::one(output, &saved, facts)
}

async fn to_standard_output(
    answer: impl Future<Output = Result<Response, Error>>,
    mut whole: Option<Whole>,
) -> Result<(), Error> {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        let detail =
            "this would write a file to the terminal; give --file FILE, or send the output somewhere";
        return Err(Error::Wrong(detail.to_owned()));
    }
    let mut answer = answer.await?;
    while let Some(part) = answer.chunk().await.map_err(|cause| web::unreachable(&cause))? {
        match out.write_all(&part) {
            Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Error::file("standard output"))?,
        }
        whole.as_mut().map_or(Ok(()), |whole| whole.take(&part))?;
    }
    whole.map(Whole::rows).transpose().map(drop)
}

async fn to_file(
    answer: impl Future<Output = Result<Response, Error>>,
    save: &Save,
    mut whole: Option<Whole>,
) -> Result<Saved, Error> {
    let (named, directory) = match &save.file {
        Some(path) if path.is_dir() => (None, path.clone()),
        Some(path) => (Some(path.clone()), PathBuf::new()),
        None => (None, PathBuf::new()),
    };
    // What is in the way is found before the ledger is asked, if it can be.
    named.as_ref().map_or(Ok(()), |path| is_free(path, save.force))?;
    let mut answer = answer.await?;
    let file = named.map_or_else(|| Ok(directory.join(name(&answer)?)), Ok)?;
    is_free(&file, save.force)?;
    let mut part = Part::beside(&file)?;
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(chunk) = answer.chunk().await.map_err(|cause| web::unreachable(&cause))? {
        part.file.write_all(&chunk).map_err(Error::file(&part.path))?;
        hash.update(&chunk);
        bytes += chunk.len() as u64;
        whole.as_mut().map_or(Ok(()), |whole| whole.take(&chunk))?;
    }
    let rows = whole.map(Whole::rows).transpose()?;
    part.keep(&file, save.force)?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Saved { file, bytes, sha256, rows })
}

fn is_free(path: &Path, force: bool) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    // A device or a pipe is nothing to put a file in the place of.
    let plain = path.metadata().is_ok_and(|there| there.is_file());
    match (plain, force) {
        (true, true) => Ok(()),
        (true, false) => Err(in_the_way(path)),
        (false, _) => Err(Error::Wrong(format!("{} is no plain file; give --file another", path.display()))),
    }
}

fn in_the_way(path: &Path) -> Error {
    Error::Failed(format!("{} is there already; give --force to write over it, or --file", path.display()))
}

/// The name that the ledger gives a file. Whoever answers does not choose where it is written.
fn name(answer: &Response) -> Result<String, Error> {
    let header = answer.headers().get(CONTENT_DISPOSITION).and_then(|value| value.to_str().ok());
    let name = header.and_then(named_in);
    name.map(str::to_owned).ok_or_else(|| {
        Error::NotNow("the ledger gave the file no name that can be used; give --file".to_owned())
    })
}

fn named_in(header: &str) -> Option<&str> {
    let name = header.strip_prefix("attachment; filename=\"")?.strip_suffix('"')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)).then_some(name)
}

/// A file that is being written, beside its place. Unless it is kept it goes away with this value.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn beside(path: &Path) -> Result<Self, Error> {
        let no_name = || Error::Wrong(format!("{} is no name of a file", path.display()));
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().ok_or_else(no_name)?);
        name.push(format!(".{}.part", std::process::id()));
        let path = path.with_file_name(name);
        let file = OpenOptions::new().create_new(true).write(true).open(&path).map_err(Error::file(&path))?;
        Ok(Self { path, file })
    }

    /// Puts it in its place, in one step.
    fn keep(self, place: &Path, force: bool) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::file(&self.path))?;
        if force {
            return std::fs::rename(&self.path, place).map_err(Error::file(place));
        }
        // Unlike a rename, a link is refused if somebody has put a file there meanwhile.
        std::fs::hard_link(&self.path, place).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::AlreadyExists => in_the_way(place),
            _ => Error::file(place)(cause),
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Ends when somebody presses Ctrl-C, closes the terminal or ends this program.
async fn stopped() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_the_ledger_but_not_placed() {
        let check = |name: &str, expect: bool| {
            let header = format!("attachment; filename=\"{name}\"");
            assert_eq!(named_in(&header), expect.then_some(name), "{name}");
        };
        check("SIY-2026-000001.focus.csv", true);
        for wrong in ["", ".bashrc", "..", "../a", "/etc/passwd", "a/b", "a b", "a\u{202e}b", "-rf"] {
            check(wrong, false);
        }
        assert_eq!(named_in("inline"), None);
    }

    #[test]
    fn a_device_is_never_replaced() {
        assert!(is_free(Path::new("/dev/null"), true).is_err());
        assert!(is_free(Path::new("/absent/file"), false).is_ok());
    }

    #[test]
    fn a_part_goes_away_and_what_is_there_stays() {
        let directory = std::env::temp_dir().join(format!("siyada-download-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let place = directory.join("a.csv");
        let written = |text: &str| {
            let mut part = Part::beside(&place).unwrap();
            part.file.write_all(text.as_bytes()).unwrap();
            part
        };
        drop(written("half"));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        written("first").keep(&place, false).unwrap();
        assert!(written("second").keep(&place, false).is_err());
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "first");
        written("third").keep(&place, true).unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "third");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
