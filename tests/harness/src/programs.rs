//! Our own programs: which build of them goes into images, and where that build left them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// What runs in the cluster, each in an image of its name.
pub const PROGRAMS: [&str; 2] = ["siyada-operator", "siyada-api"];

/// How they were compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What people run, and therefore what is tested and measured.
    Release,
    /// Compiled in a fraction of the time, for somebody who tries a change.
    Dev,
}

impl Profile {
    /// `$SIYADA_PROFILE`, else `release`.
    pub fn wanted() -> Result<Self> {
        Self::parse(std::env::var("SIYADA_PROFILE").ok().as_deref())
    }

    fn parse(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("" | "release") => Ok(Self::Release),
            Some("dev") => Ok(Self::Dev),
            Some(other) => bail!("SIYADA_PROFILE is {other:?}; it can be `release` or `dev`"),
        }
    }

    /// What Cargo calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// The folder in the target directory; Cargo's own name for `dev` is older.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }

    /// Where builds of this profile are.
    pub fn directory(self, checkout: &Path) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        target.map_or_else(|| checkout.join("target"), PathBuf::from).join(self.folder())
    }
}

/// A program of this build. Fails with what to type when it was never compiled.
pub fn find(checkout: &Path, profile: Profile, program: &str) -> Result<PathBuf> {
    compiled(&profile.directory(checkout), profile, program)
}

fn compiled(directory: &Path, profile: Profile, program: &str) -> Result<PathBuf> {
    let path = directory.join(program);
    match path.is_file() {
        true => Ok(path),
        false => bail!(
            "no {}; run `cargo build --profile {} {}` first",
            path.display(),
            profile.name(),
            PROGRAMS.map(|program| format!("-p {program}")).join(" ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_hold_release_builds_unless_somebody_asks_for_another() {
        for (name, expect) in
            [(None, Profile::Release), (Some("release"), Profile::Release), (Some("dev"), Profile::Dev)]
        {
            assert_eq!(Profile::parse(name).unwrap(), expect, "{name:?}");
        }
        let refused = Profile::parse(Some("debug")).unwrap_err().to_string();
        assert!(refused.contains("\"debug\"") && refused.contains("`dev`"), "{refused}");
    }

    #[test]
    fn a_program_that_was_never_compiled_is_asked_for_in_its_profile() {
        let refused = compiled(Path::new("/nowhere"), Profile::Dev, "siyada-api").unwrap_err().to_string();
        assert!(
            refused.contains("/nowhere/siyada-api") && refused.contains("--profile dev -p siyada-operator"),
            "{refused}"
        );
    }
}
