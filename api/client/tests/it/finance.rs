//! From the first record of who bills to the last payment, each step by somebody else where it must be.

use crate::world::{Person, World, world};
use serde_json::{Value, json};
use siyada_model::audit::{AuditEvent, Extent, verify};
use std::path::Path;
use tokio::sync::OnceCell;

/// What the guide puts on record.
fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/finance").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The statement of February.
pub const NUMBER: &str = "SIY-2026-000001";

/// February is closed by national finance, as a person does it; done once.
pub async fn closed() -> &'static World {
    static CLOSED: OnceCell<()> = OnceCell::const_new();
    let world = world().await;
    CLOSED.get_or_init(|| close(world)).await;
    world
}

async fn close(world: &World) {
    let (nadia, amina, karim) =
        tokio::join!(world.signed_in("nadia"), world.signed_in("amina"), world.signed_in("karim"));
    put_parties(&nadia, &amina).await;
    let periods = nadia.runs("periods", &[]).await.ok();
    let february = periods.lines().find(|line| line.starts_with("2026-02")).unwrap();
    assert!(february.contains("673.000 h  Africa/Casablanca"), "Ramadan is in it: {periods}");

    // What blocks it is shown and is an error, also with --yes.
    let blocked = nadia.runs("close 2026-02 --yes", &[]).await;
    assert!(blocked.code == 5 && blocked.err.contains("nothing was written"), "{blocked:?}");
    assert!(blocked.out.contains("budgetLineMissing"), "{blocked:?}");
    assert!(
        blocked.out.contains("or PUT /v1/tenants/interior/orders/u-1/allocation"),
        "the way out: {blocked:?}"
    );
    let later = nadia.runs("close 2026-03 -o json", &[]).await;
    assert!(later.code == 5 && later.out.contains("earlierOpen"), "{later:?}");
    nadia.runs("close 2025-01", &[]).await.refused(4, "never opened");
    nadia.runs("close february", &[]).await.refused(2, "is not a month");

    let line = "allocate interior u-1 --at 2026-02-01 --share 2026-30-10=60% --share";
    amina.runs(line, &["2026-30-20=50%"]).await.refused(2, "sum to 1100000");
    amina.runs(line, &["2026-30-20"]).await.refused(2, "write LINE=60%");
    amina.runs("allocate interior u-9 --share a=100%", &[]).await.refused(4, "");
    karim.runs("allocate interior u-1 --share a=100%", &[]).await.refused(4, "role finance");
    let booked = amina.runs(line, &["2026-30-20=400000"]).await.ok();
    assert!(booked.contains("60 %") && booked.contains("From 2026-02-01T00:00:00Z on"), "{booked}");

    // Nobody closes it without a yes, and not everybody with one.
    amina.runs("close 2026-02", &[]).await.refused(4, "for the platform");
    karim.runs("close 2026-02 --yes", &[]).await.refused(4, "for the platform");
    let unasked = nadia.runs("close 2026-02", &[]).await;
    assert!(unasked.code == 2 && unasked.err.contains("give --yes"), "{unasked:?}");
    assert!(
        unasked.out.contains("open, nothing blocks it") && unasked.out.contains("62.50 MAD"),
        "{unasked:?}"
    );
    let refused = nadia.types("close 2026-02", "y\n").await;
    assert!(refused.code == 130 && refused.out.contains("nothing was closed"), "{refused:?}");
    assert_eq!(nadia.runs("periods -o json", &[]).await.json()[0]["closedBy"], Value::Null);
    let done = nadia.types("close 2026-02", "yes\n").await;
    assert!(done.code == 0 && done.out.contains("That cannot be undone"), "{done:?}");
    let again = nadia.runs("close 2026-02 --yes -o json", &[]).await.json();
    assert_eq!((&again["closed"], &again["gross"]["minor"]), (&json!(true), &json!(6_250)));
    assert!(nadia.runs("close 2026-02", &[]).await.ok().contains("closed"), "asked again, it says so");
    assert_eq!(nadia.runs("periods -o json", &[]).await.json()[0]["closedBy"], "a:nadia");
}

