//! Months that close, once and for all, whoever asks how often and whenever the program dies.

use crate::crash::{Program, keys};
use crate::support::{Client, World, account, but, fresh_database, order, prices_of_2024, tenant};
use serde_json::{Value, json};
use siyada_api::fail::{CLOSING, CREDIT};
use siyada_api::openapi::examples;
use siyada_api::signing::{Signer, verifies};
use siyada_api::store;
use siyada_model::audit::{AuditEvent, Extent, verify};
use siyada_model::canonical::sha256;
use siyada_model::statement::Statement;
use siyada_model::statement::chain::Chain;
use siyada_model::wire::{Closing, StatementEntry};
use sqlx::PgPool;
use std::sync::Arc;

pub const FEBRUARY: &str = "/v1/periods/2024-02/closing";
pub const MARCH: &str = "/v1/periods/2024-03/closing";

pub fn finance(world: &World) -> Client<'_> {
    world.member("finance")
}

pub fn fact(uid: &str, tenant: &str, meter: &str, at: &str, level: Option<(&str, i64)>) -> Value {
    let level = level.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    json!({"orderUid": uid, "tenant": tenant, "meter": meter, "at": at, "level": level, "reason": "Seen"})
}

pub async fn send(world: &World, facts: &[Value]) {
    let batch = json!({"collector": "cluster-a", "epoch": 1, "facts": facts});
    world.operator().post("/v1/usage", &batch).await.ok::<Value>();
}

/// The collector has seen everything until now.
pub async fn seen(world: &World) {
    let round = json!({"collector": "cluster-a", "epoch": 1, "seen": [], "complete": true});
    world.operator().post("/v1/usage/checkpoints", &round).await.ok::<Value>();
}

/// Two buyers with three orders in February and March of 2024, and a change of prices on 11 March.
pub async fn world_of_2024(pool: PgPool) -> World {
    let world = World::with_tenants_on(pool).await;
    tell_2024(&world).await;
    world
}

/// The same of a world with its tenants.
async fn tell_2024(world: &World) {
    let operator = world.operator();
    prices_of_2024(world).await;
    let interior = but(
        &tenant("interior", Some("kingdom"), json!({})),
        json!({"generation": 2, "billing": {"account": "1.2.10"}, "displayName": {"ar": "وزارة الداخلية"}}),
    );
    operator.put("/v1/tenants/interior", &interior).await.ok::<Value>();
    for (uid, of) in [("u-1", "police"), ("u-2", "police"), ("u-3", "health")] {
        let booked = json!({"billing": {"costCentre": "DSI", "budgetLine": "2024-30-10"}});
        let order = but(&order(of, uid, 1, 10), booked);
        operator.put(&format!("/v1/reservations/{uid}"), &order).await.ok::<Value>();
    }
    let (start, end) = ("2024-02-20T00:00:00Z", "2024-03-20T12:00:00Z");
    let facts = [
        fact("u-1", "police", "compute", start, Some(("postgres-small", 1))),
        fact("u-1", "police", "compute", end, None),
        fact("u-1", "police", "storage", start, Some(("block-storage", 10_240))),
        fact("u-2", "police", "compute", "2024-03-10T23:30:00.5Z", Some(("postgres-small", 2))),
        fact("u-2", "police", "compute", "2024-03-11T00:30:00Z", None),
        fact("u-3", "health", "compute", start, Some(("postgres-small", 3))),
        fact("u-3", "health", "compute", end, None),
    ];
    send(world, &facts).await;
}

/// The same with an issuer and everything seen: February and March may close.
pub async fn ready(pool: PgPool) -> World {
    let world = World::with_tenants_on(pool).await;
    make_ready(&world).await;
    world
}

