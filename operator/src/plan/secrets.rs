//! Secrets of an order: the sources in the engine namespace, the binding beside the order.

use super::{Certificate, Fresh, Platform, certificate_for, metadata_of};
use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::order::Kind;
use crate::seen::{Seen, metadata, secret_value};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The Secrets, sources first.
pub fn plan(valid: &Valid, names: &Names, seen: &Seen, fresh: &Fresh, platform: &Platform) -> Vec<Planned> {
    let engine = names.engine.as_str();
    let login = seen.get(ChildKind::Secret, engine, &names.login_secret());
    let password =
        login.and_then(|s| secret_value(s, "password")).unwrap_or_else(|| fresh.login_password.clone());
    let owner = basic(valid, engine, &names.owner_secret(), names::OWNER_ROLE, &fresh.owner_password);
    let source = basic(valid, engine, &names.login_secret(), names::LOGIN_ROLE, &password);
    vec![
        owner,
        source,
        authority(valid, names, platform),
        server(valid, names, seen, fresh, platform),
        binding(valid, names, &password, platform),
    ]
}

fn secret(valid: &Valid, namespace: &str, name: &str, type_: &str, data: &[(&str, &str)]) -> Value {
    let data: BTreeMap<&str, ByteString> =
        data.iter().map(|(k, v)| (*k, ByteString(v.as_bytes().to_vec()))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata_of(valid, namespace, name),
        "type": type_,
        "data": data,
    })
}

fn basic(valid: &Valid, namespace: &str, name: &str, user: &str, password: &str) -> Planned {
    let data = [("username", user), ("password", password)];
    let mut body = secret(valid, namespace, name, "kubernetes.io/basic-auth", &data);
    // Makes the engine read a changed password without a restart.
    body["metadata"]["labels"]["cnpg.io/reload"] = json!("true");
    Planned { key: Key::new(ChildKind::Secret, namespace, name), mode: Mode::CreateOnly, body }
}

fn authority(valid: &Valid, names: &Names, platform: &Platform) -> Planned {
    let name = names.authority_secret();
    let mut body = secret(valid, &names.engine, &name, "Opaque", &[("ca.crt", &platform.authority_pem)]);
    body["metadata"]["labels"]["cnpg.io/reload"] = json!("true");
    Planned { key: Key::new(ChildKind::Secret, &names.engine, name), mode: Mode::Apply, body }
}

/// The server's certificate: the one that is there, unless a new one was made.
fn server(valid: &Valid, names: &Names, seen: &Seen, fresh: &Fresh, platform: &Platform) -> Planned {
    let name = names.server_secret();
    let there = seen.get(ChildKind::Secret, &names.engine, &name).and_then(|secret| {
        let renew = metadata(secret, "annotations", names::RENEW_AFTER)?.parse().ok()?;
        Some(Certificate {
            certificate_pem: secret_value(secret, "tls.crt")?,
            key_pem: secret_value(secret, "tls.key")?,
            renew_after_second: renew,
        })
    });
    let none =
        || Certificate { certificate_pem: String::new(), key_pem: String::new(), renew_after_second: 0 };
    let certificate = fresh.certificate.clone().or(there).unwrap_or_else(none);
    let data = [("tls.crt", certificate.certificate_pem.as_str()), ("tls.key", certificate.key_pem.as_str())];
    let mut body = secret(valid, &names.engine, &name, "kubernetes.io/tls", &data);
    body["metadata"]["labels"]["cnpg.io/reload"] = json!("true");
    body["metadata"]["annotations"] = json!({
        names::RENEW_AFTER: certificate.renew_after_second.to_string(),
        names::CERTIFICATE_FOR: certificate_for(names, platform),
    });
    Planned { key: Key::new(ChildKind::Secret, &names.engine, name), mode: Mode::Apply, body }
}

/// What a client connects with (servicebinding.io 1.0), beside the order: a copy, restored when it is changed.
fn binding(valid: &Valid, names: &Names, password: &str, platform: &Platform) -> Planned {
    let at = &valid.order.at;
    let name = names::binding(at);
    let (user, database) = (names::LOGIN_ROLE, names::DATABASE);
    let (host, uri) = match at.kind {
        Kind::Postgres => {
            let host = names.host(&names.rw_service());
            let uri = format!("postgresql://{user}:{password}@{host}:5432/{database}?sslmode=verify-full");
            (host, uri)
        }
        Kind::Documents => {
            let host = names.host(&names.gateway());
            let uri =
                format!("mongodb://{user}:{password}@{host}:27017/{database}?authMechanism=PLAIN&tls=true");
            (host, uri)
        }
    };
    let port = at.kind.port().to_string();
    let data = [
        ("type", at.kind.binding_type()),
        ("provider", "siyada"),
        ("host", &host),
        ("port", &port),
        ("username", user),
        ("password", password),
        ("database", database),
        ("uri", &uri),
        ("ca.crt", &platform.authority_pem),
    ];
    let type_ = format!("servicebinding.io/{}", at.kind.binding_type());
    let mut body = secret(valid, &at.namespace, &name, &type_, &data);
    // The same namespace: the garbage collector removes the copy with the order.
    body["metadata"]["ownerReferences"] = json!([{
        "apiVersion": format!("{}/{}", siyada_crds::GROUP, siyada_crds::VERSION),
        "kind": at.kind.as_str(),
        "name": at.name,
        "uid": valid.order.uid,
    }]);
    Planned { key: Key::new(ChildKind::Secret, &at.namespace, name), mode: Mode::Apply, body }
}
