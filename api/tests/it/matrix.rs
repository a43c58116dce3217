//! Every role against every route. The routes come from the description: one without a line here fails.

use crate::support::{World, account, but, order, tenant};
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_model::wire::Role;
use std::collections::{BTreeMap, BTreeSet};

/// Who asks: nobody, somebody of another tenant, each role in the tenant, each role on the platform.
const CALLERS: [&str; 11] = [
    "anonymous",
    "stranger",
    "requester",
    "admin",
    "approver",
    "finance",
    "certifier",
    "auditor",
    "operator",
    "nationalFinance",
    "nationalAuditor",
];

/// What each of [`CALLERS`] gets, one letter each: `u` 401, `n` 404, `f` 403, `y` anything else.
const MATRIX: &[(&str, &str, &str)] = &[
    ("GET", "/healthz", "yyyyyyyyyyy"),
    ("GET", "/readyz", "yyyyyyyyyyy"),
    ("GET", "/v1/openapi.json", "yyyyyyyyyyy"),
    ("GET", "/v1/whoami", "uyyyyyyyyyy"),
    ("GET", "/v1/price-lists", "uyyyyyyyyyy"),
    ("PUT", "/v1/price-lists/{name}", "ufffffffyff"),
    ("DELETE", "/v1/price-lists/{name}", "ufffffffyff"),
    ("GET", "/v1/tenants", "uyyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}", "unyyyyyyyyy"),
    ("PUT", "/v1/tenants/{tenant}", "ufffffffyff"),
    ("DELETE", "/v1/tenants/{tenant}", "ufffffffyff"),
    ("GET", "/v1/tenants/{tenant}/quota", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/reservations", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/commitments", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/approvals", "unyyyyyyyyy"),
    ("POST", "/v1/tenants/{tenant}/approvals/{uid}", "unffyffffff"),
    ("DELETE", "/v1/tenants/{tenant}/approvals/{uid}", "unffyffffff"),
    ("GET", "/v1/approvals", "ufffffffyyy"),
    ("GET", "/v1/alerts", "ufffffffyyy"),
    ("GET", "/v1/meters", "uyyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/usage", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/intervals", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/usage/grouped", "unyyyyyyyyy"),
    ("GET", "/v1/usage/export", "uffffffffyy"),
    ("GET", "/v1/settlement-annex", "uffffffffyy"),
    ("GET", "/v1/costs", "uffffffffyy"),
    ("PUT", "/v1/costs/{fiscalYear}/{category}", "uffffffffyf"),
    ("GET", "/v1/cost-coverage", "uffffffffyy"),
    ("GET", "/v1/tenants/{tenant}/counters", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/availability", "unyyyyyyyyy"),
    ("POST", "/v1/quotes", "unyyyyyyyyy"),
    ("GET", "/v1/reservations", "ufffffffyyy"),
    ("PUT", "/v1/reservations/{uid}", "ufffffffyff"),
    ("DELETE", "/v1/reservations/{uid}", "ufffffffyff"),
    ("POST", "/v1/usage", "ufffffffyff"),
    ("POST", "/v1/usage/counters", "ufffffffyff"),
    ("POST", "/v1/usage/availability", "ufffffffyff"),
    ("POST", "/v1/usage/checkpoints", "ufffffffyff"),
    ("GET", "/v1/collectors/{id}", "ufffffffyyy"),
    ("GET", "/v1/ledger/journal", "ufffffffyyy"),
    ("GET", "/v1/health/metering", "ufffffffyyy"),
    ("GET", "/v1/settings", "ufffffffyyy"),
    ("PUT", "/v1/settings", "uffffffffyf"),
    ("GET", "/v1/audit/retention", "uyyyyyyyyyy"),
    ("GET", "/v1/audit", "ufffffffyyy"),
    ("POST", "/v1/audit", "ufffffffyff"),
    ("GET", "/v1/tenants/{tenant}/audit", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/budget-lines", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/budget-lines/{line}", "unyyyyyyyyy"),
    ("PUT", "/v1/tenants/{tenant}/budget-lines/{line}", "unfffyfffyf"),
    ("GET", "/v1/tenants/{tenant}/statements/{number}/stages", "unyyyyyyyyy"),
    ("POST", "/v1/tenants/{tenant}/statements/{number}/stages", "unfffyyffyf"),
    ("GET", "/v1/gaps", "ufffffffyyy"),
    ("GET", "/v1/tenants/{tenant}/gaps", "unyyyyyyyyy"),
    ("POST", "/v1/tenants/{tenant}/gaps/{id}/decision", "unffffyffyf"),
    ("POST", "/v1/tenants/{tenant}/gaps/decisions", "unffffyffyf"),
    ("GET", "/v1/issuer", "uyyyyyyyyyy"),
    ("PUT", "/v1/issuer", "uffffffffyf"),
    ("GET", "/v1/accounts", "ufffffffyyy"),
    ("PUT", "/v1/accounts/{account}", "uffffffffyf"),
    ("PUT", "/v1/tenants/{tenant}/orders/{uid}/allocation", "unfffyfffyf"),
    ("GET", "/v1/periods", "uyyyyyyyyyy"),
    ("GET", "/v1/periods/{month}/closing", "ufffffffyyy"),
    ("POST", "/v1/periods/{month}/closing", "uffffffffyf"),
    ("GET", "/v1/tenants/{tenant}/statements", "unyyyyyyyyy"),
    ("GET", "/v1/tenants/{tenant}/statements/{number}", "unyyyyyyyyy"),
    ("POST", "/v1/tenants/{tenant}/statements/{number}/credit-notes", "uffffffffyf"),
    ("GET", "/v1/chain", "uyyyyyyyyyy"),
    ("GET", "/v1/signing-key", "uyyyyyyyyyy"),
];

/// police with one namespace for each role, and an order that waits for an approval.
async fn world() -> World {
    let world = World::with_tenants().await;
    let roles = [Role::Requester, Role::Admin, Role::Approver, Role::Finance, Role::Certifier, Role::Auditor];
    let access: Vec<Value> = roles
        .iter()
        .map(|role| {
            let name = serde_json::to_value(role).unwrap();
            // The namespace `finance` is national finance in the world of the tests.
            json!({"role": role, "groups": [format!("system:serviceaccounts:tenant-{}", name.as_str().unwrap())]})
        })
        .collect();
    let police = but(
        &tenant("police", Some("interior"), json!({})),
        json!({
            "generation": 2, "access": access, "approvalAbove": {"minor": 0, "currency": "MAD"},
            "billing": {"account": "police"}
        }),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    let waits = but(&order("police", "db", 1, 10), json!({"requester": account("tenant-requester")}));
    world.operator().put("/v1/reservations/u-1", &waits).await.refused(409, "approval-pending");
    let record = examples::budget_line_record();
    let mut year = record.clone();
    year["fiscalYear"] = json!(jiff::Zoned::now().year());
    world.member("tenant-finance").put("/v1/tenants/police/budget-lines/30-10", &year).await.ok::<Value>();
    billed(&world).await;
    world
}

/// An issuer, and a statement of police.
async fn billed(world: &World) {
    let fact = |at: &str, level: Value| json!({"orderUid": "u-0", "tenant": "police", "meter": "compute", "at": at, "level": level, "reason": "Seen"});
    let facts = [
        fact("2026-01-05T00:00:00Z", json!({"sku": "postgres-small", "quantity": 1})),
        fact("2026-01-05T01:00:00Z", Value::Null),
    ];
    let operator = world.operator();
    operator.post("/v1/usage", &json!({"collector": "a", "epoch": 1, "facts": facts})).await.ok::<Value>();
    let round = json!({"collector": "a", "epoch": 1, "seen": [], "complete": true});
    operator.post("/v1/usage/checkpoints", &round).await.ok::<Value>();
    let issuer = but(&examples::issuer(), json!({"requireBudgetLine": false}));
    world.member("finance").put("/v1/issuer", &issuer).await.ok::<Value>();
    let closed: Value = world.member("finance").post("/v1/periods/2026-01/closing", &json!({})).await.ok();
    assert_eq!(closed["statements"], 1, "{closed}");
}

/// The number of the statement.
async fn number(world: &World) -> String {
    let chain: Value = world.operator().get("/v1/chain").await.ok();
    chain["items"][0]["number"].as_str().unwrap().to_owned()
}

async fn asked(world: &World, caller: &str, method: &str, template: &str) -> char {
    let client = match caller {
        "anonymous" => world.anonymous(),
        "operator" => world.operator(),
        "stranger" => world.member("health"),
        "nationalFinance" => world.member("finance"),
        "nationalAuditor" => world.member("audit"),
        role => world.member(&format!("tenant-{role}")),
    };
    let path = template.replace("{tenant}", "police").replace("{uid}", "u-1").replace("{id}", "7");
    let path = path
        .replace("{name}", "tarif-2026")
        .replace("{line}", "30-10")
        .replace("{month}", "2026-01")
        .replace("{account}", "a")
        .replace("{fiscalYear}", "2026")
        .replace("{category}", "energy");
    let path = path.replace("{number}", &number(world).await);
    let body = match template {
        "/v1/quotes" => {
            json!({"tenant": "police", "resources": order("police", "x", 1, 1)["resources"], "items": []})
        }
        "/v1/tenants/{tenant}/budget-lines/{line}" => examples::budget_line_record(),
        "/v1/tenants/{tenant}/gaps/{id}/decision" => json!({"billed": false, "evidence": ""}),
        "/v1/tenants/{tenant}/gaps/decisions" => json!({"gaps": [1], "billed": false, "evidence": ""}),
        "/v1/tenants/{tenant}/statements/{number}/stages" => {
            json!({"stage": "rejected", "reason": "not done"})
        }
        "/v1/tenants/{tenant}/orders/{uid}/allocation" => json!({"shares": [{"millionths": 1_000_000}]}),
        _ => json!({}),
    };
    let answer = client.send(method, &path, (method != "GET").then_some(&body)).await;
    match answer.status.as_u16() {
        401 => 'u',
        403 => 'f',
        // A collector that never reported is not there, for whoever may ask; nor is a key where nothing is signed.
        404 if !["/v1/collectors/{id}", "/v1/signing-key"].contains(&template) => 'n',
        _ => 'y',
    }
}

fn described() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(&siyada_api::openapi::document().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let path = path.clone();
        item.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

#[tokio::test]
async fn every_role_gets_of_every_route_what_the_matrix_says() {
    let expected: BTreeMap<(String, String), &str> =
        MATRIX.iter().map(|(method, path, row)| (((*method).to_owned(), (*path).to_owned()), *row)).collect();
    assert_eq!(expected.keys().cloned().collect::<BTreeSet<_>>(), described(), "give every route its line");
    for ((method, path), row) in expected {
        // Deciding about the order changes it: each route begins anew.
        let world = world().await;
        let mut found = String::new();
        for caller in CALLERS {
            found.push(asked(&world, caller, &method, &path).await);
        }
        assert_eq!(found, row, "{method} {path}: {CALLERS:?}");
    }
}