/// The same of a world with its tenants.
pub async fn make_ready(world: &World) {
    tell_2024(world).await;
    finance(world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    finance(world).put("/v1/accounts/1.2.10", &examples::account_record()).await.ok::<Value>();
    seen(world).await;
}

pub async fn fresh() -> World {
    ready(store::pool(fresh_database().await)).await
}

pub async fn close(world: &World, path: &str) -> Closing {
    finance(world).post(path, &json!({})).await.ok()
}

/// Every document, through the chain: canonical, numbered without a hole, chained, and its figures add up.
pub async fn documents(world: &World) -> Vec<Statement> {
    let page: Value = finance(world).get("/v1/tenants/kingdom/statements?pageSize=500").await.ok();
    let entries: Vec<StatementEntry> = serde_json::from_value(page["items"].clone()).unwrap();
    let mut chain = Chain::default();
    let mut found = Vec::new();
    for entry in entries {
        let path = format!("/v1/tenants/kingdom/statements/{}", entry.number);
        let answer = finance(world).get(&path).await;
        answer.ok::<Value>();
        assert_eq!(sha256(&answer.bytes), entry.sha256);
        found.push(chain.take(&answer.bytes).unwrap());
        assert_eq!(chain.value(), entry.chain);
    }
    assert_eq!(posted(world).await, found.iter().map(owed).collect::<Vec<_>>());
    found
}

/// What a document makes its buyer owe.
fn owed(document: &Statement) -> (String, i64) {
    (format!("statement/{}", document.number), document.totals.gross_minor)
}

/// What the ledger says that documents made their buyers owe, in the order in which it was posted.
async fn posted(world: &World) -> Vec<(String, i64)> {
    let sql = "select t.id, coalesce(sum(e.minor), 0)::bigint from ledger_transaction t
               left join ledger_entry e on e.transaction_id = t.id and e.account like 'receivable:%'
               where t.kind in ('statement', 'creditNote') group by t.id, t.sequence order by t.sequence";
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}

#[tokio::test]
async fn i14_who_billed_closed_and_took_back_is_told() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    close(&world, FEBRUARY).await;
    let first = documents(&world).await.remove(0);
    let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", first.number);
    for _ in 0..2 {
        finance(&world).post(&path, &json!({"key": "1", "reason": "Panne"})).await.ok::<Value>();
    }
    let shares = json!({"shares": [{"budgetLine": "9", "millionths": 1_000_000}]});
    for _ in 0..2 {
        let path = "/v1/tenants/police/orders/u-1/allocation";
        finance(&world).put(path, &shares).await.ok::<Value>();
        finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
        finance(&world).put("/v1/accounts/1.2.10", &examples::account_record()).await.ok::<Value>();
    }
    let text = world.member("audit").get("/v1/audit?format=lines").await.text();
    let last = verify(text.lines().map(str::as_bytes), Extent::Whole).unwrap().unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<AuditEvent>(line).unwrap());
    let told: Vec<AuditEvent> = events.filter(|event| event.actor == account("finance")).collect();
    let actions: Vec<&str> = told.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["issuer.put", "account.put", "period.close", "statement.credit", "order.allocate"]);
    assert_eq!((&last.object, last.tenant.unwrap().as_str()), (&"order/u-1".to_owned(), "police"));
    assert_eq!((&told[2].object, &told[2].detail["statements"]), (&"period/2024-02".to_owned(), &json!(2)));
    assert_eq!(told[3].tenant.as_ref().unwrap(), &first.buyer.tenant);
}

#[tokio::test]
async fn a_month_says_what_blocks_it_and_then_closes() {
    let world = world_of_2024(store::pool(fresh_database().await)).await;
    finance(&world).get(FEBRUARY).await.refused(404, "not-found");
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    let reasons = |closing: Closing| closing.blockers.into_iter().map(|b| b.reason).collect::<Vec<_>>();
    assert_eq!(reasons(close(&world, FEBRUARY).await), ["collectorBehind"]);
    seen(&world).await;
    let march = close(&world, MARCH).await;
    assert_eq!(march.blockers[0].detail, "2024-02 is open; close it first");
    assert_eq!(reasons(march), ["earlierOpen"]);
    let preview: Closing = finance(&world).get(FEBRUARY).await.ok();
    assert_eq!((preview.closed, preview.statements), (false, 2));
    assert!(documents(&world).await.is_empty());
    let closed = close(&world, FEBRUARY).await;
    assert_eq!(Closing { closed: true, ..preview }, closed);
    assert_eq!(close(&world, FEBRUARY).await, closed);
    let numbers: Vec<String> = documents(&world).await.into_iter().map(|d| d.number).collect();
    assert_eq!(numbers.len(), 2);
    assert!(numbers[0].starts_with("SIY-2") && numbers[0].ends_with("-000001"), "{numbers:?}");
    let now: Value = finance(&world).get("/v1/periods").await.ok();
    let last = now["items"].as_array().unwrap().last().unwrap();
    let path = format!("/v1/periods/{}/closing", last["month"].as_str().unwrap());
    assert!(reasons(close(&world, &path).await).contains(&"notOver".to_owned()));
}

