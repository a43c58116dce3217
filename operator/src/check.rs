//! Is an order possible? The same function answers at `kubectl apply` and in the reconciler.

use crate::backup::{self, Backups};
use crate::catalogue::{Catalogue, Unreadable, classification, tenant_name};
use crate::condition::{kind, reason};
use crate::last_backup;
use crate::major::never_back;
use crate::order::{Kind, Order};
use crate::plan::major;
use crate::window::Maintenance;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use siyada_crds::catalogue::{AllowedParameter, EngineVersion, Lifecycle, Plan};
use siyada_crds::{ServiceOffering, Site, Tenant};
use siyada_model::classification::Classification;
use siyada_model::id::{PriceListName, Sku, TenantName};
use siyada_model::money::Money;
use siyada_model::price::{Item, PriceError, in_force};
use siyada_model::quantity::{MIB, bytes, cpu_milli, show_bytes};
use siyada_model::resources::Resources;
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::Billing;
use std::collections::BTreeMap;

/// An order that can be planned. Only [`check`] makes one.
#[expect(
    clippy::manual_non_exhaustive,
    reason = "the private field keeps every other module of this crate from making one"
)]
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// The order.
    pub order: Order,
    /// Who pays.
    pub tenant: TenantName,
    /// Image of the database.
    pub image: String,
    /// Image of the document gateway, for documents.
    pub gateway_image: Option<String>,
    /// Name of the offering.
    pub offering: String,
    /// Name of the plan.
    pub plan: String,
    /// CPU of each instance in millicores.
    pub cpu_milli: i64,
    /// Memory of each instance in bytes.
    pub memory_bytes: i64,
    /// Volume of each instance in bytes.
    pub storage_bytes: i64,
    /// Count of instances.
    pub instances: i64,
    /// Name of the site.
    pub site: String,
    /// Labels of the site's nodes.
    pub node_selector: BTreeMap<String, String>,
    /// Storage class of the site.
    pub storage_class: String,
    /// Engine parameters that the order sets.
    pub parameters: BTreeMap<String, String>,
    /// Engine parameters that the offering sets in orders that do not.
    pub defaults: BTreeMap<String, String>,
    /// When it may be interrupted for what it did not ask for.
    pub maintenance: Maintenance,
    /// What is billed while it runs: the instances and, where the plan prices them apart, the standbys.
    pub running: Vec<(Meter, Level)>,
    /// Price key of storage.
    pub storage_sku: Sku,
    /// Price key of backups, where they are billed.
    pub backup_sku: Option<Sku>,
    /// What it takes from the quota: while it is suspended, its volumes alone.
    pub resources: Resources,
    /// What it is priced by: while it is suspended, its volumes alone.
    pub items: Vec<Item>,
    /// Price of the longest month.
    pub monthly_maximum: Money,
    /// Price of the longest month once it is resumed, for one that is suspended and whose plan has a price.
    pub resumed_maximum: Option<Money>,
    /// The list it was priced with.
    pub price_list: PriceListName,
    /// Whether it is backed up, and how.
    pub backups: Backups,
    /// Where it is booked.
    pub billing: Billing,
    /// A login is renewed when it is so old; absent: on demand only.
    pub rotation_days: Option<i64>,
    /// How long the login before is accepted after the binding was switched.
    pub grace_seconds: i64,
    /// What it leaves when it is deleted is kept for so many days; absent: until somebody discards it.
    pub retained_days: Option<i32>,
    /// A last backup is kept for so many days.
    pub last_backup_days: i32,
    /// True when its version is deprecated.
    pub deprecated: bool,
    _made_by_check: (),
}

impl Valid {
    /// What it costs at most, in a sentence.
    pub fn price_sentence(&self) -> String {
        let (most, list) = (self.monthly_maximum, &self.price_list);
        if !self.order.spec.suspend {
            return format!("at most {most}/month (price list {list})");
        }
        let resumed = self.resumed_maximum.map_or_else(
            || "resumed it has no price".to_owned(),
            |most| format!("resumed at most {most}/month"),
        );
        format!(
            "at most {most}/month for its storage while it is suspended (price list {list}); {resumed}, which is asked of \
             the quota again then and may be refused"
        )
    }
}

/// What an order takes from the quota, and what that is priced by.
#[derive(Clone, Debug, PartialEq)]
struct Needs {
    resources: Resources,
    items: Vec<Item>,
}

