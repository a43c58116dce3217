//! What is promised, held and billed is one figure, whatever a plan prices apart.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::now;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use siyada_model::price::{HOUR_MS, LONGEST_MONTH_HOURS, SkuPrice, Unit, in_force};
use siyada_model::usage::{Interval, Level, Meter, rate};
use siyada_operator::catalogue::Catalogue;
use siyada_operator::check::{Refusal, Valid, check};
use siyada_operator::metering::{METERS, facts};
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::order::Order;
use siyada_operator::reconcile::request;
use siyada_operator::seen::Seen;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An order of a PostgreSQL of plan `medium`, which has standbys, and the catalogue it is judged by.
fn examples() -> (Order, Catalogue) {
    let input = common::examples();
    let mut order = common::registry(&input);
    order.spec.plan = "medium".to_owned();
    order.spec.storage = None;
    order.spec.high_availability = true;
    (order, input.catalogue)
}

/// The catalogue with these price keys in every plan, and prices for the keys of `priced`.
fn with_keys(
    catalogue: &Catalogue,
    standby: Option<&str>,
    backup: Option<&str>,
    priced: &[(&str, &str)],
) -> Catalogue {
    let mut catalogue = catalogue.clone();
    for offering in &mut catalogue.offerings {
        for plan in &mut Arc::make_mut(offering).spec.plans {
            plan.standby_sku = standby.map(ToOwned::to_owned);
            plan.backup_sku = backup.map(ToOwned::to_owned);
        }
    }
    for list in &mut catalogue.price_lists {
        list.skus.extend(priced.iter().map(|(sku, price)| SkuPrice {
            sku: sku.parse().unwrap(),
            unit: Unit::Hour,
            price: price.parse().unwrap(),
        }));
    }
    catalogue
}

/// An order that somebody can log in to, with the volumes it asked for.
fn running(valid: &Valid) -> Seen {
    let claim = |index: i64| {
        let key = Key::new(ChildKind::PersistentVolumeClaim, "siyada-t-interior", format!("volume-{index}"));
        let size = json!({"storage": valid.storage_bytes.to_string()});
        let body = json!({
            "metadata": {"creationTimestamp": "2026-11-24T09:00:00Z"},
            "spec": {"resources": {"requests": size}}, "status": {"capacity": size}
        });
        (key, Arc::new(body))
    };
    let children = (0..valid.instances).map(claim).collect();
    Seen { children, login: Some(Ok(())), ..Seen::default() }
}

/// What its backups take: not a whole MiB.
const BACKUPS: i64 = 300 * 1_048_576 - 1;

/// The levels that the ledger is told.
fn levels(valid: &Valid) -> BTreeMap<Meter, Option<Level>> {
    facts(valid, &running(valid), BACKUPS, true).into_iter().map(|fact| (fact.meter, fact.level)).collect()
}

fn quantity(levels: &BTreeMap<Meter, Option<Level>>, meter: Meter) -> Option<(String, i64)> {
    levels[&meter].as_ref().map(|level| (level.sku.to_string(), level.quantity))
}

#[test]
fn standbys_with_a_price_of_their_own_are_a_meter_of_their_own() {
    let (mut order, catalogue) = examples();
    let apart = with_keys(&catalogue, Some("standby-medium"), None, &[("standby-medium", "0.90")]);
    let valid = check(&order, &apart, now()).unwrap();
    let told = levels(&valid);
    assert_eq!(quantity(&told, Meter::COMPUTE), Some(("postgresql-medium".to_owned(), 1)));
    assert_eq!(quantity(&told, Meter::STANDBY), Some(("standby-medium".to_owned(), 1)));
    // 745 h of 2.40 and 0.90, and of two volumes of 20 GiB at 0.0016.
    assert_eq!(valid.monthly_maximum.minor, 178_800 + 67_050 + 4_768);

    for same in [None, Some("postgresql-medium")] {
        let valid = check(&order, &with_keys(&catalogue, same, None, &[]), now()).unwrap();
        let told = levels(&valid);
        assert_eq!(quantity(&told, Meter::COMPUTE), Some(("postgresql-medium".to_owned(), 2)), "{same:?}");
        assert_eq!(told[&Meter::STANDBY], None, "what another plan began ends");
    }

    order.spec.suspend = true;
    let told = levels(&check(&order, &apart, now()).unwrap());
    assert_eq!((&told[&Meter::COMPUTE], &told[&Meter::STANDBY]), (&None, &None));
    assert_eq!(quantity(&told, Meter::STORAGE), Some(("volume".to_owned(), 40 * 1_024)), "its volumes stay");
    assert!(told.keys().all(|meter| METERS.contains(meter)), "whoever ends an order ends each of them");
}

