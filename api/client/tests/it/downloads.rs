//! Files: whole or not at all, under a name that is free, whatever happens on the way.

use crate::finance::{NUMBER, closed};
use crate::world::{Done, Person, world};
use serde_json::json;
use siyada_model::canonical::sha256;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The names in a folder, but the session's.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "state").collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_written_in_each_format_and_over_nothing() {
    let world = closed().await;
    let amina = world.signed_in("amina").await;
    let fetch = |rest: &str| format!("statement interior {NUMBER} --format {rest}");
    let begins = [
        ("pdf --language ar", "pdf", "%PDF-".as_bytes()),
        ("xlsx --language fr", "xlsx", b"PK"),
        ("csv", "csv", "\u{feff}".as_bytes()),
        ("json", "json", b"{"),
        ("focus-1.2", "focus.csv", b""),
    ];
    for (rest, ending, begin) in begins {
        let said = amina.runs(&fetch(rest), &[]).await.ok();
        let name = format!("{NUMBER}.{ending}");
        let bytes = std::fs::read(amina.home.join(&name)).unwrap();
        assert!(bytes.starts_with(begin) || ending == "csv", "{name}");
        assert!(said.contains(&name) && said.contains(&sha256(&bytes)), "{said}");
    }
    // The bytes that were signed.
    let listed = amina.runs("statements interior -o json", &[]).await.json();
    let json = amina.home.join(format!("{NUMBER}.json"));
    assert_eq!(listed[0]["sha256"], sha256(&std::fs::read(&json).unwrap()));

    std::fs::write(&json, "mine").unwrap();
    amina.runs(&fetch("json"), &[]).await.refused(1, "give --force");
    amina.runs(&fetch(&format!("focus-1.4 --file {NUMBER}.json")), &[]).await.refused(1, "give --force");
    assert_eq!(std::fs::read_to_string(&json).unwrap(), "mine");
    amina.runs(&fetch("json --force"), &[]).await.ok();
    assert_ne!(std::fs::read_to_string(&json).unwrap(), "mine");

    std::fs::create_dir(amina.home.join("out")).unwrap();
    let saved = amina.runs(&fetch("focus-1.4 --file out -o json"), &[]).await.json();
    assert_eq!(saved["file"], format!("out/{NUMBER}.focus.csv"));
    let piped = amina.runs(&fetch("csv --file -"), &[]).await.ok();
    assert_eq!(piped, std::fs::read_to_string(amina.home.join(format!("{NUMBER}.csv"))).unwrap());
    let typed = amina.types(&fetch("pdf --file -"), "").await;
    assert!(typed.code == 2 && typed.out.contains("to the terminal"), "{typed:?}");

    let before = names(&amina.home);
    amina.runs(&fetch("pdf --language de --file de.pdf"), &[]).await.refused(2, "fr, ar, en");
    amina.runs(&fetch("html"), &[]).await.refused(2, "focus-1.4");
    amina.runs(&fetch("pdf --file absent/a.pdf"), &[]).await.refused(1, "absent");
    amina.runs("statement interior SIY-2026-000999 --format pdf", &[]).await.refused(4, "");
    amina.runs(&format!("statement interior {NUMBER} --file a.pdf"), &[]).await.refused(2, "needs --format");
    assert_eq!(names(&amina.home), before);
}

/// What comes in the way of an answer.
#[derive(Clone, Copy)]
enum Fault {
    /// It says no more.
    Silent,
    /// The connection breaks off.
    Broken,
}

/// A ledger that answers half of a file.
async fn half_a_ledger(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0, "a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\
                    content-disposition: attachment; filename=\"ledger.journal\"\r\n\r\n4\r\nhalf\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if let Fault::Silent = fault {
            std::future::pending::<()>().await;
        }
    });
    url
}

