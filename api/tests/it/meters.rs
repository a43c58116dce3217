//! Meters as data: which there are, and what one more needs.

use crate::closing::{FEBRUARY, close, documents, fact, finance, fresh, send};
use crate::support::{World, order, prices_of_2024};
use serde_json::{Value, json};
use siyada_model::usage::Meter;
use siyada_model::wire::{MeterKind, MeterRecord};

const MARCH: &str = "from=2024-03-01T00:00:00Z&to=2024-04-01T00:00:00Z";

fn batch(facts: &[(&str, &str, Option<i64>)]) -> Value {
    let fact = |(meter, at, quantity): &(&str, &str, Option<i64>)| {
        let sku = if *meter == "backup" { "block-storage" } else { "postgres-small" };
        let level = quantity.map(|quantity| json!({"sku": sku, "quantity": quantity}));
        json!({"orderUid": "u-1", "tenant": "police", "meter": meter, "at": at, "level": level, "reason": "Seen"})
    };
    json!({"collector": "a", "epoch": 1, "facts": facts.iter().map(fact).collect::<Vec<_>>()})
}

async fn world() -> World {
    let world = World::with_tenants().await;
    prices_of_2024(&world).await;
    world.operator().put("/v1/reservations/u-1", &order("police", "u-1", 1, 10)).await.ok::<Value>();
    world
}

async fn meters(world: &World) -> Vec<MeterRecord> {
    let page: Value = world.member("tenant-requester").get("/v1/meters").await.ok();
    serde_json::from_value(page["items"].clone()).unwrap()
}

#[tokio::test]
async fn every_meter_is_listed_with_its_unit_and_its_names() {
    let world = world().await;
    let found = meters(&world).await;
    let levels: Vec<Meter> = found.iter().filter(|m| m.kind == MeterKind::Level).map(|m| m.name).collect();
    let mut expected = Meter::LEVELS.to_vec();
    expected.sort();
    assert_eq!(levels, expected, "what the code takes for known is on record");
    let counter = found.iter().find(|m| m.name == Meter::TRANSACTIONS).unwrap();
    assert_eq!((counter.kind, counter.base_unit.as_str()), (MeterKind::Counter, "transaction"));
    assert!(found.iter().all(|m| m.display_name.fr.is_some() && m.display_name.ar.is_some()));
    let first: Value = world.operator().get("/v1/meters?pageSize=1").await.ok();
    let rest: Value = world
        .operator()
        .get(&format!("/v1/meters?pageToken={}", first["nextPageToken"].as_str().unwrap()))
        .await
        .ok();
    assert_eq!(rest["items"].as_array().unwrap().len() + 1, found.len());
}

#[tokio::test]
async fn a_meter_that_is_unknown_or_a_counter_is_refused_by_its_name() {
    let world = world().await;
    let good = ("compute", "2024-03-01T00:00:00Z", Some(1));
    for meter in ["network", "requests"] {
        let sent = batch(&[good, (meter, "2024-03-01T00:00:00Z", Some(1))]);
        let problem = world.operator().post("/v1/usage", &sent).await.refused(422, "invalid");
        let detail = problem.detail;
        assert!(detail.contains(&format!("no meter of levels {meter}")), "{detail}");
        assert!(detail.contains("backup, compute, standby, storage"), "{detail}");
    }
    let problem = world
        .operator()
        .post("/v1/usage", &batch(&[("Compute!", good.1, Some(1))]))
        .await
        .refused(422, "invalid");
    assert!(problem.detail.contains("meter \"Compute!\" must be"), "{}", problem.detail);
    let known: Value = world.operator().post("/v1/usage", &batch(&[good])).await.ok();
    assert_eq!(known["recorded"], 1, "nothing of the refused batches is on record");
}

