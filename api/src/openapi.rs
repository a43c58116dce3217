//! The description of the api: what is said once, and the examples.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

const ABOUT: &str = "The ledger of Siyada: tenants and their quotas, price lists, reservations, usage and what it \
costs.\n\nCallers send a token as `Authorization: Bearer ...`, a JWT with the audience of this api: people one of an issuer of \
OpenID Connect that the platform configured, programs a Kubernetes service account token. People's subjects and groups \
are qualified by the prefix of their issuer, and nothing that begins with `system:` is theirs. Every refusal is an RFC 9457 problem with a stable `code`. What does not exist and what is not yours is \
answered alike, with 404. Writes may be sent again: the same content changes nothing. Every list is paged.\n\nMoney \
is whole minor units with their currency, prices are decimals as text, instants are UTC to the millisecond.";

const TOKEN: &str = "An access token of an issuer that this api trusts, signed by RS256, ES256, PS256 or EdDSA, with \
the audience of this api: of people's OpenID Connect issuers, or of the cluster (a service account's). `siyada login` \
or `kubectl create token NAME --audience siyada-api` gives one.";

/// Everything but the routes.
pub fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Siyada ledger")
        .version("v1")
        .description(Some(ABOUT))
        .license(Some(license))
        .build();
    let bearer = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(TOKEN))
            .build(),
    );
    OpenApiBuilder::new()
        .info(info)
        .components(Some(ComponentsBuilder::new().security_scheme("token", bearer).build()))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

/// The description as it is committed and printed.
///
/// # Errors
/// Never in practice: the description is plain data.
pub fn document() -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&crate::routes::description())? + "\n")
}

/// Bodies as they are really sent; a test reads each as its type.
pub mod examples {
    use serde_json::{Value, json};

    const ORDER: &str = "4b0c8c1e-6a0e-4f7e-9d55-0c2f4f1c7a11";
    const COLLECTOR: &str = "0d9a4c52-7b1e-4a55-8f0e-6b1f3f1b2a90";

    /// A tenant.
    pub fn tenant() -> Value {
        json!({
            "uid": "a3a1f0a2-0c7b-4f43-9a3c-1f6f0b7f1c55",
            "generation": 3,
            "parent": "kingdom",
            "displayName": {"fr": "Ministère de l'Intérieur", "ar": "وزارة الداخلية", "en": "Ministry of the Interior", "zgh": "ⵜⴰⵎⴰⵡⴰⵙⵜ ⵏ ⵓⴳⵏⵙⵓ"},
            "namespaces": ["interior-apps"],
            "access": [{"role": "requester", "groups": ["system:serviceaccounts:interior-apps"]}],
            "quota": {
                "instances": 20, "cpuMilli": 40_000, "memoryBytes": 171_798_691_840_i64,
                "storageBytes": 1_099_511_627_776_i64, "monthlyCost": {"minor": 5_000_000, "currency": "MAD"}
            },
            "suspended": false,
            "billing": {"account": "1.2.10", "costCentre": "DSI", "budgetLine": "2026-30-10"},
            "dataClassification": "Confidential",
            "softLimitPercent": 80,
            "approvalAbove": {"minor": 1_000_000, "currency": "MAD"},
            "alerts": {"percent": [70, 85, 95, 100], "targets": ["treasury"]}
        })
    }

    /// The body that bills.
    pub fn issuer() -> Value {
        json!({
            "displayName": {"fr": "Agence nationale de l'hébergement", "ar": "الوكالة الوطنية للاستضافة", "en": "National Hosting Agency"},
            "ice": "001234567000089", "taxId": "12345678", "address": "Avenue Annakhil, Rabat",
            "timeZone": "Africa/Casablanca", "fiscalYearStartMonth": 1, "numberPrefix": "SIY",
            "tax": {"regime": "taxable", "rateBasisPoints": 2_000, "legalBasis": "CGI, art. 98"},
            "requireBudgetLine": true
        })
    }

