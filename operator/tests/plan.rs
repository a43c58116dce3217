//! The plan as a property and as text that a reviewer can read.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{examples, now, platform, project};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::order::NetworkSpec;
use siyada_model::wire::{Reservation, code};
use siyada_operator::backup::{self, Again, Source};
use siyada_operator::check::{Valid, check};
use siyada_operator::ledger::Ledger;
use siyada_operator::names::{APPLIED, DRILL, Names, ORDER_UID};
use siyada_operator::object::{ChildKind, Mode, is_so};
use siyada_operator::order::{Kind, Order};
use siyada_operator::plan::backup::{StoreKey, needs_store_key, recorded};
use siyada_operator::plan::drill::{self, Drilled};
use siyada_operator::plan::{Certificate, Fresh, Plan, needs_certificate, plan};
use siyada_operator::plan_command::{Input, show};
use siyada_operator::reconcile::{Held, admission, request};
use siyada_operator::seen::{Seen, metadata};
use std::sync::Arc;

fn fresh(seed: u32, valid: &Valid, seen: &Seen) -> Fresh {
    let certificate = needs_certificate(valid, seen, &platform(), now()).then(|| Certificate {
        certificate_pem: format!("certificate {seed}"),
        key_pem: format!("key {seed}"),
        renew_after_second: now().as_second() + 1_000,
    });
    Fresh {
        owner_password: format!("owner {seed}"),
        login_password: format!("login {seed}"),
        further_seed: format!("seed {seed}"),
        rotation: None,
        certificate,
        store_key: None,
    }
}

/// The view after the first `count` objects of a plan were written.
fn written(seen: &Seen, plan: &Plan, count: usize) -> Seen {
    let mut seen = seen.clone();
    for object in plan.objects.iter().take(count) {
        seen.children.entry(object.key.clone()).or_insert_with(|| Arc::new(object.body.clone()));
    }
    seen
}

fn nothing_left_to_do(plan: &Plan, seen: &Seen) -> bool {
    plan.surplus.is_empty()
        && plan.objects.iter().all(|object| {
            let Some(live) = seen.children.get(&object.key) else { return false };
            let created_once = object.mode == Mode::CreateOnly;
            let same =
                metadata(live, "annotations", APPLIED) == metadata(&object.body, "annotations", APPLIED);
            created_once || same && is_so(&object.body, live)
        })
}

fn orders() -> impl Strategy<Value = Order> {
    let input = examples();
    let base: Vec<Order> = input.orders.into_iter().filter(|o| o.at.name != "everything").collect();
    let plans = prop_oneof![Just("dev"), Just("small"), Just("medium")];
    (0..base.len(), plans, any::<bool>(), any::<bool>(), 0..3_usize, "[a-f0-9]{8}").prop_map(
        move |(which, plan, suspend, available, neighbours, uid)| {
            let mut order = base[which].clone();
            order.uid = uid.parse().unwrap();
            order.spec.plan = plan.to_owned();
            order.spec.storage = None;
            order.spec.suspend = suspend;
            order.spec.high_availability = available && plan == "medium";
            let allowed_namespaces = (0..neighbours).map(|n| format!("team-{n}")).collect();
            order.spec.network = NetworkSpec { allowed_namespaces };
            order
        },
    )
}

fn valid(order: &Order) -> Valid {
    check(order, &examples().catalogue, now()).unwrap()
}

/// What the ledger may answer instead of holding: a refusal with a code, known or not, or nothing sensible.
fn not_held() -> impl Strategy<Value = Ledger> {
    let known = [
        code::QUOTA_EXCEEDED,
        code::TENANT_SUSPENDED,
        code::APPROVAL_PENDING,
        code::APPROVAL_REJECTED,
        code::TENANT_UNKNOWN,
        code::PRICE_UNKNOWN,
        code::STALE,
        code::CONFLICT,
        code::FENCED,
        code::UNAVAILABLE,
        code::INTERNAL,
        code::INVALID,
    ];
    let codes = prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(ToOwned::to_owned), 1 => "[a-z-]{0,20}"];
    let refused = (codes, 200_u16..600).prop_map(|(code, status)| {
        let problem = serde_json::json!({
            "type": format!("urn:siyada:problem:{code}"), "title": "t", "status": status, "code": code, "detail": "d"
        });
        Ledger::Refused(Box::new(serde_json::from_value(problem).unwrap()))
    });
    prop_oneof![4 => refused, 1 => ".{0,20}".prop_map(Ledger::Unavailable)]
}

