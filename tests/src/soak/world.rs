//! What should be: the orders that live, the data that is kept. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use siyada_model::quantity::MIB;
use siyada_model::resources::Resources;
use std::collections::BTreeMap;

/// Bytes of a GiB.
pub const GIB: i64 = 1_024 * MIB;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// Documents.
    Documents,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Documents];

    /// The kind in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "PostgresInstance",
            Self::Documents => "DocumentStoreInstance",
        }
    }
    /// The resource in paths.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Postgres => "postgresinstances",
            Self::Documents => "documentstoreinstances",
        }
    }
    /// The version that is ordered.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Postgres => "15",
            Self::Documents => "1.24",
        }
    }
    /// The end of the bound Secret's name.
    pub const fn binding(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Documents => "mongodb",
        }
    }
}

/// A plan of the examples' catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plan {
    /// The smallest.
    Dev,
    /// The next.
    Small,
}

impl Plan {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Small => "small",
        }
    }
    /// Its smallest volume in GiB.
    pub const fn storage_gib(self) -> u32 {
        match self {
            Self::Dev => 1,
            Self::Small => 5,
        }
    }
    /// CPU in millicores and memory in MiB, as in examples/platform/10-catalogue.yaml.
    pub const fn size(self) -> (i64, i64) {
        match self {
            Self::Dev => (200, 384),
            Self::Small => (500, 1_024),
        }
    }
}

/// What an order says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its kind.
    pub kind: Kind,
    /// Its plan.
    pub plan: Plan,
    /// Its volume.
    pub storage_gib: u32,
    /// Compute stopped.
    pub suspend: bool,
    /// Deletion refused.
    pub protected: bool,
    /// Data kept at its end.
    pub retain: bool,
    /// The engine parameter `work_mem`, for PostgreSQL.
    pub work_mem_mb: Option<u8>,
    /// Where it is booked.
    pub reference: Option<u32>,
    /// On the site without nodes.
    pub nowhere: bool,
}

impl Spec {
    /// The smallest one, which goes with its data.
    pub const fn small(kind: Kind) -> Self {
        Self {
            kind,
            plan: Plan::Dev,
            storage_gib: 1,
            suspend: false,
            protected: false,
            retain: false,
            work_mem_mb: None,
            reference: None,
            nowhere: false,
        }
    }

    /// Whether somebody should be able to log in.
    pub const fn runs(&self) -> bool {
        !self.suspend && !self.nowhere
    }

    /// The whole order as it is applied.
    pub fn body(&self, name: &str) -> Value {
        let mut spec = json!({
            "plan": self.plan.as_str(),
            "version": self.kind.version(),
            "dataClassification": "Internal",
            "storage": format!("{}Gi", self.storage_gib),
            "suspend": self.suspend,
            "deletionProtection": self.protected,
            "onDeletion": if self.retain { "Retain" } else { "Delete" },
        });
        if self.nowhere {
            spec["site"] = json!(super::NOWHERE);
        }
        if let Some(mb) = self.work_mem_mb {
            spec["parameters"] = json!([{"name": "work_mem", "value": format!("{mb}MB")}]);
        }
        if let Some(reference) = self.reference {
            spec["costAllocation"] = json!({"reference": format!("C-{reference}")});
        }
        json!({
            "apiVersion": "siyada.cloud/v1alpha1",
            "kind": self.kind.as_str(),
            "metadata": {"name": name, "namespace": super::HOME},
            "spec": spec,
        })
    }

    /// What it takes from the quota while it lives: suspended, its volume alone.
    pub fn resources(&self) -> Resources {
        let storage_bytes = i64::from(self.storage_gib) * GIB;
        if self.suspend {
            return Resources { storage_bytes, ..Resources::default() };
        }
        let (cpu_milli, memory_mib) = self.plan.size();
        Resources { instances: 1, cpu_milli, memory_bytes: memory_mib * MIB, storage_bytes }
    }

    /// The price key of its compute.
    pub fn compute_sku(&self) -> String {
        let engine = match self.kind {
            Kind::Postgres => "postgresql",
            Kind::Documents => "documents",
        };
        format!("{engine}-{}", self.plan.as_str())
    }
}

/// A change of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Another plan; its volume grows to the plan's smallest.
    Plan(Plan),
    /// A larger volume, in GiB.
    Storage(u32),
    /// Another `work_mem`, in MB.
    WorkMem(u8),
    /// Compute stopped, or started again.
    Suspend(bool),
    /// Booked elsewhere.
    Reference(u32),
    /// Deletion refused, or not.
    Protected(bool),
    /// Data kept at the end, or not.
    Retain(bool),
}