    /// A month's cost by day and service.
    pub fn grouped() -> Value {
        json!({
            "tenant": "interior", "month": "2026-11", "start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z",
            "timeZone": "Africa/Casablanca", "tzDatabase": "2026f", "until": "2026-11-02T12:00:00Z", "closed": false,
            "groupBy": ["day", "service"],
            "rows": [{
                "day": "2026-11-02", "service": "PostgresInstance",
                "amount": {"minor": 1_500, "currency": "MAD"}, "forecast": {"minor": 3_000, "currency": "MAD"},
                "opens": "/v1/tenants/interior/usage/grouped?period=2026-11&groupBy=day,service,instance&day=2026-11-02&service=PostgresInstance"
            }],
            "total": {"minor": 1_500, "currency": "MAD"}, "forecast": {"minor": 3_000, "currency": "MAD"}
        })
    }

    /// The last record of an export.
    pub fn export_end() -> Value {
        json!({
            "record": "end", "rows": 20_000, "minor": "93125000", "currency": "MAD",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        })
    }

    /// A settlement between administrations.
    pub fn annex() -> Value {
        let money = |minor: i64| json!({"minor": minor, "currency": "MAD"});
        json!({
            "from": "2026-10", "to": "2026-10",
            "movements": [{
                "month": "2026-10", "number": "SIY-2026-000001", "kind": "statement", "tenant": "interior",
                "account": "1.2.10",
                "from": {"displayName": {"fr": "Ministère de l'Intérieur"}, "ice": "009876543000012", "budgetLine": "2026-30-10"},
                "costCentre": "DSI",
                "to": {"displayName": {"fr": "Agence nationale de l'hébergement"}, "ice": "001234567000089", "budgetLine": "SEGMA-10"},
                "net": money(93_125), "tax": money(0), "gross": money(93_125),
                "legalBasis": ["Arrêté conjoint n° 12-26"], "taxLegalBasis": "CGI, art. 89: État non entrepreneur"
            }],
            "net": money(93_125), "tax": money(0), "gross": money(93_125), "ledgerGross": money(93_125)
        })
    }

    /// What was spent.
    pub fn cost_record() -> Value {
        json!({
            "displayName": {"fr": "Énergie", "ar": "الطاقة", "en": "Energy"},
            "amount": {"minor": 250_000_000, "currency": "MAD"}, "source": "Compte administratif 2026, chapitre 20"
        })
    }

    /// What was spent, on record.
    pub fn cost() -> Value {
        let mut cost = cost_record();
        cost["fiscalYear"] = json!(2026);
        cost["category"] = json!("energy");
        cost["version"] = json!(1);
        cost["by"] = json!("oidc:nadia");
        cost["at"] = json!("2026-11-24T08:00:00Z");
        cost
    }

    /// Costs and what covers them.
    pub fn coverage() -> Value {
        let money = |minor: i64| json!({"minor": minor, "currency": "MAD"});
        json!({
            "fiscalYear": 2026, "billed": money(93_125_000), "paid": money(41_000_000), "costs": money(250_000_000),
            "billedBasisPoints": 3_725, "paidBasisPoints": 1_640, "thresholdBasisPoints": 3_000, "reached": true,
            "months": [{"month": "2026-10", "billed": money(93_125_000), "paid": money(41_000_000)}],
            "services": [{"service": "PostgresInstance", "billed": money(93_125_000)}],
            "categories": [cost()]
        })
    }

    /// What the ledger does by itself.
    pub fn settings() -> Value {
        json!({"closing": {"dayOfMonth": 5, "hour": 6}, "auditRetentionYears": 10})
    }

    /// How long the audit trail is kept.
    pub fn audit_retention() -> Value {
        json!({
            "years": 10, "keptSince": "2016-11-25T06:00:00Z",
            "anchor": {"seq": 1_204, "at": "2016-11-24T15:12:00Z", "sha256": "5".repeat(64)}
        })
    }