impl Needs {
    fn running(running: &[(Meter, Level)], storage_sku: &Sku, all: Resources) -> Self {
        let runs = running.iter().map(|(_, level)| Item { sku: level.sku.clone(), quantity: level.quantity });
        let items = runs.chain([storage_item(storage_sku, all)]).collect();
        Self { resources: Resources { instances: 1, ..all }, items }
    }

    /// Nothing that stands still is held against somebody else: only the volumes are there.
    fn suspended(storage_sku: &Sku, all: Resources) -> Self {
        let resources = Resources { storage_bytes: all.storage_bytes, ..Resources::default() };
        Self { resources, items: vec![storage_item(storage_sku, all)] }
    }

    /// The price of the longest month, where everything has one.
    fn price(&self, catalogue: &Catalogue, now: Timestamp) -> Option<Money> {
        in_force(&catalogue.price_lists, now)?.monthly_maximum(&self.items).ok()
    }
}

fn storage_item(sku: &Sku, all: Resources) -> Item {
    Item { sku: sku.clone(), quantity: mib(all.storage_bytes) }
}

/// MiB that begin in `bytes`.
pub fn mib(bytes: i64) -> i64 {
    bytes.saturating_add(MIB - 1) / MIB
}

/// Why an order is not possible, and what would make it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence with a way out.
    pub message: String,
}

fn refuse<T>(reason: &'static str, message: String) -> Result<T, Refusal> {
    Err(Refusal { reason, message })
}

fn unreadable(what: &str, error: impl Into<Unreadable>) -> Refusal {
    Refusal { reason: reason::INVALID, message: format!("{what}: {}", error.into()) }
}

/// Judges an order by the catalogue at an instant. Quota is not looked at here: the reservation decides it.
///
/// # Errors
/// The first [`Refusal`] found, in the order in which a reader would look: tenant, offering, version, plan, storage,
/// site, classification, parameters, price.
pub fn check(order: &Order, catalogue: &Catalogue, now: Timestamp) -> Result<Valid, Refusal> {
    let spec = &order.spec;
    let tenant = find_tenant(order, catalogue)?;
    let name = tenant_name(tenant).map_err(|e| unreadable("tenant", e))?;
    let offering = find_offering(order, catalogue)?;
    let version = find_version(order, offering)?;
    let plan = find_plan(order, offering)?;
    let storage_bytes = storage(order, plan)?;
    let instances = instances(order, plan)?;
    let site = find_site(order, catalogue)?;
    may_hold(order, &catalogue.chain(tenant), site)?;
    let backups = backup::backups(plan, spec.backup.as_ref(), site.spec.object_storage.as_ref())?;
    in_place(order, offering, version, &backups)?;
    restorable(order, &backups, now)?;
    let (parameters, defaults) = (parameters(order, offering)?, defaults(offering)?);
    let maintenance = Maintenance::of(spec.maintenance.as_ref(), offering.spec.maintenance.as_ref())?;
    let each = Resources {
        instances: 0,
        cpu_milli: cpu_milli(&plan.cpu).map_err(|e| unreadable("plan cpu", e))?,
        memory_bytes: bytes(&plan.memory).map_err(|e| unreadable("plan memory", e))?,
        storage_bytes,
    };
    let too_large =
        || Refusal { reason: reason::INVALID, message: "the order is too large to be counted".into() };
    let all = each.checked_mul(instances).ok_or_else(too_large)?;
    let running = running(plan, instances)?;
    let storage_sku = sku(&plan.storage_sku)?;
    let backup_sku = plan.backup_sku.as_deref().map(sku).transpose()?;
    let resumed = Needs::running(&running, &storage_sku, all);
    let Needs { resources, items } =
        if spec.suspend { Needs::suspended(&storage_sku, all) } else { resumed.clone() };
    let (monthly_maximum, price_list) = price(order, catalogue, (&items, backup_sku.as_ref()), now)?;
    let resumed_maximum = resumed.price(catalogue, now).filter(|_| spec.suspend);
    Ok(Valid {
        tenant: name,
        image: version.image.clone(),
        gateway_image: version.gateway_image.clone(),
        offering: offering.metadata.name.clone().unwrap_or_default(),
        plan: plan.name.clone(),
        cpu_milli: each.cpu_milli,
        memory_bytes: each.memory_bytes,
        storage_bytes,
        instances,
        site: site.metadata.name.clone().unwrap_or_default(),
        node_selector: site.spec.node_selector.clone(),
        storage_class: site.spec.storage_class.clone(),
        parameters,
        defaults,
        maintenance,
        running,
        storage_sku,
        backup_sku,
        resources,
        items,
        monthly_maximum,
        resumed_maximum,
        price_list,
        backups,
        billing: billing(order, tenant),
        rotation_days: rotation_days(order, offering),
        grace_seconds: i64::from(offering.spec.credentials.grace_period_seconds),
        retained_days: offering.spec.retained_days,
        last_backup_days: offering.spec.last_backup_days.unwrap_or(last_backup::USUAL_DAYS),
        deprecated: version.lifecycle == Lifecycle::Deprecated,
        order: Order { spec: spec.clone(), ..order.clone() },
        _made_by_check: (),
    })
}