#[tokio::test]
async fn what_is_billed_is_what_a_hand_computes_and_each_buyer_has_his_tax() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    close(&world, MARCH).await;
    let documents = documents(&world).await;
    let of = |month: &str, tenant: &str| {
        documents
            .iter()
            .find(|d| d.period.month.to_string() == month && d.buyer.tenant.as_str() == tenant)
            .unwrap()
    };
    // February until its midnight in Casablanca, an hour before that of UTC: 239 hours. 3 instances at 1.25 MAD.
    let health = of("2024-02", "kingdom");
    assert_eq!(health.period.end.to_string(), "2024-02-29T23:00:00Z");
    assert_eq!(health.totals.net_minor, 239 * 3 * 125);
    assert_eq!(health.totals.gross_minor, 239 * 3 * 150);
    assert_eq!(health.totals.taxes[0].rate_basis_points, 2_000);
    let police = of("2024-03", "interior");
    assert_eq!(police.buyer.account, "1.2.10");
    assert_eq!(police.buyer.party.ice.as_deref(), Some("009876543000012"));
    assert_eq!((police.totals.taxes.len(), police.totals.net_minor), (0, police.totals.gross_minor));
    let lines: Vec<_> =
        police.lines.iter().map(|l| (l.order.name.as_str(), l.price_list.as_str(), l.minor)).collect();
    // 241 hours at 1.25 and 228 at 1.40; 10 GiB for those 241 at 0.0021, and at 0.0023 for the 504 until midnight of
    // 1 April, which is UTC's: it is Ramadan.
    assert_eq!(
        lines,
        [
            ("u-1", "tarif-a", 241 * 125),
            ("u-1", "tarif-b", 228 * 140),
            ("u-1", "tarif-a", 506),
            ("u-1", "tarif-b", 1_159),
            ("u-2", "tarif-a", 125),
            ("u-2", "tarif-b", 140),
        ]
    );
    let booked = &police.totals.booked;
    assert_eq!(booked.len(), 1);
    assert_eq!(booked[0].booking.budget_line.as_deref(), Some("2024-30-10"));
    assert_eq!(booked[0].gross_minor, police.totals.gross_minor);
}

#[tokio::test(flavor = "multi_thread")]
async fn i13_a_month_closes_once_however_many_ask_at_once() {
    let world = fresh().await;
    let callers = (0..8).map(|_| close(&world, FEBRUARY));
    let answers = futures::future::join_all(callers).await;
    assert!(answers.iter().all(|answer| answer.closed && answer == &answers[0]), "{answers:?}");
    assert_eq!(documents(&world).await.len(), 2);
}

#[tokio::test]
async fn i12_a_late_fact_changes_no_closed_statement_and_is_corrected_in_the_next() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let before = documents(&world).await;
    // Ten hours less for one, and an order nobody had told of.
    send(
        &world,
        &[
            fact("u-3", "health", "compute", "2024-02-29T13:00:00Z", None),
            fact("u-3", "health", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 3))),
            fact("u-2", "police", "storage", "2024-02-29T21:00:00Z", Some(("block-storage", 1_024_000))),
            fact("u-2", "police", "storage", "2024-02-29T23:00:00Z", None),
        ],
    )
    .await;
    assert_eq!(documents(&world).await, before);
    close(&world, MARCH).await;
    let all = documents(&world).await;
    assert_eq!(all[..before.len()], before[..]);
    let corrections: Vec<_> = all[before.len()..]
        .iter()
        .flat_map(|d| &d.corrections)
        .map(|l| (l.order.name.as_str(), l.month.to_string(), l.minor, l.quantity_ms.as_str()))
        .collect();
    assert_eq!(
        corrections,
        [
            ("u-2", "2024-02".to_owned(), 2 * 1_000 * 21 / 100, "7372800000000"),
            ("u-3", "2024-02".to_owned(), -10 * 3 * 125, "-108000000"),
        ]
    );
    close(&world, "/v1/periods/2024-04/closing").await;
    assert!(documents(&world).await.iter().skip(all.len()).all(|d| d.corrections.is_empty()));
}

