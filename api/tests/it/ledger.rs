//! The double-entry ledger: it balances for us, for the database, and for a program that is not ours.

use crate::bills::{Line, bill, line, note};
use crate::support::World;
use serde_json::Value;
use siyada_api::store::ledger;
use siyada_model::ledger::{Account, AccountKind, Entry, Transaction, TransactionKind, post_statement};
use siyada_model::money::{Currency, Money};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What hledger, which knows nothing of us, says of a journal.
fn hledger(arguments: &[&str], journal: &str) -> Result<String, String> {
    let mut child = Command::new("hledger")
        .args(["-f", "-"])
        .args(arguments)
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| {
            panic!("{cause}: hledger is needed; run: apt-get install hledger, or make harness")
        });
    let mut stdin = child.stdin.take().unwrap();
    let text = journal.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The balances of a journal by hledger, those of zero left out.
fn balances(journal: &str) -> BTreeMap<(String, String), String> {
    hledger(&["check", "accounts", "commodities"], journal).unwrap();
    let table = hledger(&["balance", "-N", "--flat", "-O", "csv", "--layout=bare"], journal).unwrap();
    table
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('"').split("\",\"").collect();
            ((cells[0].to_owned(), cells[1].to_owned()), cells[2].to_owned())
        })
        .filter(|(_, balance)| balance.chars().any(|c| ('1'..='9').contains(&c)))
        .collect()
}

/// The balances by the database's own sum.
async fn recount(world: &World, month: Option<&str>) -> BTreeMap<(String, String), String> {
    let sql = "select e.account, e.currency, sum(e.minor)::bigint from ledger_entry e
               join ledger_transaction t on t.id = e.transaction_id
               where $1::text is null or to_char(t.effective_date, 'YYYY-MM') = $1
               group by e.account, e.currency having sum(e.minor) <> 0";
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as(sql).bind(month).fetch_all(&world.pool).await.unwrap();
    rows.into_iter()
        .map(|(account, code, minor)| {
            let currency: Currency = code.parse().unwrap();
            ((account, code), Money { minor, currency }.decimal())
        })
        .collect()
}

async fn post(world: &World, transactions: &[Transaction]) -> Result<(), siyada_api::error::Error> {
    let mut tx = world.pool.begin().await.unwrap();
    ledger::post(&mut tx, transactions).await?;
    tx.commit().await?;
    Ok(())
}

/// Statements and notes of many tenants, services, rates and currencies, drawn from a seed.
fn drawn(count: usize) -> Vec<Transaction> {
    let mut state = 0x5157_4144_u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut posted = Vec::new();
    for index in 0..count {
        let lines: Vec<Line> = (0..draw(6))
            .map(|_| Line {
                service: ["PostgresInstance", "DocumentStoreInstance", "=cmd()"]
                    [usize::try_from(draw(3)).unwrap()],
                tax_basis_points: [None, Some(2_000), Some(1_000)][usize::try_from(draw(3)).unwrap()],
                ..line("u-1", i64::try_from(draw(9_000_000)).unwrap() - 1_000_000, "30-10")
            })
            .collect();
        let tenant = ["interior", "police", "health"][index % 3];
        let currency = ["MAD", "TND", "XOF"][usize::try_from(draw(3)).unwrap()];
        let bill = bill(&format!("SIY-2026-{index:06}"), tenant, currency, &lines);
        posted.push(post_statement(&bill).unwrap());
        if draw(4) == 0 {
            posted.push(post_statement(&note(&format!("SIY-C-2026-{index:06}"), &bill)).unwrap());
        }
    }
    posted
}

fn credits(id: &str, date: &str, minor: i64) -> Transaction {
    let money = Money { minor, currency: Currency::MAD };
    let line = Account::new(AccountKind::Budget, &["interior", "2026", "ميزانية: 30  10;"]);
    let entries = vec![
        Entry::take(line.clone().below("opened"), money).unwrap(),
        Entry::add(line.below("available"), money),
    ];
    let at = (format!("{date}T12:00:00Z").parse().unwrap(), date.parse().unwrap());
    Transaction::new(id.to_owned(), TransactionKind::Credits, at, entries).unwrap()
}