impl Change {
    /// The order after the change.
    pub fn of(self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        match self {
            Self::Plan(plan) => {
                spec.plan = plan;
                spec.storage_gib = spec.storage_gib.max(plan.storage_gib());
            }
            Self::Storage(gib) => spec.storage_gib = spec.storage_gib.max(gib),
            Self::WorkMem(mb) => spec.work_mem_mb = Some(mb),
            Self::Suspend(suspend) => spec.suspend = suspend,
            Self::Reference(reference) => spec.reference = Some(reference),
            Self::Protected(protected) => spec.protected = protected,
            Self::Retain(retain) => spec.retain = retain,
        }
        spec
    }

    /// Whether the engine restarts the database for it.
    pub const fn restarts(self) -> bool {
        matches!(self, Self::Plan(_) | Self::Suspend(_))
    }
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Orders.
    Order(String, Spec),
    /// Changes an order.
    Edit(String, Change),
    /// Deletes an order; a protected one is set free first.
    Delete(String),
    /// Orders, and deletes it so many milliseconds later with its data: while it is being made.
    Fleeting(String, Spec, u64),
    /// Orders more than the tenant may have.
    Greedy(String),
    /// Has the oldest kept data of that name removed.
    Remove(String),
    /// Writes rows.
    Write(String),
}

impl Action {
    /// The order it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Order(name, _)
            | Self::Edit(name, _)
            | Self::Delete(name)
            | Self::Fleeting(name, ..)
            | Self::Greedy(name)
            | Self::Remove(name)
            | Self::Write(name) => name,
        }
    }

    /// What it is, in one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Order(..) => "order",
            Self::Edit(..) => "edit",
            Self::Delete(_) => "delete",
            Self::Fleeting(..) => "fleeting order",
            Self::Greedy(_) => "order beyond the quota",
            Self::Remove(_) => "removal of kept data",
            Self::Write(_) => "rows",
        }
    }
}

/// An order that should live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it says.
    pub spec: Spec,
    /// Its uid, once it is known.
    pub uid: String,
}

/// Data that should be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Name of the order that was.
    pub name: String,
    /// What it said.
    pub spec: Spec,
    /// Its uid.
    pub uid: String,
}

/// All that should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Orders by name.
    pub living: BTreeMap<String, Order>,
    /// Kept data, oldest first.
    pub kept: Vec<Kept>,
}

impl World {
    /// The world after an action that succeeded.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Order(name, spec) => {
                let order = Order { spec: spec.clone(), uid: String::new() };
                self.living.insert(name.clone(), order);
            }
            Action::Edit(name, change) => {
                if let Some(order) = self.living.get_mut(name) {
                    order.spec = change.of(&order.spec);
                }
            }
            Action::Delete(name) => {
                if let Some(order) = self.living.remove(name).filter(|order| order.spec.retain) {
                    self.kept.push(Kept { name: name.clone(), spec: order.spec, uid: order.uid });
                }
            }
            Action::Remove(name) => {
                if let Some(index) = self.kept.iter().position(|kept| kept.name == *name) {
                    self.kept.remove(index);
                }
            }
            Action::Fleeting(..) | Action::Greedy(_) | Action::Write(_) => {}
        }
    }

    /// Whether nothing of it is left.
    pub fn is_empty(&self) -> bool {
        self.living.is_empty() && self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_with_data_to_keep_leaves_it() {
        let mut world = World::default();
        for (retain, kept) in [(true, 1), (false, 1), (true, 2)] {
            let spec = Spec { retain, ..Spec::small(Kind::Postgres) };
            world.apply(&Action::Order("a".into(), spec));
            world.apply(&Action::Delete("a".into()));
            assert_eq!((world.living.len(), world.kept.len()), (0, kept));
        }
        world.apply(&Action::Remove("a".into()));
        world.apply(&Action::Remove("a".into()));
        assert!(world.is_empty());
    }

    #[test]
    fn a_larger_plan_brings_its_volume_and_a_smaller_one_keeps_it() {
        let spec = Spec::small(Kind::Postgres);
        let larger = Change::Plan(Plan::Small).of(&spec);
        assert_eq!((larger.storage_gib, larger.resources().cpu_milli), (5, 500));
        assert_eq!(Change::Plan(Plan::Dev).of(&larger).storage_gib, 5);
        assert_eq!(Change::Storage(2).of(&larger).storage_gib, 5);
    }
}
