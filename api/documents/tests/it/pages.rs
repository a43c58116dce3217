//! The PDF, judged by pypdf (tags) and poppler (text).

use crate::fixture::{OVERRIDE, credit_note, hostile_month, month, order, statement};
use crate::tools::{output, poppler, python, written};
use proptest::prelude::*;
use serde_json::Value;
use siyada_documents::{Language, pdf};
use siyada_model::canonical::sha256;
use siyada_model::statement::Statement;
use siyada_model::statement::chain::extend;
use std::path::Path;
use std::process::Command;

const TENANTS: [&str; 3] = ["interieur", "sante", "protection-civile"];

/// What the PDF says about itself.
pub fn tags(file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tags.py");
    serde_json::from_str(&output(Command::new(python()).arg(script).arg(file), "")).unwrap()
}

/// The text of the tags in their order, with one space between words.
pub fn read(file: &Path) -> String {
    let text = poppler("pdfinfo", &["-struct-text"], file, &[]);
    let quoted = text.lines().map(str::trim).filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    words(&quoted.collect::<Vec<_>>().join(" "))
}

/// Every run of spaces, those that do not break too, as one.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `parts` stand in `text` one after the other.
pub fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} does not come next in: {rest}"));
        rest = &rest[at + part.len()..];
    }
}

/// Elements of a role, in reading order.
fn all<'a>(element: &'a Value, role: &str, found: &mut Vec<&'a Value>) {
    if element["role"] == role {
        found.push(element);
    }
    element["children"].as_array().unwrap().iter().for_each(|child| all(child, role, found));
}

pub fn elements<'a>(tags: &'a Value, role: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    tags["tree"].as_array().unwrap().iter().for_each(|element| all(element, role, &mut found));
    found
}

fn conforms(tags: &Value, language: Language) {
    is_tagged(tags, language);
    assert_eq!(tags["created"], "2026-11-03T08:15:07+00:00");
    assert!(tags["outline"].as_array().unwrap().len() >= 5);
}

/// Everything is tagged, and every row of a table has as many columns as the others.
pub fn is_tagged(tags: &Value, language: Language) {
    assert_eq!(tags["lang"], language.tag());
    for promise in ["marked", "shows_title", "conforms", "same_contents", "embedded", "tabs"] {
        assert_eq!(tags[promise], true, "{promise}");
    }
    assert_eq!(tags["unmarked"], 0, "something is drawn outside of any tag");
    assert_eq!(tags["direction"], if language == Language::Arabic { "R2L" } else { "L2R" });
    let first = &tags["tree"][0]["children"][0];
    assert_eq!(first["role"], "H1");
    for table in elements(tags, "Table") {
        let (mut rows, mut heads) = (Vec::new(), Vec::new());
        all(table, "TR", &mut rows);
        all(table, "TH", &mut heads);
        assert!(heads.iter().any(|head| head["scope"] == "Column" || head["scope"] == "Row"));
        assert!(heads.iter().all(|head| head["scope"] != ""));
        let width = |row: &&Value| -> i64 {
            row["children"].as_array().unwrap().iter().map(|cell| cell["span"].as_i64().unwrap()).sum()
        };
        let widths: Vec<i64> = rows.iter().map(width).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "rows of {widths:?} columns");
    }
}

#[test]
fn the_tags_say_what_everything_is() {
    let month = month(&TENANTS, 3);
    for language in Language::ALL {
        for (name, statement) in [("month", &month), ("credit", &credit_note(&month))] {
            let file =
                written(&format!("tags-{name}-{}.pdf", language.tag()), &pdf(statement, language).unwrap());
            let tags = tags(&file);
            conforms(&tags, language);
            assert!(tags["title"].as_str().unwrap().ends_with(&statement.number));
            // In a credit note corrections are lines like others, and it has neither gaps nor availability.
            let tables = if name == "credit" { 5 } else { 8 };
            assert_eq!(
                elements(&tags, "Table").len(),
                tables,
                "facts, totals, booked, lines, corrections, gaps, availability, proof"
            );
        }
    }
}

