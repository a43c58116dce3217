//! The description: committed, and true to what is served.

use serde::de::DeserializeOwned;
use serde_json::Value;
use siyada_api::openapi::{document, examples};
use siyada_model::usage::Interval;
use siyada_model::wire;

#[test]
fn the_committed_description_is_the_one_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api/openapi.json");
    let now = document().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/api/openapi.json is not what the code says; refresh it: UPDATE=1 cargo test -p siyada-api openapi"
    );
}

#[test]
fn every_example_is_a_value_of_its_type() {
    fn check<T: DeserializeOwned>(example: Value) {
        if let Err(cause) = serde_json::from_value::<T>(example.clone()) {
            panic!("{cause}: {example}");
        }
    }
    check::<wire::TenantRecord>(examples::tenant());
    check::<wire::PriceListRecord>(examples::price_list());
    check::<wire::QuotaView>(examples::quota());
    check::<wire::QuoteRequest>(examples::quote_request());
    check::<wire::Quote>(examples::quote());
    check::<wire::ReservationRequest>(examples::reservation_request());
    check::<wire::Reservation>(examples::reservation());
    check::<wire::Problem>(examples::shortfall());
    check::<wire::MeterRecord>(examples::meter());
    check::<wire::UsageBatch>(examples::usage_batch());
    check::<wire::CounterBatch>(examples::counter_batch());
    check::<wire::Counted>(examples::counted());
    check::<wire::AvailabilityBatch>(examples::availability_batch());
    check::<wire::AvailabilityReport>(examples::availability());
    check::<wire::Checkpoint>(examples::checkpoint());
    check::<wire::CollectorRecord>(examples::collector());
    check::<wire::UsageReport>(examples::report());
    check::<Interval>(examples::interval());
    check::<wire::TenantSummary>(examples::tenant_summary());
    check::<wire::Approval>(examples::approval());
    check::<wire::ApprovalDecision>(examples::decision());
    check::<wire::ApproveRequest>(examples::approve_request());
    check::<wire::Alert>(examples::alert());
    check::<wire::Commitments>(examples::commitments());
    check::<siyada_model::budget::BudgetLineRecord>(examples::budget_line_record());
    check::<siyada_model::budget::BudgetLine>(examples::budget_line());
    check::<siyada_api::routes::budget::BudgetLineHistory>(examples::budget_line_history());
    check::<siyada_model::settlement::StageRequest>(examples::stage_request());
    check::<siyada_model::settlement::BookedStages>(examples::booked_stages());
    check::<siyada_model::statement::breakdown::GroupedUsage>(examples::grouped());
    check::<siyada_model::national::ExportEnd>(examples::export_end());
    check::<siyada_model::national::SettlementAnnex>(examples::annex());
    check::<siyada_model::coverage::CostRecord>(examples::cost_record());
    check::<siyada_model::coverage::CostVersion>(examples::cost());
    check::<siyada_model::coverage::CostCoverage>(examples::coverage());
    check::<siyada_model::audit::AuditEvent>(examples::audit_event());
    check::<siyada_model::act::PlatformAct>(examples::platform_act());
    check::<siyada_model::audit::Retention>(examples::audit_retention());
    check::<siyada_model::schedule::Settings>(examples::settings());
    check::<siyada_model::health::MeteringHealth>(examples::metering_health());
}

#[test]
fn every_reference_of_the_description_resolves() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&document().unwrap()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
