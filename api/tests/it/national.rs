//! What finance takes with it: usage in any grouping, all tenants in one stream, settlements, and what covers the costs.

use crate::closing::{FEBRUARY, MARCH, close, documents, fact, finance, fresh, ready, send};
use crate::crash::{Program, keys};
use crate::settlement::{billed, stage};
use crate::support::{Answer, World, account, but, fresh_database, order};
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use futures::StreamExt;
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_api::store;
use siyada_model::canonical::sha256;
use siyada_model::coverage::CostCoverage;
use siyada_model::national::{ExportEnd, SettlementAnnex};
use siyada_model::statement::breakdown::GroupedUsage;
use siyada_model::statement::{Statement, StatementLine};
use siyada_model::usage::Interval;
use siyada_model::wire::{Closing, Page};
use std::collections::{BTreeMap, BTreeSet};
use tower::ServiceExt;

/// February and March of 2024 are closed: two buyers, a change of prices, an order on two budget lines, and what became known
/// late of February.
async fn closed() -> World {
    let world = fresh().await;
    let share = |line: &str, millionths| json!({"budgetLine": line, "costCentre": "=cmd()", "millionths": millionths});
    let shares = json!({"at": "2024-03-05T07:00:00Z", "shares": [share("2024-10", 333_333), share("2024-20", 666_667)]});
    let path = "/v1/tenants/health/orders/u-3/allocation";
    finance(&world).put(path, &shares).await.ok::<Value>();
    close(&world, FEBRUARY).await;
    let late = [
        fact("u-3", "health", "compute", "2024-02-29T13:00:00.007Z", None),
        fact("u-3", "health", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 3))),
    ];
    send(&world, &late).await;
    assert!(close(&world, MARCH).await.closed);
    world
}

async fn grouped(world: &World, tenant: &str, query: &str) -> GroupedUsage {
    finance(world).get(&format!("/v1/tenants/{tenant}/usage/grouped?{query}")).await.ok()
}

/// What the statements of March bill of orders of these tenants.
async fn billed_of(world: &World, tenants: &[&str]) -> i64 {
    let all = documents(world).await;
    let march = all.iter().filter(|d| d.period.month.to_string() == "2024-03");
    let lines = march.flat_map(|d| d.lines.iter().chain(&d.corrections));
    lines.filter(|line| tenants.contains(&line.order.tenant.as_str())).map(|line| line.minor).sum()
}

#[tokio::test]
async fn i16_any_grouping_of_a_closed_month_sums_to_its_statements() {
    let world = closed().await;
    let groupings = [
        "",
        "day",
        "tenant",
        "service",
        "instance",
        "plan",
        "meter",
        "costCentre",
        "budgetLine",
        "priceList",
        "day,service",
        "day,budgetLine,instance",
        "tenant,costCentre,plan,day,meter,priceList",
    ];
    let trees: [(&str, &[&str]); 4] = [
        ("kingdom", &["kingdom", "interior", "police", "health"]),
        ("interior", &["interior", "police"]),
        ("police", &["police"]),
        ("health", &["health"]),
    ];
    for (tenant, below) in trees {
        let expect = billed_of(&world, below).await;
        assert_ne!(expect, 0);
        for by in groupings {
            let found = grouped(&world, tenant, &format!("period=2024-03&groupBy={by}")).await;
            let sum: i64 = found.rows.iter().map(|row| row.amount.minor).sum();
            assert_eq!((sum, found.total.minor), (expect, expect), "{tenant} {by}");
            assert!(found.closed && found.forecast.is_none());
        }
    }
}

