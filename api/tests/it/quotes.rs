//! Quotes: the same price and the same refusal as the reservation that would follow.

use crate::support::{World, order, tenant};
use serde_json::{Value, json};

fn quote(tenant: &str, instances: i64, gib: i64) -> Value {
    let order = order(tenant, "x", instances, gib);
    json!({"tenant": tenant, "resources": order["resources"], "items": order["items"]})
}

#[tokio::test]
async fn a_quote_says_the_price_and_what_is_left() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let limit = json!({"monthlyCost": {"minor": 200_000, "currency": "MAD"}});
    operator.put("/v1/tenants/police", &tenant("police", Some("interior"), limit)).await.ok::<Value>();
    operator.put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    let asked = quote("police", 1, 10);
    let found: Value = world.member("police").post("/v1/quotes", &asked).await.ok();
    // 745 h x 1.25 and 745 h x 10 GiB x 0.0021 = 15.645, rounded to 15.65.
    assert_eq!(
        found,
        json!({
            "monthlyMaximum": {"minor": 94_690, "currency": "MAD"}, "priceList": "tarif-2026",
            "committed": {"minor": 94_690, "currency": "MAD"}, "committedAfter": {"minor": 189_380, "currency": "MAD"},
            "limit": {"minor": 200_000, "currency": "MAD"}
        })
    );
    let mut change = quote("police", 2, 10);
    change["orderUid"] = json!("u-1");
    let found: Value = world.member("police").post("/v1/quotes", &change).await.ok();
    assert_eq!(found["committedAfter"], json!({"minor": 187_815, "currency": "MAD"}));
    assert_eq!(found["shortfall"], Value::Null);
}

#[tokio::test]
async fn a_quote_names_the_same_shortfall_as_the_reservation() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator
        .put("/v1/tenants/interior", &tenant("interior", Some("kingdom"), json!({"instances": 1})))
        .await
        .ok::<Value>();
    let found: Value = operator.post("/v1/quotes", &quote("police", 2, 1)).await.ok();
    let refused =
        operator.put("/v1/reservations/u", &order("police", "db", 2, 1)).await.refused(409, "quota-exceeded");
    assert_eq!(found["shortfall"], serde_json::to_value(refused.shortfall.unwrap()).unwrap());
    assert_eq!(found["shortfall"]["tenant"], "interior");
}

#[tokio::test]
async fn what_has_no_price_or_no_sense_has_no_quote() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let mut unknown = quote("police", 1, 1);
    unknown["items"][0]["sku"] = json!("unheard-of");
    operator.post("/v1/quotes", &unknown).await.refused(409, "price-unknown");
    let mut negative = quote("police", 1, 1);
    negative["items"][0]["quantity"] = json!(-1);
    operator.post("/v1/quotes", &negative).await.refused(422, "invalid");
    operator.post("/v1/quotes", &quote("absent", 1, 1)).await.refused(404, "not-found");
    let bare = World::new().await;
    bare.operator().put("/v1/tenants/police", &tenant("police", None, json!({}))).await.ok::<Value>();
    bare.operator().post("/v1/quotes", &quote("police", 1, 1)).await.refused(409, "price-unknown");
}

#[tokio::test]
async fn an_order_of_another_tenant_lends_nothing_to_a_quote() {
    let world = World::with_tenants().await;
    world.operator().put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    let mut asked = quote("health", 1, 10);
    asked["orderUid"] = json!("u-1");
    let found: Value = world.member("health").post("/v1/quotes", &asked).await.ok();
    assert_eq!(found["committedAfter"]["minor"], 94_690);
}
