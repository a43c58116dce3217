//! Availability: told, read back, printed on a statement, and checked without us.

use crate::closing::{FEBRUARY, MARCH, close, documents, finance, fresh};
use crate::export::Place;
use crate::gaps::{RUNNING, checkpoint, now, report, show, stop_clock};
use crate::support::{World, order, prices_of_2024, tamper};
use serde_json::{Value, json};
use siyada_api::export::{Manifest, Sealed, export};
use siyada_api::verify::verify;
use siyada_model::availability::Availability;
use siyada_model::canonical::sha256;
use siyada_model::statement::Statement;
use siyada_model::statement::chain::{BEGINNING, extend};
use siyada_model::wire::AvailabilityReport;
use std::collections::BTreeMap;
use std::path::Path;

const HOUR: i64 = 3_600_000;
const SECOND: i64 = 1_000;
const PATH: &str = "/v1/usage/availability";

/// An order, what was found of it, and when by the collector's own clock.
type Found<'a> = (&'a str, &'a str, i64);

fn batch(epoch: i64, clock_ms: i64, found: &[Found<'_>], complete: bool) -> Value {
    let tenant = |uid: &str| if uid == "u-3" { "health" } else { "police" };
    let change = |(uid, state, clock_ms): &Found<'_>| json!({"orderUid": uid, "tenant": tenant(uid), "state": state, "clockMs": clock_ms});
    let changes: Vec<Value> = found.iter().map(change).collect();
    json!({"collector": "cluster-a", "epoch": epoch, "clockMs": clock_ms, "changes": changes, "complete": complete})
}

async fn tell(world: &World, batch: &Value) -> (u64, u64) {
    let answer: Value = world.operator().post(PATH, batch).await.ok();
    (answer["recorded"].as_u64().unwrap(), answer["known"].as_u64().unwrap())
}

/// Three orders in February and March of 2024, seen by one operator for thirty hours from 20 February, and from the fortieth
/// hour on by another one. The first was down from the twentieth hour until the next.
async fn seen() -> World {
    let world = fresh().await;
    stop_clock(&world, "2024-02-20T01:00:00Z").await;
    let first = batch(1, HOUR, &[("u-1", "up", 0), ("u-2", "up", 0), ("u-3", "up", HOUR / 2)], true);
    assert_eq!(tell(&world, &first).await, (3, 0));
    // The answer was lost, and everything comes again a minute later.
    stop_clock(&world, "2024-02-20T01:01:00Z").await;
    let again =
        batch(1, HOUR + 60 * SECOND, &[("u-1", "up", 0), ("u-2", "up", 0), ("u-3", "up", HOUR / 2)], false);
    assert_eq!(tell(&world, &again).await, (0, 3));
    // The ledger was away, and hears of an outage when it is over.
    stop_clock(&world, "2024-02-21T00:00:00Z").await;
    let outage = batch(1, 24 * HOUR, &[("u-1", "down", 20 * HOUR), ("u-1", "up", 21 * HOUR)], false);
    assert_eq!(tell(&world, &outage).await, (2, 0));
    stop_clock(&world, "2024-02-21T06:00:00Z").await;
    tell(&world, &batch(1, 30 * HOUR, &[], true)).await;
    stop_clock(&world, "2024-02-21T16:00:00Z").await;
    let other = batch(2, 60 * SECOND, &[("u-1", "up", 50 * SECOND), ("u-2", "up", 50 * SECOND)], false);
    assert_eq!(tell(&world, &other).await, (2, 0));
    stop_clock(&world, "2024-04-02T00:00:00Z").await;
    tell(&world, &batch(2, 41 * 24 * HOUR, &[], true)).await;
    show(&world, RUNNING.to_owned()).await;
    world
}

async fn read(world: &World, tenant: &str, from: &str, to: &str) -> AvailabilityReport {
    let path = format!("/v1/tenants/{tenant}/availability?from={from}&to={to}");
    world.member("finance").get(&path).await.ok()
}

fn by_uid(report: &AvailabilityReport) -> BTreeMap<&str, &Availability> {
    report.instances.iter().map(|one| (one.order.uid.as_str(), &one.figures)).collect()
}

#[tokio::test]
async fn what_was_seen_counts_while_it_should_run_and_what_nobody_saw_counts_neither_way() {
    let world = seen().await;
    let (from, to) = ("2024-02-01T00:00:00Z", "2024-02-29T23:00:00Z");
    let police = read(&world, "police", from, to).await;
    // The second ran in March alone, and the third is another tenant's.
    let up = 20 * HOUR + 9 * HOUR + 199 * HOUR + 10 * SECOND;
    let expect = Availability {
        should_run_ms: 239 * HOUR,
        up_ms: up,
        down_ms: HOUR,
        unobserved_ms: 10 * HOUR - 10 * SECOND,
        percent: Some("99.56".to_owned()),
    };
    assert_eq!(by_uid(&police), BTreeMap::from([("u-1", &expect)]));
    let all = read(&world, "kingdom", from, to).await;
    let third = by_uid(&all)["u-3"].clone();
    assert_eq!(
        (third.up_ms, third.down_ms, third.percent.as_deref()),
        (29 * HOUR + HOUR / 2, 0, Some("100.00"))
    );
    assert_eq!(third.unobserved_ms, 239 * HOUR - third.up_ms);
    assert_eq!(all.total, Availability::sum([&expect, &third]));
    // Suspended and not begun is neither: an hour less half a second of March.
    let second = read(&world, "police", "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z").await;
    let second = by_uid(&second)["u-2"].clone();
    assert_eq!((second.should_run_ms, second.up_ms), (HOUR - SECOND / 2, HOUR - SECOND / 2));
    let path = format!("/v1/tenants/police/availability?from={from}&to={to}&format=csv");
    let file = world.member("finance").get(&path).await.text();
    let row = format!(
        "police,u-1,u-1,PostgresInstance,{},{up},{HOUR},{},99.56",
        239 * HOUR,
        10 * HOUR - 10 * SECOND
    );
    assert!(file.lines().nth(1).unwrap().ends_with(&row), "{file}");
    world.member("finance").get("/v1/tenants/police/availability?format=pdf").await.refused(422, "invalid");
}

#[tokio::test]
async fn a_gap_of_the_ledger_is_seen_by_nobody_whatever_a_collector_says() {
    let world = World::with_tenants().await;
    stop_clock(&world, "2024-02-20T08:00:00Z").await;
    report(&world, &[now("u-1", "compute", Some(("postgres-small", 2)))]).await;
    tell(&world, &batch(1, 0, &[("u-1", "up", 0)], true)).await;
    stop_clock(&world, "2024-02-20T10:00:00Z").await;
    checkpoint(&world, &["u-1"], None).await;
    stop_clock(&world, "2024-02-20T20:00:00Z").await;
    tell(&world, &batch(1, 12 * HOUR, &[], true)).await;
    report(&world, &[now("u-1", "compute", None)]).await;
    let found = read(&world, "police", "2024-02-20T00:00:00Z", "2024-02-20T20:00:00Z").await;
    let figures = by_uid(&found)["u-1"].clone();
    assert_eq!(
        (figures.should_run_ms, figures.up_ms, figures.unobserved_ms),
        (12 * HOUR, 2 * HOUR, 10 * HOUR)
    );
}

#[tokio::test]
async fn only_the_operator_that_leads_tells_and_nothing_of_a_refused_batch_is_kept() {
    let world = World::with_tenants().await;
    prices_of_2024(&world).await;
    world.operator().put("/v1/reservations/u-1", &order("police", "u-1", 1, 10)).await.ok::<Value>();
    let operator = world.operator();
    tell(&world, &batch(2, 5, &[("u-1", "up", 0)], true)).await;
    let check = async |sent: Value, status: u16, code: &str, words: &str| {
        let problem = operator.post(PATH, &sent).await.refused(status, code);
        assert!(problem.detail.contains(words), "{words}: {}", problem.detail);
    };
    check(batch(1, 9, &[("u-1", "down", 7)], true), 409, "fenced", "newer epoch").await;
    let with = |change: Value| {
        json!({"collector": "cluster-a", "epoch": 2, "clockMs": 9, "complete": true, "changes": [
        {"orderUid": "u-1", "tenant": "police", "state": "down", "clockMs": 7}, change]})
    };
    let other = |uid: &str, tenant: &str, state: &str, clock_ms: i64| json!({"orderUid": uid, "tenant": tenant, "state": state, "clockMs": clock_ms});
    check(with(other("u-1", "health", "up", 8)), 409, "conflict", "u-1 is not one of tenant health").await;
    check(with(other("u-9", "absent", "up", 8)), 409, "tenant-unknown", "absent").await;
    check(with(other("u-1", "police", "up", -8)), 422, "invalid", "zero or more").await;
    check(with(other("u-1", "police", "asleep", 8)), 422, "invalid", "").await;
    check(batch(2, 9, &vec![("u-1", "up", 8); 5_001], true), 413, "too-large", "").await;
    let stored = "select count(*) from availability_change";
    assert_eq!(sqlx::query_scalar::<_, i64>(stored).fetch_one(&world.pool).await.unwrap(), 1);
    for sql in [
        "update availability_change set state = 'down'",
        "delete from availability_change",
        "truncate availability_change",
        "update availability_proof set until_ms = 1",
        "delete from availability_proof",
    ] {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let constraint = error.as_database_error().and_then(|e| e.constraint()).unwrap().to_owned();
        assert!(constraint.ends_with("_is_append_only"), "{sql}: {error}");
    }
}

/// Changes the documents of an export and seals them anew, as whoever has no key to sign with could.
fn forge(directory: &Path, change: impl Fn(&mut Statement)) {
    let file = directory.join("documents.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    let (mut chain, mut forged) = (BEGINNING.to_owned(), String::new());
    for line in text.lines() {
        let mut sealed: Sealed = serde_json::from_str(line).unwrap();
        let mut document: Statement = serde_json::from_str(&sealed.document).unwrap();
        change(&mut document);
        document.previous_chain = chain;
        sealed.document = String::from_utf8(document.bytes().unwrap()).unwrap();
        sealed.sha256 = sha256(sealed.document.as_bytes());
        sealed.chain = extend(&document.previous_chain, &sealed.sha256);
        chain = sealed.chain.clone();
        forged += &format!("{}\n", serde_json::to_string(&sealed).unwrap());
    }
    std::fs::write(&file, &forged).unwrap();
    let manifest = std::fs::read(directory.join("manifest.json")).unwrap();
    let mut manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    manifest.chain = Some(chain);
    manifest.files.insert("documents.ndjson".to_owned(), sha256(forged.as_bytes()));
    std::fs::write(directory.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Whether an export is right, with its documents as they are or forged.
async fn checked(world: &World, name: &str, change: Option<fn(&mut Statement)>) -> anyhow::Result<usize> {
    let place = Place::new(name);
    export(&world.pool, &place.0).await.unwrap();
    change.into_iter().for_each(|change| forge(&place.0, change));
    verify(&place.0, None).map(|found| found.months)
}

#[tokio::test]
async fn i21_a_statement_says_how_available_its_instances_were_and_a_wrong_figure_is_found() {
    let world = seen().await;
    for month in [FEBRUARY, MARCH] {
        let closed = close(&world, month).await;
        assert!(closed.closed, "{closed:?}");
    }
    let all = documents(&world).await;
    let february = read(&world, "kingdom", "2024-02-01T00:00:00Z", "2024-02-29T23:00:00Z").await;
    let of_february = all.iter().filter(|d| d.period.month.to_string() == "2024-02");
    let mut printed: Vec<_> = of_february.flat_map(|d| d.availability.clone()).collect();
    printed.sort_by(|a, b| a.order.cmp(&b.order));
    assert_eq!(printed, february.instances, "what was told so far is what is printed");
    let police = all.iter().find(|d| d.buyer.tenant.as_str() == "interior").unwrap();
    let path = format!("/v1/tenants/kingdom/statements/{}", police.number);
    let file = async |query: &str| {
        let answer = finance(&world).get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer
    };
    assert!(file("format=availability").await.text().lines().nth(1).unwrap().ends_with(",99.56"));
    for query in ["format=pdf&language=ar", "format=pdf&language=fr", "format=xlsx&language=en", "format=csv"]
    {
        file(query).await;
    }
    let note =
        finance(&world).post(&format!("{path}/credit-notes"), &json!({"key": "1", "reason": "Panne"})).await;
    assert!(note.ok::<Value>().get("availability").is_none(), "a note takes back money and nothing else");

    assert_eq!(checked(&world, "available", None).await.unwrap(), 2);
    type Change = fn(&mut Statement);
    let wrong: [(&str, Change); 3] = [
        ("available-more", |d| {
            d.availability.iter_mut().for_each(|one| one.figures.percent = Some("100.00".to_owned()))
        }),
        ("available-less", |d| {
            d.availability.iter_mut().take(1).for_each(|one| {
                one.figures.down_ms += 1;
                one.figures.unobserved_ms -= 1;
            });
        }),
        ("available-none", |d| d.availability.retain(|one| one.order.uid.as_str() != "u-1")),
    ];
    for (name, change) in wrong {
        let cause = format!("{:#}", checked(&world, name, Some(change)).await.unwrap_err());
        assert!(cause.contains("is not what the record gives: byte "), "{name}: {cause}");
    }
    // What is told after a month was closed changes nothing of it.
    let later = "insert into availability_change values ('u-3', 1708646400000, 'down', 1, 'cluster-a', 1, 1)";
    sqlx::query(later).execute(&world.pool).await.unwrap();
    assert_eq!(checked(&world, "available-late", None).await.unwrap(), 2);
    tamper(
        &world.pool,
        "availability_change",
        "update availability_change set at_ms = at_ms + 1 where state = 'down'",
    )
    .await;
    checked(&world, "available-forged", None).await.unwrap_err();
}

#[tokio::test]
async fn a_month_in_which_nothing_was_observed_says_nothing_of_it() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    for document in documents(&world).await {
        let text = String::from_utf8(document.bytes().unwrap()).unwrap();
        assert!(!text.contains("availability"), "{text}");
        let path = format!("/v1/tenants/kingdom/statements/{}?format=availability", document.number);
        assert_eq!(finance(&world).get(&path).await.text().lines().count(), 1);
    }
    let report = read(&world, "police", "2024-02-01T00:00:00Z", "2024-02-29T23:00:00Z").await;
    let figures = by_uid(&report)["u-1"].clone();
    assert_eq!((figures.unobserved_ms, figures.percent), (239 * HOUR, None));
}

#[tokio::test]
async fn i21_figures_are_what_an_independent_query_counts() {
    let world = seen().await;
    close(&world, FEBRUARY).await;
    close(&world, MARCH).await;
    const RECOUNT: &str = "
        with told as (
            select order_uid, state, at_ms, collector, epoch, lead(at_ms) over w as next_ms,
                   lead(collector) over w = collector and lead(epoch) over w = epoch as is_same
            from availability_change window w as (partition by order_uid order by at_ms)
        ), seen as (
            select t.order_uid, t.state, t.at_ms as start_ms, case when t.is_same then t.next_ms
                       else least(t.next_ms, greatest(p.until_ms, t.at_ms)) end as end_ms
            from told t left join (select collector, epoch, max(until_ms) as until_ms from availability_proof group by 1, 2) p
                using (collector, epoch)
        ), runs as (
            select order_uid, sku, at_ms as start_ms, lead(at_ms) over (partition by order_uid order by at_ms) as end_ms
            from usage_change where meter = 'compute'
        ), cut as (
            select p.month, r.order_uid, greatest(r.start_ms, p.start_ms) as start_ms, least(r.end_ms, p.end_ms) as end_ms
            from runs r join period p on p.closed_ms is not null and r.start_ms < p.end_ms
                and coalesce(r.end_ms, p.end_ms) > p.start_ms
            where r.sku is not null
        )
        select c.month, c.order_uid, sum(c.end_ms - c.start_ms)::bigint, coalesce(sum(s.up), 0)::bigint,
               coalesce(sum(s.down), 0)::bigint
        from cut c cross join lateral (
            select sum(l) filter (where state = 'up') as up, sum(l) filter (where state = 'down') as down
            from (select s.state, greatest(least(s.end_ms, c.end_ms) - greatest(s.start_ms, c.start_ms), 0) as l
                  from seen s where s.order_uid = c.order_uid) piece
        ) s
        group by 1, 2 order by 1, 2";
    let counted: Vec<(String, String, i64, i64, i64)> =
        sqlx::query_as(RECOUNT).fetch_all(&world.pool).await.unwrap();
    let mut printed = Vec::new();
    for document in documents(&world).await {
        for one in &document.availability {
            let Availability { should_run_ms, up_ms, down_ms, unobserved_ms, .. } = one.figures;
            assert_eq!(up_ms + down_ms + unobserved_ms, should_run_ms);
            let (month, uid) = (document.period.month.to_string(), one.order.uid.to_string());
            printed.push((month, uid, should_run_ms, up_ms, down_ms));
        }
    }
    printed.sort();
    assert!(printed.len() >= 5, "{printed:?}");
    assert_eq!(printed, counted);
}
