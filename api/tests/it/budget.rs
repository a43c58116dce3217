//! Budget lines: versions of credits, and what is committed of them.

use crate::bills::{bill, file, line};
use crate::support::{World, account, but, order, tenant};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use siyada_api::openapi::examples;

fn today() -> Zoned {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC)
}

fn credits(opened: i64) -> Value {
    but(
        &examples::budget_line_record(),
        json!({"fiscalYear": today().year(), "opened": {"minor": opened, "currency": "MAD"}}),
    )
}

/// interior with a finance of its own, and a default budget line for police below it.
pub async fn world() -> World {
    let world = World::with_tenants().await;
    let access = json!([
        {"role": "requester", "groups": ["system:serviceaccounts:interior"]},
        {"role": "finance", "groups": ["system:serviceaccounts:treasury"]},
        {"role": "certifier", "groups": ["system:serviceaccounts:certifiers"]}
    ]);
    let interior =
        but(&tenant("interior", Some("kingdom"), json!({})), json!({"generation": 2, "access": access}));
    world.operator().put("/v1/tenants/interior", &interior).await.ok::<Value>();
    let police = but(
        &tenant("police", Some("interior"), json!({})),
        json!({"generation": 2, "billing": {"budgetLine": "30-10"}}),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    world
}

const LINE: &str = "/v1/tenants/interior/budget-lines/30-10";

#[tokio::test]
async fn a_change_is_a_new_version_with_who_and_when_and_moves_the_difference() {
    let world = world().await;
    let treasury = world.member("treasury");
    let first: Value = treasury.put(LINE, &credits(100_000)).await.ok();
    assert_eq!((&first["version"], &first["by"]), (&json!(1), &json!(account("treasury"))));
    // Once more is the same, by whomever.
    let same: Value = world.member("finance").put(LINE, &credits(100_000)).await.ok();
    assert_eq!(same, first);
    let second: Value = world.member("finance").put(LINE, &credits(90_000)).await.ok();
    assert_eq!((&second["version"], &second["by"]), (&json!(2), &json!(account("finance"))));
    let read: Value = world.member("interior").get(LINE).await.ok();
    assert_eq!(read["versions"], json!([first, second]));
    assert_eq!((&read["opened"]["minor"], &read["carried"]["minor"]), (&json!(90_000), &json!(500_000)));
    assert_eq!(read["remainingToCommit"], json!({"minor": 590_000, "currency": "MAD"}));
    let balance = "select sum(minor)::bigint from ledger_entry where account = $1";
    let account = |place: &str| format!("budget:interior:{}:30-10:{place}", today().year());
    for (place, expect) in [("opened", -90_000), ("carried", -500_000), ("available", 590_000)] {
        let found: i64 =
            sqlx::query_scalar(balance).bind(account(place)).fetch_one(&world.pool).await.unwrap();
        assert_eq!(found, expect, "{place}");
    }
    for sql in ["update budget_line_version set opened_minor = 1", "delete from budget_line_version"] {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let constraint = error.as_database_error().unwrap().constraint().map(ToOwned::to_owned);
        assert_eq!(constraint.as_deref(), Some("budget_line_version_is_append_only"));
    }
    let trail: Value = treasury.get("/v1/tenants/interior/audit?after=7").await.ok();
    let told: Vec<&Value> = trail["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(told, ["budgetLine.put", "budgetLine.put"]);
    assert_eq!(trail["items"][1]["detail"]["before"]["opened"]["minor"], 100_000);
}

#[tokio::test]
async fn i17_only_finance_writes_and_only_members_read() {
    let world = world().await;
    world.member("interior").put(LINE, &credits(1)).await.refused(403, "forbidden");
    world.member("certifiers").put(LINE, &credits(1)).await.refused(403, "forbidden");
    world.operator().put(LINE, &credits(1)).await.refused(403, "forbidden");
    let forbidden = world.member("audit").put(LINE, &credits(1)).await.refused(403, "forbidden");
    assert!(
        forbidden.detail.contains("the role finance in this tenant, or above it"),
        "{}",
        forbidden.detail
    );
    world.member("health").put(LINE, &credits(1)).await.refused(404, "not-found");
    world.member("treasury").put(LINE, &credits(1)).await.ok::<Value>();
    world.member("health").get(LINE).await.refused(404, "not-found");
    world.member("health").get("/v1/tenants/interior/budget-lines").await.refused(404, "not-found");
    // The same name in another tenant is another line.
    let health: Value = world.operator().get("/v1/tenants/health/budget-lines").await.ok();
    assert_eq!(health["items"], json!([]));
}

#[tokio::test]
async fn bad_input_gets_sentences() {
    let world = world().await;
    let treasury = world.member("treasury");
    let check = async |change: Value, expect: &str| {
        let problem = treasury.put(LINE, &but(&credits(1), change)).await.refused(422, "invalid");
        assert!(problem.detail.contains(expect), "{} / {expect}", problem.detail);
    };
    check(json!({"opened": {"minor": -1, "currency": "MAD"}}), "opened cannot be negative").await;
    check(
        json!({"opened": {"minor": 1, "currency": "EUR"}, "carried": null}),
        "are in EUR, but prices are in MAD; give them in MAD",
    )
    .await;
    check(json!({"carried": {"minor": 1, "currency": "EUR"}}), "give both in one currency").await;
    check(json!({"fiscalYear": 26}), "fiscalYear is 2000 to 9998, not 26").await;
    check(json!({"nomenclature": [{"key": "a\u{202e}", "value": "1"}]}), "without marks of text direction")
        .await;
    check(json!({"displayName": {"fr": "a\u{0}b"}}), "without control characters").await;
    check(json!({"credits": 1}), "unknown field").await;
    treasury.get("/v1/tenants/interior/budget-lines?fiscalYear=1").await.refused(422, "invalid");
    treasury.get(LINE).await.refused(404, "not-found");
    // A name may be any text that can be printed, in any script.
    let name = "/v1/tenants/interior/budget-lines/%D9%85%20%3A%3B%2F%20=cmd()";
    treasury.put(name, &credits(5)).await.ok::<Value>();
    let read: Value = treasury.get(name).await.ok();
    assert_eq!(read["line"], "م :;/ =cmd()");
    treasury.put("/v1/tenants/interior/budget-lines/=cmd()", &credits(5)).await.ok::<Value>();
    let file = treasury.get("/v1/tenants/interior/budget-lines?format=csv").await;
    assert!(file.text().contains(",'=cmd(),"), "{}", file.text());
}

#[tokio::test]
async fn what_is_held_is_committed_until_the_fiscal_year_ends() {
    let world = world().await;
    let (treasury, operator) = (world.member("treasury"), world.operator());
    treasury.put(LINE, &credits(1_000_000)).await.ok::<Value>();
    let of = async |name: &str| treasury.get(&format!("/v1/tenants/interior/budget-lines/{name}")).await;
    // One by the tenant's default below, one by its own words, one on another line.
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 10)).await.ok::<Value>();
    let own = but(&order("interior", "b", 1, 10), json!({"billing": {"budgetLine": "30-10"}}));
    operator.put("/v1/reservations/u-2", &own).await.ok::<Value>();
    let other = but(&order("police", "c", 1, 10), json!({"billing": {"budgetLine": "99"}}));
    operator.put("/v1/reservations/u-3", &other).await.ok::<Value>();
    let months = i64::from(13 - today().month());
    let line: Value = of("30-10").await.ok();
    assert_eq!(line["heldMonthly"]["minor"], 2 * 94_690);
    assert_eq!(line["committed"]["minor"], months * 2 * 94_690);
    assert_eq!(line["remainingToCommit"]["minor"], 1_500_000 - months * 2 * 94_690);
    assert_eq!(line["remainingToPay"], line["committed"]);
    // A line of the same name below is nearer: what police orders counts there.
    world.member("finance").put("/v1/tenants/police/budget-lines/30-10", &credits(7)).await.ok::<Value>();
    let line: Value = of("30-10").await.ok();
    assert_eq!(line["heldMonthly"]["minor"], 94_690);
    // A year that is over has nothing to come.
    let past = but(&credits(5), json!({"fiscalYear": 2020}));
    treasury.put(LINE, &past).await.ok::<Value>();
    let line: Value = of("30-10?fiscalYear=2020").await.ok();
    assert_eq!((&line["committed"]["minor"], &line["opened"]["minor"]), (&json!(0), &json!(5)));
    // What is released is committed no longer.
    operator.delete("/v1/reservations/u-2").await.gone();
    let line: Value = of("30-10").await.ok();
    assert_eq!(line["committed"]["minor"], 0);
}