fn reservation(valid: &Valid) -> Reservation {
    let reservation = serde_json::json!({
        "orderUid": valid.order.uid, "request": request(valid), "priceList": "tarif-2026", "heldSince": now(),
        "commitment": {"resources": valid.resources, "monthlyCost": valid.monthly_maximum}
    });
    serde_json::from_value(reservation).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn i10_nothing_is_built_unless_the_ledger_holds_it(order in orders(), refused in not_held()) {
        let valid = valid(&order);
        let held = admission(&valid, &Ok(reservation(&valid)));
        prop_assert!(Held::of(&valid, &held).is_some());
        let refused = admission(&valid, &Err(refused));
        prop_assert!(Held::of(&valid, &refused).is_none(), "{refused:?}");
    }

    #[test]
    fn a_plan_applied_to_its_own_result_is_empty(order in orders()) {
        let valid = valid(&order);
        let first = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
        let seen = written(&Seen::default(), &first, usize::MAX);
        let again = plan(&valid, &seen, &fresh(2, &valid, &seen), &platform());
        prop_assert!(nothing_left_to_do(&again, &seen));
    }

    #[test]
    fn any_prefix_and_a_new_plan_end_in_one_place(order in orders(), cut in 0..12_usize) {
        let valid = valid(&order);
        let first = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
        let crashed = written(&Seen::default(), &first, cut.min(first.objects.len()));
        let second = plan(&valid, &crashed, &fresh(2, &valid, &crashed), &platform());
        prop_assert!(second.problem.is_none());
        let seen = written(&crashed, &second, usize::MAX);
        let third = plan(&valid, &seen, &fresh(3, &valid, &seen), &platform());
        prop_assert!(nothing_left_to_do(&third, &seen));
        let names = Names::of(&order, &valid.tenant);
        let login = seen.get(ChildKind::Secret, &names.engine, &names.login_secret(1)).unwrap();
        let binding = seen.get(ChildKind::Secret, &order.at.namespace, &siyada_operator::names::binding(&order.at)).unwrap();
        prop_assert_eq!(&login["data"]["password"], &binding["data"]["password"], "one password, whenever the crash was");
    }

    #[test]
    fn every_object_lies_in_the_engine_namespace_or_the_orders_own(order in orders()) {
        let valid = valid(&order);
        let planned = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
        for object in planned.objects {
            let own = object.key.namespace == order.at.namespace && object.key.kind == ChildKind::Secret;
            let engine = Names::of(&order, &valid.tenant).engine;
            prop_assert!(own || object.key.namespace == engine);
            prop_assert_eq!(object.body["metadata"]["labels"]["siyada.cloud/order-uid"].as_str(), Some(order.uid.as_str()));
            let owned = object.body["metadata"].get("ownerReferences").is_some();
            prop_assert!(!owned || own, "no owner in another namespace");
        }
    }

    #[test]
    fn a_stale_view_never_removes_what_holds_data(order in orders(), kept in proptest::collection::vec(any::<bool>(), 12)) {
        let valid = valid(&order);
        let first = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
        let mut stale = Seen::default();
        for (object, keep) in first.objects.iter().zip(kept) {
            if keep {
                stale.children.insert(object.key.clone(), Arc::new(object.body.clone()));
            }
        }
        let again = plan(&valid, &stale, &fresh(2, &valid, &stale), &platform());
        prop_assert!(again.surplus.is_empty());
        prop_assert!(again.objects.is_empty() == again.problem.is_some());
    }
}

