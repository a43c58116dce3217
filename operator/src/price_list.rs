//! Price lists: told to the ledger once, kept while it uses them.

use crate::apply;
use crate::catalogue;
use crate::context::Context;
use crate::ledger::Ledger;
use crate::names::LEDGER_FINALIZER;
use crate::reconcile::{Pass, fingerprint};
use crate::tenant::tell_price_list;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use siyada_crds::PriceList;
use siyada_model::wire::{PriceListRecord, code};
use std::sync::Arc;
use std::time::Duration;

/// After a refusal of the ledger.
const AGAIN: Duration = Duration::from_secs(60);

/// One pass over a price list.
///
/// # Errors
/// [`Pass`]; the controller tries again with back-off.
pub async fn reconcile(list: Arc<PriceList>, context: Arc<Context>) -> Result<Action, Pass> {
    if list.metadata.deletion_timestamp.is_some() {
        return remove(&list, &context).await;
    }
    apply::set_finalizer(&context.client, &*list, LEDGER_FINALIZER, true).await?;
    let prices = match catalogue::price_list(&list) {
        Ok(prices) => prices,
        Err(error) => {
            tell_price_list(&list, &context, Err(("Invalid", error.to_string()))).await?;
            return Ok(Action::await_change());
        }
    };
    let uid = list.uid().unwrap_or_default();
    let record = PriceListRecord { uid: uid.clone(), legal_basis: list.spec.legal_basis.clone(), prices };
    let (key, hash) = (format!("prices/{uid}"), fingerprint(&record));
    if context.memory.lock().tenants.get(&key) != Some(&hash) {
        match context.ledger.put_price_list(&record).await {
            Ok(()) => {
                context.memory.lock().tenants.insert(key, hash);
                // What is held may have another price now.
                context.catalogue.tenants.state().iter().for_each(|t| context.figures.touch(&t.name_any()));
            }
            Err(Ledger::Refused(problem)) => {
                tell_price_list(&list, &context, Err((refused(&problem.code), problem.detail.clone())))
                    .await?;
                return Ok(Action::requeue(AGAIN));
            }
            Err(error) => return Err(error.into()),
        }
    }
    context.backoff.clear(&uid);
    tell_price_list(&list, &context, Ok("the ledger knows these prices")).await?;
    Ok(Action::await_change())
}

/// The condition's reason for a refusal of the ledger.
fn refused(problem: &str) -> &'static str {
    match problem {
        code::CONFLICT => "Overlaps",
        code::PRICE_UNKNOWN => "LeavesGap",
        _ => "LedgerRefused",
    }
}

async fn remove(list: &PriceList, context: &Context) -> Result<Action, Pass> {
    match context.ledger.delete_price_list(&list.name_any()).await {
        Ok(()) => apply::set_finalizer(&context.client, list, LEDGER_FINALIZER, false).await?,
        Err(Ledger::Refused(problem)) => {
            tell_price_list(list, context, Err(("InUse", problem.detail.clone()))).await?;
            return Ok(Action::requeue(AGAIN));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Action::await_change())
}
