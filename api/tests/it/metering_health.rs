//! The page of health: each check finds what it is for, and nothing when all is well.

use crate::closing::{close, fact, fresh, send};
use crate::support::{World, order, tamper};
use serde_json::{Value, json};
use siyada_api::checks::look;
use siyada_model::health::{Check, Finding, MeteringHealth};
use std::time::{Duration, Instant};

async fn page(world: &World) -> MeteringHealth {
    world.operator().get("/v1/health/metering").await.ok()
}

async fn of(world: &World, check: Check) -> Finding {
    page(world).await.checks.into_iter().find(|finding| finding.check == check).unwrap()
}

/// The checks that found something.
async fn found(world: &World) -> Vec<Check> {
    page(world).await.checks.into_iter().filter(|finding| !finding.ok).map(|finding| finding.check).collect()
}

async fn seen(world: &World, uids: &[&str]) {
    let round = json!({"collector": "cluster-a", "epoch": 1, "seen": uids, "complete": true});
    world.operator().post("/v1/usage/checkpoints", &round).await.ok::<Value>();
}

async fn sql(world: &World, sql: &'static str) {
    sqlx::query(sql).execute(&world.pool).await.unwrap();
}

/// An order of police that is metered as it should be.
async fn world() -> World {
    let world = World::with_tenants().await;
    world.operator().put("/v1/reservations/u-1", &order("police", "registry", 1, 10)).await.ok::<Value>();
    let at = "2026-11-01T00:00:00Z";
    send(
        &world,
        &[
            fact("u-1", "police", "compute", at, Some(("postgres-small", 1))),
            fact("u-1", "police", "storage", at, Some(("block-storage", 10_240))),
        ],
    )
    .await;
    seen(&world, &["u-1"]).await;
    world
}

#[tokio::test]
async fn all_is_well_with_nothing_and_with_an_order_that_is_metered() {
    let empty = page(&World::new().await).await;
    assert!(empty.ok, "{empty:?}");
    assert_eq!(empty.checks.len(), Check::ALL.len());
    let world = world().await;
    sql(&world, "update reservation set held_since_ms = 0").await;
    assert_eq!(found(&world).await, []);
}

#[tokio::test]
async fn an_order_that_is_held_and_not_metered_is_found_with_why() {
    let world = world().await;
    world.operator().put("/v1/reservations/u-2", &order("health", "files", 1, 10)).await.ok::<Value>();
    let kept = json!({"retained": true});
    let kept = crate::support::but(&order("health", "kept", 0, 10), kept);
    world.operator().put("/v1/reservations/u-3", &kept).await.ok::<Value>();
    // It has half an hour to start.
    assert_eq!(found(&world).await, []);
    sql(&world, "update reservation set held_since_ms = held_since_ms - 30 * 60 * 1000 - 1").await;
    assert_eq!(found(&world).await, [Check::RunningWithoutInterval]);
    let finding = of(&world, Check::RunningWithoutInterval).await;
    assert_eq!((finding.count, finding.examples.len()), (1, 1));
    let example = &finding.examples[0];
    assert_eq!(
        (example.order_uid.as_ref().unwrap().as_str(), example.tenant.as_ref().unwrap().as_str()),
        ("u-2", "health")
    );
    assert_eq!(example.detail, "health/files is held, and nothing of it was ever metered");
    assert!(finding.advice.unwrap().contains("conditions"));
    let at = "2026-11-01T00:00:00Z";
    send(&world, &[fact("u-2", "health", "storage", at, Some(("block-storage", 10_240)))]).await;
    let detail = of(&world, Check::RunningWithoutInterval).await.examples.remove(0).detail;
    assert_eq!(detail, "health/files has storage that is metered, and its compute never was");
    send(&world, &[fact("u-2", "health", "compute", at, Some(("postgres-small", 1)))]).await;
    assert_eq!(found(&world).await, []);
    // One is suspended: its compute stopped and its storage did not. Of the other nothing is left, and it is still held.
    world.operator().put("/v1/reservations/u-4", &order("health", "gone", 1, 10)).await.ok::<Value>();
    let later = "2026-11-02T00:00:00Z";
    let facts = [
        fact("u-2", "health", "compute", later, None),
        fact("u-4", "health", "compute", at, Some(("postgres-small", 1))),
        fact("u-4", "health", "storage", at, Some(("block-storage", 10_240))),
        fact("u-4", "health", "compute", later, None),
        fact("u-4", "health", "storage", later, None),
    ];
    send(&world, &facts).await;
    sql(&world, "update reservation set held_since_ms = 0").await;
    assert_eq!(found(&world).await, []);
    let older = "update usage_change set recorded_ms = recorded_ms - 30 * 60 * 1000 - 1";
    tamper(&world.pool, "usage_change", older).await;
    sql(&world, "update orders set last_seen_ms = ledger_now_ms()").await;
    assert_eq!(found(&world).await, [Check::RunningWithoutInterval]);
    let finding = of(&world, Check::RunningWithoutInterval).await;
    let example = (finding.count, finding.examples[0].detail.as_str());
    assert_eq!(example, (1, "health/gone is held, and nothing of it is metered any more"));
}

