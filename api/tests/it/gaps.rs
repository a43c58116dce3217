//! Gaps of measurement: found, listed, decided by the right people, and billed only then.

use crate::closing::{FEBRUARY, MARCH, close, documents, finance};
use crate::export::Place;
use crate::support::{Client, World, but, order, prices_of_2024, tenant};
use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_api::export::export;
use siyada_api::openapi::examples;
use siyada_api::verify::verify;
use siyada_model::statement::Statement;
use siyada_model::wire::{CollectorRecord, GapRecord, Page};
use sqlx::AssertSqlSafe;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

pub const RUNNING: &str = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

/// Makes the ledger's clock show this.
pub async fn show(world: &World, ms: String) {
    let sql = format!(
        "create or replace function ledger_now_ms() returns bigint language sql volatile return {ms}"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
}

/// Stops the ledger's clock at an instant.
pub async fn stop_clock(world: &World, at: &str) {
    show(world, format!("{}::bigint", at.parse::<Timestamp>().unwrap().as_millisecond())).await;
}

async fn clock(world: &World) -> i64 {
    sqlx::query_scalar("select ledger_now_ms()").fetch_one(&world.pool).await.unwrap()
}

async fn move_clock(world: &World, by: i64) {
    let ahead = clock(world).await + by - Timestamp::now().as_millisecond();
    show(world, format!("{RUNNING} + ({ahead})")).await;
}

pub fn now(uid: &str, meter: &str, level: Option<(&str, i64)>) -> Value {
    let level = level.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    json!({"orderUid": uid, "tenant": "police", "meter": meter, "level": level, "reason": "Seen"})
}

pub async fn report(world: &World, facts: &[Value]) -> Value {
    let batch = json!({"collector": "cluster-a", "epoch": 1, "facts": facts});
    world.operator().post("/v1/usage", &batch).await.ok()
}

pub async fn checkpoint(world: &World, seen: &[&str], elapsed: Option<i64>) -> CollectorRecord {
    let round =
        json!({"collector": "cluster-a", "epoch": 1, "seen": seen, "complete": true, "elapsedMs": elapsed});
    world.operator().post("/v1/usage/checkpoints", &round).await.ok()
}

async fn gaps(client: Client<'_>, path: &str) -> Vec<GapRecord> {
    let page: Page<GapRecord> = client.get(path).await.ok();
    page.items
}

/// Milliseconds of an order's meter that count, by the intervals.
async fn counted(world: &World) -> i64 {
    let path = "/v1/tenants/kingdom/intervals?from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z";
    let page: Value = finance(world).get(path).await.ok();
    let until = clock(world).await;
    let ms = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond();
    let length = |row: &Value| match &row["end"] {
        Value::Null => until - ms(&row["start"]),
        end => ms(end) - ms(&row["start"]),
    };
    page["items"].as_array().unwrap().iter().filter(|row| row["meter"] == "compute").map(length).sum()
}

#[tokio::test]
async fn i05_a_clock_that_jumps_is_a_gap_and_never_money() {
    for jump in [HOUR, DAY, 365 * DAY] {
        let world = World::with_tenants().await;
        let level = Some(("postgres-small", 1));
        report(&world, &[now("u-1", "compute", level), now("u-1", "storage", Some(("block-storage", 10)))])
            .await;
        let before = checkpoint(&world, &["u-1"], None).await;
        move_clock(&world, jump).await;
        let after = checkpoint(&world, &["u-1"], Some(1_000)).await;
        assert!(after.watermark > before.watermark);
        let found = gaps(finance(&world), "/v1/tenants/kingdom/gaps").await;
        let words: Vec<_> = found.iter().map(|gap| (gap.meter.as_str(), gap.reason.as_str())).collect();
        assert_eq!(words, [("compute", "clockJumped"), ("storage", "clockJumped")]);
        for gap in &found {
            let length = gap.end.as_millisecond() - gap.start.as_millisecond();
            assert!((jump - HOUR / 60..=jump + HOUR / 60).contains(&length), "{gap:?}");
        }
        assert!(counted(&world).await < HOUR / 60, "{}", counted(&world).await);
        // The same report once more finds nothing more, and what runs goes on.
        checkpoint(&world, &["u-1"], Some(1_000)).await;
        let again = report(&world, &[now("u-1", "compute", level)]).await;
        assert_eq!(again, json!({"recorded": 0, "known": 1, "gaps": 0}));
        assert_eq!(gaps(finance(&world), "/v1/gaps").await, found);
    }
}

#[tokio::test]
async fn i05_a_clock_that_is_set_back_makes_no_gap_and_bills_nothing_twice() {
    for jump in [HOUR, DAY, 365 * DAY] {
        let world = World::with_tenants().await;
        report(&world, &[now("u-1", "compute", Some(("postgres-small", 1)))]).await;
        let before = checkpoint(&world, &["u-1"], None).await;
        move_clock(&world, -jump).await;
        let set_back = checkpoint(&world, &["u-1"], Some(1_000)).await;
        assert_eq!(set_back.watermark, before.watermark);
        // Stopped by a clock that lies before the start: later than the start all the same.
        report(&world, &[now("u-1", "compute", None)]).await;
        move_clock(&world, jump).await;
        assert_eq!(counted(&world).await, 1);
        checkpoint(&world, &["u-1"], Some(1_000)).await;
        assert_eq!(gaps(finance(&world), "/v1/gaps").await, []);
    }
}

#[tokio::test]
async fn i04_what_was_seen_as_before_is_proven_and_what_went_unseen_is_a_gap() {
    let world = World::with_tenants().await;
    let level = Some(("postgres-small", 1));
    report(&world, &[now("u-1", "compute", level), now("u-2", "compute", level)]).await;
    checkpoint(&world, &["u-1", "u-2"], None).await;
    let began = clock(&world).await;
    // The operator is away for ten hours. One order is as before when it comes back, the other one is gone.
    move_clock(&world, 10 * HOUR).await;
    report(&world, &[now("u-1", "compute", level)]).await;
    let answer = report(&world, &[now("u-2", "compute", None)]).await;
    assert_eq!(answer, json!({"recorded": 1, "known": 0, "gaps": 1}));
    checkpoint(&world, &["u-1"], None).await;
    let found = gaps(finance(&world), "/v1/gaps?state=undecided").await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].order.uid.as_str(), found[0].reason.as_str()), ("u-2", "notSeen"));
    assert!((began - 5_000..=began).contains(&found[0].start.as_millisecond()), "{found:?}");
    let counted = counted(&world).await;
    assert!((10 * HOUR..10 * HOUR + HOUR / 60).contains(&counted), "{counted}");
    // What was seen again counts as seen: a change now is no gap.
    let answer = report(&world, &[now("u-1", "compute", None)]).await;
    assert_eq!(answer, json!({"recorded": 1, "known": 0, "gaps": 0}));
    // More than a day away: nothing of it is taken for proven.
    report(&world, &[now("u-1", "compute", level)]).await;
    move_clock(&world, DAY + HOUR).await;
    checkpoint(&world, &["u-1"], None).await;
    let found = gaps(finance(&world), "/v1/tenants/police/gaps?state=undecided").await;
    assert_eq!(found.last().map(|gap| gap.reason.as_str()), Some("collectorAway"));
}