    /// The health of metering.
    pub fn metering_health() -> Value {
        let fine = |check: &str| json!({"check": check, "ok": true, "count": 0, "examples": []});
        json!({"at": "2026-11-25T06:00:00Z", "ok": false, "checks": [
            {
                "check": "intervalWithoutPrice", "ok": false, "count": 1,
                "examples": [{
                    "orderUid": ORDER, "tenant": "interior",
                    "detail": "compute by postgres-huge, which the price list in force does not know"
                }],
                "advice": siyada_model::health::Check::IntervalWithoutPrice.advice()
            },
            fine("watermarkStandsStill")
        ]})
    }

    /// An account without its name.
    pub fn account_record() -> Value {
        json!({
            "displayName": {"fr": "Ministère de l'Intérieur", "ar": "وزارة الداخلية", "en": "Ministry of the Interior"},
            "ice": "009876543000012",
            "tax": {"regime": "outside", "legalBasis": "CGI, art. 89: État non entrepreneur"}
        })
    }

    /// An account.
    pub fn account() -> Value {
        let mut account = account_record();
        account["account"] = json!("1.2.10");
        account
    }

    /// Where an order is booked.
    pub fn allocation() -> Value {
        json!({"shares": [
            {"costCentre": "DSI", "budgetLine": "2026-30-10", "millionths": 600_000},
            {"costCentre": "DGSN", "budgetLine": "2026-30-20", "millionths": 400_000}
        ]})
    }

    /// A month.
    pub fn period() -> Value {
        json!({
            "month": "2026-09", "start": "2026-08-31T23:00:00Z", "end": "2026-10-01T00:00:00Z",
            "timeZone": "Africa/Casablanca", "tzDatabase": "2026f"
        })
    }

    /// What a closing would come to.
    pub fn closing() -> Value {
        json!({
            "month": "2026-09", "closed": false, "statements": 0,
            "blockers": [{
                "reason": "budgetLineMissing", "tenant": "interior", "orderUid": ORDER,
                "detail": "order interior-apps/registry has no budget line in 2026-09; set costAllocation.budgetLine on it"
            }]
        })
    }

    /// A document in a list.
    pub fn statement_entry() -> Value {
        json!({
            "number": "SIY-2026-000001", "kind": "statement", "tenant": "interior", "month": "2026-09",
            "issuedAt": "2026-10-02T08:00:00Z", "net": {"minor": 90_125, "currency": "MAD"},
            "gross": {"minor": 108_150, "currency": "MAD"}, "position": 1,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "chain": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
        })
    }

    /// A link of the chain.
    pub fn chain_link() -> Value {
        let entry = statement_entry();
        json!({
            "position": entry["position"], "number": entry["number"], "sha256": entry["sha256"], "chain": entry["chain"]
        })
    }

    /// What is taken back.
    pub fn credit() -> Value {
        json!({"key": "2026-10-05/1", "reason": "Panne du 3 septembre", "lines": [{"line": 0, "minor": 1_250}]})
    }

    /// A price list.
    pub fn price_list() -> Value {
        json!({
            "uid": "6c1d7f2e-63c6-4c0d-8a4b-0e0c3c6f5d10",
            "legalBasis": "Arrêté n° 2026-114",
            "prices": {
                "name": "tarif-2026", "currency": "MAD", "validFrom": "2026-01-01T00:00:00Z",
                "skus": [
                    {"sku": "postgres-small", "unit": "Hour", "price": "1.25"},
                    {"sku": "block-storage", "unit": "GibHour", "price": "0.0021"}
                ]
            }
        })
    }

    fn resources() -> Value {
        json!({"instances": 1, "cpuMilli": 1_000, "memoryBytes": 2_147_483_648_i64, "storageBytes": 10_737_418_240_i64})
    }

    fn items() -> Value {
        json!([{"sku": "postgres-small", "quantity": 1}, {"sku": "block-storage", "quantity": 10_240}])
    }