#[tokio::test]
async fn what_the_price_list_in_force_does_not_know_is_found_while_it_is_used() {
    let world = world().await;
    let (at, later) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
    send(&world, &[fact("u-2", "health", "compute", at, Some(("postgres-huge", 1)))]).await;
    let finding = of(&world, Check::IntervalWithoutPrice).await;
    assert_eq!(
        finding.examples[0].detail,
        "compute by postgres-huge, which the price list in force does not know"
    );
    assert_eq!(found(&world).await, [Check::IntervalWithoutPrice]);
    send(&world, &[fact("u-2", "health", "compute", later, None)]).await;
    assert_eq!(found(&world).await, []);
}

#[tokio::test]
async fn collectors_that_stand_still_and_orders_that_they_pass_over_are_found() {
    let world = world().await;
    sql(&world, "update collector set watermark_ms = watermark_ms - 14 * 60 * 1000").await;
    assert_eq!(found(&world).await, []);
    sql(&world, "update collector set watermark_ms = watermark_ms - 61 * 1000").await;
    assert_eq!(found(&world).await, [Check::WatermarkStandsStill]);
    let detail = of(&world, Check::WatermarkStandsStill).await.examples.remove(0).detail;
    assert!(detail.starts_with("collector cluster-a has reported until 20"), "{detail}");
    sql(&world, "update collector set watermark_ms = null").await;
    let detail = of(&world, Check::WatermarkStandsStill).await.examples.remove(0).detail;
    assert!(detail.starts_with("collector cluster-a has not finished a first report"), "{detail}");
    // It goes on reporting, and never names one of two orders that are used.
    sql(&world, "update collector set watermark_ms = ledger_now_ms()").await;
    let at = "2026-11-01T00:00:00Z";
    send(&world, &[fact("u-2", "health", "compute", at, Some(("postgres-small", 1)))]).await;
    assert_eq!(found(&world).await, []);
    let older = "update usage_change set recorded_ms = recorded_ms - 15 * 60 * 1000 - 1000";
    tamper(&world.pool, "usage_change", older).await;
    sql(&world, "update orders set last_seen_ms = case uid when 'u-1' then ledger_now_ms() end").await;
    assert_eq!(found(&world).await, [Check::NotProven]);
    let finding = of(&world, Check::NotProven).await;
    assert_eq!((finding.count, finding.examples[0].order_uid.as_ref().unwrap().as_str()), (1, "u-2"));
    // It names none.
    sql(&world, "update orders set last_seen_ms = ledger_now_ms() - 15 * 60 * 1000 - 1000").await;
    assert_eq!(found(&world).await, [Check::TotalsStopped, Check::NotProven]);
    assert_eq!(of(&world, Check::TotalsStopped).await.count, 3);
    sql(&world, "update orders set last_seen_ms = ledger_now_ms()").await;
    assert_eq!(found(&world).await, []);
}

#[tokio::test]
async fn a_chain_that_somebody_changed_is_found() {
    let world = fresh().await;
    close(&world, crate::closing::FEBRUARY).await;
    let broken = async || of(&world, Check::ChainBroken).await;
    assert!(broken().await.ok);
    let number: String = sqlx::query_scalar("select number from statement order by position limit 1")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    tamper(&world.pool, "statement", "update statement set chain = repeat('1', 64) where position = 1").await;
    let finding = broken().await;
    // The one that was changed, and the one that followed it.
    assert_eq!(finding.count, 2);
    assert_eq!(
        finding.examples[0].detail,
        format!("document {number} is not what was hashed, or does not follow the one before")
    );
    let first = "update statement set chain = encode(sha256(convert_to(repeat('0', 64) || sha256, 'UTF8')), 'hex') where position = 1";
    tamper(&world.pool, "statement", first).await;
    assert!(broken().await.ok);
    let event = "update audit_event set sha256 = repeat('1', 64) where seq = 3";
    tamper(&world.pool, "audit_event", event).await;
    assert_eq!(broken().await.examples[0].detail, "audit event 4 does not follow the one before");
}

