//! What is answered when a request is not granted: one enum, one table of codes, one place where it becomes bytes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use siyada_model::ledger::InvalidTransaction;
use siyada_model::money::InvalidMoney;
use siyada_model::price::PriceError;
use siyada_model::quota::Shortfall;
use siyada_model::wire::{ApprovalNeeded, Problem, code};

/// Why a request is not granted.
#[derive(Debug)]
pub enum Error {
    /// It is refused, for a reason that the caller can act on.
    Refused(Box<Problem>),
    /// The database failed; the caller learns only whether to try again.
    Database(sqlx::Error),
    /// Something of ours is broken; the text is for the log.
    Fault(String),
}

/// Status and title of each code.
fn status_and_title(of: &str) -> (StatusCode, &'static str) {
    match of {
        code::UNAUTHENTICATED => (StatusCode::UNAUTHORIZED, "Not authenticated"),
        code::NOT_FOUND => (StatusCode::NOT_FOUND, "Not found"),
        code::FORBIDDEN => (StatusCode::FORBIDDEN, "Not allowed"),
        code::INVALID => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid request"),
        code::QUOTA_EXCEEDED => (StatusCode::CONFLICT, "Quota exceeded"),
        code::TENANT_SUSPENDED => (StatusCode::CONFLICT, "Tenant suspended"),
        code::APPROVAL_PENDING => (StatusCode::CONFLICT, "Approval pending"),
        code::APPROVAL_REJECTED => (StatusCode::CONFLICT, "Approval rejected"),
        code::TENANT_UNKNOWN => (StatusCode::CONFLICT, "Tenant unknown"),
        code::PRICE_UNKNOWN => (StatusCode::CONFLICT, "Price unknown"),
        code::STALE => (StatusCode::CONFLICT, "A newer generation is on record"),
        code::CONFLICT => (StatusCode::CONFLICT, "Conflict with what is on record"),
        code::IN_USE => (StatusCode::CONFLICT, "Still in use"),
        code::TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "Request too large"),
        code::FENCED => (StatusCode::CONFLICT, "A newer collector is on record"),
        code::ISSUER_UNKNOWN => (StatusCode::CONFLICT, "Nobody on record who bills"),
        code::PERIOD_CLOSED => (StatusCode::CONFLICT, "Period closed"),
        code::UNAVAILABLE => (StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "Internal fault"),
    }
}

fn problem(of: &str, detail: String, shortfall: Option<Shortfall>) -> Box<Problem> {
    let (status, title) = status_and_title(of);
    Box::new(Problem {
        type_: format!("urn:siyada:problem:{of}"),
        title: title.to_owned(),
        status: status.as_u16(),
        code: of.to_owned(),
        detail,
        shortfall,
        approval: None,
    })
}

impl Error {
    /// A refusal with one of [`code`] and a sentence with a way out.
    pub fn refuse(of: &str, detail: impl Into<String>) -> Self {
        Self::Refused(problem(of, detail.into(), None))
    }

    /// The request is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::refuse(code::INVALID, detail)
    }

    /// No such thing, or not for this caller: the same bytes for both.
    pub fn not_found() -> Self {
        Self::refuse(code::NOT_FOUND, "there is no such thing here, or it is not yours to see")
    }

    /// No token, or one that is not accepted.
    pub fn unauthenticated(detail: &str) -> Self {
        Self::refuse(code::UNAUTHENTICATED, detail)
    }

    /// The database or something else does not answer in time.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::refuse(code::UNAVAILABLE, detail)
    }

    /// A tenant that is not known.
    pub fn tenant_unknown(name: &str) -> Self {
        Self::refuse(
            code::TENANT_UNKNOWN,
            format!("tenant {name} is not known; push it before what depends on it"),
        )
    }

    /// The quota of a tenant does not suffice.
    pub fn quota_exceeded(shortfall: Shortfall) -> Self {
        let mut detail = format!("{shortfall}; ask for less, free something, or have the limit raised");
        if let Some(words) = shortfall.freeable_words() {
            detail.push_str("; ");
            detail.push_str(&words);
        }
        Self::Refused(problem(code::QUOTA_EXCEEDED, detail, Some(shortfall)))
    }

    /// An approver must decide first, or decided that it may not be.
    pub fn approval(of: &str, detail: String, needed: ApprovalNeeded) -> Self {
        Self::Refused(Box::new(Problem { approval: Some(needed), ..*problem(of, detail, None) }))
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Database(_) | Self::Fault(_) => None,
        }
    }

    /// What the caller reads.
    fn into_problem(self) -> Box<Problem> {
        match self {
            Self::Refused(problem) => problem,
            Self::Database(source) => of_database(&source),
            Self::Fault(cause) => {
                tracing::error!(cause, "failed to answer a request");
                problem(code::INTERNAL, "the ledger failed; its log says why".to_owned(), None)
            }
        }
    }
}