    /// An order and what it holds.
    fn held_order() -> Value {
        json!({
            "orderUid": ORDER, "tenant": "interior", "kind": "PostgresInstance", "namespace": "interior-apps",
            "name": "registry",
            "commitment": {"resources": resources(), "monthlyCost": {"minor": 94_690, "currency": "MAD"}}
        })
    }

    /// A quota and what is held of it.
    pub fn quota() -> Value {
        json!({
            "tenant": "interior",
            "limit": {"instances": 20, "monthlyCost": {"minor": 5_000_000, "currency": "MAD"}},
            "held": {"resources": resources(), "monthlyCost": {"minor": 94_690, "currency": "MAD"}},
            "reservations": 1,
            "dimensions": [
                {"dimension": "instances", "limit": 20, "held": 1, "used": 1, "free": 19, "over": 0},
                {"dimension": "cpu", "held": 1_000, "used": 1_000, "over": 0},
                {"dimension": "memory", "held": 2_147_483_648_i64, "used": 2_147_483_648_i64, "over": 0},
                {"dimension": "storage", "held": 10_737_418_240_i64, "used": 10_737_418_240_i64, "over": 0},
                {"dimension": "monthlyCost", "limit": 5_000_000, "held": 94_690, "used": 94_690, "free": 4_905_310, "over": 0}
            ],
            "largest": [held_order()],
            "pending": {"count": 1, "monthlyCost": {"minor": 1_240_000, "currency": "MAD"}}
        })
    }

    /// A tenant in a list.
    pub fn tenant_summary() -> Value {
        json!({
            "tenant": "interior", "parent": "kingdom", "suspended": false,
            "displayName": {"fr": "Ministère de l'Intérieur", "ar": "وزارة الداخلية"}
        })
    }

    fn commitment() -> Value {
        json!({"resources": resources(), "monthlyCost": {"minor": 1_240_000, "currency": "MAD"}})
    }

    fn needed() -> Value {
        json!({
            "tenant": "kingdom", "above": {"minor": 1_000_000, "currency": "MAD"},
            "asked": {"minor": 1_240_000, "currency": "MAD"}
        })
    }

    /// What an approver says.
    pub fn approve_request() -> Value {
        json!({"upTo": {"minor": 1_300_000, "currency": "MAD"}, "comment": "Budget 2026, chapter 30"})
    }

    /// A decision.
    pub fn decision() -> Value {
        json!({
            "id": 12, "orderUid": ORDER, "approved": true, "by": "oidc:brahim", "at": "2026-11-02T10:00:00Z",
            "upTo": {"resources": resources(), "monthlyCost": {"minor": 1_300_000, "currency": "MAD"}},
            "comment": "Budget 2026, chapter 30"
        })
    }

    /// An order that was approved.
    pub fn approval() -> Value {
        json!({
            "orderUid": ORDER, "tenant": "interior", "kind": "PostgresInstance", "namespace": "interior-apps",
            "name": "registry", "plan": "large", "requester": "oidc:amina", "state": "approved",
            "asked": commitment(), "askedAt": "2026-11-02T09:00:00.125Z", "needed": needed(), "decision": decision()
        })
    }

    /// A crossing.
    pub fn alert() -> Value {
        json!({
            "id": 7, "at": "2026-11-02T09:00:00.125Z", "tenant": "interior", "dimension": "monthlyCost",
            "percent": 85, "held": 4_300_000, "limit": 5_000_000, "currency": "MAD"
        })
    }

