//! Approvals: above a threshold an order waits for somebody who did not order it.

use crate::support::{World, account, but, order, tenant};
use serde_json::{Value, json};

/// One small instance with 10 GiB costs 946.90 MAD.
const THRESHOLD: i64 = 90_000;

fn access(entries: &[(&str, &str)]) -> Value {
    entries
        .iter()
        .map(|(role, namespace)| json!({"role": role, "groups": [format!("system:serviceaccounts:{namespace}")]}))
        .collect()
}

/// kingdom (approver: chiefs) with a threshold; police (requester and approver: police; approver: sergeants) below.
async fn world() -> World {
    let world = World::with_tenants().await;
    let kingdom = but(
        &tenant("kingdom", None, json!({})),
        json!({
            "generation": 2, "approvalAbove": {"minor": THRESHOLD, "currency": "MAD"},
            "access": access(&[("approver", "chiefs"), ("finance", "treasury")])
        }),
    );
    world.operator().put("/v1/tenants/kingdom", &kingdom).await.ok::<Value>();
    let police = but(
        &tenant("police", Some("interior"), json!({})),
        json!({"generation": 2, "access": access(&[("requester", "police"), ("approver", "sergeants")])}),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    world
}

fn by_amina(generation: i64, instances: i64) -> Value {
    but(&order("police", "db", instances, 10), json!({"generation": generation, "requester": "oidc:amina"}))
}

const PATH: &str = "/v1/reservations/u-1";
const APPROVAL: &str = "/v1/tenants/police/approvals/u-1";

async fn held(world: &World) -> i64 {
    let view: Value = world.operator().get("/v1/tenants/police/quota").await.ok();
    view["held"]["monthlyCost"]["minor"].as_i64().unwrap()
}

#[tokio::test]
async fn above_the_threshold_an_order_waits_and_holds_nothing_until_it_is_approved() {
    let world = world().await;
    let operator = world.operator();
    let problem = operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    let needed = serde_json::to_value(problem.approval.unwrap()).unwrap();
    assert_eq!(
        needed,
        json!({
            "tenant": "kingdom", "above": {"minor": THRESHOLD, "currency": "MAD"},
            "asked": {"minor": 94_690, "currency": "MAD"}
        })
    );
    assert_eq!(held(&world).await, 0);
    let view: Value = operator.get("/v1/tenants/interior/quota").await.ok();
    assert_eq!(view["pending"], json!({"count": 1, "monthlyCost": {"minor": 94_690, "currency": "MAD"}}));
    let list: Value = world.member("police").get("/v1/tenants/police/approvals?state=pending").await.ok();
    assert_eq!(
        (&list["items"][0]["state"], &list["items"][0]["requester"]),
        (&json!("pending"), &json!("oidc:amina"))
    );
    // Asked once more it keeps its place.
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    let again: Value = world.member("police").get("/v1/tenants/police/approvals").await.ok();
    assert_eq!(again["items"][0]["askedAt"], list["items"][0]["askedAt"]);

    let approved: Value = world.member("chiefs").post(APPROVAL, &json!({"comment": "oui"})).await.ok();
    assert_eq!(
        (&approved["state"], &approved["decision"]["by"]),
        (&json!("approved"), &json!(account("chiefs")))
    );
    let again: Value = world.member("chiefs").post(APPROVAL, &json!({"comment": "encore"})).await.ok();
    assert_eq!(again, approved);
    operator.put(PATH, &by_amina(1, 1)).await.ok::<Value>();
    assert_eq!(held(&world).await, 94_690);
    let decisions: Value = operator.get("/v1/approvals?after=0").await.ok();
    assert_eq!(
        (decisions["items"].as_array().unwrap().len(), &decisions["items"][0]["orderUid"]),
        (1, &json!("u-1"))
    );
}

#[tokio::test]
async fn below_the_threshold_nobody_is_asked() {
    let world = world().await;
    world.operator().put(PATH, &by_amina(1, 0)).await.ok::<Value>();
    let list: Value = world.operator().get("/v1/tenants/kingdom/approvals").await.ok();
    assert_eq!(list, json!({"items": []}));
}

#[tokio::test]
async fn an_order_that_grows_beyond_what_was_approved_waits_again() {
    let world = world().await;
    let operator = world.operator();
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    let up_to = json!({"upTo": {"minor": 300_000, "currency": "MAD"}});
    world.member("chiefs").post(APPROVAL, &up_to).await.ok::<Value>();
    operator.put(PATH, &by_amina(1, 1)).await.ok::<Value>();
    // The money would do; the resources are larger than what the approver saw.
    operator.put(PATH, &by_amina(2, 2)).await.refused(409, "approval-pending");
    assert_eq!(held(&world).await, 94_690);
    // Another price of the same is covered.
    let mut dearer = by_amina(2, 1);
    dearer["items"][0]["quantity"] = json!(2);
    operator.put(PATH, &dearer).await.ok::<Value>();
    // Smaller is always possible, and back to what was approved as well.
    operator.put(PATH, &by_amina(3, 0)).await.ok::<Value>();
    operator.put(PATH, &by_amina(4, 1)).await.ok::<Value>();
    // Less than is asked cannot be approved: the approver saw another price.
    operator.put(PATH, &by_amina(5, 2)).await.refused(409, "approval-pending");
    let low = json!({"upTo": {"minor": 100_000, "currency": "MAD"}});
    world.member("chiefs").post(APPROVAL, &low).await.refused(409, "conflict");
    world.member("chiefs").post(APPROVAL, &json!({})).await.ok::<Value>();
    operator.put(PATH, &by_amina(5, 2)).await.ok::<Value>();
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test]
async fn who_ordered_and_who_is_no_approver_of_that_threshold_decides_nothing() {
    let world = world().await;
    let operator = world.operator();
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    for who in ["police", "sergeants", "treasury"] {
        world.member(who).post(APPROVAL, &json!({})).await.refused(403, "forbidden");
        world.member(who).delete(APPROVAL).await.refused(403, "forbidden");
    }
    // The platform sees it, and does not decide it either.
    operator.post(APPROVAL, &json!({})).await.refused(403, "forbidden");
    world.member("health").post(APPROVAL, &json!({})).await.refused(404, "not-found");
    world
        .member("chiefs")
        .post("/v1/tenants/health/approvals/u-1", &json!({}))
        .await
        .refused(404, "not-found");
    world
        .member("chiefs")
        .post("/v1/tenants/police/approvals/absent", &json!({}))
        .await
        .refused(404, "not-found");
    // An approver's own order is decided by another one.
    let own = but(&by_amina(1, 1), json!({"requester": account("chiefs"), "name": "own"}));
    operator.put("/v1/reservations/u-2", &own).await.refused(409, "approval-pending");
    world
        .member("chiefs")
        .post("/v1/tenants/police/approvals/u-2", &json!({}))
        .await
        .refused(403, "forbidden");
    // The database states the same, whatever the code does.
    let sql = "insert into approval_decision (order_uid, tenant_id, requester, decided_by, decided_ms, approved, currency,
                   instances, cpu_milli, memory_bytes, storage_bytes, money_minor)
               select 'u-2', tenant_id, 'x', 'x', 0, true, 'MAD', 0, 0, 0, 0, 0 from orders where uid = 'u-2'";
    let refused = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
    assert!(refused.to_string().contains("approval_decision_by_another"), "{refused}");
    assert!(sqlx::query("delete from approval_decision").execute(&world.pool).await.is_err());
    let nobody = but(&by_amina(1, 1), json!({"requester": null, "name": "nobody"}));
    operator.put("/v1/reservations/u-3", &nobody).await.refused(409, "approval-pending");
    world
        .member("chiefs")
        .post("/v1/tenants/police/approvals/u-3", &json!({}))
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn a_rejection_stays_until_something_else_is_asked() {
    let world = world().await;
    let operator = world.operator();
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    let long = format!("{APPROVAL}?comment={}", "x".repeat(501));
    world.member("chiefs").delete(&long).await.refused(422, "invalid");
    let why = format!("{APPROVAL}?comment=chapter%2030%20is%20empty");
    let rejected: Value = world.member("chiefs").delete(&why).await.ok();
    assert_eq!(rejected["state"], "rejected");
    assert_eq!(rejected["decision"]["comment"], "chapter 30 is empty");
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-rejected");
    operator.put(PATH, &by_amina(2, 2)).await.refused(409, "approval-pending");
    operator.put(PATH, &by_amina(3, 0)).await.ok::<Value>();
    let list: Value = operator.get("/v1/tenants/kingdom/approvals").await.ok();
    assert_eq!(list, json!({"items": []}));
}

#[tokio::test]
async fn a_withdrawn_approval_leaves_what_is_held_and_stops_growth() {
    let world = world().await;
    let operator = world.operator();
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    world.member("chiefs").post(APPROVAL, &json!({})).await.ok::<Value>();
    operator.put(PATH, &by_amina(1, 1)).await.ok::<Value>();
    world.member("chiefs").delete(APPROVAL).await.ok::<Value>();
    operator.put(PATH, &by_amina(1, 1)).await.ok::<Value>();
    assert_eq!(held(&world).await, 94_690);
    operator.put(PATH, &by_amina(2, 2)).await.refused(409, "approval-pending");
}

#[tokio::test]
async fn an_order_of_another_uid_is_not_approved_and_one_that_is_gone_waits_no_longer() {
    let world = world().await;
    let operator = world.operator();
    operator.put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    world.member("chiefs").post(APPROVAL, &json!({})).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &by_amina(1, 1)).await.refused(409, "approval-pending");
    operator.delete("/v1/reservations/u-2").await.gone();
    operator.delete(PATH).await.gone();
    let list: Value = operator.get("/v1/tenants/kingdom/approvals").await.ok();
    assert_eq!(list, json!({"items": []}));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anybody_is_asked() {
    let world = world().await;
    let limit = but(&tenant("interior", Some("kingdom"), json!({"instances": 0})), json!({"generation": 2}));
    world.operator().put("/v1/tenants/interior", &limit).await.ok::<Value>();
    world.operator().put(PATH, &by_amina(1, 1)).await.refused(409, "quota-exceeded");
    let list: Value = world.operator().get("/v1/tenants/kingdom/approvals").await.ok();
    assert_eq!(list, json!({"items": []}));
}

#[tokio::test]
async fn a_quote_says_that_an_approval_is_needed_and_when_a_soft_limit_is_near() {
    let world = world().await;
    let soft = but(
        &tenant("interior", Some("kingdom"), json!({"instances": 2, "storageBytes": 1_i64 << 40})),
        json!({"generation": 2, "softLimitPercent": 50}),
    );
    world.operator().put("/v1/tenants/interior", &soft).await.ok::<Value>();
    let request = order("police", "db", 1, 10);
    let ask = json!({"tenant": "police", "orderUid": "u-1", "resources": request["resources"], "items": request["items"]});
    let quote: Value = world.member("police").post("/v1/quotes", &ask).await.ok();
    assert_eq!(
        quote["softLimits"],
        json!([{"tenant": "interior", "dimension": "instances", "percent": 50, "held": 1, "limit": 2}])
    );
    assert_eq!(quote["approvalNeeded"]["tenant"], "kingdom");
    world.operator().put(PATH, &by_amina(1, 1)).await.refused(409, "approval-pending");
    world.member("chiefs").post(APPROVAL, &json!({})).await.ok::<Value>();
    let quote: Value = world.member("police").post("/v1/quotes", &ask).await.ok();
    assert_eq!(quote["approvalNeeded"], Value::Null);
}