/// What each named constraint means to the caller.
fn of_constraint(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "tenant_depth" => (code::INVALID, "tenants nest at most 8 deep; choose a parent nearer to the root"),
        "tenant_name_unique" => {
            (code::CONFLICT, "a tenant of that name was written at the same time; try again")
        }
        "tenant_quota_held" => {
            (code::INTERNAL, "more would be released than is held; the ledger's sums need a look")
        }
        "tenant_quota_limit" => (code::INVALID, "a limit cannot be negative"),
        "price_list_valid_from_unique" => {
            (code::CONFLICT, "another price list is in force from the same instant; choose another one")
        }
        "price_list_pkey" => {
            (code::CONFLICT, "a price list of that name was written at the same time; try again")
        }
        "approval_decision_by_another" => {
            (code::FORBIDDEN, "whoever ordered does not decide about the order; ask another approver")
        }
        "statement_once_a_month"
        | "statement_has_the_next_number"
        | "statement_extends_the_chain"
        | "period_is_fixed"
        | "period_pkey" => (code::UNAVAILABLE, "somebody else closes or issues at the same time; ask again"),
        "ledger_transaction_sums_to_zero" | "ledger_transaction_is_whole" | "ledger_transaction_follows" => {
            (code::INTERNAL, "the ledger refused entries that do not balance; its log says which")
        }
        "settlement_certified_by_another" => (
            code::FORBIDDEN,
            "whoever ordered something on this statement, or closed it, does not certify it; ask another certifier",
        ),
        "settlement_paid_by_another" => (
            code::FORBIDDEN,
            "whoever certified a service neither orders its payment nor pays it; ask another",
        ),
        "gap_decision_by_another" => (
            code::FORBIDDEN,
            "whoever ordered does not decide whether a gap is billed; ask another certifier",
        ),
        "settlement_order" => {
            (code::CONFLICT, "another stage was put on record at the same time; read the stages again")
        }
        "settlement_payment" => (code::INVALID, "stage paid needs the date of the payment and its reference"),
        "settlement_reason" => (code::INVALID, "stage rejected needs a reason"),
        "budget_line_version_amounts" => (code::INVALID, "credits cannot be negative"),
        "reservation_price_list" => (code::IN_USE, "reservations were priced with this list; it stays"),
        "counter_reading_never_falls" => (
            code::CONFLICT,
            "within one reset id a counter never falls; one that began again has another reset id",
        ),
        "reservation_amounts" | "usage_change_quantity" => (code::INVALID, "an amount cannot be negative"),
        _ => return None,
    })
}

/// SQLSTATE classes and codes after which the same request may succeed.
fn may_succeed_later(state: &str) -> bool {
    // 08 connection, 53 resources, 57 stopped or timed out, 40 serialization or deadlock, 55P03 lock not obtained.
    ["08", "53", "57", "40", "55"].iter().any(|class| state.starts_with(class))
}

fn of_database(source: &sqlx::Error) -> Box<Problem> {
    let unavailable =
        || problem(code::UNAVAILABLE, "the database does not answer now; try again".to_owned(), None);
    match source {
        sqlx::Error::Database(error) => {
            if let Some((of, sentence)) = error.constraint().and_then(of_constraint) {
                return problem(of, sentence.to_owned(), None);
            }
            let state = error.code().unwrap_or_default();
            if state == "22003" {
                return problem(code::INVALID, "a sum is larger than the ledger can hold".to_owned(), None);
            }
            if matches!(&*state, "22021" | "22P05") {
                return problem(
                    code::INVALID,
                    "a text holds a character that is none (NUL)".to_owned(),
                    None,
                );
            }
            if may_succeed_later(&state) {
                tracing::warn!(cause = %source, "the database refused for now");
                return unavailable();
            }
            tracing::error!(cause = %source, "failed to use the database");
            problem(code::INTERNAL, "the ledger failed; its log says why".to_owned(), None)
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            tracing::warn!(cause = %source, "failed to reach the database");
            unavailable()
        }
        _ => {
            tracing::error!(cause = %source, "failed to use the database");
            problem(code::INTERNAL, "the ledger failed; its log says why".to_owned(), None)
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Database(source)
    }
}

impl From<PriceError> for Error {
    fn from(source: PriceError) -> Self {
        match source {
            PriceError::Unknown { .. } => Self::refuse(
                code::PRICE_UNKNOWN,
                format!("{source}; publish a price list that has it and is in force"),
            ),
            PriceError::Money(money) => money.into(),
        }
    }
}

impl From<InvalidTransaction> for Error {
    fn from(source: InvalidTransaction) -> Self {
        match source {
            InvalidTransaction::Money(money) => money.into(),
            other => Self::Fault(other.to_string()),
        }
    }
}

impl From<InvalidMoney> for Error {
    fn from(source: InvalidMoney) -> Self {
        Self::invalid(source.to_string())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.into_problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let check = |of: &str, expect: u16| assert_eq!(status_and_title(of).0.as_u16(), expect, "{of}");
        check(code::UNAUTHENTICATED, 401);
        check(code::FORBIDDEN, 403);
        check(code::NOT_FOUND, 404);
        check(code::INVALID, 422);
        for of in [
            code::QUOTA_EXCEEDED,
            code::TENANT_SUSPENDED,
            code::APPROVAL_PENDING,
            code::APPROVAL_REJECTED,
            code::TENANT_UNKNOWN,
            code::PRICE_UNKNOWN,
            code::STALE,
            code::CONFLICT,
            code::IN_USE,
            code::FENCED,
            code::ISSUER_UNKNOWN,
            code::PERIOD_CLOSED,
        ] {
            check(of, 409);
        }
        check(code::TOO_LARGE, 413);
        check(code::UNAVAILABLE, 503);
        check(code::INTERNAL, 500);
    }

    #[test]
    fn what_may_succeed_later_is_told_from_what_may_not() {
        let check = |state: &str, expect: bool| assert_eq!(may_succeed_later(state), expect, "{state}");
        check("40P01", true);
        check("57P01", true);
        check("53300", true);
        check("23505", false);
        check("42P01", false);
    }
}
