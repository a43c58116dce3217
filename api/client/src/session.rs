//! The session: who is signed in where, in a file that only its owner can read.

use crate::error::Error;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Which token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The access token: what is meant for the ledger.
    Access,
    /// The ID token, for an issuer whose access tokens nobody else can read.
    Id,
}

/// Who is signed in where. It holds tokens, so it is never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The ledger.
    pub server: String,
    /// Its certificate authority.
    pub ca: Option<PathBuf>,
    /// The address to connect to instead of its name's.
    pub connect_to: Option<IpAddr>,
    /// Who issued the token.
    pub issuer: String,
    /// The issuer's certificate authority.
    pub issuer_ca: Option<PathBuf>,
    /// As which client.
    pub client_id: String,
    /// What the token was asked for.
    pub resource: Option<String>,
    /// Which token is sent.
    pub kind: Kind,
    /// The token.
    pub token: String,
    /// With it a new one is asked for.
    pub refresh_token: Option<String>,
    /// The token is of no use from then on.
    pub expires_at: Timestamp,
}

/// Where the session is kept.
pub struct Place {
    directory: PathBuf,
}

impl Place {
    /// `$XDG_STATE_HOME/siyada`, else `~/.local/state/siyada`.
    pub fn usual() -> Result<Self, Error> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let state = state.or_else(|| set("HOME").map(|home| home.join(".local/state")));
        let state = state.ok_or_else(|| Error::Failed("no place for the session; set HOME".to_owned()))?;
        Ok(Self { directory: state.join("siyada") })
    }

    fn file(&self) -> PathBuf {
        self.directory.join("session.json")
    }

    /// The session, if somebody is signed in.
    pub fn read(&self) -> Result<Option<Session>, Error> {
        let path = self.file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::file(path)(cause)),
        };
        let mode = std::fs::metadata(&path).map_err(Error::file(&path))?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Error::Failed(format!("others can read {path}; sign in anew after: rm {path}")));
        }
        let session = serde_json::from_str(&text);
        session.map(Some).map_err(|_| Error::NotSignedIn(format!("{} is no session", path.display())))
    }

    /// Keeps the session, in the place of any other.
    pub fn write(&self, session: &Session) -> Result<(), Error> {
        self.make()?;
        let (path, fresh) = (self.file(), self.directory.join("session.json.new"));
        let text = serde_json::to_string_pretty(session).map_err(|e| Error::Failed(e.to_string()))?;
        let _absent = std::fs::remove_file(&fresh);
        let mut file = owned(&fresh).map_err(Error::file(&fresh))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::file(&fresh))?;
        std::fs::rename(&fresh, &path).map_err(Error::file(&path))
    }

    /// Forgets the session.
    pub fn forget(&self) -> Result<(), Error> {
        let path = self.file();
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(cause)),
            _ => Ok(()),
        }
    }

    /// Waits until nobody else renews the session: a refresh token is good for one use.
    pub fn lock(&self) -> Result<File, Error> {
        self.make()?;
        let path = self.directory.join("session.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(Error::file(path))
    }

    fn make(&self) -> Result<(), Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(Error::file(&self.directory))
    }
}

fn owned(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            server: "https://ledger.example".to_owned(),
            ca: None,
            connect_to: None,
            issuer: "https://id.example".to_owned(),
            issuer_ca: None,
            client_id: "siyada".to_owned(),
            resource: None,
            kind: Kind::Access,
            token: "secret".to_owned(),
            refresh_token: None,
            expires_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_session_is_its_owners_alone() {
        let directory = std::env::temp_dir().join(format!("siyada-session-{}", std::process::id()));
        let place = Place { directory: directory.clone() };
        assert!(place.read().unwrap().is_none());
        place.write(&session()).unwrap();
        place.write(&session()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&place.file())), (0o700, 0o600));
        assert_eq!(place.read().unwrap().unwrap().token, "secret");
        std::fs::set_permissions(place.file(), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(place.read().is_err_and(|error| error.to_string().contains("others can read")));
        place.forget().unwrap();
        place.forget().unwrap();
        assert!(place.read().unwrap().is_none());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
