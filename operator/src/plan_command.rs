//! `siyada-operator plan -f order.yaml`: what an order would become, without a cluster.

use crate::catalogue::{self, Catalogue};
use crate::check::check;
use crate::order::{Order, OrderResource};
use crate::plan::{Certificate, Fresh, Platform, plan};
use crate::seen::Seen;
use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;
use siyada_crds::{DocumentStoreInstance, PostgresInstance};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

/// Everything in some files: the catalogue and the orders.
#[derive(Debug, Default)]
pub struct Input {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The orders.
    pub orders: Vec<Order>,
}

impl Input {
    /// Takes in the documents of one file. Other kinds are passed over.
    ///
    /// # Errors
    /// Says which document cannot be read.
    pub fn take(&mut self, text: &str) -> Result<()> {
        let documents: Vec<Option<Value>> =
            serde_saphyr::from_multiple(text).context("failed to read YAML")?;
        for document in documents.into_iter().flatten() {
            let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let name =
                document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.take_one(&kind, document).with_context(|| format!("failed to read {kind} {name}"))?;
        }
        Ok(())
    }

    fn take_one(&mut self, kind: &str, document: Value) -> Result<()> {
        let catalogue = &mut self.catalogue;
        match kind {
            "Tenant" => catalogue.tenants.push(Arc::new(serde_json::from_value(document)?)),
            "Site" => catalogue.sites.push(Arc::new(serde_json::from_value(document)?)),
            "ServiceOffering" => catalogue.offerings.push(Arc::new(serde_json::from_value(document)?)),
            "PriceList" => {
                catalogue.price_lists.push(catalogue::price_list(&serde_json::from_value(document)?)?)
            }
            "PostgresInstance" => self.orders.push(order::<PostgresInstance>(document)?),
            "DocumentStoreInstance" => self.orders.push(order::<DocumentStoreInstance>(document)?),
            _ => {}
        }
        Ok(())
    }
}

fn order<K: OrderResource>(document: Value) -> Result<Order> {
    let mut object: K = serde_json::from_value(document)?;
    let meta = object.meta_mut();
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    meta.uid.get_or_insert_with(|| "00000000-0000-0000-0000-000000000000".to_owned());
    Ok(Order::of(&object)?)
}

/// The plan of an order as YAML, with every secret left out.
///
/// # Errors
/// The refusal, when the order is not possible.
pub fn show(order: &Order, catalogue: &Catalogue, now: Timestamp) -> Result<String> {
    let valid = match check(order, catalogue, now) {
        Ok(valid) => valid,
        Err(refusal) => bail!("{}: {}", refusal.reason, refusal.message),
    };
    let generated = || "(generated)".to_owned();
    let certificate = Certificate {
        certificate_pem: generated(),
        key_pem: generated(),
        renew_after_second: now.as_second(),
    };
    let fresh = Fresh {
        owner_password: generated(),
        login_password: generated(),
        further_seed: generated(),
        rotation: None,
        certificate: Some(certificate),
        store_key: None,
    };
    let platform = Platform {
        namespace: "siyada-system".to_owned(),
        engine_namespace: "cnpg-system".to_owned(),
        authority_pem: "(the authority's certificate)".to_owned(),
    };
    let planned = plan(&valid, &Seen::default(), &fresh, &platform);
    let mut text = format!(
        "# {} {}/{}: at most {}/month (price list {})\n",
        order.at.kind, order.at.namespace, order.at.name, valid.monthly_maximum, valid.price_list
    );
    for mut object in planned.objects {
        if let Some(data) = object.body.get_mut("data").and_then(Value::as_object_mut) {
            data.values_mut().for_each(|value| *value = Value::String("(secret)".to_owned()));
        }
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object.body)?);
    }
    Ok(text)
}

/// Runs the command.
///
/// # Errors
/// Says which file or order is at fault.
pub fn run(files: &[PathBuf]) -> Result<()> {
    let mut input = Input::default();
    for file in files {
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?
        };
        input.take(&text).with_context(|| format!("in {}", file.display()))?;
    }
    ensure!(!input.orders.is_empty(), "the files hold no PostgresInstance and no DocumentStoreInstance");
    let mut out = std::io::stdout().lock();
    for order in &input.orders {
        out.write_all(show(order, &input.catalogue, Timestamp::now())?.as_bytes())?;
    }
    Ok(())
}