#[tokio::test]
async fn i20_a_day_of_25_hours_and_a_correction_are_what_a_hand_computes() {
    let world = closed().await;
    let police = grouped(&world, "police", "period=2024-03&groupBy=day,instance,meter&meter=compute").await;
    let on = |day: &str, uid: &str| {
        let row = police
            .rows
            .iter()
            .find(|row| (row.group.day.as_deref(), row.group.instance.as_deref()) == (Some(day), Some(uid)));
        row.map(|row| row.amount.minor)
    };
    // Clocks went back on 10 March: 25 hours at 1.25; the next day has 24 at 1.40. u-2 ran half an hour of each, twofold.
    assert_eq!((on("2024-03-09", "u-1"), on("2024-03-10", "u-1")), (Some(24 * 125), Some(25 * 125)));
    assert_eq!((on("2024-03-11", "u-1"), on("2024-03-20", "u-1")), (Some(24 * 140), Some(12 * 140)));
    assert_eq!((on("2024-03-21", "u-1"), on("2024-03-10", "u-2")), (None, Some(125)));
    let health = grouped(&world, "health", "period=2024-03&groupBy=day").await;
    let correction = health.rows.iter().find(|row| row.group.day.as_deref() == Some("2024-02")).unwrap();
    // Ten hours less of 3 at 1.25, but for 7 milliseconds.
    assert_eq!(correction.amount.minor, -10 * 3 * 125);
    assert_eq!(health.rows.iter().filter(|row| row.group.day.as_deref() < Some("2024-03")).count(), 1);
}

#[tokio::test]
async fn every_figure_opens_down_to_its_intervals() {
    let world = closed().await;
    for by in ["service", "budgetLine,day", "costCentre,tenant,plan"] {
        let found = grouped(&world, "kingdom", &format!("period=2024-03&groupBy={by}")).await;
        for row in &found.rows {
            let below: GroupedUsage = finance(&world).get(row.opens.as_ref().unwrap()).await.ok();
            assert_eq!(below.total, row.amount, "{by}: {row:?}");
            for instance in &below.rows {
                let page: Page<Interval> = finance(&world).get(instance.opens.as_ref().unwrap()).await.ok();
                assert!(!page.items.is_empty(), "{instance:?}");
                let uid = instance.group.instance.as_deref().unwrap();
                assert!(page.items.iter().all(|interval| interval.order_uid.as_str() == uid));
            }
        }
    }
    let one =
        grouped(&world, "police", "period=2024-03&groupBy=instance,meter,plan,priceList&instance=u-1").await;
    let row = &one.rows[0];
    assert_eq!((row.unit_price.as_deref(), row.name.as_deref()), (Some("1.25"), Some("u-1")));
    // 241 hours of one.
    assert_eq!(row.quantity_ms.as_deref(), Some("867600000"));
    let page: Page<Interval> =
        finance(&world).get("/v1/tenants/police/intervals?orderUid=u-3&from=2024-02-01T00:00:00Z").await.ok();
    assert!(page.items.is_empty(), "an order of another tenant is not there");
}

#[tokio::test]
async fn a_file_of_figures_has_no_formula_and_what_is_asked_wrong_is_refused() {
    let world = closed().await;
    let path = "/v1/tenants/health/usage/grouped?period=2024-03&groupBy=costCentre,budgetLine&format=csv";
    let answer = finance(&world).get(path).await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let text = answer.text();
    assert!(text.lines().all(|line| line.split(',').count() == 18), "{text}");
    assert!(text.contains(",'=cmd(),2024-10,") && !text.contains(",=cmd()"), "{text}");
    for query in ["groupBy=colour", "groupBy=day,day", "period=2024-13", "period=9000-01"] {
        let path = format!("/v1/tenants/health/usage/grouped?{query}");
        finance(&world).get(&path).await.refused(422, "invalid");
    }
    world.member("police").get(path).await.refused(404, "not-found");
}