/// Who bills and who is billed, with the mistakes one makes.
async fn put_parties(nadia: &Person<'_>, amina: &Person<'_>) {
    nadia.runs("issuer", &[]).await.refused(4, "siyada issuer put FILE");
    let (issuer, account) = (example("issuer.json"), example("account-interior.json"));
    nadia.file("issuer.json", &issuer.to_string());
    nadia.file("account.json", &account.to_string());
    amina.file("issuer.json", &issuer.to_string());
    let mut wrong = issuer.clone();
    wrong["timeZone"] = json!("Casablanca");
    nadia.file("wrong.json", &wrong.to_string());
    nadia.runs("issuer put absent.json", &[]).await.refused(1, "absent.json");
    nadia.runs("issuer put account.json", &[]).await.refused(2, "account.json is not an issuer");
    nadia.runs("issuer put wrong.json", &[]).await.refused(2, "Africa/Casablanca");
    amina.runs("issuer put issuer.json", &[]).await.refused(4, "for the platform");
    let put = nadia.runs("issuer put issuer.json", &[]).await.ok();
    assert!(put.contains("20 % (CGI, art. 98)") && put.contains("Africa/Casablanca"), "{put}");
    assert_eq!(amina.runs("issuer get -o json", &[]).await.json(), issuer);
    nadia.runs("accounts put 1/2 account.json", &[]).await.refused(2, "must have 1 to 63 characters");
    let put = nadia.runs("accounts put 1.2.10 account.json -o json", &[]).await.json();
    assert_eq!(put["account"], "1.2.10");
    let all = nadia.runs("accounts", &[]).await.ok();
    assert!(all.contains("Ministère de l'Intérieur") && all.contains("outside of the tax"), "{all}");
    amina.runs("accounts", &[]).await.refused(4, "for the platform");
}

#[tokio::test(flavor = "multi_thread")]
async fn finance_reads_what_was_billed_line_by_line() {
    let world = closed().await;
    let (amina, omar) = tokio::join!(world.signed_in("amina"), world.signed_in("omar"));
    let all = amina.runs("statements interior -o csv", &[]).await.ok();
    let row = all.lines().find(|line| line.starts_with(NUMBER)).unwrap();
    assert!(row.contains(",statement,interior,2026-02,,") && row.ends_with(",62.50,MAD,62.50,MAD"), "{all}");
    let shown = amina.runs(&format!("statement interior {NUMBER}"), &[]).await.ok();
    assert!(shown.contains("2026-30-10 37.50; 2026-30-20 25.00"), "{shown}");
    assert!(shown.contains("50.000 h") && shown.contains("GROSS      62.50 MAD"), "{shown}");
    let document = amina.runs(&format!("statement interior {NUMBER} -o json"), &[]).await.json();
    assert_eq!((&document["number"], &document["asOf"].is_u64()), (&json!(NUMBER), &true));
    amina.runs("statement interior SIY-2026-000999", &[]).await.refused(4, "");
    amina.runs("statement interior ../../../periods", &[]).await.refused(4, "");
    omar.runs(&format!("statement interior {NUMBER}"), &[]).await.refused(4, "siyada tenants");
    omar.runs("statements interior", &[]).await.refused(4, "siyada tenants");
}

