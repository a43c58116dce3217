//! The alert rules of the chart: every metric and every word that they name is served, and every runbook is there.

use crate::support::World;
use serde_json::Value;
use siyada_api::checks::look;
use siyada_model::health::Check;
use std::collections::BTreeSet;
use std::time::Instant;

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("charts/siyada/files/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text<'a>(rule: &'a Value, pointer: &str) -> &'a str {
    rule.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} is missing in {rule}"))
}

/// The words of an expression that are not in a text.
fn words(expression: &str) -> BTreeSet<String> {
    let bare: String = expression.split('"').step_by(2).collect();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    bare.split(word).filter(|w| w.starts_with("siyada")).map(ToOwned::to_owned).collect()
}

/// Names of the series that a text of metrics describes.
fn served(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "histogram" => ["bucket", "count", "sum"].map(|part| format!("{name}_{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// The anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[tokio::test]
async fn every_metric_of_the_api_that_a_rule_names_is_served() {
    let world = World::new().await;
    look(&world.state, Instant::now()).await;
    world.anonymous().get("/healthz").await;
    let served = served(&world.state.metrics.text().unwrap());
    let named: BTreeSet<String> = rules().iter().flat_map(|rule| words(text(rule, "/expr"))).collect();
    let (ours, others): (Vec<_>, Vec<_>) = named.iter().partition(|name| name.starts_with("siyada_api_"));
    assert!(ours.len() >= 3, "{named:?}");
    for name in ours {
        assert!(served.contains(name), "{name} is not among {served:?}");
    }
    // A test of the operator looks for these.
    assert!(others.iter().all(|name| name.starts_with("siyada_operator_")), "{others:?}");
}

#[test]
fn every_check_has_its_rule_and_every_rule_of_a_check_has_its_check() {
    let of = |rule: &Value| {
        let found = text(rule, "/expr").split("check=\"").nth(1)?.split('"').next()?.to_owned();
        Some(found)
    };
    let named: Vec<String> = rules().iter().filter_map(of).collect();
    let mut sorted = named.clone();
    sorted.sort();
    let mut all: Vec<String> = Check::ALL.iter().map(|check| check.as_str().to_owned()).collect();
    all.sort();
    assert_eq!(sorted, all);
}

#[test]
fn every_rule_says_how_bad_it_is_what_is_so_and_where_it_stands_in_the_guide() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = text(&rule, "/alert");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(["critical", "warning"].contains(&text(&rule, "/labels/severity")), "{name}");
        assert!(text(&rule, "/annotations/summary").len() > 20, "{name}");
        assert!(text(&rule, "/annotations/description").ends_with('.'), "{name}");
        let (path, wanted) = text(&rule, "/annotations/runbook").split_once('#').unwrap();
        let page = read(path);
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        let found = headings.map(anchor).any(|anchor| anchor == wanted);
        assert!(found, "{name}: {path} has no heading {wanted}");
        assert!(page.contains(&format!("`{name}`")), "{name} is not in {path}");
    }
    assert!(names.len() >= Check::ALL.len() + 2);
}

/// The chart has the rules from that file and only when asked; Helm itself is run where there is a cluster.
#[test]
fn the_chart_takes_the_rules_from_the_file_and_only_if_they_are_wanted() {
    let template = read("charts/siyada/templates/alerts.yaml");
    assert!(template.contains(".Files.Get \"files/alerts.yaml\"") && template.contains("if $rule.enabled"));
    let values: Value = serde_saphyr::from_str(&read("charts/siyada/values.yaml")).unwrap();
    assert_eq!(values.pointer("/monitoring/prometheusRule/enabled"), Some(&Value::Bool(false)));
    let schema: Value = serde_json::from_str(&read("charts/siyada/values.schema.json")).unwrap();
    let known = schema.pointer("/properties").unwrap().as_object().unwrap();
    for key in values.as_object().unwrap().keys() {
        assert!(known.contains_key(key), "values.schema.json refuses {key}");
    }
}