#[tokio::test]
async fn an_open_month_has_what_was_used_so_far_and_its_forecast() {
    let world = closed().await;
    // u-1 still stores what it stored in 2024; u-9 runs since this month began.
    world.operator().put("/v1/reservations/u-9", &order("health", "now", 2, 10)).await.ok::<Value>();
    let empty = grouped(&world, "kingdom", "").await;
    let begins = empty.period.start.to_string();
    send(&world, &[fact("u-9", "health", "compute", &begins, Some(("postgres-small", 2)))]).await;
    let found = grouped(&world, "kingdom", "groupBy=tenant,day").await;
    assert!(!found.closed && found.until < found.period.end);
    let forecast = found.forecast.unwrap().minor;
    assert!(0 < found.total.minor && found.total.minor < forecast);
    assert_eq!(found.rows.iter().map(|row| row.amount.minor).sum::<i64>(), found.total.minor);
    assert_eq!(found.rows.iter().map(|row| row.forecast.unwrap().minor).sum::<i64>(), forecast);
    // Days to come have a forecast, and nothing that opens. The last day of a month has none to come.
    let zone = jiff::tz::TimeZone::get(&found.period.time_zone).unwrap();
    let today = found.until.to_zoned(zone).date();
    let of_health = found.rows.iter().filter(|row| row.group.tenant.as_deref() == Some("health"));
    let to_come: Vec<_> = of_health.filter(|row| row.group.day > Some(today.to_string())).collect();
    assert_eq!(to_come.is_empty(), today == today.last_of_month());
    assert!(to_come.iter().all(|row| row.amount.minor == 0 && row.opens.is_none()), "{to_come:?}");
    let commitments: Value = finance(&world).get("/v1/tenants/kingdom/commitments").await.ok();
    let other = commitments["forecast"]["month"]["total"]["minor"].as_i64().unwrap();
    // Asked a moment later, and rounded by what is booked where.
    assert!((other - forecast).abs() <= 20, "{other} {forecast}");
    // April of 2024 is over, but open: nothing is to come.
    let april = grouped(&world, "kingdom", "period=2024-04&groupBy=instance").await;
    assert_eq!((april.forecast, april.until), (None, april.period.end));
    let preview: Closing = finance(&world).get("/v1/periods/2024-04/closing").await.ok();
    assert_eq!(Some(april.total), preview.net);
}

/// The rows of an export, if its last record proves that they are all of them.
fn whole(text: &str) -> Option<Vec<Value>> {
    let body = text.strip_suffix('\n')?;
    let (before, last) = body.rsplit_once('\n').map_or(("", body), |(before, last)| (before, last));
    let end: ExportEnd = serde_json::from_str(last).ok()?;
    let before = if before.is_empty() { String::new() } else { format!("{before}\n") };
    let rows: Vec<Value> = before.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum: i64 = rows.iter().map(|row| row["part"]["minor"].as_i64().unwrap()).sum();
    let same = end.record == "end"
        && end.rows == u64::try_from(rows.len()).unwrap()
        && end.minor == sum.to_string()
        && end.sha256 == sha256(before.as_bytes());
    same.then_some(rows)
}

async fn export(world: &World, query: &str) -> Answer {
    world.member("audit").get(&format!("/v1/usage/export?{query}")).await
}

/// Statement, payer, order, SKU, list, price, quantity, place and amount of a part.
type Piece = (String, String, String, String, String, String, String, Value, i64);

fn pieces(document: &Statement) -> Vec<Piece> {
    let of_line = |line: &StatementLine| -> Vec<Piece> {
        let piece = |part: &siyada_model::statement::Part| {
            (
                document.number.clone(),
                document.buyer.tenant.to_string(),
                line.order.uid.to_string(),
                line.sku.to_string(),
                line.price_list.to_string(),
                line.unit_price.clone(),
                line.quantity_ms.clone(),
                serde_json::to_value(part).unwrap(),
                part.minor,
            )
        };
        line.parts.iter().map(piece).collect()
    };
    document.lines.iter().chain(&document.corrections).flat_map(of_line).collect()
}

fn read(row: &Value) -> Piece {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&row["statement"]),
        text(&row["payer"]),
        text(&row["order"]["uid"]),
        text(&row["sku"]),
        text(&row["priceList"]),
        text(&row["unitPrice"]),
        text(&row["quantityMs"]),
        row["part"].clone(),
        row["part"]["minor"].as_i64().unwrap(),
    )
}

