//! What the tests of decisions begin with: the examples as they are in the project, at one moment.
#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use jiff::Timestamp;
use serde_json::Value;
use siyada_operator::names::APPLIED;
use siyada_operator::object::{Mode, Planned, is_so};
use siyada_operator::order::{Kind, Order};
use siyada_operator::plan::Platform;
use siyada_operator::plan_command::Input;
use siyada_operator::seen::metadata;
use std::path::{Path, PathBuf};

pub fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The catalogue and the orders of the examples, files in the order of their names.
pub fn examples() -> Input {
    let mut input = Input::default();
    for folder in ["examples/platform", "examples/ministry"] {
        let mut files: Vec<_> =
            std::fs::read_dir(project().join(folder)).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files {
            input.take(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
    }
    input
}

/// The PostgreSQL that they order.
pub fn registry(input: &Input) -> Order {
    let found = |o: &&Order| o.at.kind == Kind::Postgres && o.at.name == "registry";
    input.orders.iter().find(found).unwrap().clone()
}

pub fn platform() -> Platform {
    Platform {
        namespace: "siyada-system".into(),
        engine_namespace: "cnpg-system".into(),
        authority_pem: "authority".into(),
    }
}

/// Whether what is there needs no write.
pub fn is_as_planned(planned: &Planned, live: &Value) -> bool {
    let applied = |v: &Value| metadata(v, "annotations", APPLIED).map(str::to_owned);
    planned.mode == Mode::CreateOnly || applied(live) == applied(&planned.body) && is_so(&planned.body, live)
}
