//! The command line, read into one value.

use anyhow::{Result, bail};

/// What `harness help` prints.
pub const HELP: &str = "\
harness: a real Kubernetes on this machine, in a network namespace of its own

  harness deps                         install the Debian packages that are missing (root), or name them
  harness build                        compile the third-party binaries into the cache
  harness cargo-deny ARGUMENTS...      what the crates of others are allowed to be; installed into the cache first
  harness images                       build the container images into the cache
  harness up [--no-node [--object-store]]
                                       start the cluster, or repair what is dead of it; without nodes there is no object
                                       store but by that word
  harness previous [-- COMMAND...]     take the previous landing out of git and compile it into the cache; then run a
                                       command with its folder in SIYADA_PREVIOUS
  harness load [--previous]            put our own images on the node, if they changed; the previous landing's too
  harness exec -- COMMAND...           run a command where service names resolve and pods can be reached
  harness trial [--previous] -- COMMAND...
                                       the same on a fresh cluster with our images, deleted afterwards
  harness kubectl|helm ARGUMENTS...    the cached kubectl or helm, on this cluster
  harness status                       every component, its process and its log
  harness logs [COMPONENT] [-f]        the end of the logs
  harness restart COMPONENT            kill one component without warning, and start it again
  harness down [--purge]               stop everything; --purge also deletes the databases