/// The shorter of what the offering and the order say.
fn rotation_days(order: &Order, offering: &ServiceOffering) -> Option<i64> {
    let both = [order.spec.credential_rotation_days, offering.spec.credentials.rotation_days];
    both.into_iter().flatten().min().map(i64::from)
}

fn find_tenant<'a>(order: &Order, catalogue: &'a Catalogue) -> Result<&'a Tenant, Refusal> {
    let namespace = &order.at.namespace;
    catalogue.tenant_of(namespace).map(|t| &**t).ok_or_else(|| Refusal {
        reason: reason::NAMESPACE_WITHOUT_TENANT,
        message: format!(
            "namespace {namespace} belongs to no tenant: order in a namespace of your administration, or ask the \
             platform to add it to a Tenant's spec.namespaces"
        ),
    })
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = all.collect();
    all.sort_unstable();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn find_offering<'a>(order: &Order, catalogue: &'a Catalogue) -> Result<&'a ServiceOffering, Refusal> {
    let engine = order.at.kind.engine();
    let mut fitting: Vec<&ServiceOffering> =
        catalogue.offerings.iter().map(|o| &**o).filter(|o| o.spec.engine == engine).collect();
    fitting.sort_by_key(|o| o.metadata.name.clone());
    let name = |o: &&ServiceOffering| o.metadata.name.clone().unwrap_or_default();
    let wanted = order.spec.offering.as_deref();
    let found = match wanted {
        Some(wanted) => fitting.iter().find(|o| name(o) == wanted),
        None => fitting.iter().find(|o| o.spec.default),
    };
    found.copied().ok_or_else(|| {
        let known: Vec<String> = fitting.iter().map(name).collect();
        let known = names(known.iter().map(String::as_str));
        let message = wanted.map_or_else(
            || {
                format!(
                    "there is no default offering for {}: set spec.offering to one of: {known}",
                    order.at.kind
                )
            },
            |wanted| format!("there is no offering {wanted:?} for {}: use one of: {known}", order.at.kind),
        );
        Refusal { reason: reason::OFFERING_UNKNOWN, message }
    })
}

fn find_version<'a>(order: &Order, offering: &'a ServiceOffering) -> Result<&'a EngineVersion, Refusal> {
    let wanted = &order.spec.version;
    let running = order.status.version.as_deref();
    if let Some(running) = running.filter(|running| is_older(wanted, running)) {
        let before = order.status.upgraded_from.as_ref().filter(|before| before.version == *wanted);
        let backup = before.map(|before| before.backup.as_str());
        return refuse(reason::VERSION_UNKNOWN, never_back(wanted, running, backup));
    }
    let usable =
        |v: &&EngineVersion| v.lifecycle != Lifecycle::EndOfLife || running == Some(v.version.as_str());
    offering.spec.versions.iter().filter(usable).find(|v| v.version == *wanted).ok_or_else(|| {
        let known = names(offering.spec.versions.iter().filter(usable).map(|v| v.version.as_str()));
        Refusal {
            reason: reason::VERSION_UNKNOWN,
            message: format!("version {wanted:?} cannot be ordered: use one of: {known}"),
        }
    })
}

