//! Months that close by themselves, on the day that national finance set, once, by the ledger's clock.

use crate::closing::{documents, finance, fresh, ready, seen, world_of_2024};
use crate::crash::{Program, keys};
use crate::support::{World, account, fresh_database, set_clock, until};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use siyada_api::fail::CLOSING;
use siyada_api::openapi::examples;
use siyada_api::store::{self, scheduled};
use siyada_api::tasks;
use siyada_model::statement::Statement;

/// The schedule of these tests: the fifth at six.
async fn schedule(world: &World) {
    let settings = json!({"closing": {"dayOfMonth": 5, "hour": 6}});
    finance(world).put("/v1/settings", &settings).await.ok::<Value>();
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The months that are closed, and who closed each.
async fn closed(world: &World) -> Vec<(String, String)> {
    let sql = "select month, closed_by from period where closed_ms is not null order by month";
    sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap()
}

async fn months(world: &World) -> Vec<String> {
    closed(world).await.into_iter().map(|(month, _)| month).collect()
}

/// Everything that a closing could have written.
async fn written(world: &World) -> Vec<i64> {
    let sql = "select array[(select count(*) from statement), (select count(*) from audit_event),
                   (select count(*) from closing_attempt), (select count(*) from period)]";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

async fn run(world: &World) -> Option<i64> {
    scheduled::run(&world.pool, None).await.unwrap()
}

async fn blocked(world: &World) -> Value {
    let page: Value = world.operator().get("/v1/health/metering").await.ok();
    page["checks"].as_array().unwrap().iter().find(|c| c["check"] == "closingBlocked").unwrap().clone()
}

#[tokio::test]
async fn nothing_closes_by_itself_unless_that_is_set() {
    let world = fresh().await;
    let settings: Value = finance(&world).get("/v1/settings").await.ok();
    assert_eq!(settings, json!({"auditRetentionYears": 10}));
    let before = written(&world).await;
    assert_eq!(run(&world).await, None);
    assert_eq!((written(&world).await, months(&world).await), (before, vec![]));
}

#[tokio::test]
async fn a_month_closes_at_its_instant_in_casablanca_and_not_a_millisecond_before() {
    let world = fresh().await;
    // February of 2024 is due on 5 March at 06:00 of UTC+1; March, in Ramadan's last days, on 5 April at 06:00 of UTC.
    set_clock(&world.pool, at("2024-03-05T04:59:59.999Z")).await;
    schedule(&world).await;
    let before = written(&world).await;
    assert_eq!(run(&world).await, Some(1));
    assert_eq!((written(&world).await, months(&world).await.len()), (before, 0));
    set_clock(&world.pool, at("2024-03-05T05:00:00Z")).await;
    let march = at("2024-04-05T06:00:00Z").as_millisecond() - at("2024-03-05T05:00:00Z").as_millisecond();
    assert_eq!(run(&world).await, Some(march));
    assert_eq!(closed(&world).await, [("2024-02".to_owned(), "system:schedule".to_owned())]);
    assert_eq!(documents(&world).await.len(), 2);
    // What was missed is made up for, month by month, and nothing closes twice.
    set_clock(&world.pool, at("2024-06-20T00:00:00Z")).await;
    let after: i64 = run(&world).await.unwrap();
    assert_eq!(months(&world).await, ["2024-02", "2024-03", "2024-04", "2024-05"]);
    let due = at("2024-06-20T00:00:00Z").checked_add(after.milliseconds()).unwrap();
    assert_eq!(due, at("2024-07-05T05:00:00Z"));
}

#[tokio::test]
async fn two_replicas_close_each_month_once() {
    let world = fresh().await;
    // Ten months are due, from February to November.
    set_clock(&world.pool, at("2024-12-20T00:00:00Z")).await;
    schedule(&world).await;
    let tasks: Vec<_> = (0..2).map(|_| tokio::spawn(tasks::keep_closed(world.state.clone()))).collect();
    until("ten months are closed", 120, async || months(&world).await.len() >= 10).await;
    let closed = closed(&world).await;
    assert_eq!(closed.last(), Some(&("2024-11".to_owned(), scheduled::BY.to_owned())));
    assert!(closed.iter().all(|(_, by)| by == scheduled::BY), "{closed:?}");
    assert!(matches!(run(&world).await, Some(ms) if ms > scheduled::AGAIN_MS));
    let sql = "select count(*) from audit_event where action = 'period.close' and actor = 'system:schedule'";
    let told: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
    assert_eq!(usize::try_from(told).unwrap(), closed.len());
    documents(&world).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_blocked_is_shown_and_tried_again_after_an_hour() {
    let world = world_of_2024(store::pool(fresh_database().await)).await;
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    schedule(&world).await;
    let begun = at("2024-03-05T09:00:00Z");
    set_clock(&world.pool, begun).await;
    assert_eq!(run(&world).await, Some(scheduled::AGAIN_MS));
    assert_eq!(months(&world).await, Vec::<String>::new());
    let shown = blocked(&world).await;
    assert_eq!((&shown["ok"], &shown["count"]), (&json!(false), &json!(1)));
    let detail = shown["examples"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("2024-02, tried at 2024-03-05T09:00:00Z: collector cluster-a has not"),
        "{detail}"
    );
    // Nobody tries within the hour, whoever asks: the collector has reported by now.
    seen(&world).await;
    set_clock(&world.pool, begun + 40.minutes()).await;
    let before = written(&world).await;
    assert_eq!(run(&world).await, Some(20 * 60 * 1_000));
    assert_eq!((written(&world).await, months(&world).await.len()), (before, 0));
    set_clock(&world.pool, begun + 1.hour()).await;
    assert!(run(&world).await.unwrap() > scheduled::AGAIN_MS);
    assert_eq!(months(&world).await, ["2024-02"]);
    assert_eq!(blocked(&world).await["ok"], true);
    // A month that is blocked and no longer to be closed by itself is nothing to look after.
    sqlx::query("insert into closing_attempt values ('2024-03', 1, '[]', 'it failed')")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        blocked(&world).await["examples"][0]["detail"],
        "2024-03, tried at 1970-01-01T00:00:00Z: it failed"
    );
    finance(&world).put("/v1/settings", &json!({})).await.ok::<Value>();
    assert_eq!(blocked(&world).await["ok"], true);
}

#[tokio::test]
async fn a_clock_that_was_set_back_delays_no_try() {
    let world = world_of_2024(store::pool(fresh_database().await)).await;
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    schedule(&world).await;
    set_clock(&world.pool, at("2025-03-05T09:00:00Z")).await;
    assert_eq!(run(&world).await, Some(scheduled::AGAIN_MS));
    set_clock(&world.pool, at("2024-03-05T09:00:00Z")).await;
    seen(&world).await;
    run(&world).await;
    assert_eq!(months(&world).await, ["2024-02"]);
}

#[tokio::test]
async fn settings_are_versions_on_the_trail() {
    let world = World::with_tenants().await;
    let new = json!({"closing": {"dayOfMonth": 5, "hour": 6}, "auditRetentionYears": 12});
    for _ in 0..2 {
        assert_eq!(finance(&world).put("/v1/settings", &new).await.ok::<Value>(), new);
    }
    let problem =
        finance(&world).put("/v1/settings", &json!({"closing": {"dayOfMonth": 31, "hour": 6}})).await;
    assert!(problem.refused(422, "invalid").detail.contains("dayOfMonth is 1 to 28"));
    finance(&world).put("/v1/settings", &json!({"closingDay": 5})).await.refused(422, "invalid");
    let page: Value = world.member("audit").get("/v1/audit?after=5").await.ok();
    let events = page["items"].as_array().unwrap();
    assert_eq!(
        (events.len(), &events[0]["action"], &events[0]["detail"]["after"]),
        (1, &json!("settings.put"), &new)
    );
    let change = "update setting_version set audit_years = 1";
    let error = sqlx::query(change).execute(&world.pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("setting_version_is_append_only"));
}

#[tokio::test]
async fn while_another_replica_is_at_it_nobody_else_tries() {
    let world = fresh().await;
    set_clock(&world.pool, at("2024-03-05T05:00:00Z")).await;
    schedule(&world).await;
    let mut other = world.pool.begin().await.unwrap();
    let turn = "select pg_advisory_xact_lock(hashtextextended('siyada closing schedule', 0))";
    sqlx::query(turn).execute(&mut *other).await.unwrap();
    assert_eq!(run(&world).await, Some(scheduled::TAKEN_MS));
    assert_eq!(months(&world).await, Vec::<String>::new());
    other.rollback().await.unwrap();
    run(&world).await;
    assert_eq!(months(&world).await, ["2024-02"]);
}

/// What the month's statements bill.
fn billed(documents: &[Statement]) -> Vec<(String, i64)> {
    documents.iter().map(|d| (d.number.clone(), d.totals.gross_minor)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_at_any_point_of_closing_by_itself_the_next_two_programs_close_the_month_once() {
    siyada_api::install_tls_provider();
    let keys = keys().await;
    let due = at("2024-03-05T05:00:00Z");
    let undisturbed = fresh().await;
    set_clock(&undisturbed.pool, due).await;
    schedule(&undisturbed).await;
    run(&undisturbed).await;
    let expected = billed(&documents(&undisturbed).await);
    let settings = json!({"closing": {"dayOfMonth": 5, "hour": 6}});
    for point in CLOSING {
        let database = fresh_database().await;
        let world = ready(store::pool(database.clone())).await;
        set_clock(&world.pool, due).await;
        let mut program = Program::start(&database, &keys, point).await;
        // It closes as soon as that is set, which may be before it could answer.
        let _ = program.ask(&account("finance"), "PUT", "/v1/settings", Some(&settings)).await;
        program.dead().await;
        let _programs =
            [Program::start(&database, &keys, "").await, Program::start(&database, &keys, "").await];
        until("the month is closed", 30, async || months(&world).await == ["2024-02"]).await;
        assert_eq!(billed(&documents(&world).await), expected, "{point}");
    }
}
