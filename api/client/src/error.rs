//! What can go wrong, what to do about it, and the exit code it ends with.

use siyada_model::wire::Problem;
use std::path::PathBuf;

/// The exit codes, as the help shows them.
pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something failed on this machine
  2  the command or a value in it is wrong
  3  not signed in, or the token is not accepted
  4  no such thing, not yours to see, or not allowed
  5  refused: what is on record speaks against it
  6  not now: the server or the issuer does not answer; try again
130  stopped by you: nothing was written

Environment: SIYADA_SERVER, SIYADA_CA, SIYADA_CONNECT_TO and SIYADA_TOKEN_FILE stand for the options of that name;
XDG_STATE_HOME is where the session is kept.";

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, with its reason.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something in the command is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Nobody is signed in, or no longer.
    #[error("{0}")]
    NotSignedIn(String),
    /// The server or the issuer does not answer, or not as it should.
    #[error("{0}")]
    NotNow(String),
    /// What is on record speaks against it.
    #[error("{0}")]
    OnRecord(String),
    /// Whoever sits here did not want it after all.
    #[error("{0}")]
    Stopped(String),
    /// A file cannot be used.
    #[error("failed to use {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else on this machine.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// A file that cannot be used.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// An answer that this version cannot read.
    pub fn not_understood(cause: &serde_json::Error) -> Self {
        Self::NotNow(format!("the ledger answered what this version does not understand: {cause}"))
    }

    /// The same, with words for a thing that is not there.
    pub fn if_absent(self, words: &str) -> Self {
        match self {
            Self::Refused(mut problem) if problem.status == 404 => {
                words.clone_into(&mut problem.detail);
                Self::Refused(problem)
            }
            other => other,
        }
    }

    /// The exit code, one of [`EXIT_CODES`].
    pub fn exit(&self) -> u8 {
        match self {
            Self::Refused(problem) => match problem.status {
                400 | 422 => 2,
                401 => 3,
                403 | 404 => 4,
                429 | 500.. => 6,
                _ => 5,
            },
            Self::Wrong(_) => 2,
            Self::NotSignedIn(_) => 3,
            Self::OnRecord(_) => 5,
            Self::NotNow(_) => 6,
            Self::Stopped(_) => 130,
            Self::File { .. } | Self::Failed(_) => 1,
        }
    }

    /// What to do, if the message does not say it.
    pub fn way_out(&self) -> Option<&'static str> {
        match self.exit() {
            3 => Some("Sign in: siyada login --server URL --issuer URL (or give --token-file)."),
            4 => Some("`siyada whoami` shows your roles; `siyada tenants` what is yours to see."),
            6 => Some(
                "Try again in a moment; --server and --ca say where the ledger is and how it proves itself.",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_exit_code() {
        let check = |status: u16, exit: u8| {
            let problem = Problem {
                type_: String::new(),
                title: String::new(),
                status,
                code: String::new(),
                detail: "why".to_owned(),
                shortfall: None,
                approval: None,
            };
            let error = Error::Refused(Box::new(problem));
            assert_eq!((error.exit(), error.to_string()), (exit, "why".to_owned()), "{status}");
        };
        for (status, exit) in
            [(400, 2), (422, 2), (401, 3), (403, 4), (404, 4), (409, 5), (413, 5), (500, 6), (503, 6)]
        {
            check(status, exit);
        }
    }
}