#[tokio::test]
async fn i16_the_export_of_a_closed_month_is_its_statements_part_by_part() {
    let world = closed().await;
    for month in ["2024-02", "2024-03"] {
        let rows = whole(&export(&world, &format!("period={month}&format=ndjson")).await.text()).unwrap();
        let all = documents(&world).await;
        let expect: Vec<Piece> =
            all.iter().filter(|d| d.period.month.to_string() == month).flat_map(pieces).collect();
        assert_eq!(rows.iter().map(read).collect::<Vec<_>>(), expect);
        let csv = export(&world, &format!("period={month}")).await;
        assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
        let text = csv.text();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert!(lines.iter().all(|line| line.split(',').count() == 28), "{text}");
        let (end, before) = lines.split_last().unwrap();
        let cells: Vec<&str> = end.split(',').collect();
        let hashed: String = before.iter().map(|line| format!("{line}\r\n")).collect();
        let sum: i64 = expect.iter().map(|piece| piece.8).sum();
        assert_eq!((cells[0], cells[18], cells[26]), ("end", &*sum.to_string(), &*expect.len().to_string()));
        assert_eq!(cells[27], sha256(hashed.as_bytes()));
        let amounts: i64 = before[1..]
            .iter()
            .map(|line| line.split(',').nth(24).unwrap().replace('.', "").parse::<i64>().unwrap())
            .sum();
        assert_eq!(amounts, sum);
    }
    let text = export(&world, "period=2024-03").await.text();
    assert!(text.contains(",'=cmd(),") && !text.contains(",=cmd()"));
    // What became known late changes where each part of the old line was booked: three places of one correction.
    let corrected: Vec<&str> = text.lines().filter(|line| line.starts_with("correction,2024-03,")).collect();
    let documents = documents(&world).await;
    let parts = documents.iter().flat_map(|d| &d.corrections).map(|line| line.parts.len()).sum::<usize>();
    assert!(parts > 1);
    assert_eq!(corrected.len(), parts, "{text}");
}

#[tokio::test]
async fn a_cut_or_changed_export_is_noticed() {
    let world = closed().await;
    let text = export(&world, "period=2024-03&format=ndjson").await.text();
    assert!(whole(&text).is_some());
    for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
        assert!(whole(&text[..cut]).is_none(), "cut at {cut}");
    }
    let lines: Vec<&str> = text.lines().collect();
    for left_out in 0..lines.len() {
        let rest: String =
            lines.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, l)| format!("{l}\n")).collect();
        assert!(whole(&rest).is_none(), "without line {left_out}");
    }
    assert!(whole(&text.replacen("\"health\"", "\"police\"", 1)).is_none());
}

#[tokio::test]
async fn i16_the_export_of_an_open_month_is_what_its_closing_would_come_to() {
    let world = closed().await;
    // More orders than are rated at a time, of two tenants, each with an amount that is rounded.
    let uid = |number: usize| format!("many-{number:04}");
    let facts: Vec<Value> = (0..1_203)
        .flat_map(|number| {
            let tenant = if number % 2 == 0 { "health" } else { "police" };
            let from = format!("2024-04-03T{:02}:{:02}:00.{:03}Z", number % 24, number % 60, number % 1_000);
            [
                fact(&uid(number), tenant, "compute", &from, Some(("postgres-small", 1))),
                fact(&uid(number), tenant, "compute", "2024-04-20T00:00:00Z", None),
            ]
        })
        .collect();
    send(&world, &facts).await;
    // A month that is to close needs a budget line for each; what it comes to does not.
    let issuer = but(&examples::issuer(), json!({"requireBudgetLine": false}));
    finance(&world).put("/v1/issuer", &issuer).await.ok::<Value>();
    let text = export(&world, "period=2024-04&format=ndjson").await.text();
    let rows = whole(&text).unwrap();
    let orders: BTreeSet<&str> = rows.iter().map(|row| row["order"]["uid"].as_str().unwrap()).collect();
    assert_eq!(orders.iter().filter(|uid| uid.starts_with("many-")).count(), 1_203);
    let preview: Closing = finance(&world).get("/v1/periods/2024-04/closing").await.ok();
    let sum: i64 = rows.iter().map(|row| row["part"]["minor"].as_i64().unwrap()).sum();
    assert_eq!(Some(sum), preview.net.map(|net| net.minor), "{preview:?}");
    let payers: BTreeSet<&str> = rows.iter().map(|row| row["payer"].as_str().unwrap()).collect();
    assert_eq!(payers, BTreeSet::from(["interior", "kingdom"]));
    // Once it is closed, the same rows have a number.
    assert!(close(&world, "/v1/periods/2024-04/closing").await.closed);
    let closed = whole(&export(&world, "period=2024-04&format=ndjson").await.text()).unwrap();
    let by_part = |rows: &[Value]| -> BTreeMap<String, Value> {
        let part = |row: &Value| {
            let mut row = row.clone();
            row.as_object_mut().unwrap().remove("statement");
            let key =
                format!("{} {} {} {}", row["order"]["uid"], row["meter"], row["priceList"], row["part"]);
            (key, row)
        };
        rows.iter().map(part).collect()
    };
    assert_eq!(by_part(&rows), by_part(&closed));
    assert!(closed.iter().all(|row| row["statement"].as_str().unwrap().starts_with("SIY-")));
}

