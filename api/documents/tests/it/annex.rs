//! The settlement annex as PDF, judged by pypdf (tags) and poppler (text).

use crate::fixture::{booking, credit_note, hostile, month};
use crate::pages::{elements, in_order, is_tagged, read, stands_on_the_page, tags};
use crate::tools::written;
use siyada_documents::{Language, annex_pdf};
use siyada_model::canonical::{bytes, sha256};
use siyada_model::money::Money;
use siyada_model::national::{Movement, SettlementAnnex, Side};
use siyada_model::statement::{Statement, StatementKind};

/// What a document moves, as the ledger says it.
fn movements(document: &Statement, prices: &str) -> Vec<Movement> {
    let money = |minor| Money { minor, currency: document.currency };
    let movement = |booked: &siyada_model::statement::BookedTotal| Movement {
        month: document.period.month,
        number: document.number.clone(),
        kind: document.kind,
        tenant: document.buyer.tenant.clone(),
        account: document.buyer.account.clone(),
        from: Side { party: document.buyer.party.clone(), budget_line: booked.booking.budget_line.clone() },
        cost_centre: booked.booking.cost_centre.clone(),
        reference: booked.booking.reference.clone(),
        to: Side { party: document.issuer.clone(), budget_line: Some("SEGMA 10".to_owned()) },
        net: money(booked.net_minor),
        tax: money(booked.tax_minor),
        gross: money(booked.gross_minor),
        legal_basis: vec![prices.to_owned()],
        tax_legal_basis: document.tax.legal_basis().to_owned(),
        reason: document.reason.clone(),
    };
    document.totals.booked.iter().map(movement).collect()
}

fn annex(movements: Vec<Movement>) -> SettlementAnnex {
    let zero = Money::zero(siyada_model::money::Currency::MAD);
    let gross = movements.iter().map(|m| m.gross).try_fold(zero, Money::add).unwrap();
    let months = ("2026-10".parse().unwrap(), "2026-11".parse().unwrap());
    SettlementAnnex::new(months, movements, gross).unwrap()
}

/// Two buyers, a credit note of the first, and prices on two legal bases.
fn october() -> SettlementAnnex {
    let first = month(&["interieur", "protection-civile"], 3);
    let mut second = month(&["sante"], 2);
    second.number = "SIY-2026-000043".to_owned();
    second.buyer.tenant = "sante".parse().unwrap();
    second.buyer.account = "1.2.27".to_owned();
    second.buyer.party.display_name.fr = Some("Ministère de la Santé".to_owned());
    second.buyer.party.display_name.ar = Some("وزارة الصحة".to_owned());
    let mut all = movements(&first, "Arrêté conjoint n° 12-26");
    all.extend(movements(&second, "Arrêté conjoint n° 31-26"));
    all.extend(movements(&credit_note(&first), "Arrêté conjoint n° 12-26"));
    annex(all)
}

#[test]
fn the_annex_is_tagged_and_read_in_its_order_in_every_language() {
    let annex = october();
    let hash = sha256(&bytes(&annex).unwrap());
    let check = |language: Language, parts: &[&str]| {
        let file = annex_pdf(&annex, language).unwrap();
        assert!(file == annex_pdf(&annex.clone(), language).unwrap());
        let file = written(&format!("annex-{}.pdf", language.tag()), &file);
        let tags = tags(&file);
        is_tagged(&tags, language);
        assert_eq!(elements(&tags, "Table").len(), 3, "facts, movements, legal bases");
        let text = read(&file);
        in_order(&text, parts);
        in_order(&text, &[&hash, "SIY-2026-000042", "SIY-C-2026-", "SIY-2026-000043"]);
        stands_on_the_page(&file);
    };
    check(
        Language::French,
        &[
            "Annexe de règlement entre administrations",
            "octobre 2026 – novembre 2026",
            "Montant à régler : 627,94 MAD",
            "Bénéficiaire : Agence nationale d’hébergement souverain",
            "Ministère de l’Intérieur · ICE 000987654000012 · Compte min-interieur 0,00",
            "Décompte mensuel SIY-2026-000042 · octobre 2026 · Base 1",
            "2.1.3.20-10 · État civil SEGMA 10",
            "Avoir SIY-C-2026-",
            "Motif",
            "Ministère de la Santé",
            "Base 2",
            "Total",
            "Bases légales",
            "1 Arrêté conjoint n° 12-26 CGI, articles 89-I-5° et 98",
            "2 Arrêté conjoint n° 31-26",
        ],
    );
    check(
        Language::Arabic,
        &["ملحق التسوية بين الإدارات", "627,94 MAD", "المستفيد", "وزارة الصحة", "الأسس القانونية"],
    );
    check(Language::English, &["Settlement annex between administrations", "Receiver", "Legal bases"]);
}

#[test]
fn hostile_texts_and_an_annex_of_nothing_are_pages_too() {
    let mut all = october().movements;
    for movement in &mut all {
        movement.reason = (movement.kind == StatementKind::CreditNote).then(hostile);
        movement.from.party.display_name.fr = Some(hostile());
        movement.from.party.display_name.ar = Some(hostile());
        movement.from.budget_line = booking(Some(&hostile()), None, None).budget_line;
        movement.legal_basis = vec![hostile()];
    }
    for language in Language::ALL {
        let file = written(
            &format!("annex-hostile-{}.pdf", language.tag()),
            &annex_pdf(&annex(all.clone()), language).unwrap(),
        );
        is_tagged(&tags(&file), language);
        stands_on_the_page(&file);
        let empty = written(
            &format!("annex-empty-{}.pdf", language.tag()),
            &annex_pdf(&annex(vec![]), language).unwrap(),
        );
        is_tagged(&tags(&empty), language);
    }
}