/// Whether an instance that runs may become another major version: only where the offering says so, from a version that it names,
/// and after a backup, which somebody must be able to make.
fn in_place(
    order: &Order,
    offering: &ServiceOffering,
    version: &EngineVersion,
    backups: &Backups,
) -> Result<(), Refusal> {
    let runs = order.status.version.as_deref().filter(|_| order.status.engine_ref.is_some());
    let Some(running) = runs.filter(|running| *running != version.version) else { return Ok(()) };
    let before = offering.spec.versions.iter().find(|v| v.version == running);
    let first = |text: &str| text.split('.').next().and_then(|number| number.parse::<u32>().ok());
    let (was, is) = (before.and_then(|v| major(&v.image)).or(first(running)), major(&version.image));
    let documents = order.at.kind == Kind::Documents;
    let same_name = !documents || first(running) == first(&version.version);
    if was == is.or(first(&version.version)) && same_name {
        return Ok(());
    }
    let no = |why: String| refuse(reason::MAJOR_VERSION_CHANGE, format!("{why}; it runs on as it is"));
    let wanted = &version.version;
    let anew = format!("order a new instance with version {wanted} and move the data");
    if documents {
        return no(format!("a document store cannot become another major version in place: {anew}"));
    }
    if !version.upgrade_from.iter().any(|from| from == running) {
        let ways =
            offering.spec.versions.iter().filter(|v| v.upgrade_from.iter().any(|from| from == running));
        let ways = names(ways.map(|v| v.version.as_str()));
        return no(format!(
            "version {running} cannot become {wanted} in place, as the offering does not say that it can (it can become: {ways}): \
             {anew}"
        ));
    }
    if backups.policy().is_none() {
        return no(format!(
            "before {running} becomes {wanted} a backup is made, and its plan or its site has none: choose a plan with backups, ask \
             the platform for object storage, or {anew}"
        ));
    }
    if order.spec.suspend {
        return no(format!(
            "before {running} becomes {wanted} a backup is made, and while it is suspended none can be: set spec.suspend to false"
        ));
    }
    Ok(())
}

/// Whether a version comes before another, number by number. What is no number says nothing.
fn is_older(wanted: &str, running: &str) -> bool {
    let numbers = |text: &str| text.split('.').map(|n| n.parse::<u32>().ok()).collect::<Option<Vec<_>>>();
    numbers(wanted).zip(numbers(running)).is_some_and(|(wanted, running)| wanted < running)
}

fn find_plan<'a>(order: &Order, offering: &'a ServiceOffering) -> Result<&'a Plan, Refusal> {
    let wanted = &order.spec.plan;
    offering.spec.plans.iter().find(|p| p.name == *wanted).ok_or_else(|| {
        let known = names(offering.spec.plans.iter().map(|p| p.name.as_str()));
        Refusal {
            reason: reason::PLAN_UNKNOWN,
            message: format!("there is no plan {wanted:?}: use one of: {known}"),
        }
    })
}

/// The size of the volume: what is asked, else the plan's, and never less than what is there.
fn storage(order: &Order, plan: &Plan) -> Result<i64, Refusal> {
    let least = bytes(&plan.storage).map_err(|e| unreadable("plan storage", e))?;
    let most = bytes(&plan.maximum_storage).map_err(|e| unreadable("plan maximumStorage", e))?;
    let held = order.status.storage.as_deref().and_then(|text| bytes(text).ok()).unwrap_or(0);
    let out_of_range = |message| Refusal { reason: reason::STORAGE_OUT_OF_RANGE, message };
    let wanted = match order.spec.storage.as_deref() {
        Some(text) => bytes(text).map_err(|e| unreadable("storage", e))?,
        None => least.max(held),
    };
    if wanted < held {
        return Err(out_of_range(format!(
            "storage can grow but never shrink: it has {0}, so ask for {0} or more, or order a smaller instance and move \
             the data",
            show_bytes(held)
        )));
    }
    if wanted < least || wanted > most {
        return Err(out_of_range(format!(
            "storage {} is outside of plan {}, which has {} to {}: choose a size in between or another plan",
            show_bytes(wanted),
            plan.name,
            show_bytes(least),
            show_bytes(most)
        )));
    }
    Ok(wanted)
}

fn instances(order: &Order, plan: &Plan) -> Result<i64, Refusal> {
    if !order.spec.high_availability {
        return Ok(1);
    }
    plan.high_availability_instances.map(i64::from).ok_or_else(|| Refusal {
        reason: reason::HIGH_AVAILABILITY_NOT_OFFERED,
        message: format!(
            "plan {} has no standbys: choose a larger plan, or set spec.highAvailability to false",
            plan.name
        ),
    })
}

fn sku(text: &str) -> Result<Sku, Refusal> {
    text.parse().map_err(|e: siyada_model::id::InvalidId| unreadable("plan", e))
}