All but deps, build, images, previous and cargo-deny take --name NAME (default demo) before anything else they take. Our images hold
what `cargo build --release` made, or a dev build when SIYADA_PROFILE is `dev`.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Verb {
    /// Print [`HELP`].
    Help,
    /// Install Debian packages.
    Deps,
    /// Compile third-party binaries.
    Build,
    /// Build container images.
    Images,
    /// Start or repair.
    Up {
        /// False for a control plane alone.
        node: bool,
        /// Whether it has an object store; a node always has one.
        store: bool,
    },
    /// Take the previous landing out of git and compile it.
    Previous {
        /// Program and arguments of what is run then; may be empty.
        command: Vec<String>,
    },
    /// Import our images.
    Load {
        /// Those of the previous landing too.
        previous: bool,
    },
    /// Stop.
    Down {
        /// Also delete etcd's data and the volumes.
        purge: bool,
    },
    /// Report.
    Status,
    /// Show logs.
    Logs {
        /// All of them when absent.
        component: Option<String>,
        /// Keep following.
        follow: bool,
    },
    /// Kill a component and start it again.
    Restart {
        /// Its name.
        component: String,
    },
    /// Run a command inside the network namespace.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Run a command on a fresh cluster, then delete the cluster.
    Trial {
        /// Whether the images of the previous landing are wanted.
        previous: bool,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Run kubectl or helm.
    Tool {
        /// `kubectl` or `helm`.
        tool: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Run cargo-deny in the checkout.
    Deny {
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// The storage provisioner; started by `up`.
    Provisioner,
}

/// The whole command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Which cluster of this checkout.
    pub name: String,
    /// What to do with it.
    pub verb: Verb,
}

impl Arguments {
    /// Reads the words after the program's name. Fails on a word it does not know, naming it.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut words: Vec<String> = words.collect();
        if words.is_empty() || words.iter().take(2).any(|word| word == "--help") {
            return Ok(Self { name: "demo".into(), verb: Verb::Help });
        }
        let verb = words.remove(0);
        let name = take_name(&mut words)?;
        let verb = match verb.as_str() {
            "help" => Verb::Help,
            "deps" => Verb::Deps,
            "build" => Verb::Build,
            "images" => Verb::Images,
            "up" => {
                let node = !take_flag(&mut words, "--no-node");
                Verb::Up { node, store: node || take_flag(&mut words, "--object-store") }
            }
            "previous" => {
                let command = if words.is_empty() { vec![] } else { take_command(&mut words)? };
                Verb::Previous { command }
            }
            "load" => Verb::Load { previous: take_flag(&mut words, "--previous") },
            "down" => Verb::Down { purge: take_flag(&mut words, "--purge") },
            "status" => Verb::Status,
            "logs" => {
                let follow = take_flag(&mut words, "-f");
                Verb::Logs { component: words.pop(), follow }
            }
            "restart" => match words.pop() {
                Some(component) => Verb::Restart { component },
                None => bail!("restart needs a component, for example `harness restart kube-apiserver`"),
            },
            "exec" => Verb::Exec { command: take_command(&mut words)? },
            "trial" => {
                let previous = take_first(&mut words, "--previous");
                Verb::Trial { previous, command: take_command(&mut words)? }
            }
            "kubectl" | "helm" => Verb::Tool { tool: verb, arguments: std::mem::take(&mut words) },
            "cargo-deny" => Verb::Deny { arguments: std::mem::take(&mut words) },
            "provisioner" => Verb::Provisioner,
            other => bail!("unknown command {other:?}; `harness help` lists them"),
        };
        match words.first() {
            Some(word) => bail!("unexpected argument {word:?}; `harness help` lists what can be given"),
            None => Ok(Self { name, verb }),
        }
    }
}

/// `--name NAME` is read only in front, so that an argument of a wrapped command is never taken for ours.
fn take_name(words: &mut Vec<String>) -> Result<String> {
    if words.first().is_none_or(|word| word != "--name") {
        return Ok("demo".into());
    }
    if words.len() < 2 {
        bail!("--name needs a value, for example `--name test`");
    }
    words.remove(0);
    Ok(words.remove(0))
}

fn take_flag(words: &mut Vec<String>, flag: &str) -> bool {
    let before = words.len();
    words.retain(|word| word != flag);
    words.len() != before
}

/// Only in front, as the name is: what follows may be a wrapped command's.
fn take_first(words: &mut Vec<String>, flag: &str) -> bool {
    let first = words.first().is_some_and(|word| word == flag);
    if first {
        words.remove(0);
    }
    first
}

fn take_command(words: &mut Vec<String>) -> Result<Vec<String>> {
    let mut command = std::mem::take(words);
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    match command.is_empty() {
        true => bail!("nothing to run; write `harness exec -- COMMAND`"),
        false => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn a_line_becomes_a_verb() {
        let cases = [
            ("up", "demo", Verb::Up { node: true, store: true }),
            ("up --name test --no-node", "test", Verb::Up { node: false, store: false }),
            ("up --no-node --object-store", "demo", Verb::Up { node: false, store: true }),
            ("down --purge", "demo", Verb::Down { purge: true }),
            (
                "exec --name a -- env --name b",
                "a",
                Verb::Exec { command: vec!["env".into(), "--name".into(), "b".into()] },
            ),
            ("restart --name a etcd", "a", Verb::Restart { component: "etcd".into() }),
            ("logs etcd -f", "demo", Verb::Logs { component: Some("etcd".into()), follow: true }),
            ("load --previous", "demo", Verb::Load { previous: true }),
            ("previous", "demo", Verb::Previous { command: vec![] }),
            (
                "previous -- cargo test -- --ignored",
                "demo",
                Verb::Previous { command: ["cargo", "test", "--", "--ignored"].map(String::from).into() },
            ),
            (
                "trial --name ci --previous -- stories --previous",
                "ci",
                Verb::Trial { previous: true, command: vec!["stories".into(), "--previous".into()] },
            ),
            ("trial -- stories", "demo", Verb::Trial { previous: false, command: vec!["stories".into()] }),
            (
                "kubectl get pods",
                "demo",
                Verb::Tool { tool: "kubectl".into(), arguments: vec!["get".into(), "pods".into()] },
            ),
        ];
        for (line, name, verb) in cases {
            assert_eq!(parse(line).unwrap(), Arguments { name: name.into(), verb }, "{line}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (line, word) in [
            ("fly", "fly"),
            ("up --fast", "--fast"),
            ("up --name", "--name"),
            ("exec --", "nothing to run"),
            ("restart", "needs a component"),
            ("restart a b", "\"a\""),
        ] {
            assert!(parse(line).unwrap_err().to_string().contains(word), "{line}");
        }
    }
}
