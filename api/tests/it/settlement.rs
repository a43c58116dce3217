//! Stages of expenditure: their order, who may, what they move, and that the database holds all of it.

use crate::bills::{Line, bill, bill_of, file, issuer, line, note};
use crate::budget::world;
use crate::support::{Answer, World, account, but, order};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STAGES: &str = "/v1/tenants/interior/statements/SIY-2026-000001/stages";

/// A statement of interior on the lines 30-10 and 30-20, of an order that somebody of `interior` made.
pub async fn billed() -> World {
    let world = world().await;
    let request = but(
        &order("interior", "db", 1, 10),
        json!({"requester": account("certifiers-who-order"), "billing": {"budgetLine": "30-10"}}),
    );
    world.operator().put("/v1/reservations/u-1", &request).await.ok::<Value>();
    let credits = json!({"fiscalYear": 2026, "opened": {"minor": 1_000_000, "currency": "MAD"}});
    for name in ["30-10", "30-20"] {
        let path = format!("/v1/tenants/interior/budget-lines/{name}");
        world.member("treasury").put(&path, &credits).await.ok::<Value>();
    }
    let lines = [line("u-1", 10_000, "30-10"), line("u-1", 5_000, "30-20")];
    file(&world, &bill("SIY-2026-000001", "interior", "MAD", &lines)).await;
    world
}

pub async fn stage(world: &World, who: &str, body: Value) -> Answer {
    world.member(who).post(STAGES, &body).await
}

/// The line and the stage of each part.
fn at(answer: &Answer) -> Vec<(String, String)> {
    let page: Value = answer.ok();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    page["items"].as_array().unwrap().iter().map(|i| (text(&i["budgetLine"]), text(&i["stage"]))).collect()
}

fn both(stage: &str) -> Vec<(String, String)> {
    ["30-10", "30-20"].map(|line| (line.to_owned(), stage.to_owned())).to_vec()
}

fn paid() -> Value {
    json!({"stage": "paid", "date": "2026-11-20", "reference": "OP-2026-0042"})
}

async fn balances(world: &World) -> BTreeMap<String, i64> {
    let sql = "select account, sum(minor)::bigint from ledger_entry group by account having sum(minor) <> 0";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    rows.into_iter().collect()
}

async fn view(world: &World, line: &str) -> Value {
    let path = format!("/v1/tenants/interior/budget-lines/{line}?fiscalYear=2026");
    world.member("interior").get(&path).await.ok()
}

