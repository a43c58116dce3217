//! Figures of each instance, for alerts that name one: until when its certificate is valid, when it was metered last, and since when
//! nobody can log in or its backups do not work.
//!
//! They have the names of orders as labels, and so are served apart from the operator's own metrics: only who asks for them has as
//! many series as there are instances.

use crate::certificate::not_after;
use crate::condition::{kind, reason};
use crate::context::Context;
use crate::names::Names;
use crate::object::{ChildKind, Key};
use crate::order::Order;
use crate::seen::secret_value;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is told of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its kind.
    pub kind: &'static str,
    /// Namespace of its order.
    pub namespace: String,
    /// Name of its order.
    pub name: String,
    /// Until when the certificate of its server is valid; nothing while there is none.
    pub not_after: Option<Timestamp>,
    /// When the ledger last confirmed what is billed of it; nothing before anything was.
    pub metered: Option<Timestamp>,
    /// Since when it is not ready although it was made and is not suspended; nothing while it is.
    pub not_ready: Option<Timestamp>,
    /// Since when its backups do not work; nothing while they do, or it has none to come.
    pub backup_unhealthy: Option<Timestamp>,
}

/// Something that is told of each instance.
type Figure = (&'static str, &'static str, fn(&Row) -> Option<Timestamp>);

/// Name and meaning of each figure.
const FIGURES: [Figure; 4] = [
    (
        "siyada_operator_instance_backup_unhealthy_since_seconds",
        "Since when the condition BackupHealthy of an instance is False, in Unix seconds; absent otherwise",
        |row| row.backup_unhealthy,
    ),
    (
        "siyada_operator_instance_not_ready_since_seconds",
        "Since when the condition Ready of an instance that is not suspended is False, in Unix seconds; absent otherwise",
        |row| row.not_ready,
    ),
    (
        "siyada_operator_instance_certificate_not_after_seconds",
        "Until when the certificate of an instance is valid, in Unix seconds",
        |row| row.not_after,
    ),
    (
        "siyada_operator_instance_metered_seconds",
        "When the ledger last confirmed what is billed of an instance, in Unix seconds",
        |row| row.metered,
    ),
];

/// The figures in the OpenMetrics text format. Names of orders hold nothing that would have to be escaped.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for (name, help, of) in FIGURES {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (row, value) in rows.iter().filter_map(|row| Some((row, of(row)?))) {
            let _ = writeln!(
                text,
                "{name}{{kind=\"{}\",siyada_cloud_order_namespace=\"{}\",siyada_cloud_order_name=\"{}\"}} {}",
                row.kind,
                row.namespace,
                row.name,
                value.as_second()
            );
        }
    }
    text + "# EOF\n"
}

/// What is told of an order: nothing of one that is being deleted or was never metered. What this process has not seen confirmed
/// counts as confirmed when it began, or when the order was told that it is metered, whichever was later.
pub fn row(
    order: &Order,
    not_after: Option<Timestamp>,
    confirmed: Option<Timestamp>,
    began: Timestamp,
) -> Option<Row> {
    let conditions = &order.status.conditions;
    let active = conditions.iter().find(|c| c.type_ == kind::METERING_ACTIVE && c.status == "True");
    let since = active.map(|c| c.last_transition_time.0.max(began));
    let turned_false = |kind: &str, fine: &str| {
        let turned = conditions.iter().find(|c| c.type_ == kind && c.status == "False" && c.reason != fine);
        turned.filter(|_| order.status.engine_ref.is_some()).map(|c| c.last_transition_time.0)
    };
    order.deletion.is_none().then(|| Row {
        not_ready: turned_false(kind::READY, reason::SUSPENDED),
        backup_unhealthy: turned_false(kind::BACKUP_HEALTHY, reason::BACKUP_NOT_CONFIGURED),
        kind: order.at.kind.as_str(),
        namespace: order.at.namespace.clone(),
        name: order.at.name.clone(),
        not_after,
        metered: since.map(|since| confirmed.unwrap_or(since)),
    })
}