/// What runs, by meter. Standbys with the primary's price key are more of the same: two lines of one key would be rounded
/// apart from what was promised.
fn running(plan: &Plan, instances: i64) -> Result<Vec<(Meter, Level)>, Refusal> {
    let compute = sku(&plan.compute_sku)?;
    let standby = plan.standby_sku.as_deref().map(sku).transpose()?.filter(|standby| *standby != compute);
    let level = |sku, quantity| Level { sku, quantity };
    Ok(match standby.filter(|_| instances > 1) {
        None => vec![(Meter::COMPUTE, level(compute, instances))],
        Some(standby) => vec![
            (Meter::COMPUTE, level(compute, 1)),
            (Meter::STANDBY, level(standby, instances.saturating_sub(1))),
        ],
    })
}

fn find_site<'a>(order: &Order, catalogue: &'a Catalogue) -> Result<&'a Site, Refusal> {
    let mut sites: Vec<&Site> = catalogue.sites.iter().map(|s| &**s).collect();
    sites.sort_by_key(|s| s.metadata.name.clone());
    // The site of a running order does not move when the default does.
    let wanted = order.spec.site.as_deref().or(order.status.site.as_deref());
    let found = match wanted {
        Some(wanted) => sites.iter().find(|s| s.metadata.name.as_deref() == Some(wanted)),
        None => sites.iter().find(|s| s.spec.default),
    };
    found.copied().ok_or_else(|| {
        let known = names(sites.iter().filter_map(|s| s.metadata.name.as_deref()));
        let message = wanted.map_or_else(
            || format!("there is no default site: set spec.site to one of: {known}"),
            |wanted| format!("there is no site {wanted:?}: use one of: {known}"),
        );
        Refusal { reason: reason::SITE_UNKNOWN, message }
    })
}

/// What a tenant may hold is bounded by those above it too.
fn may_hold(order: &Order, chain: &[&Tenant], site: &Site) -> Result<(), Refusal> {
    let asked: Classification = order.spec.data_classification.into();
    let tenants = chain.iter().map(|tenant| {
        ("tenant", tenant.metadata.name.as_deref().unwrap_or_default(), classification(tenant))
    });
    let site_name = site.metadata.name.as_deref().unwrap_or_default();
    let site = ("site", site_name, site.spec.data_classification.into());
    for (what, name, highest) in tenants.chain([site]) {
        if asked > highest {
            let way_out = if what == "site" { "choose another site" } else { "ask the platform to raise it" };
            return refuse(
                reason::CLASSIFICATION_NOT_ALLOWED,
                format!(
                    "data of class {asked} may not be held by {what} {name}, which goes up to {highest}: {way_out}"
                ),
            );
        }
    }
    Ok(())
}

/// What can be said of a restore without looking at archives: the new instance must have a store, and the moment be past.
fn restorable(order: &Order, backups: &Backups, now: Timestamp) -> Result<(), Refusal> {
    let Some(from) = &order.spec.restore_from else { return Ok(()) };
    // What was restored runs on, whatever becomes of the store.
    if order.status.engine_ref.is_some() {
        return Ok(());
    }
    let impossible = |message: String| refuse(reason::RESTORE_IMPOSSIBLE, message);
    if backups.policy().is_none() {
        return impossible(
            "an archive is read with the login of the new instance, and its site or plan has no backups: choose a site \
             with object storage and a plan with backups"
                .to_owned(),
        );
    }
    let Some(text) = &from.time else { return Ok(()) };
    match text.parse::<Timestamp>() {
        Ok(time) if time <= now => Ok(()),
        Ok(time) => impossible(format!("restoreFrom.time {time} is not past yet: choose an earlier moment")),
        Err(_) => refuse(reason::INVALID, format!("restoreFrom.time {text:?} is no time")),
    }
}

fn parameters(order: &Order, offering: &ServiceOffering) -> Result<BTreeMap<String, String>, Refusal> {
    let mut set = BTreeMap::new();
    for parameter in &order.spec.parameters {
        let allowed = offering.spec.parameters.iter().find(|a| a.name == parameter.name);
        let Some(allowed) = allowed else {
            let known = names(offering.spec.parameters.iter().map(|a| a.name.as_str()));
            return refuse(
                reason::PARAMETER_NOT_ALLOWED,
                format!("parameter {:?} cannot be set: use one of: {known}", parameter.name),
            );
        };
        if !fits(allowed, &parameter.value) {
            let wanted = wanted(allowed);
            return refuse(
                reason::PARAMETER_NOT_ALLOWED,
                format!("parameter {} cannot be {:?}: use {wanted}", parameter.name, parameter.value),
            );
        }
        set.insert(parameter.name.clone(), parameter.value.clone());
    }
    Ok(set)
}

