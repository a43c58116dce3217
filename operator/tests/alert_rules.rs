//! The alert rules and the dashboard of the chart name no metric that nobody serves.

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
    metrics.certificate("api", None);
    let served = served(&metrics.text());
    for name in named {
        assert!(served.contains(name), "{name} is not among {served:?}");
    }
}

/// Names of the series that a text of metrics describes.
fn served(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect()
}

/// The words that certificates are told by are those that the rules ask for.
#[test]
fn the_rules_of_certificates_ask_for_what_is_told() {
    let metrics = Metrics::default();
    let day = jiff::Timestamp::from_second(1_900_000_000).unwrap();
    for which in ["authority", "api", "webhook"] {
        metrics.certificate(which, Some(day));
    }
    let text = metrics.text();
    for which in ["authority", "api", "webhook"] {
        let line =
            format!("siyada_operator_certificate_not_after_seconds{{certificate=\"{which}\"}} 1900000000");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    let unreadable = Metrics::default();
    unreadable.certificate("api", None);
    assert!(unreadable.text().contains("{certificate=\"api\"} 0"), "what cannot be read must wake somebody");
}

/// What the exporter of CloudNativePG 1.30 and the kubelet serve of what we name.
const OF_OTHERS: [&str; 14] = [
    "cnpg_backends_total",
    "cnpg_collector_last_available_backup_timestamp",
    "cnpg_collector_pg_wal",
    "cnpg_collector_up",
    "cnpg_pg_database_size_bytes",
    "cnpg_pg_replication_lag",
    "cnpg_pg_settings_setting",
    "cnpg_pg_stat_archiver_last_archived_time",
    "cnpg_pg_stat_archiver_last_failed_time",
    "cnpg_pg_stat_archiver_seconds_since_last_archival",
    "cnpg_pg_stat_database_xact_commit",
    "kubelet_volume_stats_capacity_bytes",
    "kubelet_volume_stats_used_bytes",
    "siyada_operator_conditions_false",
];

#[test]
fn what_is_told_of_one_instance_names_only_metrics_that_there_are() {
    let read = |name: &str| {
        let path = format!("{}/../charts/siyada/files/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let dashboard: serde_json::Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
    let rules: serde_json::Value = serde_saphyr::from_str(&read("instance-alerts.yaml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let of_rules = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let of_panels = panels.iter().map(|panel| panel["targets"][0]["expr"].as_str().unwrap().to_owned());
    let all = of_rules.chain(of_panels).collect::<Vec<_>>().join("\n");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let begins = |w: &&str| ["cnpg_", "kubelet_", "siyada_operator_"].iter().any(|of| w.starts_with(of));
    let named: BTreeSet<&str> = all.split(word).filter(begins).collect();
    let ours = served(&Metrics::default().of_instances());
    assert_eq!(ours.len(), 4, "{ours:?}");
    let known: BTreeSet<&str> = OF_OTHERS.into_iter().chain(ours.iter().map(String::as_str)).collect();
    assert_eq!(named, known);
}

#[test]
fn every_rule_about_one_instance_is_in_the_guide() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let rules: serde_json::Value =
        serde_saphyr::from_str(&read("charts/siyada/files/instance-alerts.yaml")).unwrap();
    let guide = read("docs/guide/platform.md");
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        assert!(guide.contains(&format!("`{name}`")), "{name} is not in the guide");
        assert_eq!(rule["annotations"]["runbook"], "docs/guide/platform.md#one-instance", "{name}");
    }
}
