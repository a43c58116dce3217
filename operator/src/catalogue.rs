//! What is needed to judge an order: tenants, sites, offerings and prices, as plain data.

use jiff::Timestamp;
use siyada_crds::{PriceList, ServiceOffering, Site, Tenant};
use siyada_model::classification::Classification;
use siyada_model::id::{PriceListName, TenantName};
use siyada_model::money::{Currency, InvalidMoney, Money};
use siyada_model::price::{MOST_PRICE_DECIMALS, SkuPrice, Unit};
use siyada_model::quantity::{InvalidQuantity, bytes, cpu_milli};
use siyada_model::quota::Quota;
use siyada_model::wire::{Access, Billing, DisplayName, Role, TenantRecord};
use siyada_model::{id::InvalidId, price};
use std::sync::Arc;

/// Everything an order is judged by. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Every tenant.
    pub tenants: Vec<Arc<Tenant>>,
    /// Every site.
    pub sites: Vec<Arc<Site>>,
    /// Every offering.
    pub offerings: Vec<Arc<ServiceOffering>>,
    /// Every readable price list.
    pub price_lists: Vec<price::PriceList>,
}

impl Catalogue {
    /// The tenant that a namespace belongs to. Where two claim it, the older one has it, then the lesser name.
    pub fn tenant_of(&self, namespace: &str) -> Option<&Arc<Tenant>> {
        let claims = |t: &&Arc<Tenant>| t.spec.namespaces.iter().any(|n| n.0 == namespace);
        self.tenants
            .iter()
            .filter(claims)
            .min_by_key(|t| (t.metadata.creation_timestamp.as_ref().map(|at| at.0), t.metadata.name.clone()))
    }
}

/// Why an object of the catalogue cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A name.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A quantity.
    #[error(transparent)]
    Quantity(#[from] InvalidQuantity),
    /// An amount.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
    /// A date.
    #[error("validFrom {0:?} is not a date and time with its offset, like 2026-07-01T00:00:00+01:00")]
    Time(String),
    /// A price.
    #[error("price {0:?} is not a plain number with at most {MOST_PRICE_DECIMALS} decimals")]
    Price(String),
}

/// Reads a `PriceList`.
///
/// # Errors
/// [`Unreadable`] says which value, and what is wanted.
pub fn price_list(object: &PriceList) -> Result<price::PriceList, Unreadable> {
    let name: PriceListName = object.metadata.name.clone().unwrap_or_default().try_into()?;
    let currency: Currency = object.spec.currency.parse()?;
    let valid_from: Timestamp =
        object.spec.valid_from.parse().map_err(|_| Unreadable::Time(object.spec.valid_from.clone()))?;
    let sku = |p: &siyada_crds::catalogue::SkuPrice| {
        let unit = match p.unit {
            siyada_crds::catalogue::PriceUnit::Hour => Unit::Hour,
            siyada_crds::catalogue::PriceUnit::GibHour => Unit::GibHour,
        };
        let price = p.price.parse().map_err(|_| Unreadable::Price(p.price.clone()))?;
        Ok::<_, Unreadable>(SkuPrice { sku: p.sku.parse()?, unit, price })
    };
    let skus = object.spec.skus.iter().map(sku).collect::<Result<_, _>>()?;
    Ok(price::PriceList { name, currency, valid_from, skus })
}

/// The name of a tenant.
///
/// # Errors
/// [`InvalidId`] when it is longer than a namespace can carry.
pub fn tenant_name(tenant: &Tenant) -> Result<TenantName, InvalidId> {
    tenant.metadata.name.clone().unwrap_or_default().try_into()
}

/// The highest class of data a tenant may hold.
pub fn classification(tenant: &Tenant) -> Classification {
    tenant.spec.data_classification.into()
}

/// Reads a `Tenant` as the ledger wants it.
///
/// # Errors
/// [`Unreadable`] says which value, and what is wanted.
pub fn tenant_record(tenant: &Tenant) -> Result<TenantRecord, Unreadable> {
    let spec = &tenant.spec;
    let billing = Billing {
        account: spec.billing.account.clone(),
        cost_centre: spec.billing.cost_centre.clone(),
        budget_line: spec.billing.budget_line.clone(),
    };
    let name = &spec.display_name;
    Ok(TenantRecord {
        uid: tenant.metadata.uid.clone().unwrap_or_default(),
        generation: tenant.metadata.generation.unwrap_or(1),
        parent: spec.parent.clone().map(TryInto::try_into).transpose()?,
        display_name: DisplayName { fr: name.fr.clone(), ar: name.ar.clone(), en: name.en.clone() },
        namespaces: spec.namespaces.iter().map(|n| n.0.clone()).collect(),
        access: spec.access.iter().map(access).collect(),
        quota: quota(&spec.quota)?,
        suspended: spec.suspend,
        billing,
        data_classification: classification(tenant),
    })
}

fn access(entry: &siyada_crds::tenant::AccessEntry) -> Access {
    use siyada_crds::tenant::RoleName;
    let role = match entry.role {
        RoleName::Requester => Role::Requester,
        RoleName::Admin => Role::Admin,
        RoleName::Approver => Role::Approver,
        RoleName::Finance => Role::Finance,
        RoleName::Certifier => Role::Certifier,
        RoleName::Auditor => Role::Auditor,
    };
    Access { role, groups: entry.groups.clone() }
}

fn quota(spec: &siyada_crds::tenant::QuotaSpec) -> Result<Quota, Unreadable> {
    let money = |a: &siyada_crds::shared::Amount| Money::parse(&a.amount, a.currency.parse()?);
    Ok(Quota {
        instances: spec.instances.map(i64::from),
        cpu_milli: spec.cpu.as_deref().map(cpu_milli).transpose()?,
        memory_bytes: spec.memory.as_deref().map(bytes).transpose()?,
        storage_bytes: spec.storage.as_deref().map(bytes).transpose()?,
        monthly_cost: spec.monthly_cost.as_ref().map(money).transpose()?,
    })
}
