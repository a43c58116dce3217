//! Price lists: told to the ledger once, kept while it uses them.

use crate::apply;
use crate::catalogue;
use crate::context::Context;
use crate::ledger::Ledger;
use crate::names::LEDGER_FINALIZER;
use crate::reconcile::{Pass, fingerprint};
use crate::tenant::tell_price_list;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use siyada_crds::PriceList;
use siyada_model::wire::{PriceListRecord, code};
use std::sync::Arc;
use std::time::Duration;

/// The ledger values what is held within this time after a list came into force.
const SETTLED: Duration = Duration::from_secs(3);
/// Longest wait for a list's beginning before it is looked at again.
const LONGEST: Duration = Duration::from_secs(86_400);
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
    let begins_in = until(record.prices.valid_from, Timestamp::now());
    // Told again as it comes into force: what is held has other prices then, and the tenants other figures.
    let (key, hash) = (format!("prices/{uid}"), fingerprint(&(&record, begins_in.is_none())));
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
    Ok(begins_in.map_or_else(Action::await_change, |wait| Action::requeue((wait + SETTLED).min(LONGEST))))
}

/// How long it is until an instant; nothing when it has come.
fn until(instant: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(instant.duration_since(now)).ok().filter(|wait| !wait.is_zero())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_has_begun_is_waited_for_no_more() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(until(at(15), at(10)), Some(Duration::from_secs(5)));
        assert_eq!(until(at(10), at(10)), None);
        assert_eq!(until(at(9), at(10)), None);
    }
}