    /// Commitments and where they lead.
    pub fn commitments() -> Value {
        let mut row = held_order();
        for (key, value) in [
            ("plan", json!("small")),
            ("requester", json!("oidc:amina")),
            ("priceList", json!("tarif-2026")),
            ("billing", json!({"costCentre": "DSI", "budgetLine": "2026-30-10"})),
            ("retained", json!(false)),
            ("heldSince", json!("2026-11-02T09:00:00.125Z")),
        ] {
            row[key] = value;
        }
        let money = |minor: i64| json!({"minor": minor, "currency": "MAD"});
        json!({
            "tenant": "interior", "items": [row], "reservations": 1,
            "total": {"resources": resources(), "monthlyCost": money(94_690)},
            "forecast": {
                "month": {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "used": money(1_250), "total": money(87_210)},
                "fiscalYear": {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "used": money(1_250), "total": money(181_840)}
            }
        })
    }

    /// A question for a price.
    pub fn quote_request() -> Value {
        json!({"tenant": "interior", "resources": resources(), "items": items()})
    }

    /// Its answer.
    pub fn quote() -> Value {
        json!({
            "monthlyMaximum": {"minor": 94_690, "currency": "MAD"}, "priceList": "tarif-2026",
            "committed": {"minor": 0, "currency": "MAD"}, "committedAfter": {"minor": 94_690, "currency": "MAD"},
            "limit": {"minor": 5_000_000, "currency": "MAD"},
            "softLimits": [{
                "tenant": "interior", "dimension": "instances", "percent": 80, "held": 17, "limit": 20
            }],
            "approvalNeeded": {
                "tenant": "kingdom", "above": {"minor": 50_000, "currency": "MAD"},
                "asked": {"minor": 94_690, "currency": "MAD"}
            }
        })
    }

    /// A journal of one transaction.
    pub const JOURNAL: &str = "commodity MAD\n    format 1000.00 MAD\n\naccount receivable:interior\n\
        account revenue:PostgresInstance\naccount tax:2000\n\n2026-10-31 (statement/SIY-2026-000001) statement\n    \
        receivable:interior  1200.00 MAD\n    revenue:PostgresInstance  -1000.00 MAD\n    tax:2000  -200.00 MAD\n";

    /// Something that somebody did.
    pub fn audit_event() -> Value {
        json!({
            "seq": 12, "at": "2026-11-02T10:00:00Z", "actor": "oidc:brahim", "action": "approval.approve",
            "tenant": "interior", "object": format!("order/{ORDER}"),
            "detail": {"requester": "oidc:amina", "upTo": {"minor": 1_300_000, "currency": "MAD"}},
            "previousSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
        })
    }

    /// A forced deletion.
    pub fn platform_act() -> Value {
        let finalizers = ["example.org/backup"];
        let object = json!({
            "kind": "Cluster", "namespace": "siyada-t-interior", "name": "registry-9f86d08188",
            "uid": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "finalizers": finalizers
        });
        json!({
            "action": "order.forceDelete", "orderUid": ORDER, "kind": "PostgresInstance",
            "namespace": "interior-apps", "name": "registry", "tenant": "interior", "by": "oidc:brahim",
            "reason": "the backup tool that holds it was removed", "at": "2026-11-30T08:00:00Z",
            "blocked": "Cluster siyada-t-interior/registry-9f86d08188 is held by its finalizers example.org/backup",
            "dataKept": false, "left": [object], "moreLeft": 0
        })
    }

    /// Credits of a budget line.
    pub fn budget_line_record() -> Value {
        json!({
            "fiscalYear": 2026, "displayName": {"fr": "Hébergement", "ar": "الاستضافة"},
            "nomenclature": [{"key": "chapitre", "value": "30"}, {"key": "article", "value": "10"}],
            "opened": {"minor": 12_000_000, "currency": "MAD"}, "carried": {"minor": 500_000, "currency": "MAD"}
        })
    }

    fn budget_line_version() -> Value {
        let mut version = budget_line_record();
        for (key, value) in
            [("version", json!(1)), ("by", json!("oidc:amina")), ("at", json!("2026-01-02T09:00:00.125Z"))]
        {
            version[key] = value;
        }
        version
    }