#[test]
fn what_may_be_billed_has_a_price_before_it_is_ordered() {
    let (order, catalogue) = examples();
    let refused = |standby, backup| -> Refusal {
        check(&order, &with_keys(&catalogue, standby, backup, &[("known", "1")]), now()).unwrap_err()
    };
    for refusal in [refused(Some("nowhere"), None), refused(None, Some("nowhere"))] {
        assert_eq!(refusal.reason, "PriceUnknown");
        assert!(refusal.message.contains("no price for nowhere"), "{}", refusal.message);
    }
    let before = check(&order, &catalogue, now()).unwrap();
    assert_eq!(levels(&before)[&Meter::BACKUP], None, "a plan without a price for backups bills none");
    let after = check(&order, &with_keys(&catalogue, None, Some("known"), &[("known", "1")]), now()).unwrap();
    assert_eq!(after.backup_sku.as_ref().map(|sku| sku.as_str()), Some("known"));
    assert_eq!(
        (before.items, before.monthly_maximum),
        (after.items, after.monthly_maximum),
        "what a commitment holds is what the order asks for: backups are billed by what they were measured to take"
    );
}

#[test]
fn backups_are_billed_by_what_they_take_while_there_are_any() {
    let (mut order, catalogue) = examples();
    let catalogue = with_keys(&catalogue, None, Some("known"), &[("known", "1")]);
    let valid = check(&order, &catalogue, now()).unwrap();
    assert_eq!(quantity(&levels(&valid), Meter::BACKUP), Some(("known".to_owned(), 300)), "begun MiB count");
    let none = facts(&valid, &running(&valid), 0, true);
    assert!(none.iter().any(|fact| fact.meter == Meter::BACKUP && fact.level.is_none()), "{none:?}");
    order.spec.suspend = true;
    let suspended = check(&order, &catalogue, now()).unwrap();
    assert_eq!(quantity(&levels(&suspended), Meter::BACKUP).map(|(_, mib)| mib), Some(300), "they stay");
}

proptest! {
    #[test]
    fn the_quote_the_commitment_and_the_bill_of_the_longest_month_are_one_figure(
        high_availability in any::<bool>(),
        large in any::<bool>(),
        standby in prop_oneof![Just(None), Just(Some("standby")), Just(Some("postgresql-medium"))],
        price in 0_i64..100_000_000,
        minute in 0_i64..LONGEST_MONTH_HOURS * 60,
    ) {
        let (mut order, catalogue) = examples();
        order.spec.plan = if large { "large" } else { "medium" }.to_owned();
        order.spec.high_availability = high_availability;
        let price = format!("{}.{:08}", price % 7, price);
        let catalogue = with_keys(&catalogue, standby, None, &[("standby", &price)]);
        let valid = check(&order, &catalogue, now()).unwrap();
        let list = in_force(&catalogue.price_lists, now()).unwrap();
        let held = list.monthly_maximum(&request(&valid).items).unwrap();
        prop_assert_eq!(held, valid.monthly_maximum);
        // A month of it, seen by two operators: where the first one ends changes nothing.
        let at = |ms: i64| Timestamp::from_millisecond(now().as_millisecond() + ms).unwrap();
        let (cut, end) = (at(minute * 60_000), at(LONGEST_MONTH_HOURS * HOUR_MS));
        let piece = |meter: Meter, level: &Level, start, end| Interval { order_uid: order.uid.clone(), meter, level: level.clone(), start, end: Some(end) };
        let open = levels(&valid).into_iter().filter_map(|(meter, level)| Some((meter, level?)));
        let intervals: Vec<Interval> = open
            .flat_map(|(meter, level)| [piece(meter, &level, now(), cut), piece(meter, &level, cut, end)])
            .collect();
        let billed: i64 = rate(&intervals, std::slice::from_ref(list), now(), end).unwrap().iter().map(|line| line.amount.minor).sum();
        prop_assert_eq!(billed, held.minor);
    }
}
