//! The audit trail: written with what it tells, chained, and exported to those it concerns.

use crate::support::{World, account, but, order, tenant};
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_model::audit::{AuditEvent, Broken, Extent, Flaw, verify};

fn lines(text: &str) -> Vec<&[u8]> {
    text.lines().map(str::as_bytes).collect()
}

async fn events(world: &World, path: &str) -> Vec<AuditEvent> {
    let page: Value = world.member("audit").get(path).await.ok();
    serde_json::from_value(page["items"].clone()).unwrap()
}

/// police with an approver, and an order that he approves and rejects.
async fn world() -> World {
    let world = World::with_tenants().await;
    let access = json!([
        {"role": "requester", "groups": ["system:serviceaccounts:police"]},
        {"role": "approver", "groups": ["system:serviceaccounts:chiefs"]}
    ]);
    let above = json!({"minor": 0, "currency": "MAD"});
    let police = but(
        &tenant("police", Some("interior"), json!({"cpuMilli": i64::MAX})),
        json!({"generation": 2, "access": access, "approvalAbove": above}),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    let waits = but(&order("police", "db", 1, 10), json!({"requester": account("police")}));
    world.operator().put("/v1/reservations/u-1", &waits).await.refused(409, "approval-pending");
    let chief = world.member("chiefs");
    let comment = json!({"comment": "=cmd()\n\"\u{202e}oui"});
    chief.post("/v1/tenants/police/approvals/u-1", &comment).await.ok::<Value>();
    chief.delete("/v1/tenants/police/approvals/u-1").await.ok::<Value>();
    world
}

/// The whole trail follows, event by event.
pub async fn verified(world: &World) {
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    verify(lines(&text), Extent::Whole).unwrap();
}

#[tokio::test]
async fn i14_the_trail_tells_who_did_what_and_verifies() {
    let world = world().await;
    let all = events(&world, "/v1/audit").await;
    let told: Vec<(&str, &str)> = all.iter().map(|e| (e.action.as_str(), e.object.as_str())).collect();
    assert_eq!(
        told,
        [
            ("priceList.put", "priceList/tarif-2026"),
            ("tenant.put", "tenant/kingdom"),
            ("tenant.put", "tenant/interior"),
            ("tenant.put", "tenant/police"),
            ("tenant.put", "tenant/health"),
            ("tenant.put", "tenant/police"),
            ("approval.approve", "order/u-1"),
            ("approval.reject", "order/u-1"),
        ]
    );
    assert_eq!(all[6].actor, account("chiefs"));
    assert_eq!(all[5].detail["after"]["quota"]["cpuMilli"], "9223372036854775807");
    assert_eq!(all[5].detail["before"]["access"].as_array().unwrap().len(), 1);
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    assert_eq!(verify(lines(&text), Extent::Whole).unwrap().unwrap(), *all.last().unwrap());
    // What is told of the same thing once more is nothing.
    world
        .operator()
        .put("/v1/tenants/health", &tenant("health", Some("kingdom"), json!({})))
        .await
        .ok::<Value>();
    assert_eq!(events(&world, "/v1/audit").await.len(), 8);
    // What is refused is not told.
    world.operator().delete("/v1/tenants/interior").await.refused(409, "in-use");
    assert_eq!(events(&world, "/v1/audit").await.len(), 8);
    let page: Value = world.member("audit").get("/v1/audit?after=3&pageSize=2").await.ok();
    assert_eq!((&page["items"][0]["seq"], &page["nextPageToken"]), (&json!(4), &json!("5")));
}

/// An act that an operator tells again after a crash, with a later moment: the first is what happened.
#[tokio::test]
async fn i14_what_the_platform_did_on_a_cluster_is_on_record_once_and_seen_by_the_tenant() {
    let world = world().await;
    let mut act = but(&examples::platform_act(), json!({"tenant": "police", "orderUid": "u-1"}));
    let before = events(&world, "/v1/audit").await.len();
    let first: AuditEvent = world.operator().post("/v1/audit", &act).await.ok();
    assert_eq!((first.actor.as_str(), first.object.as_str()), ("oidc:brahim", "order/u-1"));
    assert_eq!(first.detail["left"][0]["finalizers"][0], "example.org/backup");
    assert!(first.detail["toldBy"].as_str().unwrap().ends_with(":siyada-operator"), "{}", first.detail);
    act["at"] = json!("2026-11-30T09:00:00Z");
    let again: AuditEvent = world.operator().post("/v1/audit", &act).await.ok();
    assert_eq!(again, first);
    let confirmed = json!({
        "action": "deletions.confirm", "cluster": "c-1", "by": "amina", "stopped": "2026-11-30T08:00:00Z", "letThrough": []
    });
    let at_once = (0..8).map(|_| {
        let (operator, confirmed) = (world.operator(), confirmed.clone());
        async move { operator.post("/v1/audit", &confirmed).await.ok::<AuditEvent>().seq }
    });
    let told = futures::future::join_all(at_once).await;
    assert!(told.iter().all(|seq| *seq == told[0]), "{told:?}");
    assert_eq!(events(&world, "/v1/audit").await.len(), before + 2);
    let page: Value = world.member("police").get("/v1/tenants/police/audit").await.ok();
    assert_eq!(page["items"].as_array().unwrap().last().unwrap()["action"], "order.forceDelete");
    // A tenant that is not known any more keeps nothing off the record.
    let gone = but(&act, json!({"tenant": "nobody", "orderUid": "u-9"}));
    let event: AuditEvent = world.operator().post("/v1/audit", &gone).await.ok();
    assert_eq!((event.tenant, &event.detail["tenant"]), (None, &json!("nobody")));
    verified(&world).await;
}

#[tokio::test]
async fn only_the_operator_tells_what_the_platform_did_and_nothing_without_bounds() {
    let world = world().await;
    let act = but(&examples::platform_act(), json!({"tenant": "police"}));
    let before = events(&world, "/v1/audit").await.len();
    for who in ["police", "audit", "finance"] {
        world.member(who).post("/v1/audit", &act).await.refused(403, "forbidden");
    }
    for wrong in [json!({"by": ""}), json!({"reason": "a\nb"}), json!({"action": "tenant.put"})] {
        world.operator().post("/v1/audit", &but(&act, wrong)).await.refused(422, "invalid");
    }
    assert_eq!(events(&world, "/v1/audit").await.len(), before);
}

#[tokio::test]
async fn i14_what_is_changed_in_an_export_is_found_where_it_is() {
    let world = world().await;
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    let changed = text.replace("\"approval.reject\"", "\"approval.approve\"");
    assert_eq!(verify(lines(&changed), Extent::Whole), Err(Broken { line: 8, flaw: Flaw::Hash }));
    let mut some = lines(&text);
    some.remove(3);
    assert_eq!(verify(some, Extent::Whole), Err(Broken { line: 4, flaw: Flaw::Link }));
}

/// The recipe of docs/guide/finance.md.
#[tokio::test]
async fn i14_an_event_is_checked_with_what_every_debian_has() {
    let world = world().await;
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    let recipe = "sed 's/,\"sha256\":\"[0-9a-f]*\"//' | tr -d '\\n' | sha256sum";
    for line in text.lines() {
        let shell = format!("printf '%s\\n' \"$1\" | {recipe}");
        let output = std::process::Command::new("sh").args(["-c", &shell, "sh", line]).output().unwrap();
        let event: AuditEvent = serde_json::from_str(line).unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(&event.sha256), "{line}");
    }
}