#[tokio::test]
async fn a_month_that_is_billed_is_no_longer_to_come() {
    let world = world().await;
    let treasury = world.member("treasury");
    let year = json!({"fiscalYear": 2026, "opened": {"minor": 10_000_000, "currency": "MAD"}});
    treasury.put(LINE, &year).await.ok::<Value>();
    let own = but(&order("interior", "b", 1, 10), json!({"billing": {"budgetLine": "30-10"}}));
    world.operator().put("/v1/reservations/u-2", &own).await.ok::<Value>();
    sqlx::query("update reservation set held_since_ms = 1788220800000").execute(&world.pool).await.unwrap();
    let path = format!("{LINE}?fiscalYear=2026");
    // Held since 1 September 2026: four months.
    let before: Value = treasury.get(&path).await.ok();
    assert_eq!(before["committed"]["minor"], 4 * 94_690);
    file(&world, &bill("SIY-2026-000001", "interior", "MAD", &[line("u-2", 10_000, "30-10")])).await;
    let after: Value = treasury.get(&path).await.ok();
    assert_eq!((&after["billed"]["minor"], &after["heldMonthly"]["minor"]), (&json!(12_000), &json!(94_690)));
    assert_eq!(after["committed"]["minor"], 12_000 + 2 * 94_690);
    assert_eq!(after["certified"]["minor"], 0);
}

#[tokio::test]
async fn lines_are_listed_in_pages_by_name() {
    let world = world().await;
    let treasury = world.member("treasury");
    for name in ["c", "a", "B"] {
        let path = format!("/v1/tenants/interior/budget-lines/{name}");
        treasury.put(&path, &credits(1)).await.ok::<Value>();
        treasury.put(&path, &credits(2)).await.ok::<Value>();
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/tenants/interior/budget-lines?pageSize=2{token}");
        let page: Value = treasury.get(&path).await.ok();
        for item in page["items"].as_array().unwrap() {
            assert_eq!((&item["version"], &item["opened"]["minor"]), (&json!(2), &json!(2)));
            names.push(item["line"].as_str().unwrap().to_owned());
        }
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["B", "a", "c"]);
}
