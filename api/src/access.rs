//! Who may do what: the only file where it is decided.
//!
//! [`TABLE`] names every route with the right it needs; a route that is not in it answers 404 whoever asks.

use crate::auth::Caller;
use crate::error::Error;
use axum::http::Method;
use siyada_model::wire::{Access, PlatformRole, Role, code};
use std::collections::BTreeSet;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing: health and the description of the api.
    Open,
    /// A token that is accepted.
    SignedIn,
    /// Any role in the tenant that the request names, or a role on the platform; else the tenant is not found.
    InTenant,
    /// To see the tenant as for [`Right::InTenant`], and to be an approver of the tenant whose threshold an order
    /// passes, or above it, and not the one who ordered; else it is forbidden. A role on the platform does not do.
    Approve,
    /// To see the tenant as for [`Right::InTenant`], and to have one of these roles in it or above it; national finance
    /// has the role of finance everywhere. Else it is forbidden.
    As(&'static [Role]),
    /// A role on the platform.
    Oversee,
    /// To be national finance or an auditor of the nation: reads what is about the money of all.
    Review,
    /// To be national finance: puts on record who bills and who is billed, and closes months.
    Bill,
    /// To be the operator.
    Operate,
}

/// A route and what it asks.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The method.
    pub method: Method,
    /// The template of the path.
    pub path: &'static str,
    /// What it asks.
    pub right: Right,
}

const fn rule(method: Method, path: &'static str, right: Right) -> Rule {
    Rule { method, path, right }
}