#[tokio::test]
async fn backups_and_standbys_are_billed_by_their_level_and_what_time_it_held() {
    let world = world().await;
    let facts = batch(&[
        ("standby", "2024-03-12T00:00:00Z", Some(2)),
        ("standby", "2024-03-12T02:00:00Z", None),
        // Measured three times: 1 GiB for an hour, 3 GiB for two, then removed.
        ("backup", "2024-03-12T00:00:00Z", Some(1_024)),
        ("backup", "2024-03-12T01:00:00Z", Some(3_072)),
        ("backup", "2024-03-12T03:00:00Z", None),
    ]);
    world.operator().post("/v1/usage", &facts).await.ok::<Value>();
    let report: Value = world.operator().get(&format!("/v1/tenants/police/usage?{MARCH}")).await.ok();
    let lines: Vec<_> = report["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["meter"].clone(), l["quantityMs"].clone(), l["amount"]["minor"].clone()))
        .collect();
    const HOUR: i64 = 3_600_000;
    let line =
        |meter: &str, quantity: i64, minor: i64| (json!(meter), json!(quantity.to_string()), json!(minor));
    // 7 GiB hours at 0.0023 and 4 hours at 1.40.
    assert_eq!(lines, [line("backup", 7 * 1_024 * HOUR, 2), line("standby", 4 * HOUR, 560)]);
}

#[tokio::test]
async fn a_new_meter_is_a_row_and_a_source() {
    let world = world().await;
    let sent =
        batch(&[("licence", "2024-03-12T00:00:00Z", Some(3)), ("licence", "2024-03-12T01:00:00Z", None)]);
    world.operator().post("/v1/usage", &sent).await.refused(422, "invalid");
    let row = r#"insert into meter values ('licence', 'licence', 'level', '{"fr": "Licences", "ar": "الرخص", "en": "Licences"}')"#;
    sqlx::query(row).execute(&world.pool).await.unwrap();
    let accepted: Value = world.operator().post("/v1/usage", &sent).await.ok();
    assert_eq!(accepted["recorded"], 2);
    let report: Value = world.operator().get(&format!("/v1/tenants/police/usage?{MARCH}")).await.ok();
    assert_eq!(
        (&report["lines"][0]["meter"], &report["lines"][0]["amount"]["minor"]),
        (&json!("licence"), &json!(420))
    );
    assert!(meters(&world).await.iter().any(|m| m.name.as_str() == "licence"));
}

#[tokio::test]
async fn a_meter_keeps_its_meaning_and_stays() {
    let world = world().await;
    for sql in [
        "update meter set base_unit = 'hour' where name = 'compute'",
        "delete from meter where name = 'egress'",
        "truncate meter cascade",
    ] {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        assert_eq!(
            error.as_database_error().and_then(|e| e.constraint()),
            Some("meter_is_append_only"),
            "{sql}: {error}"
        );
    }
    let renamed =
        r#"update meter set display_name = display_name || '{"en": "Computing"}' where name = 'compute'"#;
    sqlx::query(renamed).execute(&world.pool).await.unwrap();
}

/// What the api refuses first, the database refuses as well, whoever writes to it.
#[tokio::test]
async fn rows_of_an_unknown_meter_are_refused_by_the_database_and_those_beside_them() {
    let world = world().await;
    let insert = async |meters: &[&str]| {
        let sql = "insert into usage_change (order_uid, meter, at_ms, reason, collector, epoch, recorded_ms)
                   select 'u-1', meter, 1, 'Seen', 'a', 1, 1 from unnest($1::text[]) meter";
        sqlx::query(sql).bind(meters).execute(&world.pool).await
    };
    let refused = |done: Result<_, sqlx::Error>| {
        let error = done.map(|_: sqlx::postgres::PgQueryResult| ()).unwrap_err();
        let error = error.into_database_error().unwrap();
        assert_eq!(error.constraint(), Some("usage_change_meter"), "{error}");
        assert_eq!(error.kind(), sqlx::error::ErrorKind::ForeignKeyViolation);
        error.message().to_owned()
    };
    assert_eq!(refused(insert(&["network"]).await), "there is no meter network");
    assert_eq!(refused(insert(&["compute", "network", "storage"]).await), "there is no meter network");
    let sql = "select count(*) from usage_change where order_uid = 'u-1' and at_ms = 1";
    let count = async || sqlx::query_scalar::<_, i64>(sql).fetch_one(&world.pool).await.unwrap();
    assert_eq!(count().await, 0);
    insert(&[]).await.unwrap();
    insert(&["compute", "storage"]).await.unwrap();
    assert_eq!(count().await, 2);
    // What is in use stays, under its name.
    for sql in
        ["delete from meter where name = 'storage'", "update meter set name = 'disk' where name = 'storage'"]
    {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let constraint = error.as_database_error().and_then(|e| e.constraint()).map(ToOwned::to_owned);
        assert_eq!(constraint.as_deref(), Some("meter_is_append_only"), "{sql}: {error}");
    }
}

/// Standbys, backups, and a meter that nothing here has a word for, in a month that closes.
#[tokio::test]
async fn a_closed_month_shows_and_proves_meters_that_came_later() {
    let world = fresh().await;
    let row = r#"insert into meter values ('licence', 'licence', 'level', '{"fr": "Licences", "ar": "الرخص", "en": "Licences"}')"#;
    sqlx::query(row).execute(&world.pool).await.unwrap();
    let (start, end) = ("2024-02-21T00:00:00Z", "2024-02-21T01:00:00Z");
    for (meter, sku, quantity) in [
        ("standby", "postgres-small", 2),
        ("backup", "block-storage", 1 << 20),
        ("licence", "postgres-small", 3),
    ] {
        let on = fact("u-1", "police", meter, start, Some((sku, quantity)));
        send(&world, &[on, fact("u-1", "police", meter, end, None)]).await;
    }
    close(&world, FEBRUARY).await;
    let lines = |document: &siyada_model::statement::Statement| -> Vec<(String, i64)> {
        let of = document.lines.iter().filter(|l| l.order.uid.as_str() == "u-1");
        of.map(|l| (l.meter.to_string(), l.minor)).collect()
    };
    let document = documents(&world).await.into_iter().find(|d| !lines(d).is_empty()).unwrap();
    // 1 TiB for an hour at 0.0021; until the end of February in Casablanca 239 h at 1.25; three and two for an hour; 10 GiB.
    let expect = [("backup", 215), ("compute", 29_875), ("licence", 375), ("standby", 250), ("storage", 502)];
    assert_eq!(lines(&document), expect.map(|(meter, minor)| (meter.to_owned(), minor)));

    let file = async |query: &str| {
        let path = format!("/v1/tenants/kingdom/statements/{}?{query}", document.number);
        let answer = finance(&world).get(&path).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer
    };
    for query in ["format=csv", "format=focus-1.2", "format=focus-1.4"] {
        let text = file(query).await.text();
        assert!(["standby", "backup", "licence"].iter().all(|meter| text.contains(meter)), "{query}: {text}");
    }
    for query in ["format=pdf&language=ar", "format=pdf&language=fr", "format=xlsx&language=en"] {
        file(query).await;
    }
    let directory = std::env::temp_dir().join(format!("siyada-meters-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    siyada_api::export::export(&world.pool, &directory).await.unwrap();
    let verified = siyada_api::verify::verify(&directory, None);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(verified.unwrap().months, 1);
}
