//! What is needed to judge an order: tenants, sites, offerings and prices, as plain data.

use crate::namespaces::Bound;
use jiff::Timestamp;
use siyada_crds::{PriceList, ServiceOffering, Site, Tenant};
use siyada_model::classification::Classification;
use siyada_model::id::{PriceListName, TenantName};
use siyada_model::money::{Currency, InvalidMoney, Money};
use siyada_model::price::{MOST_PRICE_DECIMALS, SkuPrice, Unit};
use siyada_model::quantity::{InvalidQuantity, bytes, cpu_milli};
use siyada_model::quota::Quota;
use siyada_model::wire::{Access, AlertRules, Billing, DisplayName, Role, TenantRecord};
use siyada_model::{id::InvalidId, price};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tenants above a tenant that are looked at: the tree is at most so deep, and a circle ends here.
pub const DEEPEST: usize = 8;

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
    /// The namespaces that are bound to a tenant; absent without a cluster, when what a Tenant lists is believed.
    pub bound: Option<Arc<BTreeMap<String, Bound>>>,
}

impl Catalogue {
    /// The tenant that a namespace belongs to: the one it is bound to. What a Tenant merely lists may be somebody
    /// else's. Without a cluster, where two list it, the older one has it, then the lesser name.
    pub fn tenant_of(&self, namespace: &str) -> Option<&Arc<Tenant>> {
        if let Some(bound) = &self.bound {
            let bound = bound.get(namespace).filter(|b| !b.engine)?;
            return self.tenant(&bound.tenant);
        }
        let claims = |t: &&Arc<Tenant>| t.spec.namespaces.iter().any(|n| n.0 == namespace);
        self.tenants
            .iter()
            .filter(claims)
            .min_by_key(|t| (t.metadata.creation_timestamp.as_ref().map(|at| at.0), t.metadata.name.clone()))
    }

    /// A tenant by its name.
    pub fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.iter().find(|t| t.metadata.name.as_deref() == Some(name))
    }

    /// A tenant and those above it, nearest first.
    pub fn chain<'a>(&'a self, tenant: &'a Tenant) -> Vec<&'a Tenant> {
        let mut chain = vec![tenant];
        while let Some(parent) = chain.last().and_then(|t| t.spec.parent.as_deref())
            && chain.len() <= DEEPEST
            && let Some(parent) = self.tenant(parent)
        {
            chain.push(parent);
        }
        chain
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
        reference: None,
    };
    let name = &spec.display_name;
    Ok(TenantRecord {
        uid: tenant.metadata.uid.clone().unwrap_or_default(),
        generation: tenant.metadata.generation.unwrap_or(1),
        parent: spec.parent.clone().map(TryInto::try_into).transpose()?,
        display_name: DisplayName {
            fr: name.fr.clone(),
            ar: name.ar.clone(),
            en: name.en.clone(),
            zgh: name.zgh.clone(),
        },
        namespaces: listed(tenant).map(|(name, _)| name.to_owned()).collect(),
        access: spec.access.iter().map(access).collect(),
        quota: quota(&spec.quota)?,
        suspended: spec.suspend,
        billing,
        data_classification: classification(tenant),
        soft_limit_percent: spec.soft_limit_percent.map(percent),
        approval_above: spec.approval_above.as_ref().map(money).transpose()?,
        alerts: alerts(spec.alerts.as_ref()),
    })
}

/// The namespaces that a tenant lists: by name, and by uid where one exists already.
pub fn listed(tenant: &Tenant) -> impl Iterator<Item = (&str, Option<&str>)> {
    let made = tenant.spec.namespaces.iter().map(|n| (n.0.as_str(), None));
    made.chain(tenant.spec.existing_namespaces.iter().map(|n| (n.name.as_str(), Some(n.uid.as_str()))))
}

/// The schema bounds it already.
fn percent(value: i32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn alerts(spec: Option<&siyada_crds::tenant::AlertsSpec>) -> AlertRules {
    let usual = AlertRules::default();
    let Some(spec) = spec else { return usual };
    AlertRules {
        percent: spec
            .percent
            .as_ref()
            .map_or(usual.percent, |all| all.iter().copied().map(percent).collect()),
        targets: spec.targets.iter().map(|t| t.0.clone()).collect(),
    }
}

fn money(amount: &siyada_crds::shared::Amount) -> Result<Money, InvalidMoney> {
    Money::parse(&amount.amount, amount.currency.parse()?)
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
    Access { role, groups: entry.groups.iter().map(|g| g.0.clone()).collect() }
}

fn quota(spec: &siyada_crds::tenant::QuotaSpec) -> Result<Quota, Unreadable> {
    Ok(Quota {
        instances: spec.instances.map(i64::from),
        cpu_milli: spec.cpu.as_deref().map(cpu_milli).transpose()?,
        memory_bytes: spec.memory.as_deref().map(bytes).transpose()?,
        storage_bytes: spec.storage.as_deref().map(bytes).transpose()?,
        monthly_cost: spec.monthly_cost.as_ref().map(money).transpose()?,
    })
}
