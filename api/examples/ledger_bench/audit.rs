//! Whether the audit trail is in the way of reservations: their rate alone, beside somebody who renames a tenant again and
//! again, which is not told, and beside somebody who changes its quota, which is.

use crate::reservations::grouped;
use crate::world::{TENANTS, failed};
use serde::Serialize;
use serde_json::json;
use siyada_api::store::tenants;
use siyada_model::id::TenantName;
use siyada_model::wire::TenantRecord;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Rounds of all three in turn, so that a slow moment of the machine meets each of them.
const ROUNDS: usize = 7;
/// Callers that reserve.
const CALLERS: usize = 32;

/// Medians over the rounds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    alone_per_second: f64,
    beside_untold_per_second: f64,
    beside_told_per_second: f64,
    told_p99_ms: f64,
    untold_changes_per_second: f64,
    told_changes_per_second: f64,
}

/// Measures and prints.
pub async fn measure(pool: &PgPool, time: Duration) -> anyhow::Result<Measured> {
    static GENERATION: AtomicI64 = AtomicI64::new(1);
    let (mut rates, mut changes, mut p99) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]], vec![]);
    for _ in 0..ROUNDS {
        for (mode, (rates, changes)) in rates.iter_mut().zip(&mut changes).enumerate() {
            let stop = Arc::new(AtomicBool::new(false));
            let writer = tokio::spawn(change(pool.clone(), mode, stop.clone(), &GENERATION));
            let rate = grouped(pool, TENANTS, CALLERS, time).await?;
            stop.store(true, Ordering::Relaxed);
            changes.push(writer.await?? as f64 / time.as_secs_f64());
            rates.push(rate.per_second);
            if mode == 2 {
                p99.push(rate.p99_ms);
            }
        }
    }
    let [alone, untold, told] = rates.map(median);
    let [_, untold_changes, told_changes] = changes.map(median);
    println!(
        "\n| reservations/s of {CALLERS} callers | alone | beside untold changes | beside told changes |"
    );
    println!("|---|---|---|---|");
    println!("| median of {ROUNDS} rounds | {alone:.0} | {untold:.0} | {told:.0} |");
    println!("| changes/s | | {untold_changes:.0} | {told_changes:.0} |");
    println!(
        "\nbeside told : beside untold = {:.2}, beside told : alone = {:.2}",
        told / untold,
        told / alone
    );
    Ok(Measured {
        alone_per_second: alone,
        beside_untold_per_second: untold,
        beside_told_per_second: told,
        told_p99_ms: median(p99),
        untold_changes_per_second: untold_changes,
        told_changes_per_second: told_changes,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Changes a tenant that nobody orders for until told to stop, and answers how often.
async fn change(
    pool: PgPool,
    mode: usize,
    stop: Arc<AtomicBool>,
    generation: &AtomicI64,
) -> anyhow::Result<i64> {
    let name: TenantName = "changes".parse()?;
    let mut done = 0;
    while mode > 0 && !stop.load(Ordering::Relaxed) {
        let next = generation.fetch_add(1, Ordering::Relaxed);
        let limit = if mode == 2 { next } else { 0 };
        let record: TenantRecord = serde_json::from_value(json!({
            "uid": "u", "generation": next, "parent": "kingdom", "displayName": {"en": format!("{next}")},
            "quota": {"instances": limit}, "dataClassification": "Internal", "alerts": {"percent": []}
        }))?;
        tenants::put(&pool, &name, &record, "bench").await.map_err(failed)?;
        done += 1;
    }
    Ok(done)
}
