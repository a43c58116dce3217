//! The export for auditors, and what the check of it finds.

use crate::closing::{FEBRUARY, MARCH, close, documents, fact, finance, fresh, send};
use crate::support::World;
use serde_json::{Value, json};
use siyada_api::export::{FILES, Manifest, export};
use siyada_api::signing::Signer;
use siyada_api::verify::verify;
use siyada_model::canonical::sha256;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of its own, gone when it is dropped.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("siyada-export-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two closed months, a late fact, a credit note, all of it signed; and the public key.
async fn closed() -> (World, Vec<u8>) {
    let mut world = fresh().await;
    let pair = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let signer = Signer::new(pair.as_ref()).unwrap();
    let key = signer.public_key().to_vec();
    world.state.signer = Some(Arc::new(signer));
    let world = World { app: siyada_api::app(world.state.clone()), ..world };
    close(&world, FEBRUARY).await;
    send(&world, &[fact("u-3", "health", "compute", "2024-02-29T13:00:00Z", None)]).await;
    send(&world, &[fact("u-3", "health", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 3)))])
        .await;
    close(&world, MARCH).await;
    let number = documents(&world).await[0].number.clone();
    let path = format!("/v1/tenants/kingdom/statements/{number}/credit-notes");
    finance(&world).post(&path, &json!({"key": "1", "reason": "Panne"})).await.ok::<Value>();
    (world, key)
}

/// Changes a file of an export, and its manifest so that it is the file that was named.
fn forge(directory: &Path, name: &str, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(directory.join(name)).unwrap();
    let forged = change(&text);
    assert_ne!(forged, text, "{name} is as before");
    std::fs::write(directory.join(name), &forged).unwrap();
    let manifest = std::fs::read(directory.join("manifest.json")).unwrap();
    let mut manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    manifest.files.insert(name.to_owned(), sha256(forged.as_bytes()));
    std::fs::write(directory.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[tokio::test]
async fn i19_an_export_gives_the_same_bytes_with_nothing_but_its_files() {
    let (world, key) = closed().await;
    let place = Place::new("whole");
    let manifest = export(&world.pool, &place.0).await.unwrap();
    let found = verify(&place.0, Some(&key)).unwrap();
    assert_eq!((found.documents, found.signed, found.months), (5, 5, 2));
    assert_eq!(Some(found.chain), manifest.chain);
    // Once more into the same place would mix two of them.
    let again = export(&world.pool, &place.0).await.unwrap_err();
    assert!(format!("{again:#}").contains("name a directory that is not there"), "{again:#}");
}

#[tokio::test]
async fn i14_whatever_is_changed_in_an_export_is_found_and_named() {
    let (world, key) = closed().await;
    let place = Place::new("forged");
    let whole = place.0.join("whole");
    std::fs::create_dir_all(&place.0).unwrap();
    export(&world.pool, &whole).await.unwrap();
    let check = |name: &str, change: &dyn Fn(&str) -> String, expect: &str| {
        let copy = place.0.join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        std::fs::create_dir(&copy).unwrap();
        for file in FILES.into_iter().chain(["manifest.json"]) {
            std::fs::copy(whole.join(file), copy.join(file)).unwrap();
        }
        forge(&copy, name, change);
        let cause = format!("{:#}", verify(&copy, Some(&key)).unwrap_err());
        assert!(cause.contains(expect), "{name}: {cause}");
    };
    let without_first = |text: &str| text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    let without_last = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        lines[..lines.len() - 1].iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    check(
        "usage.ndjson",
        &|t| t.replace("\"quantity\":3", "\"quantity\":2"),
        "is not what the record gives: byte ",
    );
    check(
        "usage.ndjson",
        &|t| t.replacen("2024-02-20T00:00:00Z", "2024-02-20T00:00:01Z", 1),
        "is not what the record gives: byte ",
    );
    check("usage.ndjson", &without_first, "is not what the record gives: byte ");
    check(
        "allocations.ndjson",
        &|t| t.replace("2024-30-10", "2024-30-11"),
        "is not what the record gives: byte ",
    );
    check(
        "price-lists.ndjson",
        &|t| t.replace("\"1.25\"", "\"1.24\""),
        "is not what the record gives: byte ",
    );
    check("orders.ndjson", &|t| t.replace("health", "police"), "otherwise than the record");
    check("documents.ndjson", &without_first, "that it is document 2 of the chain, but it is document 1");
    check("documents.ndjson", &without_last, "the chain ends at ");
    check("documents.ndjson", &|t| t.replacen("29875", "29876", 1), "the SHA-256 of ");
    check(
        "periods.ndjson",
        &|t| t.replacen("2024-02-29T23:00:00Z", "2024-02-29T22:00:00Z", 1),
        "has other borders of 2024-02",
    );
    // Without the manifest being forged as well, the file itself gives it away.
    std::fs::write(whole.join("usage.ndjson"), "").unwrap();
    let cause = format!("{:#}", verify(&whole, None).unwrap_err());
    assert!(cause.contains("usage.ndjson is not the file of the manifest"), "{cause}");
}

#[tokio::test]
async fn a_document_signed_by_another_key_is_found() {
    let (world, _) = closed().await;
    let place = Place::new("key");
    export(&world.pool, &place.0).await.unwrap();
    let cause = format!("{:#}", verify(&place.0, Some(&[7; 32])).unwrap_err());
    assert!(cause.contains("not by the key that was given"), "{cause}");
}
