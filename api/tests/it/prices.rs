//! Price lists.

use crate::support::{World, but, order};
use serde_json::{Value, json};
use siyada_api::openapi::examples;

fn list(name: &str, from: &str) -> Value {
    let mut record = examples::price_list();
    record["prices"]["name"] = json!(name);
    record["prices"]["validFrom"] = json!(from);
    record
}

#[tokio::test]
async fn a_list_is_published_once_and_never_changes() {
    let world = World::new().await;
    let operator = world.operator();
    let record = examples::price_list();
    let path = "/v1/price-lists/tarif-2026";
    assert_eq!(operator.put(path, &record).await.ok::<Value>(), record);
    assert_eq!(operator.put(path, &record).await.ok::<Value>(), record);
    let recreated = but(&record, json!({"uid": "another"}));
    assert_eq!(operator.put(path, &recreated).await.ok::<Value>(), record);
    let mut dearer = record.clone();
    dearer["prices"]["skus"][0]["price"] = json!("1.26");
    operator.put(path, &dearer).await.refused(409, "conflict");
    let page: Value = world.member("anybody").get("/v1/price-lists").await.ok();
    assert_eq!(page, json!({"items": [record]}));
}

#[tokio::test]
async fn what_is_no_price_list_is_refused() {
    let world = World::new().await;
    let check = async |change: fn(&mut Value), code: &str| {
        let mut record = list("l", "2026-01-01T00:00:00Z");
        change(&mut record["prices"]);
        let status = if code == "invalid" { 422 } else { 409 };
        world.operator().put("/v1/price-lists/l", &record).await.refused(status, code);
    };
    check(|p| p["name"] = json!("other"), "invalid").await;
    check(|p| p["skus"] = json!([]), "invalid").await;
    check(|p| p["skus"][1]["sku"] = json!("postgres-small"), "invalid").await;
    check(|p| p["skus"][0]["price"] = json!("-1"), "invalid").await;
    check(|p| p["skus"][0]["price"] = json!("0.000000001"), "invalid").await;
    check(|p| p["validFrom"] = json!("2026-01-01T00:00:00.0001Z"), "invalid").await;
    check(|p| p["currency"] = json!("GBP"), "invalid").await;
    world.operator().put("/v1/price-lists/a", &list("a", "2026-01-01T00:00:00Z")).await.ok::<Value>();
    check(|_| {}, "conflict").await;
    check(|p| (p["currency"], p["validFrom"]) = (json!("EUR"), json!("2027-01-01T00:00:00Z")), "conflict")
        .await;
}

#[tokio::test]
async fn a_list_in_use_stays_and_others_go() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    for (name, from) in
        [("old", "2023-01-01T00:00:00Z"), ("older", "2020-01-01T00:00:00Z"), ("next", "2999-01-01T00:00:00Z")]
    {
        operator.put(&format!("/v1/price-lists/{name}"), &list(name, from)).await.ok::<Value>();
    }
    operator.put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    let fact = json!({
        "orderUid": "u-1", "tenant": "police", "meter": "compute", "reason": "Ready", "at": "2024-02-01T00:00:00Z",
        "level": {"sku": "postgres-small", "quantity": 1}
    });
    let batch = json!({"collector": "c", "epoch": 1, "facts": [fact]});
    operator.post("/v1/usage", &batch).await.ok::<Value>();
    let problem = operator.delete("/v1/price-lists/tarif-2026").await.refused(409, "in-use");
    assert!(problem.detail.contains("1 reservations"), "{}", problem.detail);
    operator.delete("/v1/price-lists/old").await.refused(409, "in-use");
    operator.delete("/v1/price-lists/older").await.gone();
    operator.delete("/v1/price-lists/next").await.gone();
    operator.delete("/v1/price-lists/next").await.gone();
    // Its time falls to the one before it, and there is none: open usage is rated with it.
    let page: Value = operator.get("/v1/price-lists").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn lists_are_paged_by_name() {
    let world = World::new().await;
    for name in ["c", "a", "b"] {
        let from = format!("202{}-01-01T00:00:00Z", name.as_bytes()[0] - b'a');
        world.operator().put(&format!("/v1/price-lists/{name}"), &list(name, &from)).await.ok::<Value>();
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page: Value = world.operator().get(&format!("/v1/price-lists?pageSize=2{token}")).await.ok();
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|l| l["prices"]["name"].as_str().unwrap().to_owned()),
        );
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
}
