//! Orders as figures for the monitoring: how many there are, how many are ready, and of how many a condition is False.

use crate::condition::{is_true, kind, reason};
use crate::context::Context;
use crate::instances;
use crate::order::{Kind, Order};
use std::sync::Arc;
use std::time::Duration;

/// The conditions that are told, of orders that are held and not suspended.
const TOLD: [&str; 5] =
    [kind::READY, kind::STORAGE_HEALTHY, kind::BACKUP_HEALTHY, kind::BACKUP_PROVEN, kind::METERING_ACTIVE];
/// What is False and as it was ordered, or nothing was tried yet: nobody need wake up.
const AS_IT_IS: [&str; 3] = [reason::BACKUP_NOT_CONFIGURED, reason::BACKUP_PENDING, reason::NEVER_PROVEN];

/// The figures follow what orders are told by so much at most, and are counted no more often.
const PAUSE: Duration = Duration::from_secs(5);

/// Keeps the figures of all orders and of each, whenever one was told something new, until it is dropped.
pub async fn keep(context: Arc<Context>) {
    loop {
        context.turned.notified().await;
        tokio::time::sleep(PAUSE).await;
        count(&context);
        instances::count(&context);
    }
}

/// Brings the figures up to date, from memory.
pub fn count(context: &Context) {
    let orders = context.orders.all();
    let metrics = &context.metrics;
    let set = |gauge: &prometheus_client::metrics::gauge::Gauge, count: usize| {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    };
    for kind in Kind::ALL {
        let of_kind = || orders.iter().filter(|o| o.at.kind == kind);
        let ready = of_kind().filter(|o| is_true(&o.status.conditions, kind::READY)).count();
        set(&metrics.orders.get_or_create(&[("kind", kind.as_str())]), of_kind().count());
        set(&metrics.orders_ready.get_or_create(&[("kind", kind.as_str())]), ready);
    }
    for condition in TOLD {
        let count = orders.iter().filter(|order| is_unwell(order, condition)).count();
        set(&metrics.conditions_false.get_or_create(&[("condition", condition)]), count);
    }
}

/// Whether an order should run and has a condition that is False for a reason that somebody should look at.
fn is_unwell(order: &Order, condition: &str) -> bool {
    let all = &order.status.conditions;
    let runs = !order.spec.suspend && order.deletion.is_none() && is_true(all, kind::ADMITTED);
    let is_false = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        c.type_ == condition && c.status == "False" && !AS_IT_IS.contains(&c.reason.as_str())
    };
    runs && all.iter().any(is_false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Say, merge};
    use siyada_crds::PostgresInstance;

    #[test]
    fn only_what_should_run_and_does_not_wakes_somebody() {
        let order = |suspend: bool,
                     admitted: bool,
                     of: &'static str,
                     status: Option<bool>,
                     why: &'static str| {
            let order = serde_json::json!({
                "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
                "metadata": {"name": "a", "namespace": "n", "uid": "u"},
                "spec": {"plan": "p", "version": "15", "dataClassification": "Internal", "suspend": suspend},
            });
            let order: PostgresInstance = serde_json::from_value(order).unwrap();
            let mut order = Order::of(&order).unwrap();
            let say = |kind, status, reason| Say { kind, status, reason, message: String::new() };
            let says = vec![say(kind::ADMITTED, Some(admitted), reason::ADMITTED), say(of, status, why)];
            order.status.conditions = merge(&[], says, 1, jiff::Timestamp::UNIX_EPOCH);
            order
        };
        let check = |order: Order, of: &str, expect: bool| assert_eq!(is_unwell(&order, of), expect);
        let full = reason::DISK_FULL;
        check(order(false, true, kind::STORAGE_HEALTHY, Some(false), full), kind::STORAGE_HEALTHY, true);
        check(order(false, true, kind::STORAGE_HEALTHY, Some(false), full), kind::READY, false);
        check(order(false, true, kind::READY, None, reason::RECEIVED), kind::READY, false);
        check(order(true, true, kind::READY, Some(false), reason::SUSPENDED), kind::READY, false);
        check(order(false, false, kind::READY, Some(false), reason::QUOTA_EXCEEDED), kind::READY, false);
        let without = reason::BACKUP_NOT_CONFIGURED;
        check(order(false, true, kind::BACKUP_HEALTHY, Some(false), without), kind::BACKUP_HEALTHY, false);
    }
}
