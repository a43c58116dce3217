//! How long the audit trail is kept: what is old enough goes, an anchor stays, and nothing younger can be removed.

use crate::crash::{Program, keys};
use crate::support::{World, fresh_database, until};
use jiff::{Timestamp, ToSpan, Zoned};
use serde_json::{Value, json};
use siyada_api::store::{self, audit};
use siyada_model::audit::{AuditEvent, Broken, Extent, Flaw, NOTHING_BEFORE, Retention, verify};
use sqlx::{AssertSqlSafe, PgPool};

fn years_ago(years: i64) -> Timestamp {
    Timestamp::from_millisecond(Zoned::now().checked_sub(years.years()).unwrap().timestamp().as_millisecond())
        .unwrap()
}

/// A trail that began so many years ago, one event for each.
async fn old(pool: &PgPool, years: &[i64]) {
    let mut previous = NOTHING_BEFORE.to_owned();
    for (seq, years) in (1_i64..).zip(years) {
        let mut event = AuditEvent {
            seq,
            at: years_ago(*years),
            actor: "oidc:amina".to_owned(),
            action: "priceList.put".to_owned(),
            tenant: None,
            object: format!("priceList/{seq}"),
            detail: json!({}),
            previous_sha256: previous,
            sha256: String::new(),
        };
        event.sha256 = event.hash().unwrap();
        let sql =
            "insert into audit_event (seq, at_ms, actor, action, object, detail, previous_sha256, sha256)
                   values ($1, $2, $3, $4, $5, $6, $7, $8)";
        sqlx::query(sql)
            .bind(seq)
            .bind(event.at.as_millisecond())
            .bind(&event.actor)
            .bind(&event.action)
            .bind(&event.object)
            .bind(&event.detail)
            .bind(&event.previous_sha256)
            .bind(&event.sha256)
            .execute(pool)
            .await
            .unwrap();
        previous = event.sha256;
    }
}

/// A trail of which three events are older than ten years, and then what happens today.
async fn world() -> World {
    let pool = store::pool(fresh_database().await);
    old(&pool, &[14, 12, 11, 9, 2]).await;
    World::with_tenants_on(pool).await
}

async fn export(world: &World, path: &str) -> String {
    world.member("audit").get(path).await.text()
}

fn verified(text: &str, extent: Extent) -> Result<Option<AuditEvent>, Broken> {
    verify(text.lines().map(str::as_bytes), extent)
}

async fn refused(world: &World, sql: &str) -> String {
    let error = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&world.pool).await.unwrap_err();
    error.as_database_error().unwrap().constraint().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn i14_what_is_old_enough_goes_and_the_rest_verifies_from_its_anchor() {
    let world = world().await;
    let whole = export(&world, "/v1/audit?format=lines").await;
    assert_eq!(verified(&whole, Extent::Whole).unwrap().unwrap().seq, 10);
    let anchor = audit::remove_expired(&world.pool).await.unwrap().unwrap();
    assert_eq!(anchor.seq, 3);
    let text = export(&world, "/v1/audit?format=lines").await;
    let last = verified(&text, Extent::Whole).unwrap().unwrap();
    assert_eq!(
        (last.seq, last.action.as_str(), last.actor.as_str()),
        (11, "audit.remove", "system:retention")
    );
    assert_eq!((&last.detail["removed"], &last.detail["seq"]), (&json!(3), &json!(3)));
    let line = json!({"anchor": {"seq": 3, "at": anchor.at, "sha256": anchor.sha256}});
    assert_eq!(serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap(), line);
    // What remains is to the byte what it was.
    let kept: Vec<&str> = whole.lines().skip(3).collect();
    assert_eq!(text.lines().skip(1).take(7).collect::<Vec<_>>(), kept);
    let retention: Retention = world.member("health").get("/v1/audit/retention").await.ok();
    assert_eq!((retention.years, retention.anchor.as_ref()), (10, Some(&anchor)));
    assert!(retention.kept_since > years_ago(11) && retention.kept_since < years_ago(9));
    let table = export(&world, "/v1/audit?format=csv").await;
    let row = format!("3,{},,removed,,,,,{}", anchor.at, anchor.sha256);
    assert_eq!(table.split("\r\n").nth(1), Some(row.as_str()));
    let part = export(&world, "/v1/tenants/police/audit?format=lines").await;
    assert!(part.starts_with("{\"anchor\":") && verified(&part, Extent::Part).is_ok(), "{part}");
    // Whoever asks for what comes later gets that and nothing before it.
    assert!(export(&world, "/v1/audit?format=lines&after=5").await.starts_with("{\"action\":"));
    // Cut off one more, and say so: no event tells of it.
    let event: AuditEvent = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let own = format!(
        "{{\"anchor\":{{\"at\":\"{}\",\"seq\":{},\"sha256\":\"{}\"}}}}\n",
        event.at, event.seq, event.sha256
    );
    let cut = own + &text.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(verified(&cut, Extent::Whole), Err(Broken { line: 1, flaw: Flaw::Anchor }));
}