fn journal(person: &Person<'_>, url: &str) -> tokio::process::Command {
    let token = person.file("state-token", "token");
    let mut command = person.command_of(env!("CARGO_BIN_EXE_siyada"));
    command.args(["journal", "--server", url, "--token-file"]).arg(token).stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_stopped_leaves_nothing_half() {
    for (signal, fault) in [("INT", Fault::Silent), ("TERM", Fault::Silent), ("", Fault::Broken)] {
        let karim = world().await.person("karim");
        let url = half_a_ledger(fault).await;
        let child = journal(&karim, &url).spawn().unwrap();
        if let Fault::Silent = fault {
            // The half is there, and not under the name of the whole.
            let half = || names(&karim.home).into_iter().find(|name| name.ends_with(".part"));
            let written = async {
                while half().is_none_or(|name| std::fs::read(karim.home.join(name)).unwrap() != b"half") {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), written).await.expect("no half is written");
            assert!(!karim.home.join("ledger.journal").exists());
            let pid = child.id().unwrap().to_string();
            let told = karim.command_of("kill").args(["-s", signal, &pid]).status().await.unwrap();
            assert!(told.success());
        }
        let done: Done = child.wait_with_output().await.unwrap().into();
        match fault {
            Fault::Silent => done.refused(130, "nothing was written"),
            Fault::Broken => done.refused(6, "failed to reach"),
        }
        assert_eq!(names(&karim.home), ["state-token"]);
    }
}

/// A ledger that answers these bytes and closes in good order, as something in between does that gives up.
async fn ledger_that_answers(body: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         content-disposition: attachment; filename=\"usage-2026-02.csv\"\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), body].concat();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0, "a request");
        stream.write_all(&answer).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_not_whole_is_no_file_at_all() {
    let world = closed().await;
    let (nadia, karim) = (world.signed_in("nadia").await, world.person("karim"));
    let token = karim.file("state-token", "token").display().to_string();
    let take = async |format: &str, body: &[u8], rest: &[&str]| {
        let url = ledger_that_answers(body).await;
        let line = format!("export 2026-02 --format {format}");
        karim.runs(&line, &[&["--server", &url, "--token-file", &token], rest].concat()).await
    };
    for format in ["csv", "ndjson"] {
        let shown = nadia.runs(&format!("export 2026-02 --format {format}"), &[]).await.ok();
        assert!(shown.contains("2, and nothing is missing"), "{shown}");
        let text = std::fs::read_to_string(nadia.home.join(format!("usage-2026-02.{format}"))).unwrap();
        let last = text.trim_end().rfind('\n').unwrap() + 1;
        let row = text[..last].trim_end().rfind('\n').unwrap() + 1;
        let without_a_row = format!("{}{}", &text[..row], &text[last..]);
        let otherwise = text.replacen("registry", "registrx", 1);
        let cuts: [(&str, &str); 6] = [
            ("", "breaks off after 0 records"),
            (&text[..row], "breaks off after"),
            (&text[..last], "without the last one that proves it"),
            (&text[..text.len() - 1], "without the last one that proves it"),
            (&without_a_row, "has 2 rows, of which 1 came"),
            (&otherwise, "is another one"),
        ];
        for (body, words) in cuts {
            take(format, body.as_bytes(), &[]).await.refused(6, words);
            let file = karim.file("mine.csv", "mine").display().to_string();
            take(format, body.as_bytes(), &["--force", "--file", &file]).await.refused(6, words);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
            assert_eq!(names(&karim.home), ["mine.csv", "state-token"]);
            // What is on its way already cannot be taken back; that it is not whole is said all the same.
            let piped = take(format, body.as_bytes(), &["--file", "-"]).await;
            assert!(piped.code == 6 && piped.out == body && piped.err.contains(words), "{piped:?}");
        }
        let said = take(format, text.as_bytes(), &["-o", "json", "--file", "whole"]).await.json();
        assert_eq!((&said["rows"], &said["sha256"]), (&json!(2), &json!(sha256(text.as_bytes()))));
        std::fs::remove_file(karim.home.join("whole")).unwrap();
    }
}