#[tokio::test]
async fn an_amount_without_a_budget_line_blocks_until_somebody_books_it() {
    let world = fresh().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-4", &order("health", "forms", 1, 10)).await.ok::<Value>();
    send(
        &world,
        &[
            fact("u-4", "health", "compute", "2024-02-10T00:00:00Z", Some(("postgres-small", 1))),
            fact("u-4", "health", "compute", "2024-02-10T10:00:00Z", None),
        ],
    )
    .await;
    let blocked = close(&world, FEBRUARY).await;
    assert_eq!(blocked.blockers.len(), 1);
    assert!(
        blocked.blockers[0].detail.contains("order health/forms has no budget line in 2024-02"),
        "{blocked:?}"
    );
    let path = "/v1/tenants/health/orders/u-4/allocation";
    let half = |line: &str, millionths| json!({"budgetLine": line, "millionths": millionths});
    let shares = json!([half("2024-10", 333_333), half("2024-20", 666_667)]);
    let from = |at: &str| json!({"at": at, "shares": shares});
    world.member("health").put(path, &from("2024-02-01T00:00:00Z")).await.refused(403, "forbidden");
    world.member("police").put(path, &from("2024-02-01T00:00:00Z")).await.refused(404, "not-found");
    finance(&world)
        .put("/v1/tenants/police/orders/u-4/allocation", &from("2024-02-01T00:00:00Z"))
        .await
        .refused(404, "not-found");
    let wrong = json!({"shares": [half("2024-10", 1)]});
    let problem = finance(&world).put(path, &wrong).await.refused(422, "invalid");
    assert!(problem.detail.contains("sum to 1000000 millionths; these sum to 1"), "{}", problem.detail);
    finance(&world).put(path, &from("2024-02-01T00:00:00Z")).await.ok::<Value>();
    finance(&world).put(path, &from("2024-02-01T00:00:00Z")).await.ok::<Value>();
    let other = json!({"at": "2024-02-01T00:00:00Z", "shares": [half("2024-30", 1_000_000)]});
    finance(&world).put(path, &other).await.refused(409, "conflict");
    assert!(close(&world, FEBRUARY).await.closed);
    finance(&world).put(path, &from("2024-02-02T00:00:00Z")).await.ok::<Value>();
    let moved = json!({"at": "2024-02-05T00:00:00Z", "shares": [half("2024-30", 1_000_000)]});
    finance(&world).put(path, &moved).await.refused(409, "period-closed");
    let parts: Vec<i64> = documents(&world)
        .await
        .iter()
        .flat_map(|d| &d.lines)
        .filter(|l| l.order.name == "forms")
        .flat_map(|l| l.parts.iter().map(|p| p.minor))
        .collect();
    assert_eq!(parts, [417, 833]);
}

#[tokio::test]
async fn an_order_that_names_another_budget_line_is_booked_there_from_then_on() {
    let world = World::with_tenants().await;
    let put = async |generation: i64, plan: &str, line: Option<&str>| {
        let mut asked = but(&order("police", "db", 1, 10), json!({"generation": generation, "plan": plan}));
        asked["billing"] = line.map_or(json!({}), |line| json!({"budgetLine": line}));
        world.operator().put("/v1/reservations/u-1", &asked).await.ok::<Value>();
    };
    // Only what is said of the booking makes an entry, and each time it is said anew.
    for (generation, plan, line) in [
        (1, "small", Some("30-10")),
        (2, "large", Some("30-10")),
        (3, "large", Some("30-20")),
        (4, "large", None),
        (5, "large", Some("30-10")),
    ] {
        put(generation, plan, line).await;
        seen(&world).await;
    }
    let sql =
        "select shares #>> '{0,budgetLine}' from allocation_change where order_uid = 'u-1' order by at_ms";
    let lines: Vec<Option<String>> = sqlx::query_scalar(sql).fetch_all(&world.pool).await.unwrap();
    let lines: Vec<Option<&str>> = lines.iter().map(Option::as_deref).collect();
    assert_eq!(lines, [Some("30-10"), Some("30-20"), None, Some("30-10")]);
}