#[tokio::test]
async fn a_stream_that_fails_breaks_off_and_lets_the_next_one_in() {
    let world = closed().await;
    let facts: Vec<Value> = (0..2_000)
        .map(|n| {
            fact(
                &format!("many-{n:04}"),
                "health",
                "compute",
                "2024-04-03T00:00:00Z",
                Some(("postgres-small", 1)),
            )
        })
        .collect();
    send(&world, &facts).await;
    let token = finance(&world).token.unwrap();
    let ask = async || {
        let request = Request::get("/v1/usage/export?period=2024-04&format=ndjson")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        world.app.clone().oneshot(request).await.unwrap()
    };
    let mut stream = ask().await.into_body().into_data_stream();
    stream.next().await.unwrap().unwrap();
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and state = 'idle in transaction'";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    assert!(stream.next().await.unwrap().is_err());
    drop(stream);
    // As many as may be read at once; the next waits for its turn.
    let mut read = Vec::new();
    for _ in 0..siyada_api::state::MOST_EXPORTS {
        let answer = ask().await;
        assert_eq!(answer.status(), 200);
        read.push(answer);
    }
    assert_eq!(ask().await.status(), 503);
    for answer in read {
        let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(whole(std::str::from_utf8(&text).unwrap()).is_some());
    }
    assert_eq!(ask().await.status(), 200);
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_times_the_rows_take_no_more_memory() {
    const PART: usize = 2_000;
    let database = fresh_database().await;
    let world = ready(store::pool(database.clone())).await;
    let used = async |part: usize| {
        let facts: Vec<Value> = (0..PART)
            .map(|n| {
                let uid = format!("many-{part:02}-{n:04}");
                fact(&uid, "health", "compute", "2024-04-03T00:00:00Z", Some(("postgres-small", 1)))
            })
            .collect();
        send(&world, &facts).await;
    };
    let program = Program::start(&database, &keys().await, "").await;
    let read = async || {
        let path = "/v1/usage/export?period=2024-04&format=ndjson";
        let (status, body) = program.ask(&account("finance"), "GET", path, None).await.unwrap();
        assert_eq!(status, 200);
        (body.len(), whole(std::str::from_utf8(&body).unwrap()).unwrap().len(), peak_kib(program.id()))
    };
    used(0).await;
    let (_, few, before) = read().await;
    for part in 1..10 {
        used(part).await;
    }
    let (bytes, many, after) = read().await;
    println!("{few} rows: {before} KiB at most; {many} rows, {} KiB of text: {after} KiB", bytes / 1_024);
    assert_eq!(many, few + 9 * PART);
    // What is held is a part of 500 orders; all of them as text alone would be far more.
    let grown = after - before;
    assert!(bytes > 8 << 20 && grown < 2_048, "{grown} KiB more for {bytes} bytes");
}

#[tokio::test]
async fn what_is_asked_wrong_is_refused_with_a_sentence() {
    let world = closed().await;
    for (path, words) in [
        ("/v1/usage/export", "missing field `period`"),
        ("/v1/usage/export?period=2024-3", "is not a month between"),
        ("/v1/usage/export?period=2024-03&format=xml", "expected `csv` or `ndjson`"),
        ("/v1/usage/export?period=2099-01", "2099-01 has not begun"),
        ("/v1/settlement-annex", "give either period or fiscalYear"),
        ("/v1/settlement-annex?period=2024-04", "GET /v1/periods/2024-04/closing says what blocks it"),
        ("/v1/cost-coverage?fiscalYear=now", "invalid digit"),
        ("/v1/tenants/health/usage/grouped?groupBy=colour", "use some of day, tenant"),
    ] {
        let problem = finance(&world).get(path).await.refused(422, "invalid");
        assert!(problem.detail.contains(words), "{path}: {}", problem.detail);
    }
}

#[tokio::test]
async fn what_is_about_all_is_for_the_nation_alone() {
    let world = closed().await;
    for path in [
        "/v1/usage/export?period=2024-03",
        "/v1/settlement-annex?period=2024-03",
        "/v1/costs",
        "/v1/cost-coverage",
    ] {
        for who in ["health", "interior", "nobody"] {
            world.member(who).get(path).await.refused(403, "forbidden");
        }
        world.operator().get(path).await.refused(403, "forbidden");
        world.anonymous().get(path).await.refused(401, "unauthenticated");
        assert_eq!(world.member("audit").get(path).await.status, 200, "{path}");
    }
    world
        .member("audit")
        .put("/v1/costs/2026/energy", &examples::cost_record())
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn i16_a_settlement_sums_to_the_ledger_and_says_on_what_it_rests() {
    let world = fresh().await;
    let issuer = but(&examples::issuer(), json!({"revenueLine": "SEGMA-10"}));
    finance(&world).put("/v1/issuer", &issuer).await.ok::<Value>();
    close(&world, FEBRUARY).await;
    close(&world, MARCH).await;
    let notes: Vec<String> = documents(&world).await.iter().map(|d| d.number.clone()).collect();
    let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", notes[0]);
    let part = json!({"key": "1", "reason": "=Panne", "lines": [{"line": 0, "minor": 1_001}]});
    finance(&world).post(&path, &part).await.ok::<Value>();
    let all = documents(&world).await;
    for (query, month) in [("period=2024-02", Some("2024-02")), ("fiscalYear=2024", None)] {
        let annex: SettlementAnnex =
            world.member("audit").get(&format!("/v1/settlement-annex?{query}")).await.ok();
        let of = |d: &&Statement| month.is_none_or(|month| d.period.month.to_string() == month);
        let gross: i64 = all.iter().filter(of).map(|d| d.totals.gross_minor).sum();
        let net: i64 = all.iter().filter(of).map(|d| d.totals.net_minor).sum();
        assert_eq!((annex.gross.minor, annex.ledger_gross.minor, annex.net.minor), (gross, gross, net));
        let numbers: BTreeSet<&str> = annex.movements.iter().map(|m| m.number.as_str()).collect();
        assert_eq!(numbers, all.iter().filter(of).map(|d| d.number.as_str()).collect());
        let first = &annex.movements[0];
        assert_eq!(first.from.budget_line.as_deref(), Some("2024-30-10"));
        assert_eq!(first.to.budget_line.as_deref(), Some("SEGMA-10"));
        assert_eq!(first.to.party.ice.as_deref(), Some("001234567000089"));
        assert_eq!(first.legal_basis, [examples::price_list()["legalBasis"].as_str().unwrap()]);
        assert!(!first.tax_legal_basis.is_empty());
    }
    let text = finance(&world).get("/v1/settlement-annex?fiscalYear=2024&format=csv").await.text();
    assert!(text.contains(",'=Panne\r\n") && text.contains(",creditNote,"), "{text}");
    assert!(text.lines().skip(1).all(|line| line.contains(",SEGMA-10,")), "{text}");
    for language in ["fr", "ar", "en"] {
        let path = format!("/v1/settlement-annex?fiscalYear=2024&format=pdf&language={language}");
        let answer = finance(&world).get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/pdf");
        assert!(answer.bytes.starts_with(b"%PDF-"));
    }
    let path = "/v1/settlement-annex?fiscalYear=2024&format=pdf&language=zgh";
    assert!(finance(&world).get(path).await.refused(422, "invalid").detail.contains("one of fr, ar and en"));
    for query in ["", "period=2024-04", "period=2024-02&fiscalYear=2024", "fiscalYear=1"] {
        finance(&world).get(&format!("/v1/settlement-annex?{query}")).await.refused(422, "invalid");
    }
}

#[tokio::test]
async fn a_settlement_that_is_not_the_ledger_is_no_settlement() {
    let world = fresh().await;
    close(&world, FEBRUARY).await;
    // Somebody with all rights on the database posts what no document says.
    let mut tx = world.pool.begin().await.unwrap();
    for sql in [
        "insert into ledger_transaction (id, sequence, kind, effective_ms, effective_date, recorded_ms, entries, content_sha256)
         select 'forged', max(sequence) + 1, 'statement', 0, '2024-02-29', max(recorded_ms), 2, repeat('0', 64) from ledger_transaction",
        "insert into ledger_entry values ('forged', 1, 2, 'receivable:interior', 1, 'MAD'), ('forged', 2, 2, 'revenue:PostgresInstance', -1, 'MAD')",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let answer = finance(&world).get("/v1/settlement-annex?period=2024-02").await;
    assert_eq!(answer.status, 500, "{}", answer.text());
}

fn spent(minor: i64) -> Value {
    but(&examples::cost_record(), json!({"amount": {"minor": minor, "currency": "MAD"}}))
}

async fn coverage(world: &World) -> CostCoverage {
    finance(world).get("/v1/cost-coverage?fiscalYear=2026").await.ok()
}

#[tokio::test]
async fn costs_are_covered_by_what_was_billed_and_paid() {
    let mut world = billed().await;
    let none = coverage(&world).await;
    assert_eq!((none.billed.minor, none.costs.minor, none.billed_basis_points), (15_000, 0, None));
    finance(&world).put("/v1/costs/2026/energy", &spent(30_000)).await.ok::<Value>();
    finance(&world).put("/v1/costs/2026/staff", &spent(20_001)).await.ok::<Value>();
    finance(&world).put("/v1/costs/2025/staff", &spent(9)).await.ok::<Value>();
    stage(&world, "certifiers", json!({"stage": "certified", "reference": "SF-1"})).await.ok::<Value>();
    let on = |stage: &str| json!({"stage": stage, "budgetLine": "30-10"});
    stage(&world, "treasury", on("ordered")).await.ok::<Value>();
    let paid = but(&on("paid"), json!({"date": "2026-11-20", "reference": "OP-1"}));
    stage(&world, "treasury", paid).await.ok::<Value>();
    let found = coverage(&world).await;
    assert_eq!((found.billed.minor, found.paid.minor, found.costs.minor), (15_000, 10_000, 50_001));
    // 15000 of 50001 are 2999.94 ten thousandths, and 10000 are 1999.96: rounded down.
    assert_eq!((found.billed_basis_points, found.paid_basis_points), (Some(2_999), Some(1_999)));
    assert_eq!((found.threshold_basis_points, found.reached), (None, None));
    assert_eq!(found.months.len(), 1);
    assert_eq!(found.services.iter().map(|s| s.billed.minor).sum::<i64>(), 15_000);
    world.state.coverage_threshold_basis_points = Some(3_000);
    world.app = siyada_api::app(world.state.clone());
    assert_eq!(coverage(&world).await.reached, Some(false));
    finance(&world).put("/v1/costs/2026/staff", &spent(20_000)).await.ok::<Value>();
    let found = coverage(&world).await;
    assert_eq!((found.billed_basis_points, found.reached), (Some(3_000), Some(true)));
}

#[tokio::test]
async fn a_cost_is_a_version_with_who_and_when_and_is_never_altered() {
    let world = World::with_tenants().await;
    let first: Value = finance(&world).put("/v1/costs/2026/energy", &spent(1)).await.ok();
    assert_eq!((&first["version"], &first["by"]), (&json!(1), &json!(account("finance"))));
    assert_eq!(finance(&world).put("/v1/costs/2026/energy", &spent(1)).await.ok::<Value>(), first);
    let second: Value = finance(&world).put("/v1/costs/2026/energy", &spent(2)).await.ok();
    assert_eq!(second["version"], 2);
    let all: Value = finance(&world).get("/v1/costs?fiscalYear=2026").await.ok();
    assert_eq!(all["items"], json!([first, second]));
    assert_eq!(coverage(&world).await.costs.minor, 2);
    let page: Value = world.member("audit").get("/v1/audit?pageSize=500").await.ok();
    let told: Vec<&Value> =
        page["items"].as_array().unwrap().iter().filter(|event| event["action"] == "cost.put").collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (&told[1]["object"], &told[1]["detail"]["before"]["amount"]["minor"]),
        (&json!("cost/2026/energy"), &json!(1))
    );
    let dirhams = json!({"amount": {"minor": 1, "currency": "EUR"}});
    finance(&world).put("/v1/costs/2026/energy", &but(&spent(1), dirhams)).await.refused(422, "invalid");
    finance(&world).put("/v1/costs/2026/energy", &spent(-1)).await.refused(422, "invalid");
    finance(&world).put("/v1/costs/1/energy", &spent(1)).await.refused(422, "invalid");
    for sql in ["update cost_version set minor = 9", "delete from cost_version", "truncate cost_version"] {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let constraint = error.as_database_error().and_then(|e| e.constraint().map(str::to_owned));
        assert_eq!(constraint.as_deref(), Some("cost_version_is_append_only"));
    }
}