    /// A budget line and how far its credits went.
    pub fn budget_line() -> Value {
        let money = |minor: i64| json!({"minor": minor, "currency": "MAD"});
        let mut line = budget_line_version();
        for (key, value) in [
            ("tenant", json!("interior")),
            ("line", json!("2026-30-10")),
            ("heldMonthly", money(94_690)),
            ("committed", money(303_008)),
            ("billed", money(113_628)),
            ("certified", money(113_628)),
            ("ordered", money(113_628)),
            ("paid", money(0)),
            ("remainingToCommit", money(12_196_992)),
            ("remainingToPay", money(303_008)),
        ] {
            line[key] = value;
        }
        line
    }

    /// The same with every version.
    pub fn budget_line_history() -> Value {
        let mut line = budget_line();
        line["versions"] = json!([budget_line_version()]);
        line
    }

    /// A stage that is put on record.
    pub fn stage_request() -> Value {
        json!({"stage": "paid", "budgetLine": "2026-30-10", "date": "2026-11-20", "reference": "OP-2026-0042"})
    }

    /// What a statement books on a line, and its stages.
    pub fn booked_stages() -> Value {
        let money = json!({"minor": 113_628, "currency": "MAD"});
        json!({
            "budgetLine": "2026-30-10", "amount": money, "stage": "certified",
            "history": [{
                "statement": "SIY-2026-000001", "budgetLine": "2026-30-10", "stage": "certified", "amount": money,
                "fiscalYear": 2026, "by": "oidc:fatima", "at": "2026-11-03T10:00:00Z", "reference": "SF-17"
            }]
        })
    }

    /// Time that could not be measured, and what was decided of it.
    pub fn gap() -> Value {
        json!({
            "id": 7,
            "order": {
                "tenant": "interior", "namespace": "interior-apps", "name": "registry", "uid": ORDER,
                "kind": "PostgresInstance"
            },
            "meter": "compute", "level": {"sku": "postgres-small", "quantity": 1},
            "start": "2026-10-03T08:00:00Z", "end": "2026-10-03T10:30:00Z", "reason": "notSeen",
            "recordedAt": "2026-10-03T10:30:00Z",
            "decision": {
                "billed": false, "evidence": "Le service ne répondait pas", "by": "oidc:fatima",
                "at": "2026-10-05T09:00:00Z"
            }
        })
    }

    /// What is decided of a gap.
    pub fn gap_decision() -> Value {
        json!({"billed": false, "evidence": "Le service ne répondait pas"})
    }

    /// What is decided of several.
    pub fn gap_decisions() -> Value {
        json!({"gaps": [7, 8], "billed": false, "evidence": "Le service ne répondait pas"})
    }

    /// What an order asks for.
    pub fn reservation_request() -> Value {
        json!({
            "generation": 1, "tenant": "interior", "namespace": "interior-apps", "name": "registry",
            "kind": "PostgresInstance", "plan": "small", "requester": "amina@interior.example",
            "billing": {"costCentre": "DSI"}, "resources": resources(), "items": items(), "retained": false
        })
    }

    /// What it then holds.
    pub fn reservation() -> Value {
        json!({
            "orderUid": ORDER, "request": reservation_request(),
            "commitment": {"resources": resources(), "monthlyCost": {"minor": 94_690, "currency": "MAD"}},
            "priceList": "tarif-2026", "heldSince": "2026-11-02T09:00:00.125Z"
        })
    }

    /// A refusal.
    pub fn shortfall() -> Value {
        json!({
            "type": "urn:siyada:problem:quota-exceeded", "title": "Quota exceeded", "status": 409,
            "code": "quota-exceeded",
            "detail": "instances of tenant interior: asked 1, free 0 of 20; ask for less, free something, or have the limit raised; the largest that could be freed: PostgresInstance interior-apps/registry (1)",
            "shortfall": {
                "tenant": "interior", "dimension": "instances", "asked": 1, "free": 0, "limit": 20,
                "freeable": [{"kind": "PostgresInstance", "namespace": "interior-apps", "name": "registry", "amount": 1}]
            }
        })
    }

