//! Gaps of measurement: listed, and decided by those who may.

use crate::world::world;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_not_there_is_not_decided() {
    let world = world().await;
    let (amina, karim) = tokio::join!(world.signed_in("amina"), world.signed_in("karim"));
    assert_eq!(amina.runs("gaps interior --state all -o json", &[]).await.json(), json!([]));
    let head = amina.runs("gaps interior --state undecided -o csv", &[]).await.ok();
    assert!(
        head.starts_with("id,tenant,namespace,name,meter,sku,level,start,end,reason,decision,"),
        "{head}"
    );
    assert_eq!(karim.runs("gaps -o json", &[]).await.json(), json!([]));
    amina.runs("gaps", &[]).await.refused(4, "siyada whoami");
    amina.runs("gaps interior --state open", &[]).await.refused(2, "undecided");
    let line = "decide interior 1 --waive --evidence";
    amina.runs(line, &["The cluster was off"]).await.refused(4, "");
    amina.runs("decide interior 1 --waive", &[]).await.refused(2, "--evidence");
}