#[tokio::test]
async fn i11_credit_notes_cancel_a_statement_and_the_same_key_is_the_same_note() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let original =
        documents(&world).await.into_iter().find(|d| d.buyer.tenant.as_str() == "kingdom").unwrap();
    let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", original.number);
    let part = json!({"key": "1", "reason": "Panne", "lines": [{"line": 0, "minor": 1_001}]});
    let first: Statement = finance(&world).post(&path, &part).await.ok();
    assert_eq!((first.totals.net_minor, first.credits.as_deref()), (-1_001, Some(original.number.as_str())));
    assert_eq!(finance(&world).post(&path, &part).await.ok::<Statement>(), first);
    finance(&world).post(&path, &but(&part, json!({"reason": "Autre"}))).await.refused(409, "conflict");
    let other_lines = json!({"lines": [{"line": 0, "minor": 1}]});
    finance(&world).post(&path, &but(&part, other_lines)).await.refused(409, "conflict");
    finance(&world).post(&path, &but(&part, json!({"lines": null}))).await.refused(409, "conflict");
    world.member("health").post(&path, &part).await.refused(403, "forbidden");
    let much = but(&part, json!({"key": "2", "lines": [{"line": 0, "minor": 100_000_000}]}));
    let problem = finance(&world).post(&path, &much).await.refused(422, "invalid");
    assert!(problem.detail.contains("minor units are left to be credited"), "{}", problem.detail);
    let rest: Statement = finance(&world).post(&path, &json!({"key": "3", "reason": "Tout"})).await.ok();
    assert_eq!(first.totals.gross_minor + rest.totals.gross_minor, -original.totals.gross_minor);
    let problem =
        finance(&world).post(&path, &json!({"key": "4", "reason": "Tout"})).await.refused(422, "invalid");
    assert!(problem.detail.contains("nothing is left"), "{}", problem.detail);
    assert_eq!(documents(&world).await.len(), 4);
}

#[tokio::test]
async fn i17_documents_of_another_tenant_are_not_there() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let numbers: Vec<(String, String)> =
        documents(&world).await.into_iter().map(|d| (d.number, d.buyer.tenant.to_string())).collect();
    let of = |tenant: &str| numbers.iter().find(|(_, t)| t == tenant).unwrap().0.clone();
    let reader = world.member("interior");
    reader.get(&format!("/v1/tenants/interior/statements/{}", of("interior"))).await.ok::<Statement>();
    let strange = reader.get(&format!("/v1/tenants/interior/statements/{}", of("kingdom"))).await;
    let absent = reader.get("/v1/tenants/interior/statements/SIY-2024-999999").await;
    strange.refused(404, "not-found");
    assert_eq!(strange.bytes, absent.bytes);
    reader.get("/v1/tenants/kingdom/statements").await.refused(404, "not-found");
    reader.post(FEBRUARY, &json!({})).await.refused(403, "forbidden");
    reader.put("/v1/issuer", &examples::issuer()).await.refused(403, "forbidden");
    let links: Value = reader.get("/v1/chain").await.ok();
    assert_eq!(links["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn i17_a_key_of_one_tenant_is_not_the_key_of_another() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let all = documents(&world).await;
    assert_eq!(all.len(), 2);
    // Both ask with the same key and the same words, one after the other.
    let ask = json!({"key": "1", "reason": "Panne"});
    for document in &all {
        let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", document.number);
        let note: Statement = finance(&world).post(&path, &ask).await.ok();
        assert_eq!(note.credits.as_deref(), Some(document.number.as_str()));
        assert_eq!(note.buyer, document.buyer);
        assert_eq!(note.totals.gross_minor, -document.totals.gross_minor);
    }
    // Nor is a fact about an order of another tenant taken as one of its own.
    let foreign = fact("u-3", "police", "compute", "2024-03-02T00:00:00Z", None);
    let batch = json!({"collector": "cluster-a", "epoch": 1, "facts": [foreign]});
    let problem = world.operator().post("/v1/usage", &batch).await.refused(409, "conflict");
    assert_eq!(problem.detail, "order u-3 is not one of tenant police");
}

#[tokio::test]
async fn a_statement_comes_as_every_kind_of_file() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let number = documents(&world).await[0].number.clone();
    let of = async |query: &str| {
        finance(&world).get(&format!("/v1/tenants/kingdom/statements/{number}?{query}")).await
    };
    for (query, media, begins) in [
        ("format=pdf&language=ar", "application/pdf", "%PDF-"),
        ("format=pdf", "application/pdf", "%PDF-"),
        ("format=xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "PK"),
        ("format=csv", "text/csv; charset=utf-8", "number,"),
        ("format=focus-1.2", "text/csv; charset=utf-8", ""),
        ("format=focus-1.4", "text/csv; charset=utf-8", ""),
        ("format=json", "application/json", "{\"asOf\":"),
    ] {
        let answer = of(query).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], media, "{query}");
        assert!(answer.headers["content-disposition"].to_str().unwrap().contains(&number));
        assert!(
            answer.bytes.starts_with(begins.as_bytes()),
            "{query}: {}",
            &answer.text()[..80.min(answer.text().len())]
        );
        assert_eq!(of(query).await.bytes, answer.bytes, "{query} is not stable");
    }
    of("format=docx").await.refused(422, "invalid");
    of("format=pdf&language=de").await.refused(422, "invalid");
}