    /// A meter.
    pub fn meter() -> Value {
        json!({
            "name": "compute", "baseUnit": "instance", "kind": "level",
            "displayName": {"fr": "Calcul", "ar": "الحوسبة", "en": "Compute"}
        })
    }

    /// What a collector saw.
    pub fn usage_batch() -> Value {
        json!({
            "collector": COLLECTOR, "epoch": 7,
            "facts": [{
                "orderUid": ORDER, "tenant": "interior", "meter": "compute",
                "level": {"sku": "postgres-small", "quantity": 1}, "at": "2026-11-02T09:00:41Z", "reason": "Ready"
            }]
        })
    }

    /// Where counters stood.
    pub fn counter_batch() -> Value {
        json!({
            "collector": COLLECTOR, "epoch": 7,
            "readings": [{
                "orderUid": ORDER, "tenant": "interior", "meter": "transactions",
                "windowEnd": "2026-11-02T10:00:07.120Z", "resetId": "2026-10-28T09:12:44Z", "value": 18_250
            }]
        })
    }

    /// What a counter counted.
    pub fn counted() -> Value {
        json!({
            "order": {
                "tenant": "interior", "namespace": "interior-apps", "name": "registry", "uid": ORDER,
                "kind": "PostgresInstance"
            },
            "meter": "transactions", "start": "2026-11-02T09:00:04.870Z", "end": "2026-11-02T10:00:07.120Z",
            "quantity": "1830", "mayMiss": false
        })
    }

    /// What a collector found.
    pub fn availability_batch() -> Value {
        json!({
            "collector": COLLECTOR, "epoch": 7, "clockMs": 3_600_000,
            "changes": [{"orderUid": ORDER, "tenant": "interior", "state": "down", "clockMs": 3_598_400}],
            "complete": true
        })
    }

    /// How available instances were.
    pub fn availability() -> Value {
        json!({
            "tenant": "interior", "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z",
            "instances": [{
                "order": {
                    "tenant": "interior", "namespace": "interior-apps", "name": "registry", "uid": ORDER,
                    "kind": "PostgresInstance"
                },
                "shouldRunMs": 2_592_000_000_i64, "upMs": 2_590_400_000_i64, "downMs": 1_300_000,
                "unobservedMs": 300_000, "percent": "99.94"
            }],
            "total": {
                "shouldRunMs": 2_592_000_000_i64, "upMs": 2_590_400_000_i64, "downMs": 1_300_000,
                "unobservedMs": 300_000, "percent": "99.94"
            }
        })
    }

    /// What is still as reported.
    pub fn checkpoint() -> Value {
        json!({"collector": COLLECTOR, "epoch": 7, "seen": [ORDER], "complete": true})
    }

    /// A collector.
    pub fn collector() -> Value {
        json!({
            "collector": COLLECTOR, "epoch": 7,
            "watermark": "2026-11-02T09:05:00.004Z", "lastSeen": "2026-11-02T09:05:00.002Z"
        })
    }

    /// An interval.
    pub fn interval() -> Value {
        json!({
            "orderUid": ORDER, "meter": "compute", "level": {"sku": "postgres-small", "quantity": 1},
            "start": "2026-11-02T09:00:41Z", "end": "2026-11-02T19:00:41Z"
        })
    }

    /// A report.
    pub fn report() -> Value {
        json!({
            "tenant": "interior", "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z",
            "lines": [{
                "tenant": "interior", "namespace": "interior-apps", "name": "registry", "kind": "PostgresInstance",
                "plan": "small", "billing": {"costCentre": "DSI"}, "orderUid": ORDER, "meter": "compute",
                "sku": "postgres-small", "priceList": "tarif-2026", "unitPrice": "1.25", "quantityMs": "36000000",
                "amount": {"minor": 1_250, "currency": "MAD"}
            }],
            "total": {"minor": 1_250, "currency": "MAD"}
        })
    }
}
