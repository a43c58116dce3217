//! Commitments: who reserved what, where it is booked, and that a forecast is what the bill will say.

use crate::support::{World, but, order, tenant};
use jiff::Timestamp;
use serde_json::{Value, json};

async fn world() -> World {
    let world = World::with_tenants().await;
    let police = but(
        &tenant("police", Some("interior"), json!({})),
        json!({"generation": 2, "billing": {"account": "1.2", "costCentre": "POL", "budgetLine": "30-10"}}),
    );
    world.operator().put("/v1/tenants/police", &police).await.ok::<Value>();
    for index in 0..5 {
        let mut request = but(
            &order("police", &format!("db-{index}"), 1, 10),
            json!({"requester": "=cmd|' /C calc'!A0", "billing": {"costCentre": "a,\"b\""}}),
        );
        if index == 4 {
            request["billing"] = json!({});
        }
        world.operator().put(&format!("/v1/reservations/u-{index}"), &request).await.ok::<Value>();
    }
    world
}

#[tokio::test]
async fn a_row_says_who_ordered_and_where_it_is_booked() {
    let world = world().await;
    let first: Value = world.member("interior").get("/v1/tenants/interior/commitments?pageSize=3").await.ok();
    let row = &first["items"][0];
    assert_eq!(
        (&row["orderUid"], &row["plan"], &row["priceList"], &row["billing"]),
        (
            &json!("u-0"),
            &json!("small"),
            &json!("tarif-2026"),
            &json!({"account": "1.2", "costCentre": "a,\"b\"", "budgetLine": "30-10"})
        )
    );
    assert_eq!(row["commitment"]["monthlyCost"], json!({"minor": 94_690, "currency": "MAD"}));
    assert_eq!(
        (&first["reservations"], &first["total"]["monthlyCost"]["minor"]),
        (&json!(5), &json!(5 * 94_690))
    );
    let token = first["nextPageToken"].as_str().unwrap();
    let path = format!("/v1/tenants/interior/commitments?pageSize=3&pageToken={token}");
    let second: Value = world.member("interior").get(&path).await.ok();
    assert_eq!(second["items"].as_array().unwrap().len(), 2);
    assert_eq!(second["items"][1]["billing"]["costCentre"], "POL");
    assert_eq!((&second["forecast"], &second["nextPageToken"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn the_file_has_every_row_and_no_formula() {
    let world = world().await;
    let answer = world.member("police").get("/v1/tenants/police/commitments?format=csv").await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let text = answer.text();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 6);
    assert!(lines[1].contains("'=cmd|' /C calc'!A0,1.2,\"a,\"\"b\"\"\",30-10,tarif-2026"), "{}", lines[1]);
    assert!(lines[1].ends_with(",false,1,1000,2147483648,10737418240,946.90,MAD"), "{}", lines[1]);
}

/// The forecast of a month is the bill of that month, to the last coin, if nothing changes.
#[tokio::test]
async fn a_forecast_is_the_bill_that_follows_if_nothing_changes() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &order("police", "later", 2, 0)).await.ok::<Value>();
    let view: Value = operator.get("/v1/tenants/kingdom/commitments").await.ok();
    let month = &view["forecast"]["month"];
    let at = |key: &str| month[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let (from, to) = (at("from"), at("to"));
    // u-1 runs since the first instant of the month; u-2 has not begun.
    let fact = |meter: &str, sku: &str, quantity: i64| {
        json!({
            "orderUid": "u-1", "tenant": "police", "meter": meter, "reason": "Ready", "at": from.to_string(),
            "level": {"sku": sku, "quantity": quantity}
        })
    };
    let facts = [fact("compute", "postgres-small", 1), fact("storage", "block-storage", 10_240)];
    operator.post("/v1/usage", &json!({"collector": "c", "epoch": 1, "facts": facts})).await.ok::<Value>();
    // In the middle of what is left, another list begins, to the second.
    let middle = Timestamp::from_second((Timestamp::now().as_second() + to.as_second()) / 2).unwrap();
    let mut next = siyada_api::openapi::examples::price_list();
    next["prices"]["name"] = json!("next");
    next["prices"]["validFrom"] = json!(middle.to_string());
    next["prices"]["skus"][0]["price"] = json!("3.33");
    operator.put("/v1/price-lists/next", &next).await.ok::<Value>();

    let view: Value = operator.get("/v1/tenants/kingdom/commitments").await.ok();
    let total = view["forecast"]["month"]["total"]["minor"].as_i64().unwrap();
    // Counted here by hand, in hundredths: thousandths of an hour would do, milliseconds are exact.
    let ms = |a: Timestamp, b: Timestamp| i128::from(b.as_millisecond() - a.as_millisecond());
    let half_up = |numerator: i128, denominator: i128| (2 * numerator + denominator) / (2 * denominator);
    let hour = 3_600_000_i128;
    let running = half_up(ms(from, middle) * 125, hour) + half_up(ms(middle, to) * 333, hour);
    let storage = |a, b| half_up(ms(a, b) * 10_240 * 21, hour * 1_024 * 100);
    let known = running + storage(from, middle) + storage(middle, to);
    // u-2 runs from the moment of the question, which lies within the last seconds.
    let later = i128::from(total) - known;
    let now = Timestamp::now();
    let of_later = |now| half_up(ms(now, middle) * 2 * 125, hour) + half_up(ms(middle, to) * 2 * 333, hour);
    let earliest = Timestamp::from_second(now.as_second() - 60).unwrap();
    assert!((of_later(now)..=of_later(earliest)).contains(&later), "{later} {total}");
    let used = view["forecast"]["month"]["used"]["minor"].as_i64().unwrap();
    assert!(used > 0 && used < total);
}