/// An instance in February 2024 that nobody saw for its last ten hours, 10:00 until 20:00 on the 20th.
async fn unseen_in_february() -> World {
    let world = World::with_tenants().await;
    prices_of_2024(&world).await;
    let access = |role: &str, group: &str| json!({"role": role, "groups": [format!("system:serviceaccounts:{group}")]});
    let police = but(
        &tenant("police", Some("interior"), json!({})),
        json!({"generation": 2, "access": [
            access("requester", "police"), access("certifier", "certifiers"), access("certifier", "orderer"),
            access("finance", "treasury")
        ]}),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    let booked =
        json!({"billing": {"budgetLine": "2024-30-10"}, "requester": crate::support::account("orderer")});
    world
        .operator()
        .put("/v1/reservations/u-1", &but(&order("police", "u-1", 1, 10), booked))
        .await
        .ok::<Value>();
    stop_clock(&world, "2024-02-20T08:00:00Z").await;
    report(&world, &[now("u-1", "compute", Some(("postgres-small", 2)))]).await;
    stop_clock(&world, "2024-02-20T10:00:00Z").await;
    checkpoint(&world, &["u-1"], None).await;
    stop_clock(&world, "2024-02-20T20:00:00Z").await;
    report(&world, &[now("u-1", "compute", None)]).await;
    show(&world, RUNNING.to_owned()).await;
    checkpoint(&world, &[], None).await;
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    world
}

async fn verified(world: &World, name: &str) -> usize {
    let place = Place::new(name);
    export(&world.pool, &place.0).await.unwrap();
    verify(&place.0, None).unwrap().documents
}

/// Whole hours, net, and how its one gap was decided.
fn figures(document: &Statement) -> (i128, i64, Option<bool>) {
    let ms: i128 = document.lines.iter().map(|line| line.quantity_ms.parse::<i128>().unwrap()).sum();
    (ms / i128::from(HOUR), document.totals.net_minor, document.gaps.first().map(|gap| gap.billed))
}

#[tokio::test]
async fn i05_a_month_waits_for_the_decision_of_a_gap_and_the_statement_lists_it() {
    let world = unseen_in_february().await;
    let blocked = close(&world, FEBRUARY).await;
    let reasons: Vec<_> = blocked.blockers.iter().map(|b| b.reason.as_str()).collect();
    assert_eq!(reasons, ["gapUndecided"], "{blocked:?}");
    let detail = &blocked.blockers[0].detail;
    assert!(
        detail.contains("compute of order police/u-1 is not proven from 2024-02-20T10:00:00"),
        "{detail}"
    );
    let gap = gaps(world.member("police"), "/v1/tenants/police/gaps").await.remove(0);
    let path = format!("/v1/tenants/police/gaps/{}/decision", gap.id);
    assert!(detail.contains(&path), "{detail}");
    let bill = json!({"billed": true, "evidence": "Journal du centre de données"});
    let waive = json!({"billed": false, "evidence": "Panne"});
    // Who may: neither the one who ordered, nor the finance of the tenant, nor national finance to bill it.
    world.member("police").post(&path, &bill).await.refused(403, "forbidden");
    world.member("treasury").post(&path, &bill).await.refused(403, "forbidden");
    world.member("treasury").post(&path, &waive).await.refused(403, "forbidden");
    finance(&world).post(&path, &bill).await.refused(403, "forbidden");
    let own = world.member("orderer").post(&path, &bill).await.refused(403, "forbidden");
    assert!(own.detail.contains("whoever ordered does not decide"), "{}", own.detail);
    world.member("health").post(&path, &bill).await.refused(404, "not-found");
    let certifier = || world.member("certifiers");
    certifier().post("/v1/tenants/police/gaps/99/decision", &bill).await.refused(404, "not-found");
    certifier().post("/v1/tenants/police/gaps/x/decision", &bill).await.refused(404, "not-found");
    for evidence in ["", "\u{202E}detuor", "a\nb", &"x".repeat(201)] {
        let hostile = json!({"billed": true, "evidence": evidence});
        certifier().post(&path, &hostile).await.refused(422, "invalid");
    }
    let several = json!({"gaps": [gap.id, 99], "billed": true, "evidence": "x"});
    certifier().post("/v1/tenants/police/gaps/decisions", &several).await.refused(404, "not-found");
    assert_eq!(gaps(finance(&world), "/v1/gaps?state=decided").await, []);
    let decided: GapRecord = certifier().post(&path, &bill).await.ok();
    let again: GapRecord = certifier().post(&path, &bill).await.ok();
    assert_eq!((decided.decision.as_ref().map(|d| d.billed), &again), (Some(true), &decided));
    assert!(close(&world, FEBRUARY).await.closed);
    let all = documents(&world).await;
    // 2 instances for 2 hours that were seen and 10 that were decided, at 1.25.
    assert_eq!(all.iter().map(figures).collect::<Vec<_>>(), [(24, 24 * 125, Some(true))]);
    assert_eq!(all[0].gaps[0].evidence, "Journal du centre de données");
    assert_eq!(verified(&world, "gaps-billed").await, 1);
    for format in ["pdf", "xlsx", "csv", "focus-1.2", "json"] {
        let path = format!("/v1/tenants/kingdom/statements/{}?format={format}&language=ar", all[0].number);
        assert_eq!(finance(&world).get(&path).await.status, 200, "{format}");
    }
    let csv = world.member("police").get("/v1/tenants/police/gaps?format=csv").await.text();
    assert!(csv.lines().nth(1).unwrap().contains(",true,Journal du centre de données,"), "{csv}");
    let trail = world.member("audit").get("/v1/audit?format=lines").await.text();
    assert_eq!(trail.lines().filter(|line| line.contains("\"gap.decide\"")).count(), 1);
}

#[tokio::test]
async fn i12_another_decision_about_a_closed_month_is_corrected_in_the_next() {
    let world = unseen_in_february().await;
    let gap = gaps(finance(&world), "/v1/gaps").await.remove(0);
    let path = "/v1/tenants/kingdom/gaps/decisions";
    let decision = |billed: bool| json!({"gaps": [gap.id], "billed": billed, "evidence": "Journal"});
    finance(&world).post(path, &decision(true)).await.refused(403, "forbidden");
    finance(&world).post(path, &decision(false)).await.ok::<Value>();
    assert!(close(&world, FEBRUARY).await.closed);
    let before = documents(&world).await;
    assert_eq!(before.iter().map(figures).collect::<Vec<_>>(), [(4, 4 * 125, Some(false))]);
    world.member("certifiers").post("/v1/tenants/police/gaps/decisions", &decision(true)).await.ok::<Value>();
    assert_eq!(documents(&world).await, before);
    assert!(close(&world, MARCH).await.closed);
    let all = documents(&world).await;
    let march = &all[1];
    assert_eq!((march.lines.len(), march.corrections.len(), march.totals.net_minor), (0, 1, 20 * 125));
    assert_eq!(march.gaps[0].start.to_string()[..13].to_owned(), "2024-02-20T10");
    assert_eq!(verified(&world, "gaps-corrected").await, 2);
}