/// The text of the statement has these parts one after the other, and the proof, and names of every script.
fn reads(statement: &Statement, language: Language, parts: &[&str]) {
    let hash = sha256(&statement.bytes().unwrap());
    let chain = extend(&statement.previous_chain, &hash);
    let text = read(&written(&format!("order-{}.pdf", language.tag()), &pdf(statement, language).unwrap()));
    in_order(&text, parts);
    in_order(&text, &[&hash, &statement.previous_chain, &chain, "118", "918273"]);
    in_order(&text, &["ⵜⴰⵙⵏⵓⵔⴰⵢⵜ ⵜⴰⵏⴰⵎⵓⵔⵜ ⵏ ⵓⵙⵏⵙⵉ", "ⵜⴰⵎⴰⵡⴰⵙⵜ ⵏ ⵓⴳⵏⵙⵓ"]);
    // Names of both directions beside each other, in whole.
    in_order(&text, &["ميزانية الاستثمار", "interieur-prod/registre-0000", "interieur-prod/registre-0001"]);
}

#[test]
fn text_is_read_in_its_order_in_every_language() {
    let check = |language, parts: &[&str]| reads(&month(&TENANTS, 3), language, parts);
    check(
        Language::French,
        &[
            "Décompte mensuel · octobre 2026",
            "SIY-2026-000042",
            "3 novembre 2026, 08:15:07 UTC",
            "Agence nationale d’hébergement souverain",
            "ICE : 001234567000089",
            "Ministère de l’Intérieur",
            "Montant à payer : 3 076,96 MAD",
            "octobre 2026 · 744 h",
            "2026-10-01 00:00:00 UTC",
            "2026-11-01 00:00:00 UTC",
            "Africa/Casablanca (2026f)",
            "Hors taxes 2 585,49",
            "10,5 % 269,73 28,32",
            "20 % 2 315,76 463,15",
            "Toutes taxes comprises 3 076,96",
            "Opération taxable : CGI, articles 89-I-5° et 98",
            "2.1.3.20-10 État civil — 393,57 73,02 466,59",
            "Entité : interieur 862,34",
            "PostgresInstance · interieur-prod/registre-0000 · 7c0f9a3e-5d1b-4c52-9e0a-000000000000",
            "Calcul · postgres-small de 2026-10-01 00:00:00 à 2026-10-17 09:41:00.500 tarif-2026-07 393,683 h 0,2035 20 % 80,11",
            "Stockage · storage-standard tarif-2026-07 14 880,000 Gio·h 0,00201389 10,5 % 29,97",
            "Corrections de mois antérieurs",
            "2026-09 · Calcul · postgres-small",
            "-7,500 h 0,2035 20 % -1,53",
            "Lacunes de mesure",
            "سجل التدخل رقم 77، بتاريخ 9 أكتوبر 2026",
            "Disponibilité",
            "interieur-prod/registre-0000",
            "744:00:00 743:33:07.750 0:21:52.250 0:05:00 99,95",
            "744:00:00 0:00:00 0:00:00 744:00:00 —",
            "Preuve et vérification",
        ],
    );
    check(
        Language::Arabic,
        &[
            "كشف شهري للخدمات · أكتوبر 2026",
            "الرقم SIY-2026-000042 · تاريخ الإصدار 3 نونبر 2026، 08:15:07 UTC",
            "الوكالة الوطنية للإيواء السيادي",
            "التعريف الموحد للمقاولة: 001234567000089",
            "وزارة الداخلية",
            "المبلغ الواجب أداؤه: 3 076,96 MAD",
            "مع احتساب جميع الرسوم 3 076,96",
            "الكيان: interieur 862,34",
            "الحوسبة · postgres-small من 2026-10-01 00:00:00 إلى 2026-10-17 09:41:00.500",
            "التخزين · storage-standard tarif-2026-07 14 880,000 GiB·h 0,00201389 10,5 % 29,97",
            "-7,500 ساعة 0,2035 20 % -1,53",
            "فجوات القياس",
            "التوفر",
            "744:00:00 743:33:07.750 0:21:52.250 0:05:00 99,95",
            "للوثيقة (JSON، RFC 8785) الموجودة في التصدير، ويعرضها الأمر sha256sum.",
            "siyada-api verify --export DIR",
        ],
    );
    check(
        Language::English,
        &[
            "Monthly statement · October 2026",
            "Amount due: 3,076.96 MAD",
            "20% 2,315.76 463.15",
            "14,880.000 GiB·h",
        ],
    );
}

#[test]
fn the_same_statement_gives_the_same_bytes() {
    let statement = month(&TENANTS, 2);
    for language in Language::ALL {
        let file = pdf(&statement, language).unwrap();
        assert!(file == pdf(&statement.clone(), language).unwrap());
        let other = Statement { as_of: statement.as_of + 1, ..statement.clone() };
        assert!(file != pdf(&other, language).unwrap());
    }
}