/// Whether a parameter may have a value.
fn fits(allowed: &AllowedParameter, value: &str) -> bool {
    let number = !value.is_empty() && value.len() <= 18 && value.bytes().all(|b| b.is_ascii_digit());
    if allowed.values.is_empty() { number } else { allowed.values.iter().any(|one| one == value) }
}

/// What a parameter may be, for people.
fn wanted(allowed: &AllowedParameter) -> String {
    match allowed.values.as_slice() {
        [] => "a whole number".to_owned(),
        values => format!("one of: {}", names(values.iter().map(String::as_str))),
    }
}

/// What the offering sets where an order does not.
fn defaults(offering: &ServiceOffering) -> Result<BTreeMap<String, String>, Refusal> {
    let mut set = BTreeMap::new();
    for allowed in &offering.spec.parameters {
        let Some(value) = &allowed.default else { continue };
        if !fits(allowed, value) {
            let (name, wanted) = (&allowed.name, wanted(allowed));
            let message = format!(
                "the offering's default of parameter {name} cannot be {value:?}: ask the platform to use {wanted}"
            );
            return refuse(reason::INVALID, message);
        }
        set.insert(allowed.name.clone(), value.clone());
    }
    Ok(set)
}

fn price(
    order: &Order,
    catalogue: &Catalogue,
    (items, backup): (&[Item], Option<&Sku>),
    now: Timestamp,
) -> Result<(Money, PriceListName), Refusal> {
    let unknown = |message: String| Refusal { reason: reason::PRICE_UNKNOWN, message };
    let ask = "ask the platform to publish a price list that has it";
    let list = in_force(&catalogue.price_lists, now)
        .ok_or_else(|| unknown(format!("no price list is in force, so nothing can be ordered: {ask}")))?;
    // How much backups will take is not known yet; what they cost must be.
    let backup = backup.map(|sku| Item { sku: sku.clone(), quantity: 0 });
    let priced: Vec<Item> = items.iter().cloned().chain(backup).collect();
    let monthly = list.monthly_maximum(&priced).map_err(|error| match error {
        PriceError::Unknown { .. } => unknown(format!("{error}: {ask}")),
        PriceError::Money(e) => unreadable("price", e),
    })?;
    let Some(most) = &order.spec.max_monthly_cost else { return Ok((monthly, list.name.clone())) };
    let currency = most
        .currency
        .parse()
        .map_err(|e: siyada_model::money::InvalidMoney| unreadable("maxMonthlyCost", e))?;
    let limit = Money::parse(&most.amount, currency).map_err(|e| unreadable("maxMonthlyCost", e))?;
    if limit.currency != monthly.currency {
        return refuse(
            reason::COST_ABOVE_MAXIMUM,
            format!(
                "maxMonthlyCost is in {} but prices are in {}: give it in {1}",
                limit.currency, monthly.currency
            ),
        );
    }
    // What was admitted runs on when prices rise; the next edit is held to the price of its day.
    if monthly.minor > limit.minor && !is_admitted(order) {
        return refuse(
            reason::COST_ABOVE_MAXIMUM,
            format!(
                "it costs at most {monthly}/month, above maxMonthlyCost {limit}: raise it or choose a smaller plan"
            ),
        );
    }
    Ok((monthly, list.name.clone()))
}

/// Whether the order was admitted exactly as it is.
fn is_admitted(order: &Order) -> bool {
    let admitted = |c: &&Condition| c.type_ == kind::ADMITTED && c.status == "True";
    let found = order.status.conditions.iter().find(admitted);
    found.is_some_and(|c| c.observed_generation == Some(order.generation))
}

fn billing(order: &Order, tenant: &Tenant) -> Billing {
    let (own, theirs) = (&order.spec.cost_allocation, &tenant.spec.billing);
    Billing {
        account: theirs.account.clone(),
        cost_centre: own.cost_centre.clone().or_else(|| theirs.cost_centre.clone()),
        budget_line: own.budget_line.clone().or_else(|| theirs.budget_line.clone()),
        reference: own.reference.clone(),
    }
}