#[tokio::test]
async fn i06_another_program_finds_the_balances_that_the_database_counts() {
    let world = World::with_tenants().await;
    post(&world, &drawn(1_200)).await.unwrap();
    post(&world, &[credits("budget/1", "2026-01-02", 9_000_000), credits("budget/2", "2026-11-30", -1)])
        .await
        .unwrap();
    let finance = world.member("finance");
    let all = finance.get("/v1/ledger/journal").await;
    assert_eq!(all.headers["content-type"], "text/plain; charset=utf-8");
    let counted = recount(&world, None).await;
    assert!(counted.len() > 20 && counted.keys().any(|(_, code)| code == "XOF"), "{counted:?}");
    assert_eq!(balances(&all.text()), counted);
    assert!(hledger(&["balance", "-N", "-E"], &all.text()).is_ok());
    let transactions: i64 =
        sqlx::query_scalar("select count(*) from ledger_transaction").fetch_one(&world.pool).await.unwrap();
    let stats = hledger(&["print", "-O", "csv"], &all.text()).unwrap();
    assert!(stats.lines().count() > 1_000);
    assert_eq!(all.text().matches("sha256 ").count(), usize::try_from(transactions).unwrap());
    for month in ["2026-01", "2026-10", "2026-11", "2025-12"] {
        let journal = finance.get(&format!("/v1/ledger/journal?period={month}")).await.text();
        assert_eq!(balances(&journal), recount(&world, Some(month)).await, "{month}");
    }
    finance.get("/v1/ledger/journal?period=2026-13").await.refused(422, "invalid");
}

#[tokio::test]
async fn i06_what_hledger_is_asked_can_fail() {
    let world = World::with_tenants().await;
    post(&world, &[post_statement(&bill("n", "interior", "MAD", &[line("u-1", 12_345, "l")])).unwrap()])
        .await
        .unwrap();
    let journal = world.operator().get("/v1/ledger/journal").await.text();
    assert!(hledger(&["check", "accounts", "commodities"], &journal).is_ok());
    let uneven = journal.replace("-123.45", "-123.46");
    assert_ne!(uneven, journal);
    assert!(hledger(&["check"], &uneven).unwrap_err().contains("could not balance"));
}