/// Brings the figures up to date, from memory.
pub fn count(context: &Context) {
    let confirmed: BTreeMap<String, Timestamp> = context.memory.lock().confirmed.clone();
    let of = |order: &Order| {
        let uid = order.uid.as_str();
        row(order, certificate(order, context), confirmed.get(uid).copied(), context.began)
    };
    let rows: Vec<Row> = context.orders.all().iter().filter_map(of).collect();
    context.metrics.set_instances(text(&rows));
}

fn certificate(order: &Order, context: &Context) -> Option<Timestamp> {
    let engine = order.status.engine_ref.as_ref()?;
    let names = Names { engine: engine.namespace.clone(), cluster: engine.name.clone() };
    let secret = context.cache.child(&Key::new(ChildKind::Secret, &names.engine, names.server_secret()))?;
    // One that cannot be read is none that anybody accepts.
    Some(not_after(&secret_value(&secret, "tls.crt")?).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Say, merge};
    use siyada_crds::PostgresInstance;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn order(metered: Option<bool>) -> Order {
        let order = serde_json::json!({
            "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"plan": "p", "version": "15", "dataClassification": "Internal"},
        });
        let order: PostgresInstance = serde_json::from_value(order).unwrap();
        let mut order = Order::of(&order).unwrap();
        let says = metered.map(|status| Say {
            kind: kind::METERING_ACTIVE,
            status: Some(status),
            reason: reason::METERING,
            message: String::new(),
        });
        order.status.conditions = merge(&[], says.into_iter().collect(), 1, at(100));
        order
    }

    #[test]
    fn what_was_not_confirmed_yet_is_late_from_the_later_of_both_beginnings() {
        let check = |metered: Option<bool>, confirmed: Option<i64>, began: i64, expect: Option<i64>| {
            let row = row(&order(metered), None, confirmed.map(at), at(began)).unwrap();
            assert_eq!(row.metered, expect.map(at), "{metered:?} {confirmed:?} {began}");
        };
        check(Some(true), Some(500), 50, Some(500));
        check(Some(true), None, 50, Some(100));
        check(Some(true), None, 200, Some(200));
        check(Some(false), None, 50, None);
        check(None, Some(500), 50, None);
        let going = Order { deletion: Some(at(1)), ..order(Some(true)) };
        assert_eq!(row(&going, None, Some(at(1)), at(1)), None);
    }

    #[test]
    fn the_text_has_a_line_for_each_figure_that_there_is() {
        let rows = [row(&order(Some(true)), Some(at(7)), None, at(9)).unwrap()];
        let text = text(&rows);
        let labels =
            "{kind=\"PostgresInstance\",siyada_cloud_order_namespace=\"n\",siyada_cloud_order_name=\"a\"}";
        assert!(text.contains(&format!("_certificate_not_after_seconds{labels} 7\n")), "{text}");
        assert!(text.contains(&format!("_metered_seconds{labels} 100\n")), "{text}");
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(super::text(&[]).lines().count(), 9);
    }

    #[test]
    fn what_is_down_or_not_backed_up_says_since_when_and_what_was_asked_for_says_nothing() {
        let check = |kind: &'static str,
                     reason: &'static str,
                     status: bool,
                     made: bool,
                     expect: [bool; 2]| {
            let mut order = order(None);
            order.status.engine_ref = made
                .then(|| serde_json::from_value(serde_json::json!({"namespace": "e", "name": "c"})).unwrap());
            let say = Say { kind, status: Some(status), reason, message: String::new() };
            order.status.conditions = merge(&[], vec![say], 1, at(7));
            let row = row(&order, None, None, at(1)).unwrap();
            let found = [row.not_ready, row.backup_unhealthy];
            assert_eq!(found, expect.map(|there| there.then(|| at(7))), "{kind} {reason} {status} {made}");
        };
        check(kind::READY, reason::LOGIN_FAILED, false, true, [true, false]);
        check(kind::READY, reason::LOGIN_SUCCEEDED, true, true, [false, false]);
        check(kind::READY, reason::SUSPENDED, false, true, [false, false]);
        check(kind::READY, reason::QUOTA_EXCEEDED, false, false, [false, false]);
        check(kind::BACKUP_HEALTHY, reason::ARCHIVING_FAILED, false, true, [false, true]);
        check(kind::BACKUP_HEALTHY, reason::BACKUP_NOT_CONFIGURED, false, true, [false, false]);
    }
}
