//! What the guide of finance says is done as it stands there: its commands by a shell, its Python by Python.

use crate::world::{Person, World, make};
use std::path::{Path, PathBuf};

const GUIDE: &str = include_str!("../../../../docs/guide/finance.md");
/// Where the guide says that the ledger is.
const SERVER: &str = "siyada-api.siyada-system.svc:8443";
/// The order that the guide names. It waits for an approval.
const ORDER: &str = "4f9c0f5e-0a57-4d4e-b9a8-2f1f54a0a001";

/// What is not done here, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("kubectl ", "there is no cluster"),
    ("alias ", "its address is this test's"),
    ("TOKEN=", "people have tokens of their own"),
    ("siyada-api ", "tests of the api export and verify"),
    ("printf ", "it is about somebody's webhook"),
    ("siyada decide interior 7 ", "there is no gap 7; tests of the api decide about others"),
    ("api -X POST -H 'Content-Type: application/json' \"$API/v1/tenants/interior/gaps/7/", "the same"),
    ("sed -n 7p audit.ndjson ", "it prints a hash of whatever the seventh event is"),
    ("S=", "set before each command"),
];

/// What was done before by `curl`, and what the record says to it.
const DONE: [(&str, &str); 3] = [
    ("siyada certify ", "certified does not follow"),
    ("siyada order ", "ordered does not follow"),
    ("siyada reject interior SIY-", "rejected does not follow"),
];

/// Fenced blocks of a language, without their indentation.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let (mut found, mut open): (Vec<String>, Option<(usize, String)>) = (Vec::new(), None);
    for line in GUIDE.lines() {
        match open.as_mut() {
            None if line.trim_start() == fence => open = Some((line.len() - fence.len(), String::new())),
            None => {}
            Some(_) if line.trim_start() == "```" => found.extend(open.take().map(|(_, text)| text)),
            Some((indent, text)) => *text += &format!("{}\n", line.get(*indent..).unwrap_or_default()),
        }
    }
    found
}

/// Commands that are typed, each with the lines it goes on.
fn commands() -> Vec<String> {
    let typed = blocks("console").join("");
    let mut found: Vec<String> = Vec::new();
    for line in typed.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push(command.to_owned()),
            (None, Some(before)) => *before += &format!("\n{line}"),
            (None, None) => panic!("{line:?} begins a block"),
        }
    }
    found
}

struct Reader<'a> {
    world: &'a World,
    /// Everybody who may have to do something, with their tokens.
    people: Vec<(&'static str, Person<'a>, String)>,
    /// Where all of them work.
    place: PathBuf,
}