/// Every route there is.
pub const TABLE: &[Rule] = &[
    rule(Method::GET, "/healthz", Right::Open),
    rule(Method::GET, "/readyz", Right::Open),
    rule(Method::GET, "/v1/openapi.json", Right::Open),
    rule(Method::GET, "/v1/whoami", Right::SignedIn),
    rule(Method::GET, "/v1/price-lists", Right::SignedIn),
    rule(Method::PUT, "/v1/price-lists/{name}", Right::Operate),
    rule(Method::DELETE, "/v1/price-lists/{name}", Right::Operate),
    rule(Method::GET, "/v1/tenants", Right::SignedIn),
    rule(Method::GET, "/v1/tenants/{tenant}", Right::InTenant),
    rule(Method::PUT, "/v1/tenants/{tenant}", Right::Operate),
    rule(Method::DELETE, "/v1/tenants/{tenant}", Right::Operate),
    rule(Method::GET, "/v1/tenants/{tenant}/quota", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/reservations", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/commitments", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/approvals", Right::InTenant),
    rule(Method::POST, "/v1/tenants/{tenant}/approvals/{uid}", Right::Approve),
    rule(Method::DELETE, "/v1/tenants/{tenant}/approvals/{uid}", Right::Approve),
    rule(Method::GET, "/v1/approvals", Right::Oversee),
    rule(Method::GET, "/v1/alerts", Right::Oversee),
    rule(Method::GET, "/v1/meters", Right::SignedIn),
    rule(Method::GET, "/v1/tenants/{tenant}/usage", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/intervals", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/usage/grouped", Right::InTenant),
    rule(Method::GET, "/v1/usage/export", Right::Review),
    rule(Method::GET, "/v1/settlement-annex", Right::Review),
    rule(Method::GET, "/v1/costs", Right::Review),
    rule(Method::PUT, "/v1/costs/{fiscalYear}/{category}", Right::Bill),
    rule(Method::GET, "/v1/cost-coverage", Right::Review),
    rule(Method::GET, "/v1/tenants/{tenant}/counters", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/availability", Right::InTenant),
    rule(Method::GET, "/v1/issuer", Right::SignedIn),
    rule(Method::PUT, "/v1/issuer", Right::Bill),
    rule(Method::GET, "/v1/accounts", Right::Oversee),
    rule(Method::PUT, "/v1/accounts/{account}", Right::Bill),
    rule(Method::PUT, "/v1/tenants/{tenant}/orders/{uid}/allocation", Right::As(&[Role::Finance])),
    rule(Method::GET, "/v1/periods", Right::SignedIn),
    rule(Method::GET, "/v1/periods/{month}/closing", Right::Oversee),
    rule(Method::POST, "/v1/periods/{month}/closing", Right::Bill),
    rule(Method::GET, "/v1/tenants/{tenant}/statements", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/statements/{number}", Right::InTenant),
    rule(Method::POST, "/v1/tenants/{tenant}/statements/{number}/credit-notes", Right::Bill),
    rule(Method::GET, "/v1/gaps", Right::Oversee),
    rule(Method::GET, "/v1/tenants/{tenant}/gaps", Right::InTenant),
    rule(
        Method::POST,
        "/v1/tenants/{tenant}/gaps/{id}/decision",
        Right::As(&[Role::Certifier, Role::Finance]),
    ),
    rule(Method::POST, "/v1/tenants/{tenant}/gaps/decisions", Right::As(&[Role::Certifier, Role::Finance])),
    rule(Method::GET, "/v1/chain", Right::SignedIn),
    rule(Method::GET, "/v1/signing-key", Right::SignedIn),
    rule(Method::POST, "/v1/quotes", Right::InTenant),
    rule(Method::GET, "/v1/reservations", Right::Oversee),
    rule(Method::PUT, "/v1/reservations/{uid}", Right::Operate),
    rule(Method::DELETE, "/v1/reservations/{uid}", Right::Operate),
    rule(Method::POST, "/v1/usage", Right::Operate),
    rule(Method::POST, "/v1/usage/counters", Right::Operate),
    rule(Method::POST, "/v1/usage/availability", Right::Operate),
    rule(Method::POST, "/v1/usage/checkpoints", Right::Operate),
    rule(Method::GET, "/v1/collectors/{id}", Right::Oversee),
    rule(Method::GET, "/v1/ledger/journal", Right::Oversee),
    rule(Method::GET, "/v1/health/metering", Right::Oversee),
    rule(Method::GET, "/v1/settings", Right::Oversee),
    rule(Method::PUT, "/v1/settings", Right::Bill),
    rule(Method::GET, "/v1/audit/retention", Right::SignedIn),
    rule(Method::GET, "/v1/audit", Right::Oversee),
    rule(Method::POST, "/v1/audit", Right::Operate),
    rule(Method::GET, "/v1/tenants/{tenant}/audit", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/budget-lines", Right::InTenant),
    rule(Method::GET, "/v1/tenants/{tenant}/budget-lines/{line}", Right::InTenant),
    rule(Method::PUT, "/v1/tenants/{tenant}/budget-lines/{line}", Right::As(&[Role::Finance])),
    rule(Method::GET, "/v1/tenants/{tenant}/statements/{number}/stages", Right::InTenant),
    rule(
        Method::POST,
        "/v1/tenants/{tenant}/statements/{number}/stages",
        Right::As(&[Role::Certifier, Role::Finance]),
    ),
];

/// What `method` on the route `path` asks; nothing when it is not declared.
pub fn required(method: &Method, path: &str) -> Option<Right> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|rule| rule.method == method && rule.path == path).map(|rule| rule.right)
}

/// Who has which role on the platform: subjects or groups.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Who is the operator.
    pub operator: Vec<String>,
    /// Who is national finance.
    pub finance: Vec<String>,
    /// Who audits.
    pub auditor: Vec<String>,
    /// Who administers the platform.
    pub admin: Vec<String>,
}

fn is_among(caller: &Caller, names: &[String]) -> bool {
    names.iter().any(|name| *name == caller.subject || caller.groups.contains(name))
}

impl Platform {
    /// The roles of `caller` on the platform.
    pub fn roles(&self, caller: &Caller) -> BTreeSet<PlatformRole> {
        let named = [
            (PlatformRole::Operator, &self.operator),
            (PlatformRole::Finance, &self.finance),
            (PlatformRole::Auditor, &self.auditor),
            (PlatformRole::Admin, &self.admin),
        ];
        named.into_iter().filter(|(_, names)| is_among(caller, names)).map(|(role, _)| role).collect()
    }
}

/// Whether a caller with these roles may use a route. Rights in a tenant are decided by [`in_tenant`] once the tenant
/// is known.
///
/// # Errors
/// Forbidden, for routes of the platform.
pub fn admit(right: Right, platform: &BTreeSet<PlatformRole>) -> Result<(), Error> {
    let admitted = match right {
        Right::Open | Right::SignedIn | Right::InTenant | Right::Approve | Right::As(_) => true,
        Right::Oversee => !platform.is_empty(),
        Right::Review => {
            platform.contains(&PlatformRole::Finance) || platform.contains(&PlatformRole::Auditor)
        }
        Right::Bill => platform.contains(&PlatformRole::Finance),
        Right::Operate => platform.contains(&PlatformRole::Operator),
    };
    if admitted {
        return Ok(());
    }
    Err(Error::refuse(code::FORBIDDEN, "this route is for the platform; GET /v1/whoami shows who you are"))
}

/// The roles that `caller` has in a tenant by the access lists of its chain: a role above holds below.
pub fn roles_in(caller: &Caller, chain: &[Vec<Access>]) -> BTreeSet<Role> {
    chain.iter().flatten().filter(|a| is_among(caller, &a.groups)).map(|a| a.role).collect()
}

/// The roles that `caller` acts with in a tenant: those of its chain, and finance for national finance.
pub fn acting_roles(
    caller: &Caller,
    platform: &BTreeSet<PlatformRole>,
    chain: &[Vec<Access>],
) -> BTreeSet<Role> {
    let mut roles = roles_in(caller, chain);
    if platform.contains(&PlatformRole::Finance) {
        roles.insert(Role::Finance);
    }
    roles
}

/// Whether somebody with `roles` may do what asks for one of `any`.
///
/// # Errors
/// Forbidden, with the roles that would do.
pub fn may_act(roles: &BTreeSet<Role>, any: &[Role]) -> Result<(), Error> {
    if any.iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    let named: Vec<String> = any.iter().map(ToString::to_string).collect();
    let named = named.join(" or ");
    let detail = format!("only somebody with the role {named} in this tenant, or above it, may do this");
    Err(Error::refuse(code::FORBIDDEN, detail))
}

/// The subject of a caller and its groups.
pub fn names_of(caller: &Caller) -> Vec<String> {
    caller.groups.iter().cloned().chain([caller.subject.clone()]).collect()
}

/// Whether `caller` may decide about an order, given the access lists of the tenant whose threshold it passes and of
/// those above, and who ordered.
///
/// # Errors
/// Forbidden, with what is missing.
pub fn may_approve(caller: &Caller, chain: &[Vec<Access>], requester: Option<&str>) -> Result<(), Error> {
    if requester == Some(caller.subject.as_str()) {
        return Err(Error::refuse(
            code::FORBIDDEN,
            "whoever ordered does not decide about the order; ask another approver",
        ));
    }
    if roles_in(caller, chain).contains(&Role::Approver) {
        return Ok(());
    }
    Err(Error::refuse(
        code::FORBIDDEN,
        "only an approver of the tenant whose threshold it is, or of one above it, decides about this order",
    ))
}

/// Whether `caller` may see a tenant, given the access lists of its chain.
pub fn in_tenant(caller: &Caller, platform: &BTreeSet<PlatformRole>, chain: &[Vec<Access>]) -> bool {
    !platform.is_empty() || !roles_in(caller, chain).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(subject: &str, groups: &[&str]) -> Caller {
        Caller { subject: subject.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect() }
    }
    fn access(role: Role, group: &str) -> Vec<Access> {
        vec![Access { role, groups: vec![group.to_owned()] }]
    }

    #[test]
    fn what_is_not_declared_asks_for_nothing_because_it_does_not_exist() {
        let check = |method, path, expect| assert_eq!(required(&method, path), expect, "{method} {path}");
        check(Method::GET, "/healthz", Some(Right::Open));
        check(Method::HEAD, "/healthz", Some(Right::Open));
        check(Method::DELETE, "/v1/tenants/{tenant}", Some(Right::Operate));
        check(Method::POST, "/v1/tenants/{tenant}", None);
        check(Method::GET, "/v1/secrets", None);
    }

    #[test]
    fn platform_roles_come_from_subjects_and_groups() {
        let platform = Platform {
            operator: vec!["system:serviceaccount:siyada-system:siyada-operator".to_owned()],
            auditor: vec!["auditors".to_owned()],
            ..Platform::default()
        };
        let check = |caller: Caller, expect: &[PlatformRole]| {
            assert_eq!(platform.roles(&caller).into_iter().collect::<Vec<_>>(), expect);
        };
        check(caller("system:serviceaccount:siyada-system:siyada-operator", &[]), &[PlatformRole::Operator]);
        check(caller("amina", &["auditors"]), &[PlatformRole::Auditor]);
        check(caller("amina", &["auditor"]), &[]);
    }

    #[test]
    fn only_an_approver_who_did_not_order_decides() {
        let chain = [access(Role::Approver, "chiefs"), access(Role::Finance, "treasury")];
        let check = |caller: Caller, requester: Option<&str>, expect: bool| {
            assert_eq!(may_approve(&caller, &chain, requester).is_ok(), expect, "{caller:?}");
        };
        check(caller("amina", &["chiefs"]), Some("brahim"), true);
        check(caller("amina", &["chiefs"]), None, true);
        check(caller("amina", &["chiefs"]), Some("amina"), false);
        check(caller("amina", &["treasury"]), Some("brahim"), false);
        check(caller("amina", &[]), Some("brahim"), false);
    }

    #[test]
    fn national_finance_acts_as_finance_everywhere_and_nobody_else_of_the_platform_does() {
        let chain = [access(Role::Certifier, "certifiers")];
        let check = |groups: &[&str], platform: &[PlatformRole], any: &[Role], expect: bool| {
            let roles = acting_roles(&caller("amina", groups), &platform.iter().copied().collect(), &chain);
            assert_eq!(may_act(&roles, any).is_ok(), expect, "{groups:?} {platform:?} {any:?}");
        };
        check(&[], &[PlatformRole::Finance], &[Role::Finance], true);
        check(&[], &[PlatformRole::Finance], &[Role::Certifier], false);
        check(
            &[],
            &[PlatformRole::Admin, PlatformRole::Auditor, PlatformRole::Operator],
            &[Role::Finance],
            false,
        );
        check(&["certifiers"], &[], &[Role::Certifier, Role::Finance], true);
        check(&["certifiers"], &[], &[Role::Finance], false);
    }

    #[test]
    fn only_the_operator_operates_and_only_the_platform_oversees() {
        let check = |right, roles: &[PlatformRole], expect: bool| {
            let roles = roles.iter().copied().collect();
            assert_eq!(admit(right, &roles).is_ok(), expect, "{right:?} {roles:?}");
        };
        check(Right::Operate, &[PlatformRole::Operator], true);
        check(Right::Operate, &[PlatformRole::Admin, PlatformRole::Finance, PlatformRole::Auditor], false);
        check(Right::Oversee, &[PlatformRole::Auditor], true);
        check(Right::Oversee, &[], false);
        check(Right::Review, &[PlatformRole::Operator, PlatformRole::Admin], false);
        check(Right::Review, &[PlatformRole::Auditor], true);
        check(Right::Review, &[PlatformRole::Operator, PlatformRole::Finance], true);
        check(Right::Review, &[], false);
        check(Right::SignedIn, &[], true);
    }

    #[test]
    fn a_role_above_holds_below_and_nowhere_else() {
        let chain = [access(Role::Finance, "treasury"), access(Role::Requester, "interior-apps")];
        let check = |caller: Caller, expect: &[Role]| {
            assert_eq!(roles_in(&caller, &chain).into_iter().collect::<Vec<_>>(), expect);
            assert_eq!(in_tenant(&caller, &BTreeSet::new(), &chain), !expect.is_empty());
        };
        check(caller("a", &["treasury"]), &[Role::Finance]);
        check(caller("interior-apps", &[]), &[Role::Requester]);
        check(caller("a", &["interior"]), &[]);
        assert!(in_tenant(&caller("a", &[]), &BTreeSet::from([PlatformRole::Auditor]), &chain));
    }
}
