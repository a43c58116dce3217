//! Who the api takes you for.

use crate::access::names_of;
use crate::auth::Caller;
use crate::error::Error;
use crate::state::App;
use crate::store::tenants;
use axum::Json;
use axum::extract::State;
use siyada_model::wire::{Problem, TenantRole, WhoAmI};

/// Who the api takes you for: subject, groups and roles.
#[utoipa::path(get, path = "/v1/whoami", tag = "access", responses(
    (status = 200, description = "The caller", body = WhoAmI, example = json!({
        "subject": "system:serviceaccount:interior-apps:web",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:interior-apps"],
        "platformRoles": [],
        "tenantRoles": [{"tenant": "interior", "role": "requester"}]
    })),
    (status = 401, description = "No token, or one that is not accepted", body = Problem, content_type = "application/problem+json"),
))]
pub async fn whoami(State(app): State<App>, caller: Caller) -> Result<Json<WhoAmI>, Error> {
    let names = names_of(&caller);
    let roles = tenants::roles_of(&app.pool, &names).await?;
    Ok(Json(WhoAmI {
        platform_roles: app.platform.roles(&caller),
        tenant_roles: roles.into_iter().map(|(tenant, role)| TenantRole { tenant, role }).collect(),
        subject: caller.subject,
        groups: caller.groups,
    }))
}
