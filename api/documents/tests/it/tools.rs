//! Programs that judge our files from outside: poppler, and a Python environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// focus-validator writes an expression that Python before 3.12 does not read; the same in words that it reads.
const UNREAD: (&str, &str) =
    (r#"f"'{k.replace('\"', '\"\"')}'" for k"#, r#""'" + k.replace('"', '""') + "'" for k"#);

/// A folder for files of tests.
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file of a test, whose name no other test uses.
pub fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// What a program prints; it must end well.
pub fn output(command: &mut Command, install: &str) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {install}"));
    // Titles of tags are UTF-16, and poppler prints them as they are.
    let (text, errors) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} failed: {errors}\n{text}\n{install}");
    text
}

/// What a program of poppler prints about a PDF.
pub fn poppler(program: &str, arguments: &[&str], file: &Path, end: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).arg(file).args(end);
    output(&mut command, "`make harness` installs it, or: apt-get install poppler-utils")
}

/// Python with what requirements.txt says: some 550 MB, made once in the cache of the project, in half a minute.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/siyada"));
        let root = std::env::var_os("SIYADA_CACHE").map(PathBuf::from).or_else(home);
        let root = root.expect("no place for the cache; set HOME or SIYADA_CACHE");
        let name = format!("python-{}", &siyada_model::canonical::sha256(REQUIREMENTS.as_bytes())[..16]);
        let done = root.join(&name);
        fs::create_dir_all(&root).unwrap();
        // Two test programs at once wait for each other; a crash leaves nothing half made.
        let lock = fs::File::create(root.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        if !done.is_dir() {
            let fresh = root.join(format!("{name}.new"));
            let _absent = fs::remove_dir_all(&fresh);
            install(&fresh);
            fs::rename(&fresh, &done).unwrap();
        }
        done.join("bin/python")
    })
}

fn install(into: &Path) {
    let needed = "the tests of siyada-documents need Python 3.11 or 3.12 with venv, and PyPI: `make harness` installs \
        it, or: apt-get install python3-venv";
    output(Command::new("python3").args(["-m", "venv"]).arg(into), needed);
    let (python, list) = (into.join("bin/python"), into.join("requirements.txt"));
    fs::write(&list, REQUIREMENTS).unwrap();
    // Called as a module, since scripts name the folder they were made in.
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--ignore-requires-python"]);
    pip.args(["--disable-pip-version-check", "-r"]).arg(list);
    output(&mut pip, needed);
    let file = validator(&python).join("focus_validator/config_objects/focus_to_duckdb_converter.py");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(UNREAD.0), "focus-validator has changed: see whether it still needs its repair");
    fs::write(file, text.replace(UNREAD.0, UNREAD.1)).unwrap();
}

/// The folder of packages: focus-validator finds its files only from there.
pub fn validator(python: &Path) -> PathBuf {
    let mut command = Command::new(python);
    command.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
    PathBuf::from(output(&mut command, "").trim())
}