#[tokio::test]
async fn i14_the_database_itself_refuses_a_hole_a_change_and_a_broken_link() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    let check = async |sql: &'static str, constraint: &str| {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let found = error.as_database_error().and_then(|e| e.constraint().map(str::to_owned));
        assert_eq!(found.as_deref(), Some(constraint), "{error}");
    };
    check("update statement set net_minor = 0", "statement_is_append_only").await;
    check("delete from statement", "statement_is_append_only").await;
    check("truncate statement cascade", "statement_is_append_only").await;
    const COPY: &str = "insert into statement select 3, 'SIY-2024-000009', 'SIY-2024', 9, kind, tenant_id, '2024-03', credits,
        request_key, issued_ms, issued_by, net_minor, gross_minor, currency, document, sha256, chain from statement limit 1";
    check(COPY, "statement_has_the_next_number").await;
    const LINK: &str = "insert into statement select 3, series || '-000003', series, 3, kind, tenant_id, '2024-03', credits,
        request_key, issued_ms, issued_by, net_minor, gross_minor, currency, document, sha256, chain from statement limit 1";
    check(LINK, "statement_extends_the_chain").await;
    check(
        "update period set closed_ms = null, closed_by = null, as_of = null where month = '2024-02'",
        "period_is_fixed",
    )
    .await;
    check("update period set end_ms = end_ms + 1 where month = '2024-03'", "period_is_fixed").await;
    check(
        "update period set closed_ms = 1, closed_by = 'x', as_of = 1 where month = '2024-05'",
        "period_closes_in_order",
    )
    .await;
    check("delete from period where month = '2024-05'", "period_is_append_only").await;
    check(
        "insert into period values ('2031-01', 1924988400000, 1927666800000, 'UTC', 'x', 1)",
        "period_is_contiguous",
    )
    .await;
    check("update usage_change set quantity = 1", "usage_change_is_append_only").await;
    check("update allocation_change set at_ms = 1", "allocation_change_is_append_only").await;
}

#[tokio::test]
async fn documents_are_signed_by_a_key_that_the_database_does_not_hold() {
    let mut world = fresh().await;
    let pair = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    world.state.signer = Some(Arc::new(Signer::new(pair.as_ref()).unwrap()));
    let world = World { app: siyada_api::app(world.state.clone()), ..world };
    close(&world, FEBRUARY).await;
    let key: Value = finance(&world).get("/v1/signing-key").await.ok();
    let decode = |text: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap()
    };
    let page: Value = finance(&world).get("/v1/tenants/kingdom/statements").await.ok();
    for entry in page["items"].as_array().unwrap() {
        let path = format!("/v1/tenants/kingdom/statements/{}", entry["number"].as_str().unwrap());
        let bytes = finance(&world).get(&path).await.bytes;
        assert_eq!(entry["keyId"], key["keyId"]);
        assert!(verifies(&decode(&key["publicKey"]), &bytes, &decode(&entry["signature"])));
        assert!(!verifies(&decode(&key["publicKey"]), &bytes[1..], &decode(&entry["signature"])));
    }
}