#[tokio::test(flavor = "multi_thread")]
async fn national_finance_takes_back_a_part() {
    let world = closed().await;
    let (nadia, amina) = tokio::join!(world.signed_in("nadia"), world.signed_in("amina"));
    let line = format!("credit interior {NUMBER} --key 2026-03-05/1 --reason");
    let rest = |amount: &'static str| ["=Panne du 3 février", "--line", amount];
    nadia.runs(&line, &rest("0=12.505")).await.refused(2, "12.505");
    nadia.runs(&line, &rest("0=12.50 EUR")).await.refused(2, "is in MAD, not in EUR");
    nadia.runs(&line, &rest("7=1.00")).await.refused(2, "");
    amina.runs(&line, &rest("0=12.50")).await.refused(4, "for the platform");
    let note = nadia.runs(&line, &rest("0=12.50 MAD")).await.ok();
    assert!(note.contains("SIY-C-2026-000001") && note.contains("=Panne du 3 février"), "{note}");
    assert!(note.contains("-12.50 MAD"), "{note}");
    let again = nadia.runs(&format!("-o json {line}"), &rest("0=12.50")).await.json();
    assert_eq!(again["number"], "SIY-C-2026-000001", "the same key is the same note");
    nadia.runs(&line, &["Panne", "--line", "0=12.50"]).await.refused(5, "for another reason");
    nadia.runs(&line.replace("/1", "/2"), &rest("0=62.50")).await.refused(2, "5000 minor units are left");
    let csv = nadia.runs("statement interior SIY-C-2026-000001 -o csv", &[]).await.ok();
    assert!(csv.lines().nth(1).unwrap().ends_with(",-12.50,MAD"), "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_is_somebody_elses() {
    let world = closed().await;
    let (amina, youssef, leila, omar) = tokio::join!(
        world.signed_in("amina"),
        world.signed_in("youssef"),
        world.signed_in("leila"),
        world.signed_in("omar")
    );
    let credits = example("budget-line.json");
    amina.file("line.json", &credits.to_string());
    let mut wrong = credits.clone();
    wrong["opened"]["minor"] = json!(-1);
    amina.file("wrong.json", &wrong.to_string());
    amina.runs("budget put interior 2026-30-10 wrong.json", &[]).await.refused(2, "cannot be negative");
    for line in ["2026-30-10", "2026-30-20"] {
        let put = amina.runs(&format!("budget put interior {line} line.json"), &[]).await.ok();
        assert!(put.contains("120 000.00 MAD") && put.contains("a:amina"), "{put}");
    }
    youssef.file("line.json", &credits.to_string());
    youssef.runs("budget put interior 2026-30-10 line.json", &[]).await.refused(4, "role finance");

    let at = |stage: &str, rest: &str| format!("{stage} interior {NUMBER} {rest}");
    assert!(amina.runs(&at("stages", ""), &[]).await.ok().contains("37.50 MAD"), "what is booked");
    youssef.runs(&at("order", ""), &[]).await.refused(4, "role finance");
    amina.runs(&at("certify", ""), &[]).await.refused(4, "role certifier");
    amina.runs(&at("order", ""), &[]).await.refused(5, "is not certified yet");
    youssef
        .runs(&at("certify", "--budget-line 99"), &[])
        .await
        .refused(2, "it books on 2026-30-10, 2026-30-20");
    let first = youssef.runs(&at("certify", "--budget-line 2026-30-10 --reference SF-17"), &[]).await.ok();
    assert!(first.contains("certified") && first.contains("a:youssef") && first.contains("SF-17"), "{first}");
    leila.runs(&at("certify", "--budget-line 2026-30-20"), &[]).await.ok();
    leila
        .runs(&at("order", "--budget-line 2026-30-20"), &[])
        .await
        .refused(4, "neither orders its payment nor pays");
    amina.runs(&at("pay", "--date 2026-11-20"), &[]).await.refused(2, "--reference");
    amina.runs(&at("pay", "--date 2026-11-20 --reference TR-9"), &[]).await.refused(5, "");
    amina.runs(&at("order", "--budget-line 2026-30-10 --reference OP-42"), &[]).await.ok();
    let pay = at("pay", "--budget-line 2026-30-10 --date 2026-11-20 --reference TR-9");
    assert!(amina.runs(&pay, &[]).await.ok().contains("2026-11-20"), "paid");
    let reject = at("reject", "--budget-line 2026-30-20 --reason");
    let rejected = leila.runs(&reject, &["Service \u{1b}[2J"]).await;
    rejected.refused(2, "control characters");
    let rejected = amina.runs(&format!("-o json {reject}"), &["Service not done"]).await.json();
    assert_eq!(rejected[1]["stage"], "rejected");
    let history = amina.runs(&at("stages", "--history -o csv"), &[]).await.ok();
    let words: Vec<_> = history.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(words, ["certified", "ordered", "paid", "certified", "rejected"]);
    omar.runs(&at("stages", ""), &[]).await.refused(4, "siyada tenants");

    let budget = amina.runs("budget interior --fiscal-year 2026 -o csv", &[]).await.ok();
    let row = budget.lines().find(|line| line.contains(",2026-30-10,")).unwrap();
    assert!(budget.starts_with("tenant,fiscalYear,line,") && row.contains(",37.50,37.50,37.50,"), "{budget}");
    let one = amina.runs("budget interior 2026-30-10", &[]).await.ok();
    assert!(one.contains("REMAINING TO PAY") && one.contains("VERSION"), "{one}");
    let known = amina.runs("budget interior 2026-30-10 -o json", &[]).await.json();
    assert_eq!((&known["paid"]["minor"], &known["versions"][0]["by"]), (&json!(3_750), &json!("a:amina")));
    amina.runs("budget interior 2026-99", &[]).await.refused(4, "");
    amina.runs("budget interior --fiscal-year 12", &[]).await.refused(2, "2000 to 9998");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_record_is_told_to_whom_it_concerns() {
    let world = closed().await;
    let (amina, karim) = tokio::join!(world.signed_in("amina"), world.signed_in("karim"));
    let journal = karim.runs("journal --period 2026-02 --file -", &[]).await.ok();
    assert!(
        journal.contains("statement/SIY-2026-000001") && journal.contains("receivable:interior"),
        "{journal}"
    );
    karim.runs("journal --period 2026-13", &[]).await.refused(2, "is not a month");
    amina.runs("journal", &[]).await.refused(4, "for the platform");

    let events = amina.runs("audit interior -o json", &[]).await.json();
    let told = |action: &str| events.as_array().unwrap().iter().any(|event| event["action"] == action);
    assert!(told("tenant.put") && told("order.allocate"), "{events}");
    let first = events[0]["seq"].as_i64().unwrap();
    let rest = amina.runs(&format!("audit interior -o json --after {first}"), &[]).await.json();
    assert_ne!(rest[0]["seq"], events[0]["seq"]);
    karim.runs("audit --format lines --file audit.ndjson", &[]).await.ok();
    let lines = std::fs::read_to_string(karim.home.join("audit.ndjson")).unwrap();
    let last: AuditEvent = verify(lines.lines().map(str::as_bytes), Extent::Whole).unwrap().unwrap();
    assert!(last.seq > 500, "the whole trail, {AGENCIES} agencies in it", AGENCIES = crate::world::AGENCIES);
    let csv = karim.runs("audit --format csv --file - --after 3", &[]).await.ok();
    assert_eq!(karim.runs("audit -o csv --after 3", &[]).await.ok().lines().nth(1), csv.lines().nth(1));
    assert!(csv.starts_with("seq,at,actor,action,tenant,object,detail,"), "{csv}");
    assert!(karim.runs("audit --after 500", &[]).await.ok().contains("period.close"), "a table");
    amina.runs("audit", &[]).await.refused(4, "for the platform");
    amina.runs("audit interior --format json", &[]).await.refused(2, "csv, lines");
    amina.runs("audit interior --file a.csv", &[]).await.refused(2, "needs --format");

    let key = amina.runs("signing-key -o json", &[]).await.json();
    assert_eq!((&key["algorithm"], key["publicKey"].as_str().unwrap().len()), (&json!("Ed25519"), 44));
}