#[tokio::test]
async fn gaps_that_nobody_decided_are_found() {
    let world = world().await;
    // A landing that has no gaps yet has the tables as they will be.
    let tables = "create table if not exists meter_gap (
                      id bigint generated always as identity primary key, order_uid text, meter text, start_ms bigint,
                      end_ms bigint, sku text, quantity bigint, reason text, collector text, epoch bigint, recorded_ms bigint);
                  create table if not exists gap_decision (
                      gap_id bigint, billed boolean, evidence text, decided_by text, decided_ms bigint)";
    sqlx::raw_sql(tables).execute(&world.pool).await.unwrap();
    assert_eq!(found(&world).await, []);
    let gaps = "insert into meter_gap
                    (order_uid, meter, start_ms, end_ms, sku, quantity, reason, collector, epoch, recorded_ms)
                select 'u-1', meter, 1772000000000, 1772000900000, 'postgres-small', 1, 'notSeen', 'cluster-a', 1, 1772000900000
                from unnest(array['compute', 'storage']) meter";
    sql(&world, gaps).await;
    assert_eq!(found(&world).await, [Check::GapsUndecided]);
    let finding = of(&world, Check::GapsUndecided).await;
    assert_eq!((finding.count, finding.examples[0].tenant.as_ref().unwrap().as_str()), (2, "police"));
    let detail = "gap 1 of compute from 2026-02-25T06:13:20Z until 2026-02-25T06:28:20Z: notSeen";
    assert_eq!(finding.examples[0].detail, detail);
    let decide = "insert into gap_decision (gap_id, billed, evidence, decided_by, decided_ms)
                  select id, id = 1, 'It answered', 'somebody', 1772000900000 from meter_gap";
    sql(&world, decide).await;
    assert_eq!(found(&world).await, []);
}

#[tokio::test]
async fn examples_are_twenty_and_the_count_is_all() {
    let world = world().await;
    let uids: Vec<String> = (100..130).map(|n| format!("u-{n}")).collect();
    let facts: Vec<Value> = uids
        .iter()
        .map(|uid| fact(uid, "health", "compute", "2026-11-01T00:00:00Z", Some(("postgres-huge", 1))))
        .collect();
    send(&world, &facts).await;
    let finding = of(&world, Check::IntervalWithoutPrice).await;
    assert_eq!((finding.count, finding.examples.len()), (30, 20));
}

#[tokio::test]
async fn each_check_is_a_metric_that_is_looked_up_once_in_a_while() {
    let world = world().await;
    let text = || world.state.metrics.text().unwrap();
    let line = |check: Check, count: i64| {
        format!("siyada_api_metering_findings{{check=\"{}\"}} {count}\n", check.as_str())
    };
    assert!(text().contains("siyada_api_metering_checks_up 0\n"));
    let begun = Instant::now();
    look(&world.state, begun).await;
    assert!(text().contains("siyada_api_metering_checks_up 1\n"));
    for check in Check::ALL {
        assert!(text().contains(&line(check, 0)), "{check:?}: {}", text());
    }
    sql(&world, "update collector set watermark_ms = 0").await;
    look(&world.state, begun + Duration::from_secs(29)).await;
    assert!(text().contains(&line(Check::WatermarkStandsStill, 0)));
    look(&world.state, begun + Duration::from_secs(30)).await;
    assert!(text().contains(&line(Check::WatermarkStandsStill, 1)));
    assert!(!text().contains("cluster-a"), "names are no labels");
    world.pool.close().await;
    look(&world.state, begun + Duration::from_secs(90)).await;
    assert!(text().contains("siyada_api_metering_checks_up 0\n"));
    assert!(!text().contains("siyada_api_metering_findings{"));
}

#[tokio::test]
async fn the_port_for_metrics_looks_before_it_answers() {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt;
    let world = world().await;
    let request = axum::http::Request::get("/metrics").body(Body::empty()).unwrap();
    let response = siyada_api::serve::metrics_app(world.state.clone()).oneshot(request).await.unwrap();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(String::from_utf8(bytes.to_vec()).unwrap().contains("siyada_api_metering_checks_up 1\n"));
}
