//! Who is let in: the table of routes, anonymous callers, other tenants.

use crate::support::{World, order};
use axum::http::Method;
use serde_json::{Value, json};
use siyada_api::access::{Right, TABLE};
use std::collections::BTreeSet;

/// A path that fits the template.
fn path(template: &str) -> String {
    template
        .replace("{tenant}", "police")
        .replace("{name}", "tarif-2026")
        .replace("{uid}", "u-1")
        .replace("{id}", "c")
        .replace("{line}", "30-10")
        .replace("{number}", "SIY-2026-000001")
}

#[tokio::test]
async fn the_table_and_the_description_name_the_same_routes() {
    let document: Value = serde_json::from_str(&siyada_api::openapi::document().unwrap()).unwrap();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), path.clone()))
        })
        .collect();
    let declared: BTreeSet<(String, String)> =
        TABLE.iter().map(|rule| (rule.method.to_string(), rule.path.to_owned())).collect();
    assert_eq!(described, declared);
}

#[tokio::test]
async fn only_health_and_the_description_are_open() {
    let world = World::with_tenants().await;
    for rule in TABLE {
        let answer = world.anonymous().send(rule.method.as_str(), &path(rule.path), Some(&json!({}))).await;
        if rule.right == Right::Open {
            assert_eq!(answer.status, 200, "{} {}", rule.method, rule.path);
        } else {
            answer.refused(401, "unauthenticated");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
}

#[tokio::test]
async fn what_is_not_declared_does_not_exist_for_anybody() {
    let world = World::with_tenants().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1"),
        ("POST", "/v1/tenants/police"),
        ("POST", "/v1/tenants"),
        ("PATCH", "/v1/reservations/u"),
        ("GET", "/metrics"),
        ("OPTIONS", "/v1/usage"),
        ("PUT", "/healthz"),
    ] {
        for client in [world.operator(), world.anonymous()] {
            client.send(method, path, None).await.refused(404, "not-found");
        }
    }
}

#[tokio::test]
async fn routes_of_the_platform_are_forbidden_to_members() {
    let world = World::with_tenants().await;
    for rule in TABLE {
        let expect = match rule.right {
            Right::Operate | Right::Bill | Right::Oversee | Right::Review => true,
            Right::Open | Right::SignedIn | Right::InTenant | Right::Approve | Right::As(_) => continue,
        };
        let send = async |client: &crate::support::Client<'_>| {
            client.send(rule.method.as_str(), &path(rule.path), Some(&json!({}))).await
        };
        assert_eq!(
            send(&world.member("police")).await.status == 403,
            expect,
            "{} {}",
            rule.method,
            rule.path
        );
        // An auditor sees the platform, and changes nothing.
        let audited = send(&world.member("audit")).await.status;
        assert_eq!(
            audited == 403,
            matches!(rule.right, Right::Operate | Right::Bill),
            "{} {}: {audited}",
            rule.method,
            rule.path
        );
    }
}

#[tokio::test]
async fn another_tenant_and_no_tenant_are_the_same_bytes() {
    let world = World::with_tenants().await;
    world.operator().put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    let stranger = world.member("health");
    for rule in TABLE.iter().filter(|r| r.right == Right::InTenant && r.method == Method::GET) {
        let template = rule.path.replace("{line}", "30-10").replace("{number}", "SIY-2026-000001");
        let others = stranger.get(&template.replace("{tenant}", "police")).await;
        others.refused(404, "not-found");
        for name in ["absent", "No-Name!", &"a".repeat(41)] {
            let absent = stranger.get(&template.replace("{tenant}", name)).await;
            assert_eq!(absent.bytes, others.bytes, "{} {name}", rule.path);
            assert_eq!(absent.headers, others.headers);
        }
    }
    let quote = |tenant: &str| json!({"tenant": tenant, "resources": order("x", "y", 1, 1)["resources"], "items": []});
    let others = stranger.post("/v1/quotes", &quote("police")).await;
    others.refused(404, "not-found");
    assert_eq!(stranger.post("/v1/quotes", &quote("absent")).await.bytes, others.bytes);
}

#[tokio::test]
async fn a_role_above_sees_what_is_below_and_never_the_reverse() {
    let world = World::with_tenants().await;
    for (caller, tenant, expect) in [
        ("kingdom", "police", 200),
        ("interior", "police", 200),
        ("police", "police", 200),
        ("police", "interior", 404),
        ("police", "health", 404),
        ("health", "kingdom", 404),
        ("finance", "health", 200),
        ("audit", "police", 200),
        ("nobody", "police", 404),
    ] {
        for route in ["", "/quota", "/usage", "/intervals", "/reservations"] {
            let answer = world.member(caller).get(&format!("/v1/tenants/{tenant}{route}")).await;
            assert_eq!(answer.status, expect, "{caller} reads {route} of {tenant}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn whoami_shows_subject_groups_and_roles() {
    let world = World::with_tenants().await;
    let operator: Value = world.operator().get("/v1/whoami").await.ok();
    assert_eq!(operator["platformRoles"], json!(["operator"]));
    let member: Value = world.member("police").get("/v1/whoami").await.ok();
    assert_eq!(
        member,
        json!({
            "subject": "system:serviceaccount:police:web",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:police"],
            "platformRoles": [],
            "tenantRoles": [{"tenant": "police", "role": "requester"}]
        })
    );
}