#[tokio::test]
async fn i14_the_database_takes_no_event_that_does_not_follow() {
    let world = world().await;
    let insert = |seq: i64, at: &str, previous: &str| {
        format!(
            "insert into audit_event select {seq}, {at}, 'a', 'b', null, 'c', '{{}}', {previous}, repeat('0', 64)
             from audit_event order by seq desc limit 1"
        )
    };
    for (sql, expect) in [
        ("update audit_event set actor = 'nobody'".to_owned(), "audit_event_is_append_only"),
        ("delete from audit_event where seq = 8".to_owned(), "audit_event_is_append_only"),
        ("truncate audit_event".to_owned(), "audit_event_is_append_only"),
        (insert(10, "at_ms", "sha256"), "audit_event_follows"),
        (insert(9, "at_ms", "repeat('1', 64)"), "audit_event_follows"),
        (insert(9, "at_ms - 1", "sha256"), "audit_event_follows"),
    ] {
        let error = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&world.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(expect), "{sql}");
    }
    let follows = insert(9, "at_ms", "sha256");
    sqlx::query(sqlx::AssertSqlSafe(follows)).execute(&world.pool).await.unwrap();
}

#[tokio::test]
async fn i14_events_at_the_same_time_are_one_chain() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let puts = (0..24).map(|index| {
        let record = tenant(&format!("t{index}"), Some("kingdom"), json!({}));
        let operator = &operator;
        async move { operator.put(&format!("/v1/tenants/t{index}"), &record).await.ok::<Value>() }
    });
    futures::future::join_all(puts).await;
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    assert_eq!(verify(lines(&text), Extent::Whole).unwrap().unwrap().seq, 5 + 24);
}

#[tokio::test]
async fn i17_a_tenant_reads_what_concerns_it_and_nothing_else() {
    let world = world().await;
    let of = async |who: &str, tenant: &str| {
        let page: Value = world.member(who).get(&format!("/v1/tenants/{tenant}/audit")).await.ok();
        let objects =
            page["items"].as_array().unwrap().iter().map(|e| e["object"].as_str().unwrap().to_owned());
        objects.collect::<Vec<_>>()
    };
    assert_eq!(of("health", "health").await, ["tenant/health"]);
    let police = ["tenant/police", "tenant/police", "order/u-1", "order/u-1"];
    assert_eq!(of("police", "police").await, police);
    assert_eq!(of("interior", "interior").await[1..], police);
    world.member("health").get("/v1/tenants/police/audit").await.refused(404, "not-found");
    world.member("police").get("/v1/audit").await.refused(403, "forbidden");
    let text = world.member("police").get("/v1/tenants/police/audit?format=lines").await.text();
    assert_eq!(verify(lines(&text), Extent::Part).unwrap().unwrap().seq, 8);
    let changed = text.replace("chiefs", "chefs");
    assert!(verify(lines(&changed), Extent::Part).is_err());
}

#[tokio::test]
async fn the_file_has_every_event_and_no_formula() {
    let world = world().await;
    let answer = world.member("police").get("/v1/tenants/police/audit?format=csv").await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let text = answer.text();
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0], "seq,at,actor,action,tenant,object,detail,previousSha256,sha256");
    assert!(
        rows[3].contains(",approval.approve,police,order/u-1,\"{\"\"comment\"\":\"\"=cmd()\\n"),
        "{}",
        rows[3]
    );
}
