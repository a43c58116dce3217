//! FOCUS, judged by the official validator of 1.2 and a linter of 1.4.

use crate::csv::{minor, rows};
use crate::fixture::{credit_note, hostile_month, month, statements};
use crate::tools::{output, python, validator, written};
use proptest::prelude::*;
use siyada_documents::{FocusVersion, focus};
use siyada_model::statement::Statement;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const VERSIONS: [FocusVersion; 2] = [FocusVersion::V1_2, FocusVersion::V1_4];
/// What we claim to support: rules on it count too.
const CLAIMED: &str = "ACCOUNT_NAMING_SUPPORTED,PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,\
    UNIT_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED,\
    RESOURCE_TYPE_ASSIGNMENT_SUPPORTED,TAGGING_SUPPORTED";
/// The one rule of the model 1.2.0.1 that no invoice can pass: its condition is empty, so it wants every InvoiceId null.
const BROKEN: &str = "InvoiceId-C-004-C";

fn exported() -> [(&'static str, Vec<Statement>); 2] {
    let month = month(&["interieur", "sante", "protection-civile"], 3);
    let note = credit_note(&month);
    [("month", vec![month, note]), ("hostile", vec![hostile_month()])]
}

#[test]
fn the_official_validator_of_1_2_finds_nothing() {
    for (name, statements) in exported() {
        let file = written(
            &format!("focus-{name}-1.2.csv"),
            focus(&statements, FocusVersion::V1_2).unwrap().as_bytes(),
        );
        let mut command = Command::new(python());
        // Blocked, or it would ask for newer models; it reads its own files relative to where it is.
        command.current_dir(validator(python())).args(["-m", "focus_validator.main", "--block-download"]);
        command.args(["--validate-version", "1.2.0.1", "--focus-dataset", "CostAndUsage"]);
        command.args(["--show-violations", "--applicability-criteria", CLAIMED, "--data-file"]).arg(file);
        let report = output(&mut command, "");
        let failed: Vec<&str> = report.lines().filter(|line| line.contains(": FAIL")).collect();
        assert!(failed.iter().all(|line| line.contains(BROKEN)), "{report}");
        assert!(report.contains("Pass: 243 | Fail: 1 |"), "other rules were judged than before: {report}");
    }
}

#[test]
fn the_linter_of_1_4_finds_nothing() {
    for (name, statements) in exported() {
        let file = written(
            &format!("focus-{name}-1.4.csv"),
            focus(&statements, FocusVersion::V1_4).unwrap().as_bytes(),
        );
        let mut command = Command::new(python());
        command.args(["-m", "focus_data_toolkit", "validate", "--dataset", "cost-and-usage"]).arg(file);
        let report = output(&mut command, "");
        assert!(report.contains("(STRUCTURAL_VALID, SEMANTIC_VALID)"), "{report}");
    }
}

#[test]
fn the_judges_refuse_what_is_wrong() {
    let text = focus(&[month(&["interieur"], 1)], FocusVersion::V1_4).unwrap();
    let file = written("focus-wrong-1.4.csv", text.replace(",Usage,", ",Use,").as_bytes());
    let mut command = Command::new(python());
    command.args(["-m", "focus_data_toolkit", "validate", "--dataset", "cost-and-usage"]).arg(file);
    assert!(!command.output().unwrap().status.success());
}

#[test]
fn rows_say_what_kind_of_charge_they_are() {
    let statement = month(&["interieur"], 1);
    let note = credit_note(&statement);
    for version in VERSIONS {
        let rows = rows(&focus(&[statement.clone(), note.clone()], version).unwrap());
        let of = |invoice: &str, category: &str, class: &str| {
            let same = |row: &&BTreeMap<String, String>| {
                row["InvoiceId"] == invoice
                    && row["ChargeCategory"] == category
                    && row["ChargeClass"] == class
            };
            rows.iter().filter(same).count()
        };
        let parts =
            |statement: &Statement| statement.lines.iter().map(|line| line.parts.len()).sum::<usize>();
        assert_eq!(of(&statement.number, "Usage", ""), parts(&statement));
        assert_eq!(of(&statement.number, "Usage", "Correction"), 1);
        assert_eq!(of(&statement.number, "Tax", ""), statement.totals.taxes.len());
        assert_eq!(of(&note.number, "Credit", ""), parts(&statement) + 1);
        let first = &rows[0];
        let expected = [
            ("BillingPeriodStart", "2026-10-01T00:00:00Z"),
            ("ChargePeriodEnd", "2026-10-17T09:41:00Z"),
            ("PricingQuantity", "131.227693"),
            ("ListUnitPrice", "0.2035"),
            ("ListCost", "26.7048355255"),
            ("BilledCost", "26.70"),
            ("Tags", r#"{"budgetLine":"2.1.3.10-30","costCentre":"DSI","reference":"BC 12/2026"}"#),
            ("ServiceSubcategory", "Relational Databases"),
        ];
        for (column, value) in expected {
            assert_eq!(first[column], value, "{column}");
        }
    }
}

#[test]
fn names_keep_their_letters_in_1_4_and_are_ascii_in_1_2() {
    let mut statement = month(&["interieur"], 1);
    statement.issuer.display_name.en = None;
    let issuer =
        |version| rows(&focus(&[statement.clone()], version).unwrap())[0]["InvoiceIssuerName"].clone();
    assert_eq!(issuer(FocusVersion::V1_2), "Agence nationale d'hebergement souverain");
    assert_eq!(issuer(FocusVersion::V1_4), "Agence nationale d’hébergement souverain");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn i18_the_billed_cost_of_an_invoice_is_its_gross_total(statement in statements()) {
        let mut statements = vec![statement.clone()];
        // Nothing is credited of nothing.
        if statement.lines.iter().chain(&statement.corrections).any(|line| line.parts.iter().any(|part| part.minor != 0)) {
            statements.push(credit_note(&statement));
        }
        for version in VERSIONS {
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for row in rows(&focus(&statements, version).unwrap()) {
                *sums.entry(row["InvoiceId"].clone()).or_default() += minor(&row["BilledCost"], &statement);
            }
            for statement in &statements {
                prop_assert_eq!(sums.get(&statement.number).copied().unwrap_or_default(), statement.totals.gross_minor);
            }
        }
    }

    #[test]
    fn every_line_has_an_id_of_its_own_that_stays(statement in statements()) {
        let ids = |version| -> Vec<String> {
            rows(&focus(std::slice::from_ref(&statement), version).unwrap()).iter().map(|row| row["x_LineId"].clone()).collect()
        };
        let (first, again) = (ids(FocusVersion::V1_2), ids(FocusVersion::V1_4));
        prop_assert_eq!(&first, &again);
        prop_assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
    }
}