#[tokio::test]
async fn an_amount_is_certified_then_ordered_then_paid_and_the_ledger_follows() {
    let world = billed().await;
    assert_eq!(at(&world.member("interior").get(STAGES).await), both("-"));
    assert_eq!(
        at(&stage(&world, "certifiers", json!({"stage": "certified", "reference": "SF-1"})).await),
        both("certified")
    );
    let one = json!({"stage": "ordered", "budgetLine": "30-10"});
    let expect = [("30-10", "ordered"), ("30-20", "certified")];
    let found = at(&stage(&world, "treasury", one).await);
    assert_eq!(found, expect.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let mut one = paid();
    one["budgetLine"] = json!("30-10");
    stage(&world, "treasury", one.clone()).await.ok::<Value>();
    // Once more is the same.
    let events = async || {
        sqlx::query_scalar::<_, i64>("select count(*) from audit_event").fetch_one(&world.pool).await.unwrap()
    };
    let before = events().await;
    let again: Value = stage(&world, "treasury", one).await.ok();
    assert_eq!(events().await, before);
    let record = &again["items"][0]["history"][2];
    assert_eq!(
        (&record["stage"], &record["amount"]["minor"], &record["date"], &record["by"], &record["fiscalYear"]),
        (&json!("paid"), &json!(12_000), &json!("2026-11-20"), &json!(account("treasury")), &json!(2026))
    );
    let found = balances(&world).await;
    let expect = [
        ("budget:interior:2026:30-10:available", 988_000),
        ("budget:interior:2026:30-10:opened", -1_000_000),
        ("budget:interior:2026:30-10:paid", 12_000),
        ("budget:interior:2026:30-20:available", 994_000),
        ("budget:interior:2026:30-20:certified", 6_000),
        ("budget:interior:2026:30-20:opened", -1_000_000),
        ("receivable:interior", 6_000),
        ("revenue:PostgresInstance", -15_000),
        ("settled:interior", 12_000),
        ("tax:2000", -3_000),
    ];
    assert_eq!(found, expect.map(|(account, minor)| (account.to_owned(), minor)).into());
    let first = view(&world, "30-10").await;
    let minor = |key: &str| first[key]["minor"].as_i64().unwrap();
    assert_eq!(
        ["billed", "certified", "ordered", "paid"].map(minor),
        [12_000; 4],
        "each stage includes those after it"
    );
    assert_eq!(minor("remainingToPay"), minor("committed") - 12_000);
    assert_eq!(minor("remainingToCommit"), 1_000_000 - minor("committed"));
    let second = view(&world, "30-20").await;
    assert_eq!(["certified", "ordered"].map(|key| second[key]["minor"].as_i64().unwrap()), [6_000, 0]);
    let journal = world.operator().get("/v1/ledger/journal?period=2026-11").await.text();
    assert!(journal.contains("2026-11-20 (stage/SIY-2026-000001/30-10/3) paid"), "{journal}");
}

#[tokio::test]
async fn a_stage_that_does_not_follow_is_refused_with_the_one_on_record() {
    let world = billed().await;
    let refused = stage(&world, "treasury", json!({"stage": "ordered"})).await.refused(409, "conflict");
    assert!(
        refused.detail.contains("budget line 30-10 of statement SIY-2026-000001 is not certified yet"),
        "{}",
        refused.detail
    );
    stage(&world, "treasury", paid()).await.refused(409, "conflict");
    stage(&world, "certifiers", json!({"stage": "certified", "budgetLine": "30-20"})).await.ok::<Value>();
    // All or nothing: 30-20 is certified already by the same person, 30-10 is not ordered.
    stage(&world, "treasury", json!({"stage": "ordered"})).await.refused(409, "conflict");
    assert_eq!(at(&world.member("interior").get(STAGES).await)[1].1, "certified");
    let nothing = stage(&world, "certifiers", json!({"stage": "certified", "budgetLine": "99"}))
        .await
        .refused(422, "invalid");
    assert!(
        nothing.detail.contains("books nothing on budget line \"99\"; it books on 30-10, 30-20"),
        "{}",
        nothing.detail
    );
    for body in [
        json!({"stage": "paid"}),
        json!({"stage": "rejected"}),
        json!({"stage": "done"}),
        json!({"stage": "certified", "reference": "a\u{202e}b"}),
        json!({"stage": "certified", "by": "somebody else"}),
    ] {
        stage(&world, "certifiers", body).await;
        let after = world.member("interior").get(STAGES).await;
        assert_eq!(at(&after)[0].1, "-");
    }
}

#[tokio::test]
async fn what_is_rejected_goes_back_to_the_credits_and_may_be_certified_later() {
    let world = billed().await;
    stage(&world, "certifiers", json!({"stage": "certified"})).await.ok::<Value>();
    stage(&world, "treasury", json!({"stage": "ordered"})).await.ok::<Value>();
    stage(&world, "treasury", json!({"stage": "rejected", "reason": "wrong chapter"})).await.ok::<Value>();
    assert_eq!(view(&world, "30-10").await["certified"]["minor"], 0);
    assert_eq!(balances(&world).await["budget:interior:2026:30-10:available"], 1_000_000);
    let again: Value = stage(&world, "certifiers", json!({"stage": "certified"})).await.ok();
    assert_eq!(again["items"][0]["history"].as_array().unwrap().len(), 4);
    assert_eq!(again["items"][0]["history"][2]["reason"], "wrong chapter");
    assert_eq!(balances(&world).await["budget:interior:2026:30-10:certified"], 12_000);
    stage(&world, "treasury", json!({"stage": "ordered"})).await.ok::<Value>();
    stage(&world, "treasury", paid()).await.ok::<Value>();
    stage(&world, "treasury", json!({"stage": "rejected", "reason": "too late"}))
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn whoever_ordered_or_closed_does_not_certify_and_whoever_certified_does_not_pay() {
    let world = billed().await;
    // One person with every role, as the worst configuration would have it.
    let everything = ["certifier", "finance"].map(|role| {
        let groups =
            ["certifiers-who-order", "closer", "both"].map(|n| format!("system:serviceaccounts:{n}"));
        json!({"role": role, "groups": groups})
    });
    let mut record: Value = world.operator().get("/v1/tenants/interior").await.ok();
    record["generation"] = json!(3);
    record["access"].as_array_mut().unwrap().extend(everything);
    world.operator().put("/v1/tenants/interior", &record).await.ok::<Value>();
    for who in ["certifiers-who-order", "closer"] {
        let refused = stage(&world, who, json!({"stage": "certified"})).await.refused(403, "forbidden");
        assert!(refused.detail.contains("ask another certifier"), "{}", refused.detail);
    }
    // It stays so when the order is gone.
    world.operator().delete("/v1/reservations/u-1").await.gone();
    stage(&world, "certifiers-who-order", json!({"stage": "certified"})).await.refused(403, "forbidden");
    stage(&world, "both", json!({"stage": "certified"})).await.ok::<Value>();
    let refused = stage(&world, "both", json!({"stage": "ordered"})).await.refused(403, "forbidden");
    assert!(refused.detail.contains("neither orders its payment nor pays it"), "{}", refused.detail);
    stage(&world, "treasury", json!({"stage": "ordered"})).await.ok::<Value>();
    stage(&world, "both", paid()).await.refused(403, "forbidden");
    stage(&world, "treasury", paid()).await.ok::<Value>();
    // Roles alone do not do either.
    stage(&world, "treasury", json!({"stage": "certified"})).await.refused(403, "forbidden");
    stage(&world, "certifiers", paid()).await.refused(403, "forbidden");
    stage(&world, "interior", json!({"stage": "rejected", "reason": "x"})).await.refused(403, "forbidden");
}

#[tokio::test]
async fn the_database_holds_order_amount_and_separation_without_us() {
    let world = billed().await;
    let insert = |stage: &str, minor: i64, by: &str, rest: &str| {
        format!(
            "insert into settlement (statement_number, booking, stage, fiscal_year, minor, currency, decided_by,
                 decided_ms, paid_on, reference, reason)
             values ('SIY-2026-000001', '30-10', '{stage}', 2026, {minor}, 'MAD', '{by}', 0, {rest})"
        )
    };
    let none = "null, null, null";
    let by_requester = account("certifiers-who-order");
    let steps: [(String, Option<&str>); 14] = [
        (insert("ordered", 12_000, "a", none), Some("settlement_order")),
        (insert("certified", 11_999, "a", none), Some("settlement_amount")),
        (insert("certified", 12_000, &by_requester, none), Some("settlement_certified_by_another")),
        (insert("certified", 12_000, &issuer(), none), Some("settlement_certified_by_another")),
        (insert("certified", 12_000, "a", none), None),
        (insert("certified", 12_000, "a", none), Some("settlement_order")),
        (insert("ordered", 12_000, "a", none), Some("settlement_paid_by_another")),
        (insert("rejected", 12_000, "a", none), Some("settlement_reason")),
        (insert("ordered", 12_000, "b", none), None),
        (insert("paid", 12_000, "b", none), Some("settlement_payment")),
        (
            insert("paid", 12_000, "b", "'2026-11-20', 'OP-1', null").replace(" 2026,", " 2027,"),
            Some("settlement_fiscal_year"),
        ),
        (insert("paid", 12_000, "b", "'2026-11-20', 'OP-1', null"), None),
        ("update settlement set minor = 0".to_owned(), Some("settlement_is_append_only")),
        ("delete from settlement".to_owned(), Some("settlement_is_append_only")),
    ];
    for (sql, expect) in steps {
        let result = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&world.pool).await;
        let constraint =
            result.err().map(|e| e.as_database_error().unwrap().constraint().unwrap().to_owned());
        assert_eq!(constraint.as_deref(), expect, "{sql}");
    }
}