impl Reader<'_> {
    /// A shell or Python in somebody's hands: whether it went well, and what it said.
    async fn does(
        &self,
        (person, token): (&Person<'_>, &str),
        program: &str,
        text: &str,
    ) -> Result<String, String> {
        let failed = self.place.join("failed");
        let _absent = std::fs::remove_file(&failed);
        let mut command = person.command_of(program);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.place.join("bin").display());
        command.current_dir(&self.place).args(["-c", text]).env("PATH", path).env("TOKEN", token);
        let done = tokio::time::timeout(crate::world::PATIENCE, command.output()).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        match done.status.success() && !failed.exists() {
            true => Ok(out),
            false => Err(format!("{out}{err}{}", std::fs::read_to_string(&failed).unwrap_or_default())),
        }
    }

    /// The files that `curl` wrote go: the guide tells two ways to the same, and `siyada` writes over nothing.
    fn tidy(&self) {
        for entry in std::fs::read_dir(&self.place).unwrap() {
            let path = entry.unwrap().path();
            let plain = path.symlink_metadata().unwrap().is_file() && !path.ends_with("ca.crt");
            if plain {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// A command of the guide, by the first who may.
    async fn types(&self, command: &str) -> Result<String, String> {
        let port = self.world.server.rsplit(':').next().unwrap();
        let before = format!(
            "api() {{ curl --silent --show-error --fail-with-body --cacert ca.crt --connect-to {SERVER}:127.0.0.1:{port} \
             -H \"Authorization: Bearer $TOKEN\" \"$@\" || echo failed > failed; }}\n\
             API=https://{SERVER} UID={ORDER} S=https://{SERVER}/v1/tenants/interior/statements/SIY-2026-000001/stages\n"
        );
        if command.starts_with("siyada ") {
            self.tidy();
        }
        let mut refusals = String::new();
        for (name, person, token) in &self.people {
            match self.does((person, token), "dash", &format!("{before}{command}")).await {
                Ok(out) => return Ok(out),
                Err(said) => refusals += &format!("{name}: {said}\n"),
            }
        }
        Err(refusals)
    }
}

async fn reader(world: &World) -> Reader<'_> {
    let place = world.person("root").home;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::os::unix::fs::symlink(repository.join("examples"), place.join("examples")).unwrap();
    std::fs::create_dir(place.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_siyada"), place.join("bin/siyada")).unwrap();
    std::fs::copy(&world.ca, place.join("ca.crt")).unwrap();
    let mut people = Vec::new();
    for name in ["nadia", "amina", "youssef", "salma"] {
        let person = world.signed_in(name).await;
        let token = person.runs("token", &[]).await.ok().trim().to_owned();
        people.push((name, person, token));
    }
    Reader { world, people, place }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guide_says_works_as_it_stands_there() {
    let world = make("guide", 0, "2026-10").await;
    world.put(&format!("/v1/reservations/{ORDER}"), &crate::world::order("waiting", 2)).await;
    let reader = reader(&world).await;
    let allocated =
        "siyada allocate interior u-1 --at 2026-10-01 --share 2026-30-10=60% --share 2026-30-20=40%";
    reader.types(allocated).await.unwrap();
    // The guide puts the credits of one of them itself.
    let credits = "siyada budget put interior 2026-30-20 examples/finance/budget-line.json";
    reader.types(credits).await.unwrap();
    let (mut done, mut wrong) = (0, String::new());
    for command in commands() {
        if LEFT_OUT.iter().any(|(prefix, _)| command.starts_with(prefix)) {
            continue;
        }
        let said = reader.types(&command).await;
        let known = DONE.iter().find(|(prefix, _)| command.starts_with(prefix));
        match (said, known) {
            (Ok(_), _) => done += 1,
            (Err(said), Some((_, words))) if said.contains(words) => done += 1,
            (Err(said), _) => wrong += &format!("{command}\n{said}\n"),
        }
    }
    assert!(wrong.is_empty() && done > 60, "{done} went well\n{wrong}");
    python(&reader).await;
}

/// The Python of the guide, which finds the ledger where this test has it.
async fn python(reader: &Reader<'_>) {
    let (name, port) = (SERVER.split(':').next().unwrap(), reader.world.server.rsplit(':').next().unwrap());
    let found = blocks("python");
    assert!(!found.is_empty());
    let before = format!(
        "import os, socket\nfind = socket.getaddrinfo\n\
         def here(host, port, *rest, **more):\n    assert (host, port) == ('{name}', 8443), (host, port)\n    return find('127.0.0.1', {port}, *rest, **more)\n\
         socket.getaddrinfo = here\ntoken = os.environ['TOKEN']\n"
    );
    let (_, person, token) = &reader.people[0];
    // One after the other, as somebody types them.
    let out = reader.does((person, token), "python3", &(before + &found.join("\n"))).await.unwrap();
    for words in ["SIY-2026-000001 2026-10 6250", "2026-30-10 3750", "2 rows, 6250"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn what_is_left_out_is_there() {
    let all = commands();
    for (prefix, _) in LEFT_OUT.iter().chain(&DONE) {
        assert!(all.iter().any(|command| command.starts_with(prefix)), "{prefix} is no longer in the guide");
    }
}
