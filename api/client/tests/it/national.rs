//! What is about all tenants: the export, the settlement, costs and what covers them; health and settings.

use crate::finance::{NUMBER, closed};
use serde_json::{Value, json};
use siyada_model::canonical::sha256;

#[tokio::test(flavor = "multi_thread")]
async fn finance_reads_a_month_in_any_grouping() {
    let world = closed().await;
    let (amina, omar) = tokio::join!(world.signed_in("amina"), world.signed_in("omar"));
    let lines = amina.runs("usage interior --period 2026-02 --by budgetLine", &[]).await.ok();
    assert!(lines.contains("2026-30-10   37.50 MAD") && lines.contains("2026-30-20   25.00 MAD"), "{lines}");
    assert!(lines.contains("2026-02 is closed: 62.50 MAD"), "{lines}");
    let days = amina.runs("usage interior --period 2026-02 --by day,instance,meter,plan -o json", &[]).await;
    let days = days.json();
    let of = |row: &Value| (row["day"].clone(), row["name"].clone(), row["amount"]["minor"].clone());
    // 50 hours at 1.25 from midnight UTC, which is one o'clock in Casablanca before Ramadan.
    let found: Vec<_> = days["rows"].as_array().unwrap().iter().map(of).collect();
    let row = |day: &str, minor: i64| (json!(day), json!("registry"), json!(minor));
    assert_eq!(found, [row("2026-02-01", 2_875), row("2026-02-02", 3_000), row("2026-02-03", 375)]);
    assert_eq!(days["total"]["minor"], 6_250);
    let table = amina.runs("usage interior --period 2026-02 --by day,instance,meter,plan", &[]).await.ok();
    assert!(table.lines().nth(1).unwrap().contains("registry") && table.contains("23.000 h"), "{table}");

    let only = "usage interior --period 2026-02 --by service --only budgetLine=2026-30-20";
    let csv = amina.runs(&format!("{only} -o csv"), &[]).await.ok();
    assert!(csv.lines().nth(1).unwrap().ends_with(",25.00,,MAD"), "{csv}");
    let saved = amina.runs(&format!("{only} --file usage.csv -o json"), &[]).await.json();
    assert_eq!(saved["file"], "usage.csv");
    assert_eq!(std::fs::read_to_string(amina.home.join("usage.csv")).unwrap(), csv);
    // This month has a forecast: nobody uses anything now, and two orders are held.
    let open = amina.runs("usage interior --by service", &[]).await.ok();
    assert!(open.contains("is open: 0.00 MAD") && open.contains("if nothing changes"), "{open}");

    amina.runs("usage interior --by colour", &[]).await.refused(2, "use some of day, tenant");
    amina.runs("usage interior --by day,day", &[]).await.refused(2, "twice");
    amina.runs("usage interior --file usage.csv", &[]).await.refused(2, "--by service");
    amina.runs("usage interior --by day --period 2099-01", &[]).await.refused(2, "has not begun");
    omar.runs("usage interior --by day", &[]).await.refused(4, "siyada tenants");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nation_takes_every_line_with_it() {
    let world = closed().await;
    let (nadia, amina, karim) =
        tokio::join!(world.signed_in("nadia"), world.signed_in("amina"), world.signed_in("karim"));
    for line in ["export 2026-02", "settlement --period 2026-02", "costs", "coverage", "health", "settings"] {
        amina.runs(line, &[]).await.refused(4, "for the platform");
    }
    let saved = nadia.runs("export 2026-02 --format ndjson -o json", &[]).await.json();
    assert_eq!(saved["file"], "usage-2026-02.ndjson");
    let text = std::fs::read_to_string(nadia.home.join("usage-2026-02.ndjson")).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    let end: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&end["rows"], &end["minor"], &end["currency"]), (&json!(2), &json!("6250"), &json!("MAD")));
    assert_eq!(end["sha256"], sha256(format!("{before}\n").as_bytes()));
    let rows: Vec<Value> = before.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert!(rows.iter().all(|row| row["statement"] == NUMBER && row["payer"] == "interior"), "{rows:?}");
    let piped = karim.runs("export 2026-02 --file -", &[]).await.ok();
    assert!(piped.starts_with("record,period,") && piped.lines().last().unwrap().starts_with("end,2026-02,"));
    nadia.runs("export 2099-01", &[]).await.refused(2, "has not begun");

    nadia.runs("settlement --period 2026-03", &[]).await.refused(2, "is not closed");
    nadia.runs("settlement --period 2026-02 --file a.csv", &[]).await.refused(2, "a file needs --format");
    let shown = nadia.runs("settlement --period 2026-02", &[]).await.ok();
    assert!(shown.contains("2026-30-10") && shown.contains("the ledger says the same"), "{shown}");
    let annex = nadia.runs("settlement --fiscal-year 2026 -o json", &[]).await.json();
    let movements = annex["movements"].as_array().unwrap();
    // Somebody may have taken back a part meanwhile; the statement stands.
    let statement = movements.iter().filter(|movement| movement["number"] == NUMBER);
    assert_eq!(statement.map(|movement| movement["gross"]["minor"].as_i64().unwrap()).sum::<i64>(), 6_250);
    assert_eq!(annex["gross"], annex["ledgerGross"]);
    let csv = nadia.runs("settlement --period 2026-02 -o csv", &[]).await.ok();
    assert!(csv.lines().nth(1).unwrap().contains(",2026-30-10,"), "{csv}");
    nadia.runs("settlement --period 2026-02 --format csv --file annex.csv", &[]).await.ok();
    assert!(nadia.home.join("annex.csv").exists());
    let saved =
        nadia.runs("settlement --period 2026-02 --format pdf --language ar -o json", &[]).await.json();
    assert_eq!(saved["file"], "settlement-2026-02-2026-02.pdf");
    let bytes = std::fs::read(nadia.home.join("settlement-2026-02-2026-02.pdf")).unwrap();
    assert!(bytes.starts_with(b"%PDF-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_are_put_by_national_finance_and_covered() {
    let world = closed().await;
    let (nadia, karim) = tokio::join!(world.signed_in("nadia"), world.signed_in("karim"));
    let cost = |minor: i64| {
        json!({
            "displayName": {"fr": "Énergie"}, "amount": {"minor": minor, "currency": "MAD"},
            "source": "Compte administratif 2026"
        })
        .to_string()
    };
    nadia.file("cost.json", &cost(20_000));
    nadia.file("less.json", &cost(-1));
    karim.file("cost.json", &cost(20_000));
    karim.runs("costs put 2026 energy cost.json", &[]).await.refused(4, "for the platform");
    nadia.runs("costs put 2026 energy less.json", &[]).await.refused(2, "cannot be negative");
    nadia.runs("costs put 1 energy cost.json", &[]).await.refused(2, "2000 to 9998");
    nadia.runs("costs put 2026 energy absent.json", &[]).await.refused(1, "absent.json");
    nadia.runs("costs put 2026 energy cost.json", &[]).await.ok();
    nadia.file("cost.json", &cost(25_000));
    let second = nadia.runs("costs put 2026 energy cost.json -o json", &[]).await.json();
    assert_eq!((&second["version"], &second["by"]), (&json!(2), &json!("a:nadia")));
    let all = karim.runs("costs --fiscal-year 2026 -o csv", &[]).await.ok();
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(all.contains("2026,energy,1,Énergie,200.00,MAD,") && all.contains(",250.00,MAD,"), "{all}");
    let found = karim.runs("coverage --fiscal-year 2026 -o json", &[]).await.json();
    let (billed, points) = (found["billed"]["minor"].as_i64().unwrap(), &found["billedBasisPoints"]);
    // 62.50 of 250.00, or less what was taken back meanwhile.
    assert_eq!(points.as_i64(), Some(billed * 10_000 / 25_000));
    assert!([6_250, 5_000].contains(&billed), "{found}");
    let shown = karim.runs("coverage --fiscal-year 2026", &[]).await.ok();
    assert!(shown.contains("250.00 MAD") && shown.contains(" %\n") && shown.contains("energy"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_does_by_itself_is_set_and_its_health_is_read() {
    let world = closed().await;
    let (nadia, karim) = tokio::join!(world.signed_in("nadia"), world.signed_in("karim"));
    let shown = karim.runs("settings", &[]).await.ok();
    assert!(shown.contains("by nobody but who asks") && shown.contains("10\n"), "{shown}");
    let new = json!({"closing": {"dayOfMonth": 5, "hour": 6}, "auditRetentionYears": 12});
    nadia.file("settings.json", &new.to_string());
    karim.file("settings.json", &new.to_string());
    nadia.file("wrong.json", r#"{"closing": {"dayOfMonth": 29, "hour": 6}}"#);
    karim.runs("settings put settings.json", &[]).await.refused(4, "for the platform");
    nadia.runs("settings put wrong.json", &[]).await.refused(2, "1 to 28");
    let put = nadia.runs("settings put settings.json", &[]).await.ok();
    assert!(put.contains("on day 5 at 06:00"), "{put}");
    assert_eq!(karim.runs("settings get -o json", &[]).await.json(), new);

    let page = karim.runs("health -o json", &[]).await;
    let found: Value = serde_json::from_str(&page.out).unwrap();
    let words: Vec<&Value> = found["checks"].as_array().unwrap().iter().map(|f| &f["check"]).collect();
    let all: Vec<&str> = siyada_model::health::Check::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(words, all.iter().map(|word| json!(word)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!((page.code, found["ok"].as_bool()), (0, Some(true)), "{found}");
    let table = karim.runs("health", &[]).await.ok();
    assert!(table.contains("watermarkStandsStill") && table.contains("yes"), "{table}");
}