#[test]
fn a_lost_password_is_an_error_and_not_a_new_password() {
    let input = examples();
    let order = input.orders.iter().find(|o| o.at.kind == Kind::Postgres).unwrap();
    let valid = check(order, &input.catalogue, now()).unwrap();
    let first = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
    let mut seen = written(&Seen::default(), &first, usize::MAX);
    let names = Names::of(order, &valid.tenant);
    seen.children.retain(|key, _| key.name != names.login_secret(1));
    let again = plan(&valid, &seen, &fresh(2, &valid, &seen), &platform());
    assert!(again.objects.is_empty());
    assert_eq!(again.problem.unwrap().reason, "CredentialsLost");
}

#[test]
fn the_plans_of_the_examples_are_as_reviewed() {
    let input = examples();
    for (name, expect) in [("registry", true), ("forms", true)] {
        let order = input.orders.iter().find(|o| o.at.name == name).unwrap();
        let text = show(order, &input.catalogue, now()).unwrap();
        assert_eq!(text.contains("kind: Cluster"), expect);
        let path = project().join(format!("operator/tests/plans/{name}.yaml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            reviewed == text,
            "{} changed: review it with UPDATE=1 cargo test -p siyada-operator",
            path.display()
        );
        let secrets = text.split("---\n").filter(|d| d.contains("kind: Secret"));
        for secret in secrets {
            let document: Value = serde_saphyr::from_str(secret).unwrap();
            assert!(document["data"].as_object().unwrap().values().all(|v| v == "(secret)"));
        }
    }
}

#[test]
fn every_reason_is_in_the_reference() {
    let mut text = String::from(
        "# Reasons of conditions\n\nGenerated by `UPDATE=1 cargo test -p siyada-operator` from `operator/src/condition.rs`.\n\n| reason | meaning |\n|---|---|\n",
    );
    let mut all: Vec<_> = siyada_operator::condition::reason::ALL.to_vec();
    all.sort_unstable();
    for (reason, meaning) in all {
        text.push_str(&format!("| `{reason}` | {meaning} |\n"));
    }
    let path = project().join("docs/reference/conditions.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/reference/conditions.md is stale: run UPDATE=1 cargo test -p siyada-operator"
    );
}

#[test]
fn a_smaller_plan_keeps_the_size_of_the_volume() {
    let input = examples();
    let mut order = input.orders.iter().find(|o| o.at.kind == Kind::Postgres).unwrap().clone();
    let mut with = |plan: &str, storage: Option<&str>, held: &str| {
        order.spec.plan = plan.to_owned();
        order.spec.storage = storage.map(str::to_owned);
        order.status.storage = Some(held.to_owned());
        check(&order, &input.catalogue, now()).map(|v| v.storage_bytes >> 30).map_err(|r| r.message)
    };
    assert_eq!(with("dev", None, "5Gi"), Ok(5));
    assert_eq!(with("small", None, "1Gi"), Ok(5));
    assert_eq!(with("dev", Some("8Gi"), "5Gi"), Ok(8));
    assert!(with("dev", Some("2Gi"), "5Gi").unwrap_err().contains("it has 5Gi, so ask for 5Gi or more"));
    assert!(with("dev", None, "50Gi").unwrap_err().contains("50Gi is outside of plan dev"));
}

/// The examples with backups: the site has a store, and the plans already say when.
fn with_store() -> Input {
    let mut input = examples();
    let store = serde_json::json!({
        "endpoint": "https://s3.example", "bucketPrefix": "siyada", "credentialsSecret": "store", "ca": "authority",
    });
    for site in &mut input.catalogue.sites {
        Arc::make_mut(site).spec.object_storage = Some(serde_json::from_value(store.clone()).unwrap());
    }
    input
}

fn with_key(fresh: Fresh, seed: u32) -> Fresh {
    let key = StoreKey { id: format!("id {seed}"), secret: format!("secret {seed}") };
    Fresh { store_key: Some(key), ..fresh }
}

fn cluster_of(plan: &Plan) -> &Value {
    &plan.objects.iter().find(|o| o.key.kind == ChildKind::Cluster).unwrap().body
}

#[test]
fn backups_begin_with_the_login_and_never_replace_it() {
    let input = with_store();
    let order = input.orders.iter().find(|o| o.at.name == "registry").unwrap();
    let valid = check(order, &input.catalogue, now()).unwrap();
    let without = plan(&valid, &Seen::default(), &fresh(1, &valid, &Seen::default()), &platform());
    assert!(
        cluster_of(&without)["spec"].get("backup").is_none(),
        "the store is away: the database starts all the same"
    );
    assert!(without.objects.iter().all(|o| o.key.kind != ChildKind::ScheduledBackup));
    let seen = written(&Seen::default(), &without, usize::MAX);
    assert!(needs_store_key(&valid, &seen));
    let second = plan(&valid, &seen, &with_key(fresh(2, &valid, &seen), 2), &platform());
    let archive = &cluster_of(&second)["spec"]["backup"]["barmanObjectStore"];
    assert_eq!(archive["destinationPath"], format!("s3://siyada-{}/", order.uid));
    let mut changed = cluster_of(&second).clone();
    for (body, part) in [("backup", "backup"), ("archive_timeout", "postgresql")] {
        assert!(changed["spec"].get(part).is_some(), "{body}");
    }
    // Nothing else of the database changes, so nothing restarts it.
    changed["spec"].as_object_mut().unwrap().remove("backup");
    changed["spec"]["postgresql"]["parameters"].as_object_mut().unwrap().remove("archive_timeout");
    assert_eq!(changed["spec"], cluster_of(&without)["spec"]);
    let mut seen = seen;
    for object in second.objects {
        seen.children.insert(object.key, Arc::new(object.body));
    }
    assert!(!needs_store_key(&valid, &seen));
    let third = plan(&valid, &seen, &with_key(fresh(3, &valid, &seen), 3), &platform());
    assert!(nothing_left_to_do(&third, &seen), "a login that is there is never replaced");
    // Another try of a backup that failed is one of the schedule's, and made once.
    let night = |number| Again { instead_of: "registry-20261130013000".into(), number, from: now() };
    let again = Seen { again: Some(night(2)), ..seen };
    let fourth = plan(&valid, &again, &fresh(4, &valid, &again), &platform());
    let tried = fourth.objects.iter().find(|o| o.key.kind == ChildKind::Backup).unwrap();
    assert_eq!((tried.key.name.as_str(), tried.mode), ("registry-20261130013000-2", Mode::CreateOnly));
    let made = backup::made(&written(&again, &fourth, usize::MAX));
    assert_eq!((made.len(), made[0].scheduled, made[0].phase), (1, true, "Pending"));
    assert_eq!(made[0].instead_of.as_deref(), Some("registry-20261130013000"));
}

#[test]
fn a_drill_writes_into_no_archive_and_is_nobody_s_instance() {
    let input = with_store();
    let order = input.orders.iter().find(|o| o.at.name == "registry").unwrap();
    let valid = check(order, &input.catalogue, now()).unwrap();
    let names = Names::of_drill(&order.uid, &valid.tenant);
    let drilled = Drilled {
        backup: "nightly".into(),
        backup_id: "20261124T013000".into(),
        archive: "g1".into(),
        began: now(),
    };
    let fresh = fresh(1, &valid, &Seen::default());
    assert_eq!(
        drill::plan(&valid, &names, &drilled, &fresh, &platform()),
        None,
        "without a login of the store"
    );
    let objects = drill::plan(&valid, &names, &drilled, &with_key(fresh, 1), &platform()).unwrap();
    let order_names = Names::of(order, &valid.tenant);
    for object in &objects {
        assert_ne!(object.key.name, order_names.cluster);
        let secret = object.key.kind == ChildKind::Secret;
        assert_eq!(metadata(&object.body, "labels", ORDER_UID).is_some(), secret, "{}", object.key);
        assert_eq!(metadata(&object.body, "labels", DRILL), Some(order.uid.as_str()), "{}", object.key);
    }
    let kinds: Vec<ChildKind> = objects.iter().map(|o| o.key.kind).collect();
    assert_eq!(kinds.first(), Some(&ChildKind::NetworkPolicy), "nobody is let in before it");
    assert_eq!(kinds.last(), Some(&ChildKind::Cluster), "it says that there is a drill");
    let mut secrets: Vec<_> =
        objects.iter().filter(|o| o.key.kind == ChildKind::Secret).map(|o| o.key.clone()).collect();
    let mut removed = drill::secrets_of(&names);
    secrets.sort();
    removed.sort();
    assert_eq!(secrets, removed, "what is made is removed");
    let spec = &objects.last().unwrap().body["spec"];
    assert!(spec.get("backup").is_none(), "it archives nothing");
    assert_eq!(spec["inheritedMetadata"]["labels"], json!({DRILL: order.uid}), "its volume is not billed");
    assert_eq!(spec["bootstrap"]["recovery"]["recoveryTarget"]["backupID"], "20261124T013000");
    let origin = &spec["externalClusters"][0]["barmanObjectStore"]["destinationPath"];
    assert_eq!(*origin, format!("s3://siyada-{}/", order.uid));
    assert!(!json!(objects).to_string().contains(":null"), "the engine takes no null");
}

#[test]
fn a_restore_never_begins_empty_and_never_writes_what_it_reads() {
    let input = with_store();
    let mut order = input.orders.iter().find(|o| o.at.name == "registry").unwrap().clone();
    let from = json!({"instance": "other", "time": "2026-11-24T09:00:00+01:00"});
    order.spec.restore_from = Some(serde_json::from_value(from).unwrap());
    let valid = check(&order, &input.catalogue, now()).unwrap();
    let source = Source {
        order_uid: "origin".parse().unwrap(),
        bucket: "siyada-origin".into(),
        archive: None,
        backup_id: None,
        time: Some("2026-11-24T08:00:00Z".parse().unwrap()),
        all: false,
    };
    let all = Source { all: true, ..source.clone() };
    let sources = [None, Some(source.clone()), Some(all)];
    for (source, key) in sources.iter().flat_map(|s| [(s.clone(), false), (s.clone(), true)]) {
        let complete = source.is_some() && key;
        let seen = Seen { source, ..Seen::default() };
        let fresh = fresh(1, &valid, &seen);
        let plan = plan(&valid, &seen, &if key { with_key(fresh, 1) } else { fresh }, &platform());
        assert_eq!(plan.problem.is_none(), complete);
        assert_eq!(plan.objects.iter().any(|o| o.key.kind == ChildKind::Cluster), complete);
        if complete {
            let spec = &cluster_of(&plan)["spec"];
            assert!(spec["bootstrap"].get("initdb").is_none());
            let target = &spec["bootstrap"]["recovery"]["recoveryTarget"]["targetTime"];
            let ends = seen.source.as_ref().is_some_and(|source| source.all);
            assert_eq!(target.as_str(), (!ends).then_some("2026-11-24T08:00:00Z"));
            let (reads, writes) = (&spec["externalClusters"][0], &spec["backup"]);
            let path =
                |part: &Value| part["barmanObjectStore"]["destinationPath"].as_str().unwrap().to_owned();
            assert_eq!(path(reads), "s3://siyada-origin/");
            assert_ne!(path(reads), path(writes));
            // The origin may have replaced its login: what it called the second is let in by nobody here.
            let second = spec["managed"]["roles"].as_array().unwrap().iter().find(|r| r["name"] == "app_b");
            let second = second.unwrap();
            assert_eq!((&second["login"], &second["disablePassword"]), (&json!(false), &json!(true)));
        }
    }
    // The engine's object remembers it when the origin is gone.
    let seen = Seen { source: Some(source.clone()), ..Seen::default() };
    let made = plan(&valid, &seen, &with_key(fresh(1, &valid, &seen), 1), &platform());
    assert_eq!(recorded(cluster_of(&made)), Some(source));
    order.spec.restore_from.as_mut().unwrap().time = Some("2027-01-01T00:00:00Z".into());
    assert_eq!(check(&order, &input.catalogue, now()).unwrap_err().reason, "RestoreImpossible");
    order.spec.restore_from.as_mut().unwrap().time = None;
    assert_eq!(check(&order, &examples().catalogue, now()).unwrap_err().reason, "RestoreImpossible");
}