#[tokio::test]
async fn two_at_the_same_time_put_a_stage_on_record_once() {
    let world = billed().await;
    let certify = |who: &'static str| {
        let world = &world;
        async move { stage(world, who, json!({"stage": "certified"})).await.status.as_u16() }
    };
    let (one, two) = tokio::join!(certify("certifiers"), certify("certifiers"));
    assert_eq!((one, two), (200, 200));
    let count: i64 =
        sqlx::query_scalar("select count(*) from settlement").fetch_one(&world.pool).await.unwrap();
    assert_eq!(count, 2);
    assert_eq!(balances(&world).await["budget:interior:2026:30-10:certified"], 12_000);
}

#[tokio::test]
async fn i17_a_statement_of_another_tenant_is_not_there() {
    let world = billed().await;
    let others = world.member("health").get(STAGES).await;
    others.refused(404, "not-found");
    for path in [
        "/v1/tenants/health/statements/SIY-2026-000001/stages",
        "/v1/tenants/health/statements/absent/stages",
        "/v1/tenants/police/statements/SIY-2026-000001/stages",
    ] {
        assert_eq!(world.operator().get(path).await.bytes, others.bytes, "{path}");
    }
    world.member("health").post(STAGES, &json!({"stage": "certified"})).await.refused(404, "not-found");
    // From above it is.
    world.operator().get("/v1/tenants/kingdom/statements/SIY-2026-000001/stages").await.ok::<Value>();
}