/// Inserts a transaction as somebody would who goes around the code.
async fn by_hand(world: &World, entries: &[(&str, i64, &str)], says: i32) -> Result<(), sqlx::Error> {
    let mut tx = world.pool.begin().await?;
    sqlx::query("insert into ledger_account values ('receivable:x', 'receivable'), ('tax:1', 'tax')")
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into ledger_transaction (id, sequence, kind, effective_ms, effective_date, recorded_ms, entries,
             content_sha256) values ('t', 1, 'statement', 0, '2026-10-31', 0, $1, repeat('0', 64))",
    )
    .bind(says)
    .execute(&mut *tx)
    .await?;
    for (seq, (account, minor, currency)) in (1_i32..).zip(entries) {
        sqlx::query("insert into ledger_entry values ('t', $1, $2, $3, $4, $5)")
            .bind(seq)
            .bind(says)
            .bind(account)
            .bind(minor)
            .bind(currency)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

fn constraint(result: Result<(), sqlx::Error>) -> String {
    let error = result.unwrap_err();
    let error = error.as_database_error().unwrap();
    error.constraint().map_or_else(|| error.message().to_owned(), ToOwned::to_owned)
}

#[tokio::test]
async fn i06_the_database_refuses_what_does_not_sum_to_zero() {
    let world = World::with_tenants().await;
    let check = async |entries: &[(&str, i64, &str)], says, expect: &str| {
        assert_eq!(constraint(by_hand(&world, entries, says).await), expect, "{entries:?}");
    };
    let zero = "ledger_transaction_sums_to_zero";
    check(&[("receivable:x", 5, "MAD"), ("tax:1", -4, "MAD")], 2, zero).await;
    check(&[("receivable:x", 5, "MAD"), ("tax:1", -5, "EUR")], 2, zero).await;
    check(&[("receivable:x", 5, "MAD")], 1, zero).await;
    check(&[("receivable:x", 5, "MAD"), ("tax:1", -5, "MAD")], 3, "ledger_transaction_is_whole").await;
    check(&[("receivable:x", 5, "MAD"), ("tax:1", -5, "MAD")], 1, "ledger_entry_is_one_of_them").await;
    by_hand(&world, &[("receivable:x", 5, "MAD"), ("tax:1", -5, "MAD")], 2).await.unwrap();
}

#[tokio::test]
async fn i06_what_is_posted_is_never_altered_and_nothing_is_added_to_it() {
    let world = World::with_tenants().await;
    by_hand(&world, &[("receivable:x", 5, "MAD"), ("tax:1", -5, "MAD")], 2).await.unwrap();
    for (sql, expect) in [
        ("update ledger_entry set minor = minor + 1", "ledger_entry_is_append_only"),
        ("delete from ledger_entry", "ledger_entry_is_append_only"),
        ("truncate ledger_entry", "ledger_entry_is_append_only"),
        ("update ledger_transaction set entries = 4", "ledger_transaction_is_append_only"),
        ("delete from ledger_account", "ledger_account_is_append_only"),
        (
            "insert into ledger_entry values ('t', 3, 2, 'tax:1', 1, 'MAD'), ('t', 4, 2, 'tax:1', -1, 'MAD')",
            "ledger_entry_is_one_of_them",
        ),
        (
            "insert into ledger_entry values ('t', 3, 4, 'tax:1', 1, 'MAD'), ('t', 4, 4, 'tax:1', -1, 'MAD')",
            "ledger_entry_transaction",
        ),
        ("insert into ledger_account values ('tax:a b', 'tax')", "ledger_account_name"),
        (
            "insert into ledger_transaction values ('u', 3, 'statement', 0, '2026-10-31', 1, 0, repeat('0', 64))",
            "ledger_transaction_follows",
        ),
        (
            "insert into ledger_transaction values ('u', 2, 'statement', 0, '2026-10-31', -1, 0, repeat('0', 64))",
            "ledger_transaction_follows",
        ),
    ] {
        let result = sqlx::query(sql).execute(&world.pool).await.map(|_| ());
        assert_eq!(constraint(result), expect, "{sql}");
    }
}

#[tokio::test]
async fn i07_the_same_key_and_content_changes_nothing_and_another_content_is_refused() {
    let world = World::with_tenants().await;
    let of = |minor| post_statement(&bill("n", "interior", "MAD", &[line("u-1", minor, "l")])).unwrap();
    post(&world, &[of(100), of(100)]).await.unwrap();
    post(&world, &[of(100)]).await.unwrap();
    let count = async || {
        let sql = "select count(*), (select count(*) from ledger_entry) from ledger_transaction";
        sqlx::query_as::<_, (i64, i64)>(sql).fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!(count().await, (1, 3));
    let other = credits("budget/1", "2026-01-02", 5);
    let refused = post(&world, &[other.clone(), of(101)]).await.unwrap_err();
    let problem = refused.refusal().unwrap();
    assert_eq!(problem.code, "conflict");
    assert!(
        problem.detail.starts_with("transaction statement/n is on record with another content"),
        "{problem:?}"
    );
    assert_eq!(count().await, (1, 3), "nothing of a refused batch stays");
    let twice =
        post(&world, &[credits("budget/1", "2026-01-02", 5), credits("budget/1", "2026-01-02", 6)]).await;
    assert_eq!(twice.unwrap_err().refusal().unwrap().code, "conflict");
    post(&world, &[other]).await.unwrap();
    assert_eq!(count().await, (2, 5));
}

#[tokio::test]
async fn i07_posters_at_the_same_time_post_each_transaction_once() {
    let world = World::with_tenants().await;
    let all = drawn(40);
    let (one, two, three) =
        tokio::join!(post(&world, &all), post(&world, &all[5..]), post(&world, &all[..20]));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    let sql = "select count(*), max(sequence) from ledger_transaction";
    let (count, last): (i64, i64) = sqlx::query_as(sql).fetch_one(&world.pool).await.unwrap();
    assert_eq!((count, last), (i64::try_from(all.len()).unwrap(), count), "a sequence without holes");
    let journal = world.operator().get("/v1/ledger/journal").await.text();
    assert_eq!(balances(&journal), recount(&world, None).await);
}

/// A closing of a thousand tenants posts in one go.
#[tokio::test]
async fn a_thousand_statements_are_posted_in_seconds() {
    let world = World::with_tenants().await;
    let all = drawn(1_000);
    let entries: usize = all.iter().map(|t| t.entries().len()).sum();
    let began = std::time::Instant::now();
    post(&world, &all).await.unwrap();
    let took = began.elapsed();
    println!("posted {} transactions of {entries} entries in {took:?}", all.len());
    assert!(took.as_secs() < 10, "{took:?}");
}

#[tokio::test]
async fn i17_the_journal_is_for_the_platform_only() {
    let world = World::with_tenants().await;
    world.member("interior").get("/v1/ledger/journal").await.refused(403, "forbidden");
    let empty = world.member("audit").get("/v1/ledger/journal").await;
    assert!(balances(&empty.text()).is_empty());
    let _: Value = world.member("audit").get("/v1/whoami").await.ok();
}