#[test]
fn hostile_names_are_texts_of_limited_length() {
    let statement = hostile_month();
    for language in Language::ALL {
        let bytes = pdf(&statement, language).unwrap();
        let file = written(&format!("hostile-{}.pdf", language.tag()), &bytes);
        let tags = tags(&file);
        conforms(&tags, language);
        assert!(tags["pages"].as_u64().unwrap() <= 8);
        for active in
            ["/JS", "/JavaScript", "/OpenAction", "/AA", "/URI", "/Launch", "/EmbeddedFiles", "/AcroForm"]
        {
            assert!(!tags["keys"].as_array().unwrap().iter().any(|key| key == active), "{active}");
        }
        let text = read(&file);
        assert!(
            text.contains("=cmd()|' /C calc'!A0 gnp.exe *bold* #read(\"x\") \\input{x} <script> &amp;"),
            "{text}"
        );
        assert!(!text.contains(OVERRIDE) && !text.contains(&"x".repeat(400)));
        stands_on_the_page(&file);
    }
}

/// Nothing stands outside of the margins, and no two words on each other.
pub fn stands_on_the_page(file: &Path) {
    let text = poppler("pdftotext", &["-bbox"], file, &["-"]);
    let side = |line: &str, name: &str| -> f32 {
        line.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    let mut words: Vec<[f32; 4]> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("<page") {
            words.clear();
        } else if line.starts_with("<word") {
            let word = ["xMin", "yMin", "xMax", "yMax"].map(|name| side(line, name));
            assert!(word[0] >= 41.5 && word[2] <= 553.8 && word[1] >= 40.0 && word[3] <= 822.0, "{line}");
            // Boxes are as high as the font; letters fill their middle.
            let over = |other: &&[f32; 4]| {
                let middle = |word: &[f32; 4]| (word[1] + word[3]) / 2.0;
                (middle(other) - middle(&word)).abs() < 4.0
                    && other[0] < word[2] - 0.6
                    && word[0] < other[2] - 0.6
            };
            assert!(words.iter().find(over).is_none(), "{line} stands on {:?}", words.iter().find(over));
            words.push(word);
        }
    }
}

#[test]
fn a_long_statement_has_its_headers_and_its_number_on_every_page() {
    let mut statement = month(&["interieur", "sante"], 230);
    statement.availability.truncate(3);
    assert!(statement.lines.len() > 1_000);
    for (language, header, page) in [(Language::French, "Mesure et article", "Page {} sur {}")] {
        let file = written(&format!("long-{}.pdf", language.tag()), &pdf(&statement, language).unwrap());
        let tags = tags(&file);
        conforms(&tags, language);
        let heads = elements(&tags, "THead");
        assert_eq!(heads.len(), 6, "a header that comes again is no content");
        let text = poppler("pdftotext", &["-layout"], &file, &["-"]);
        let pages: Vec<&str> = text.split('\u{C}').filter(|page| !page.trim().is_empty()).collect();
        assert!(pages.len() > 20);
        for (index, content) in pages.iter().enumerate() {
            let number =
                page.replacen("{}", &(index + 1).to_string(), 1).replace("{}", &pages.len().to_string());
            assert!(content.contains(&number) && content.contains(&statement.number), "{number}");
            // The last page has the gaps, the availability and the proof.
            assert!(content.contains(header) || index + 1 == pages.len(), "page {} has no header", index + 1);
        }
        stands_on_the_page(&file);
        let read = read(&file);
        for index in 0..230 {
            let order = order("sante", index);
            assert!(read.contains(&format!("{}/{} · {}", order.namespace, order.name, order.uid)));
        }
    }
}

#[test]
fn a_letter_that_no_font_has_is_shown_as_missing() {
    let mut statement = statement(Vec::new(), Vec::new());
    statement.issuer.address = Some("東京 🦀 Rabat \u{E000} ﷽ ﷺ".to_owned());
    let text = read(&written("letters.pdf", &pdf(&statement, Language::English).unwrap()));
    in_order(
        &text,
        &["Address: \u{FFFD}\u{FFFD} \u{FFFD} Rabat \u{FFFD}", "No service was used in this period."],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_text_can_be_printed(name in "\\PC{0,200}|[\\u{600}-\\u{6FF} a-z0-9()\\u{200C}\\u{200D}]{0,80}|.{0,60}", kind in any::<String>()) {
        let mut statement = month(&["interieur"], 1);
        statement.issuer.display_name.ar = Some(name.clone());
        statement.issuer.display_name.zgh = Some(name.clone());
        statement.lines[0].order.name = name;
        statement.lines[0].order.kind = kind;
        for language in Language::ALL {
            prop_assert!(pdf(&statement, language).is_ok());
        }
    }
}
