//! Secrets of an order: the sources in the engine namespace, the binding beside the order.

use super::{Certificate, Fresh, Platform, certificate_for, metadata_of};
use crate::certificate::held;
use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::order::Kind;
use crate::rotation::{Phase, Rotation, role};
use crate::seen::{Seen, secret_value};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The Secrets, sources first: those that the state `next` needs, and the binding as the state `now` has it, so that clients
/// are given a login only when the engine is known to have been told of it.
pub fn plan(
    valid: &Valid,
    names: &Names,
    (now, next): (&Rotation, &Rotation),
    seen: &Seen,
    fresh: &Fresh,
    platform: &Platform,
) -> Vec<Planned> {
    let engine = names.engine.as_str();
    let there =
        |name: &str| seen.get(ChildKind::Secret, engine, name).and_then(|s| secret_value(s, "password"));
    let password = |name: &str| there(name).unwrap_or_else(|| fresh.login_password.clone());
    let source = |number: u32, name: String| {
        let mut planned = basic(valid, engine, &name, role(number), &password(&name));
        if name != names.login_secret(1) {
            planned.body["metadata"]["labels"][names::LOGIN_NUMBER] = json!(number.to_string());
        }
        planned
    };
    let lowest = now.lowest().min(next.lowest());
    let mut all = vec![basic(valid, engine, &names.owner_secret(), names::OWNER_ROLE, &fresh.owner_password)];
    // The password of a login that is ending was replaced: a lost Secret of it is of no use to anybody.
    let of_use = |number: &u32| *number >= next.lowest() || there(&names.login_secret(*number)).is_some();
    all.extend(
        (lowest..=next.number).filter(of_use).map(|number| source(number, names.login_secret(number))),
    );
    if next.phase == Phase::Closing {
        all.push(source(next.before(), names.closing_secret(next.before())));
    }
    let active = now.active();
    all.extend([
        authority(valid, names, platform),
        server(valid, names, seen, fresh, platform),
        binding(
            valid,
            names,
            &names::binding(&valid.order.at),
            (role(active), &password(&names.login_secret(active))),
            platform,
        ),
    ]);
    all
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

/// A login's source, written once.
pub fn basic(valid: &Valid, namespace: &str, name: &str, user: &str, password: &str) -> Planned {
    let data = [("username", user), ("password", password)];
    let mut body = secret(valid, namespace, name, "kubernetes.io/basic-auth", &data);
    // Makes the engine read a changed password without a restart.
    body["metadata"]["labels"]["cnpg.io/reload"] = json!("true");
    Planned { key: Key::new(ChildKind::Secret, namespace, name), mode: Mode::CreateOnly, body }
}

pub(super) fn authority(valid: &Valid, names: &Names, platform: &Platform) -> Planned {
    let name = names.authority_secret();
    let mut body = secret(valid, &names.engine, &name, "Opaque", &[("ca.crt", &platform.authority_pem)]);
    body["metadata"]["labels"]["cnpg.io/reload"] = json!("true");
    Planned { key: Key::new(ChildKind::Secret, &names.engine, name), mode: Mode::Apply, body }
}

/// The server's certificate: the one that is there, unless a new one was made.
pub(super) fn server(
    valid: &Valid,
    names: &Names,
    seen: &Seen,
    fresh: &Fresh,
    platform: &Platform,
) -> Planned {
    let name = names.server_secret();
    let there = seen.get(ChildKind::Secret, &names.engine, &name).and_then(held);
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
pub fn binding(
    valid: &Valid,
    names: &Names,
    name: &str,
    (user, password): (&str, &str),
    platform: &Platform,
) -> Planned {
    let at = &valid.order.at;
    let database = names::DATABASE;
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
    let mut body = secret(valid, &at.namespace, name, &type_, &data);
    // The same namespace: the garbage collector removes the copy with the order.
    body["metadata"]["ownerReferences"] = json!([{
        "apiVersion": format!("{}/{}", siyada_crds::GROUP, siyada_crds::VERSION),
        "kind": at.kind.as_str(),
        "name": at.name,
        "uid": valid.order.uid,
    }]);
    Planned { key: Key::new(ChildKind::Secret, &at.namespace, name), mode: Mode::Apply, body }
}