/// What the record alone says, by a statement that shares nothing with the code: exact amounts, summed before rounding.
#[tokio::test]
async fn i06_lines_are_what_an_independent_query_counts() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    close(&world, MARCH).await;
    const RECOUNT: &str = "
        with change as (
            select order_uid, meter, at_ms, sku, quantity,
                   lead(at_ms) over (partition by order_uid, meter order by at_ms) as until_ms from usage_change
        ), list as (
            select name, valid_from_ms, lead(valid_from_ms) over (order by valid_from_ms) as until_ms, record from price_list
        ), cut as (
            select p.month, c.order_uid, c.sku, l.name, (s ->> 'price')::numeric as price, s ->> 'unit' as unit,
                   c.quantity::numeric * (least(coalesce(c.until_ms, p.end_ms), p.end_ms, coalesce(l.until_ms, p.end_ms))
                       - greatest(c.at_ms, p.start_ms, l.valid_from_ms)) as quantity_ms
            from change c join period p on p.closed_ms is not null and c.at_ms < p.end_ms
                 and coalesce(c.until_ms, p.end_ms) > p.start_ms
            join list l on l.valid_from_ms < least(coalesce(c.until_ms, p.end_ms), p.end_ms)
                 and coalesce(l.until_ms, p.end_ms) > greatest(c.at_ms, p.start_ms)
            cross join jsonb_array_elements(l.record -> 'prices' -> 'skus') as s
            where c.sku is not null and s ->> 'sku' = c.sku
        )
        select month, order_uid, sku, name,
               round(sum(quantity_ms) * max(price) * 100 / 3600000 / max(case unit when 'GibHour' then 1024 else 1 end))::bigint
        from cut group by month, order_uid, sku, name order by 1, 2, 3, 4";
    let counted: Vec<(String, String, String, String, i64)> =
        sqlx::query_as(RECOUNT).fetch_all(&world.pool).await.unwrap();
    let mut billed: Vec<(String, String, String, String, i64)> = documents(&world)
        .await
        .iter()
        .flat_map(|d| &d.lines)
        .map(|l| {
            (
                l.month.to_string(),
                l.order.uid.to_string(),
                l.sku.to_string(),
                l.price_list.to_string(),
                l.minor,
            )
        })
        .collect();
    billed.sort();
    assert!(billed.len() >= 9, "{billed:?}");
    assert_eq!(billed, counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn i04_dead_at_any_point_of_a_closing_a_month_is_closed_whole_or_not_at_all() {
    siyada_api::install_tls_provider();
    let keys = keys().await;
    let undisturbed = fresh().await;
    close(&undisturbed, FEBRUARY).await;
    let figures = |all: &[Statement]| {
        all.iter().map(|d| (d.number.clone(), d.lines.clone(), d.totals.clone())).collect::<Vec<_>>()
    };
    let expected = figures(&documents(&undisturbed).await);
    let subject = account("finance");
    for point in CLOSING {
        let database = fresh_database().await;
        let world = ready(store::pool(database.clone())).await;
        let mut program = Program::start(&database, &keys, point).await;
        let answered = program.ask(&subject, "POST", FEBRUARY, None).await;
        assert!(answered.is_err(), "{point}: it answered {answered:?}, so it did not pass this point");
        program.dead().await;
        let left = documents(&world).await.len();
        assert!([0, 2].contains(&left), "{point}: {left} documents are left");
        let again = Program::start(&database, &keys, "").await;
        for _ in 0..2 {
            let (status, body) = again.ask(&subject, "POST", FEBRUARY, None).await.unwrap();
            let closing: Closing = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, closing.closed, closing.statements), (200, true, 2), "{point}");
        }
        assert_eq!(figures(&documents(&world).await), expected, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i13_dead_at_any_point_of_a_credit_note_there_is_one_and_no_number_is_lost() {
    siyada_api::install_tls_provider();
    let keys = keys().await;
    let subject = account("finance");
    for point in CREDIT {
        let database = fresh_database().await;
        let world = ready(store::pool(database.clone())).await;
        close(&world, FEBRUARY).await;
        let original = documents(&world).await.remove(0);
        let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", original.number);
        let request = json!({"key": "1", "reason": "Panne"});
        let mut program = Program::start(&database, &keys, point).await;
        let answered = program.ask(&subject, "POST", &path, Some(&request)).await;
        assert!(answered.is_err(), "{point}: it answered {answered:?}, so it did not pass this point");
        program.dead().await;
        let again = Program::start(&database, &keys, "").await;
        for _ in 0..2 {
            let (status, body) = again.ask(&subject, "POST", &path, Some(&request)).await.unwrap();
            let note: Statement = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, note.totals.gross_minor), (200, -original.totals.gross_minor), "{point}");
        }
        assert_eq!(documents(&world).await.len(), 3, "{point}");
    }
}
