//! Further logins of an instance: which role each has, and what is done about it. Pure; `credentials.rs` is the part that looks.
//!
//! Roles are numbered slots, `app_c_1` to `app_c_8`, so that a restored copy can be told which roles of its origin it must not
//! have. The Secret of a slot is created once and says whose it is: nobody else gets the slot while it is there.

use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Planned};
use crate::plan::{Fresh, Platform, secrets};
use crate::seen::{Seen, metadata, secret_value};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most further logins of an instance.
pub const MOST: u32 = 8;
/// What a login that reads is a member of.
const READER: &str = "pg_read_all_data";

/// A further login that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the object that asks.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it only reads.
    pub reads_only: bool,
    /// Its `rotationTrigger`; empty: none.
    pub trigger: String,
    /// It is being deleted.
    pub ends: bool,
}

/// The Secret that a client of it connects with, beside the order.
pub fn binding(name: &str) -> String {
    format!("{name}-credential")
}

/// The role of a slot.
pub fn role(slot: u32) -> String {
    format!("{}{slot}", names::FURTHER_LOGIN_ROLE)
}

/// Whose Secret an object is, if it is of a further login.
fn owner(object: &Value) -> Option<&str> {
    metadata(object, "labels", names::CREDENTIAL)
}

/// The slot of each login, by uid: the one that it has, else the lowest that nobody has. Those beyond the last have none.
pub fn slots(seen: &Seen, names: &Names) -> BTreeMap<String, u32> {
    let claim = |slot: &u32| seen.get(ChildKind::Secret, &names.engine, &names.credential_secret(*slot));
    let mut taken: BTreeMap<String, u32> =
        (1..=MOST).filter_map(|slot| Some((owner(claim(&slot)?)?.to_owned(), slot))).collect();
    let mut free = (1..=MOST).filter(|slot| claim(slot).is_none()).collect::<Vec<_>>().into_iter();
    for wanted in seen.further.iter().filter(|w| !w.ends) {
        if !taken.contains_key(&wanted.uid)
            && let Some(slot) = free.next()
        {
            taken.insert(wanted.uid.clone(), slot);
        }
    }
    taken
}

/// What the engine was told of a slot's role, as it was seen.
fn told<'a>(seen: &'a Seen, names: &Names, slot: u32) -> Option<&'a Value> {
    let roles = seen.cluster(names)?.pointer("/spec/managed/roles")?.as_array()?;
    roles.iter().find(|entry| entry["name"] == role(slot))
}

/// The Secret with whose password the engine lets a slot's role in, as it was seen.
pub fn accepted<'a>(seen: &'a Seen, names: &Names, slot: u32) -> Option<&'a str> {
    let entry = told(seen, names, slot).filter(|entry| entry["ensure"] != "absent")?;
    entry.pointer("/passwordSecret/name")?.as_str()
}

/// The Secret with the password that a login should have.
pub fn source(names: &Names, slot: u32, wanted: &Wanted) -> String {
    if wanted.ends {
        return names.credential_closing(slot);
    }
    names.credential_source(slot, &wanted.uid, &wanted.trigger)
}

/// Every login with its slot: those that live, and those that the engine still lets in.
fn held<'a>(seen: &'a Seen, names: &Names) -> Vec<(u32, &'a Wanted)> {
    let slots = slots(seen, names);
    let mut held: Vec<(u32, &Wanted)> =
        seen.further.iter().filter_map(|wanted| Some((*slots.get(&wanted.uid)?, wanted))).collect();
    held.retain(|(slot, wanted)| !wanted.ends || accepted(seen, names, *slot).is_some());
    held
}

/// The roles for the engine. A slot that it was once told of stays told of: as absent, when nobody has it. A copy is told that
/// it has none of its origin's.
pub fn roles(seen: &Seen, names: &Names) -> Vec<Value> {
    let held: BTreeMap<u32, &Wanted> = held(seen, names).into_iter().collect();
    let begins_as_copy = seen.source.is_some() && seen.cluster(names).is_none();
    let entry = |slot: u32| match held.get(&slot) {
        Some(wanted) => Some(json!({
            "name": role(slot),
            "ensure": "present",
            "login": true,
            "inherit": true,
            "inRoles": [if wanted.reads_only { READER } else { names::OWNER_ROLE }],
            "passwordSecret": {"name": source(names, slot, wanted)},
        })),
        None if begins_as_copy || told(seen, names, slot).is_some() => Some(absent(slot)),
        None => None,
    };
    (1..=MOST).filter_map(entry).collect()
}

/// A role that the engine removes.
fn absent(slot: u32) -> Value {
    json!({"name": role(slot), "ensure": "absent"})
}

/// What a copy that has no further logins is told: it has none of its origin's.
pub fn none() -> Vec<Value> {
    (1..=MOST).map(absent).collect()
}

/// The Secrets: sources first, and the bindings of those that the engine is known to have been told of.
pub fn plan(valid: &Valid, names: &Names, seen: &Seen, fresh: &Fresh, platform: &Platform) -> Vec<Planned> {
    let there = |name: &str| {
        seen.get(ChildKind::Secret, &names.engine, name).and_then(|s| secret_value(s, "password"))
    };
    let mut all = Vec::new();
    for (slot, wanted) in held(seen, names) {
        let current = source(names, slot, wanted);
        let password = |name: &str| there(name).unwrap_or_else(|| fresh.further_password(name));
        for name in BTreeSet::from([names.credential_secret(slot), current.clone()]) {
            let mut planned = secrets::basic(valid, &names.engine, &name, &role(slot), &password(&name));
            planned.body["metadata"]["labels"][names::CREDENTIAL] = json!(wanted.uid);
            all.push(planned);
        }
        if !wanted.ends && accepted(seen, names, slot) == Some(current.as_str()) {
            let login = (role(slot), password(&current));
            let mut planned =
                secrets::binding(valid, names, &binding(&wanted.name), (&login.0, &login.1), platform);
            planned.body["metadata"]["labels"][names::CREDENTIAL] = json!(wanted.uid);
            all.push(planned);
        }
    }
    all
}

/// Secrets that nobody needs: of logins that are gone, and of passwords that the engine was told to replace.
pub fn surplus(seen: &Seen, names: &Names, planned: &BTreeSet<&Key>) -> Vec<Key> {
    let lets_in: BTreeSet<String> = (1..=MOST)
        .filter_map(|slot| Some((slot, accepted(seen, names, slot)?)))
        .flat_map(|(slot, source)| [source.to_owned(), names.credential_secret(slot)])
        .collect();
    let lives = |uid: &str| seen.further.iter().any(|w| w.uid == uid && !w.ends);
    let of_no_use = |(key, object): &(&Key, &std::sync::Arc<Value>)| {
        let Some(uid) = owner(object).filter(|_| key.kind == ChildKind::Secret) else { return false };
        // A binding stays as it is while its login is being replaced.
        if key.namespace == names.engine { !lets_in.contains(&key.name) } else { !lives(uid) }
    };
    let all = seen.children.iter().filter(of_no_use).map(|(key, _)| key);
    all.filter(|key| !planned.contains(key)).cloned().collect()
}

/// Whether the engine lets nobody in as this login any more, or never did.
pub fn is_over(seen: &Seen, names: &Names, uid: &str) -> bool {
    slots(seen, names).get(uid).is_none_or(|slot| accepted(seen, names, *slot).is_none())
}