#[tokio::test]
async fn i14_removing_again_removes_nothing_and_writes_nothing() {
    let world = world().await;
    let (first, second) =
        tokio::join!(audit::remove_expired(&world.pool), audit::remove_expired(&world.pool));
    assert_eq!([first.unwrap(), second.unwrap()].into_iter().flatten().count(), 1);
    let before = export(&world, "/v1/audit?format=lines").await;
    assert_eq!(audit::remove_expired(&world.pool).await.unwrap(), None);
    assert_eq!(export(&world, "/v1/audit?format=lines").await, before);
    let anchors: i64 =
        sqlx::query_scalar("select count(*) from audit_anchor").fetch_one(&world.pool).await.unwrap();
    assert_eq!(anchors, 1);
    // The trail goes on, and the next removal follows the first.
    world.member("finance").put("/v1/settings", &json!({"auditRetentionYears": 5})).await.ok::<Value>();
    assert_eq!(audit::remove_expired(&world.pool).await.unwrap().unwrap().seq, 4);
    let text = export(&world, "/v1/audit?format=lines").await;
    let last = verified(&text, Extent::Whole).unwrap().unwrap();
    assert_eq!((last.seq, &last.detail["removed"]), (13, &json!(1)));
}

#[tokio::test]
async fn i14_how_long_is_what_finance_set() {
    let world = world().await;
    let keep = async |years: i64| {
        world
            .member("finance")
            .put("/v1/settings", &json!({"auditRetentionYears": years}))
            .await
            .ok::<Value>();
        audit::remove_expired(&world.pool).await.unwrap().map(|anchor| anchor.seq)
    };
    assert_eq!(keep(20).await, None);
    assert_eq!(keep(13).await, Some(1));
    assert_eq!(keep(10).await, Some(3));
    assert_eq!(keep(100).await, None);
    assert_eq!(keep(1).await, Some(5));
    assert!(verified(&export(&world, "/v1/audit?format=lines").await, Extent::Whole).is_ok());
}

#[tokio::test]
async fn i14_the_database_removes_nothing_younger_and_nothing_without_an_anchor() {
    let world = world().await;
    let anchored = |seq: i64| {
        format!(
            "do $$ begin
                 insert into audit_anchor select seq, at_ms, sha256, 0 from audit_event where seq = {seq};
                 delete from audit_event where seq <= {seq};
             end $$"
        )
    };
    let (younger, unanchored) = ("audit_event_is_append_only", "audit_event_begins_after_its_anchor");
    for (sql, expect) in [
        ("delete from audit_event".to_owned(), younger),
        ("delete from audit_event where seq = 4".to_owned(), younger),
        ("delete from audit_event where seq <= 4".to_owned(), younger),
        (anchored(4), younger),
        (anchored(10), younger),
        ("delete from audit_event where seq = 1".to_owned(), unanchored),
        ("delete from audit_event where seq <= 3".to_owned(), unanchored),
        (anchored(3).replace("<= 3", "= 3"), unanchored),
        (anchored(3).replace("<= 3", "in (1, 3)"), unanchored),
        (anchored(3).replace("<= 3", "<= 2"), unanchored),
        ("truncate audit_event".to_owned(), younger),
        ("update audit_event set at_ms = 0 where seq = 5".to_owned(), younger),
        ("insert into audit_anchor values (3, 0, repeat('0', 64), 0)".to_owned(), "audit_anchor_is_an_event"),
    ] {
        assert_eq!(refused(&world, &sql).await, expect, "{sql}");
    }
    assert_eq!(
        verified(&export(&world, "/v1/audit?format=lines").await, Extent::Whole).unwrap().unwrap().seq,
        10
    );
    // The rule is the data's: whoever keeps it may, and an anchor stays.
    sqlx::query(AssertSqlSafe(anchored(2))).execute(&world.pool).await.unwrap();
    assert_eq!(refused(&world, "delete from audit_anchor").await, "audit_anchor_is_append_only");
    assert_eq!(refused(&world, "update audit_anchor set seq = 1").await, "audit_anchor_is_append_only");
}

#[tokio::test]
async fn i14_a_trail_that_is_old_as_a_whole_keeps_its_last_event() {
    let pool = store::pool(fresh_database().await);
    old(&pool, &[30, 29, 28]).await;
    let world = World::on(pool);
    assert_eq!(audit::remove_expired(&world.pool).await.unwrap().unwrap().seq, 2);
    let text = export(&world, "/v1/audit?format=lines").await;
    assert_eq!(verified(&text, Extent::Whole).unwrap().unwrap().seq, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn i14_the_program_removes_by_itself_what_is_old_enough() {
    siyada_api::install_tls_provider();
    let database = fresh_database().await;
    let pool = store::pool(database.clone());
    old(&pool, &[14, 12, 11, 9]).await;
    let world = World::on(pool);
    let _program = Program::start(&database, &keys().await, "").await;
    let begins = "select coalesce(max(seq), 0) from audit_anchor";
    until("the trail was shortened", 30, async || {
        sqlx::query_scalar::<_, i64>(begins).fetch_one(&world.pool).await.unwrap() == 3
    })
    .await;
    let text = export(&world, "/v1/audit?format=lines").await;
    assert_eq!(verified(&text, Extent::Whole).unwrap().unwrap().seq, 5);
}