#[tokio::test]
async fn a_credit_note_goes_its_way_and_what_is_on_no_line_as_well() {
    let world = billed().await;
    let loose = Line { budget_line: None, ..line("u-1", 700, "") };
    let bill =
        bill_of("2026-11", "SIY-2026-000002", "interior", "MAD", &[line("u-1", 1_000, "30-10"), loose]);
    file(&world, &bill).await;
    file(&world, &note("SIY-C-2026-000001", &bill)).await;
    for number in ["SIY-2026-000002", "SIY-C-2026-000001"] {
        let path = format!("/v1/tenants/interior/statements/{number}/stages");
        world.member("certifiers").post(&path, &json!({"stage": "certified"})).await.ok::<Value>();
        world.member("treasury").post(&path, &json!({"stage": "ordered"})).await.ok::<Value>();
        let done: Value = world.member("treasury").post(&path, &paid()).await.ok();
        assert_eq!(done["items"][0]["budgetLine"], Value::Null);
    }
    let left = balances(&world).await;
    assert_eq!((left["receivable:interior"], left.get("settled:interior")), (18_000, None));
    assert!(left.keys().all(|account| !account.contains("paid") && !account.contains('%')), "{left:?}");
    let unknown = bill_of("2026-12", "SIY-2026-000003", "interior", "MAD", &[line("u-1", 1, "no-credits")]);
    file(&world, &unknown).await;
    let path = "/v1/tenants/interior/statements/SIY-2026-000003/stages";
    let refused =
        world.member("certifiers").post(path, &json!({"stage": "certified"})).await.refused(409, "conflict");
    assert!(
        refused.detail.contains("tenant interior has no budget line no-credits in fiscal year 2026"),
        "{}",
        refused.detail
    );
}
