//! Each task of finance and of approvers, as a person and as a program does it.

use crate::world::{AGENCIES, world};
use serde_json::{Value, json};

fn names(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn finance_reads_every_figure() {
    let world = world().await;
    let amina = world.signed_in("amina").await;
    assert!(amina.runs("--version", &[]).await.ok().starts_with("siyada "));
    let all = amina.runs("tenants -o json", &[]).await.json();
    assert_eq!(all.as_array().unwrap().len(), AGENCIES + 2, "pages are followed");
    let found = amina.runs("tenants --search interior -o csv", &[]).await.ok();
    assert_eq!(found, "tenant,parent,name,suspended\r\ninterior,kingdom,الداخلية,\r\n");

    let quota = amina.runs("quota interior", &[]).await.ok();
    let row = quota.lines().find(|line| line.starts_with("instances")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["instances", "20", "2", "0", "18"], "{quota}");
    assert!(quota.contains("20Gi") && quota.contains("1 893.80 MAD"), "{quota}");
    assert_eq!(amina.runs("quota interior -o json", &[]).await.json()["reservations"], 2);

    // 50 h at 1.25 MAD, cut by the border of a day into 24 h and 26 h.
    let usage = amina.runs("usage interior --from 2026-02-01 --to 2026-03-01", &[]).await.ok();
    assert!(usage.contains("50.000 h") && usage.contains("Total 62.50 MAD"), "{usage}");
    let day = amina.runs("usage interior --from 2026-02-01 --to 2026-02-02 -o csv", &[]).await.ok();
    let expect = "tenant,namespace,name,plan,costCentre,budgetLine,sku,quantity,unitPrice,priceList,amount,amountCurrency\r\n\
                  interior,interior,registry,small,DSI,,postgres-small,24.000 h,1.25,tarif-2026,30.00,MAD\r\n";
    assert_eq!(day, expect);
    let report = amina.runs("usage interior --from 2026-02-02 --to 2026-03-01 -o json", &[]).await.json();
    assert_eq!(report["total"], json!({"minor": 3_250, "currency": "MAD"}));
    let proofs = amina.runs("usage interior --from 2026-02-02 --to 2026-03-01 --evidence", &[]).await.ok();
    assert!(proofs.contains("2026-02-03T02:00:00Z") && proofs.contains("26.000 h"), "{proofs}");
    assert!(proofs.contains("32.50 MAD") && proofs.ends_with("to 2026-03-01T00:00:00Z\n"), "{proofs}");
    let proven =
        amina.runs("usage interior --from 2026-02-02 --to 2026-03-01 --evidence -o json", &[]).await.json();
    assert_eq!(proven[0]["intervals"][0]["start"], "2026-02-01T00:00:00Z", "whole, as it is on record");
    let evidence =
        amina.runs("intervals interior --from 2026-02-01 --to 2026-03-01 -o json", &[]).await.json();
    assert_eq!(evidence[0]["start"], "2026-02-01T00:00:00Z");

    let meters = amina.runs("meters -o csv", &[]).await.ok();
    assert!(meters.starts_with("meter,kind,baseUnit,name\r\nbackup,level,MiB,Sauvegardes\r\n"), "{meters}");
    let february = "counters interior --from 2026-02-01 --to 2026-03-01 -o csv";
    let head = "tenant,namespace,name,meter,quantity,start,end,mayMiss\r\n";
    let order = "interior,interior,registry,transactions";
    assert_eq!(
        amina.runs(february, &[]).await.ok(),
        format!("{head}{order},1842,,2026-02-01T03:00:00Z,yes\r\n")
    );
    let windows = amina.runs(february, &["--windows"]).await.ok();
    assert!(
        windows.contains(&format!("{order},830,2026-02-01T01:00:00Z,2026-02-01T02:00:00Z,\r\n")),
        "{windows}"
    );

    let table = amina.runs("commitments interior", &[]).await.ok();
    assert!(table.contains("Total 1 893.80 MAD a month at most, 2 orders"), "{table}");
    assert!(table.contains("This fiscal year until"), "{table}");
    let csv = amina.runs("commitments interior -o csv", &[]).await.ok();
    assert!(csv.starts_with("orderUid,tenant,kind,") && csv.lines().count() == 3, "{csv}");
    let json = amina.runs("commitments interior -o json", &[]).await.json();
    assert_eq!(names(&json["items"], "name"), ["registry", "archive"]);

    let prices = amina.runs("prices", &[]).await.ok();
    assert!(prices.contains("postgres-small") && prices.contains("1.25"), "{prices}");
    let order =
        "quote interior --instances 19 --cpu 500m --memory 2Gi --storage 10Gi --item postgres-small=19";
    let quote = amina.runs(order, &[]).await.ok();
    assert!(quote.contains("17 693.75 MAD") && quote.contains("no: instances of tenant interior"), "{quote}");
    assert!(quote.contains("an approver of interior decides above 1 500.00 MAD"), "{quote}");

    for (line, code, words) in [
        ("quota nowhere", 4, "not yours to see"),
        ("decisions", 4, "siyada whoami"),
        ("alerts", 4, "siyada whoami"),
        ("approve interior u-3", 4, "approver"),
        ("usage interior --from 2026-03-01 --to 2026-02-01", 2, "from must be before to"),
        ("usage interior --from yesterday", 2, "is no instant"),
    ] {
        amina.runs(line, &[]).await.refused(code, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_decides_and_it_is_on_record() {
    let world = world().await;
    let (salma, karim) = (world.signed_in("salma").await, world.signed_in("karim").await);
    let waiting = salma.runs("approvals interior --state pending -o json", &[]).await.json();
    assert_eq!(names(&waiting, "orderUid"), ["u-3", "u-4"]);
    let low = salma.runs("approve interior u-3 --up-to", &["1.00 MAD"]).await;
    low.refused(5, "approve at least that");
    let line = "approve interior u-3 -o json --up-to";
    let approved = salma.runs(line, &["2 500.00 MAD", "--comment", "Budget 2026, chapter 30"]).await.json();
    assert_eq!((&approved["state"], &approved["decision"]["by"]), (&json!("approved"), &json!("a:salma")));
    let rejected = salma.runs("reject interior u-4 --comment", &["=chapter 30 is empty"]).await.ok();
    assert!(rejected.contains("rejected") && rejected.contains("=chapter 30 is empty"), "{rejected}");
    salma.runs("reject interior u-9 --comment no", &[]).await.refused(4, "not yours to see");

    let decisions = karim.runs("decisions -o csv", &[]).await.ok();
    let rows: Vec<&str> = decisions.lines().collect();
    assert_eq!(rows.len(), 3, "{decisions}");
    assert!(rows[1].contains(",u-3,approved,a:salma,2500.00,MAD,\"Budget 2026, chapter 30\""), "{decisions}");
    assert!(
        rows[2].contains(",u-4,rejected,a:salma,") && rows[2].ends_with(",'=chapter 30 is empty"),
        "{decisions}"
    );
    let first = rows[1].split(',').next().unwrap();
    let later = karim.runs("decisions -o json --after", &[first]).await.json();
    assert_eq!(names(&later, "orderUid"), ["u-4"]);
    assert_eq!(karim.runs("alerts -o json", &[]).await.json(), json!([]));
    karim.runs("approve interior u-4", &[]).await.refused(4, "approver");
}
