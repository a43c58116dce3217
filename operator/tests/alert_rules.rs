//! The alert rules of the chart name no metric of the operator that it does not serve.

use siyada_operator::metrics::Metrics;
use std::collections::BTreeSet;

#[test]
fn every_metric_of_the_operator_that_a_rule_names_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/siyada/files/alerts.yaml");
    let rules = std::fs::read_to_string(path).unwrap();
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named: BTreeSet<&str> =
        expressions.flat_map(|e| e.split(word)).filter(|w| w.starts_with("siyada_operator_")).collect();
    assert!(named.len() >= 3, "{named:?}");
    let metrics = Metrics::default();
    // What was never counted is not served yet: one pass that failed, one repair, one drill.
    metrics.passes.get_or_create(&[("kind", "PostgresInstance"), ("outcome", "failed")]).inc();
    metrics.repairs.get_or_create(&[("what", "held")]).inc();
    metrics.drills.get_or_create(&[("result", "failed")]).inc();
    metrics.conditions_false.get_or_create(&[("condition", "Ready")]).set(1);
    let text = metrics.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeSet<String> = types
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    for name in named {
        assert!(served.contains(name), "{name} is not among {served:?}");
    }
}
