//! Checks an export with nothing but its files: no database, no network, no clock. Every hash, number, link of the chain
//! and signature is checked, and every closed month is computed again from the record, by the functions that closed it.

use crate::export::{
    Booked, FILES, FORMAT, LATER, Manifest, Recorded, RecordedDecision, RecordedGap, RecordedProof,
    RecordedState, Sealed,
};
use crate::signing::{key_id, verifies};
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use siyada_model::allocation::Allocation;
use siyada_model::availability::{Observed, Seen, Watcher, observed};
use siyada_model::canonical::{hex, sha256};
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::party::TaxRegime;
use siyada_model::period::Period;
use siyada_model::price::PriceList;
use siyada_model::proof::with_billed;
use siyada_model::statement::chain::{Chain, first_difference};
use siyada_model::statement::closing::{Books, Draft, KnownGap, closed_as_of, drafts, touched};
use siyada_model::statement::{Billed, Buyer, Statement, StatementKind};
use siyada_model::usage::{Change, Interval, Meter, intervals};
use siyada_model::wire::{GapRecord, PeriodState};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// What a check found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Documents.
    pub documents: usize,
    /// Documents with a signature that was checked.
    pub signed: usize,
    /// Months that were computed again.
    pub months: usize,
    /// Changes of level they were computed from.
    pub records: usize,
    /// The end of the chain.
    pub chain: String,
}

/// Everything of an export, read.
struct Record {
    documents: Vec<Statement>,
    periods: Vec<PeriodState>,
    /// By order and meter, so that a month reads of each what it needs; the first first.
    usage: BTreeMap<(OrderUid, Meter), Vec<Recorded>>,
    gaps: Vec<RecordedGap>,
    /// By the gap they are about.
    decisions: BTreeMap<i64, Vec<RecordedDecision>>,
    /// By order, the first first.
    availability: BTreeMap<OrderUid, Vec<RecordedState>>,
    proofs: Vec<RecordedProof>,
    allocations: Vec<Booked>,
    orders: BTreeMap<OrderUid, Billed>,
    lists: Vec<PriceList>,
}

/// Checks the export in `directory`. With the public key of the issuer (32 bytes) every document must be signed by it.
///
/// # Errors
/// The first thing that is wrong: the file, the document and the first byte that differs.
pub fn verify(directory: &Path, public_key: Option<&[u8]>) -> anyhow::Result<Verified> {
    let manifest: Manifest = serde_json::from_slice(&read(directory, "manifest.json")?)
        .context("manifest.json is no manifest of an export")?;
    ensure!(manifest.format == FORMAT, "the export's format is {:?}, not {FORMAT:?}", manifest.format);
    for name in FILES {
        let Some(expected) = manifest.files.get(name) else {
            ensure!(LATER.contains(&name), "manifest.json does not name {name}");
            continue;
        };
        let found = hash_of(directory, name)?;
        ensure!(
            found == *expected,
            "{name} is not the file of the manifest: its SHA-256 is {found}, not {expected}"
        );
    }
    let sealed: Vec<Sealed> = rows(directory, "documents.ndjson")?;
    let (documents, signed, chain) = chained(&sealed, public_key)?;
    ensure!(
        manifest.chain.as_deref().is_none_or(|head| head == chain),
        "the chain ends at {chain}, and the manifest says {:?}",
        manifest.chain
    );
    let orders: Vec<Billed> = rows(directory, "orders.ndjson")?;
    let record = Record {
        documents,
        periods: rows(directory, "periods.ndjson")?,
        usage: by_stream(rows(directory, "usage.ndjson")?),
        gaps: later(&manifest, directory, "gaps.ndjson")?,
        decisions: by_gap(later(&manifest, directory, "gap-decisions.ndjson")?),
        availability: by_order(later(&manifest, directory, "availability.ndjson")?),
        proofs: later(&manifest, directory, "availability-proofs.ndjson")?,
        allocations: rows(directory, "allocations.ndjson")?,
        orders: orders.into_iter().map(|order| (order.uid.clone(), order)).collect(),
        lists: rows(directory, "price-lists.ndjson")?,
    };
    known_orders(&record)?;
    let mut months = 0_usize;
    for state in record.periods.iter().filter(|state| state.closed_at.is_some()) {
        recompute(&record, state)?;
        months = months.saturating_add(1);
    }
    let closed: BTreeSet<_> =
        record.periods.iter().filter(|p| p.closed_at.is_some()).map(|p| p.period.month).collect();
    if let Some(stray) = record.documents.iter().find(|d| !closed.contains(&d.period.month)) {
        bail!("{} is about {}, which is not closed", stray.number, stray.period.month);
    }
    let (documents, records) = (record.documents.len(), record.usage.values().map(Vec::len).sum());
    Ok(Verified { documents, signed, months, records, chain })
}

fn read(directory: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(directory.join(name)).with_context(|| format!("failed to read {name} of the export"))
}

fn hash_of(directory: &Path, name: &str) -> anyhow::Result<String> {
    let file =
        File::open(directory.join(name)).with_context(|| format!("failed to read {name} of the export"))?;
    let (mut file, mut hash) = (BufReader::with_capacity(1 << 20, file), Sha256::new());
    loop {
        let read = file.fill_buf()?;
        if read.is_empty() {
            break;
        }
        hash.update(read);
        let length = read.len();
        file.consume(length);
    }
    Ok(hex(&hash.finalize()))
}

fn rows<T: DeserializeOwned>(directory: &Path, name: &str) -> anyhow::Result<Vec<T>> {
    let file =
        File::open(directory.join(name)).with_context(|| format!("failed to read {name} of the export"))?;
    let mut found = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        found.push(
            serde_json::from_str(&line).with_context(|| format!("line {} of {name} is wrong", index + 1))?,
        );
    }
    Ok(found)
}

/// Rows of a file that an earlier export has not.
fn later<T: DeserializeOwned>(manifest: &Manifest, directory: &Path, name: &str) -> anyhow::Result<Vec<T>> {
    if manifest.files.contains_key(name) { rows(directory, name) } else { Ok(vec![]) }
}

fn by_stream(rows: Vec<Recorded>) -> BTreeMap<(OrderUid, Meter), Vec<Recorded>> {
    let mut found: BTreeMap<(OrderUid, Meter), Vec<Recorded>> = BTreeMap::new();
    for row in rows {
        found.entry((row.order_uid.clone(), row.meter)).or_default().push(row);
    }
    found.values_mut().for_each(|rows| rows.sort_by_key(|row| row.at));
    found
}

fn by_gap(rows: Vec<RecordedDecision>) -> BTreeMap<i64, Vec<RecordedDecision>> {
    let mut found: BTreeMap<i64, Vec<RecordedDecision>> = BTreeMap::new();
    for row in rows {
        found.entry(row.gap).or_default().push(row);
    }
    found
}

fn by_order(rows: Vec<RecordedState>) -> BTreeMap<OrderUid, Vec<RecordedState>> {
    let mut found: BTreeMap<OrderUid, Vec<RecordedState>> = BTreeMap::new();
    for row in rows {
        found.entry(row.order_uid.clone()).or_default().push(row);
    }
    found.values_mut().for_each(|rows| rows.sort_by_key(|row| row.at));
    found
}

/// The changes of a stream within `period` by the records up to `as_of`, and the last one before them: what was earlier
/// says nothing of the period.
fn changes_within(rows: &[Recorded], period: &Period, as_of: i64) -> Vec<Change> {
    let end = rows.partition_point(|row| row.at < period.end);
    let rows = rows.get(..end).unwrap_or_default();
    let from = rows.iter().rposition(|row| row.at <= period.start && row.seq <= as_of).unwrap_or(0);
    let known = rows.iter().skip(from).filter(|row| row.seq <= as_of);
    known.map(|row| Change { at: row.at, level: row.level.clone() }).collect()
}

/// Whether the documents name the orders as the record does. Of one whose usage was known before anything else, the
/// record may know more by now.
fn known_orders(record: &Record) -> anyhow::Result<()> {
    for document in &record.documents {
        for line in
            document.lines.iter().chain(&document.corrections).filter(|line| !line.order.namespace.is_empty())
        {
            let known = record.orders.get(&line.order.uid);
            ensure!(
                known == Some(&line.order),
                "{} names order {} otherwise than the record",
                document.number,
                line.order.uid
            );
        }
    }
    Ok(())
}

/// The documents through the chain, how many of them are signed, and where it ends.
fn chained(sealed: &[Sealed], public_key: Option<&[u8]>) -> anyhow::Result<(Vec<Statement>, usize, String)> {
    let mut chain = Chain::default();
    let mut documents = Vec::with_capacity(sealed.len());
    let mut signed = 0_usize;
    for one in sealed {
        let bytes = one.document.as_bytes();
        let found = sha256(bytes);
        ensure!(found == one.sha256, "the SHA-256 of {} is {found}, not {}", one.number, one.sha256);
        let document = chain.take(bytes)?;
        ensure!(document.number == one.number, "{} is filed as {}", document.number, one.number);
        ensure!(
            chain.value() == one.chain,
            "the chain at {} is {}, not {}",
            one.number,
            chain.value(),
            one.chain
        );
        if let Some(key) = public_key {
            signature(one, key)?;
            signed = signed.saturating_add(1);
        }
        documents.push(document);
    }
    Ok((documents, signed, chain.value().to_owned()))
}

fn signature(sealed: &Sealed, public_key: &[u8]) -> anyhow::Result<()> {
    let number = &sealed.number;
    let text = sealed.signature.as_ref().with_context(|| format!("{number} is not signed"))?;
    let named = sealed.key_id.as_deref().unwrap_or("no key");
    ensure!(named == key_id(public_key), "{number} is signed by {named}, not by the key that was given");
    let bytes = STANDARD.decode(text).with_context(|| format!("the signature of {number} is no base64"))?;
    ensure!(verifies(public_key, sealed.document.as_bytes(), &bytes), "the signature of {number} is wrong");
    Ok(())
}

impl Record {
    /// Statements of a month, in the order of the chain.
    fn statements<'a>(&'a self, period: &'a Period) -> impl Iterator<Item = &'a Statement> {
        let month = period.month;
        self.documents.iter().filter(move |d| d.kind == StatementKind::Statement && d.period.month == month)
    }

    /// The intervals that touch `period` by the records up to `as_of`, of these orders or of all.
    fn intervals(&self, period: &Period, as_of: i64, only: Option<&BTreeSet<OrderUid>>) -> Vec<Interval> {
        let streams = self.usage.iter().filter(|((uid, _), _)| only.is_none_or(|only| only.contains(uid)));
        let all = streams
            .flat_map(|((uid, meter), rows)| intervals(uid, *meter, &changes_within(rows, period, as_of)));
        let found = all.filter(|interval| interval.end.is_none_or(|end| end > period.start)).collect();
        let gaps = self.gaps(period, as_of, None).into_iter().filter_map(|gap| gap.record.billed());
        with_billed(found, gaps.filter(|(uid, _, _)| only.is_none_or(|only| only.contains(uid))))
    }

    /// The gaps that touch `period`, and those before it of which something was recorded after `known`.
    fn gaps(&self, period: &Period, as_of: i64, known: Option<i64>) -> Vec<KnownGap> {
        let rows = self.gaps.iter().filter(|row| row.seq <= as_of && row.start < period.end);
        let all = rows.filter_map(|row| {
            let last = self.decided(row.id).filter(|d| d.seq <= as_of).max_by_key(|d| d.seq);
            let record = GapRecord {
                id: row.id,
                order: self.orders.get(&row.order_uid)?.clone(),
                meter: row.meter,
                level: row.level.clone(),
                start: row.start,
                end: row.end,
                reason: row.reason.clone(),
                recorded_at: row.recorded_at,
                decision: last.map(|decided| decided.decision.clone()),
            };
            Some(KnownGap { record, seq: row.seq, decided_seq: last.map(|decided| decided.seq) })
        });
        all.filter(|gap| gap.record.end > period.start || gap.is_late(known)).collect()
    }

    /// When orders were seen to be up and down, by the records up to `as_of`.
    fn observed(&self, period: &Period, as_of: i64) -> BTreeMap<OrderUid, Vec<Observed>> {
        let mut until: BTreeMap<Watcher, Timestamp> = BTreeMap::new();
        for row in self.proofs.iter().filter(|row| row.seq <= as_of) {
            let by = Watcher { collector: row.collector.clone(), epoch: row.epoch };
            let last = until.entry(by).or_insert(row.until);
            *last = row.until.max(*last);
        }
        let seen = |rows: &Vec<RecordedState>| -> Vec<Seen> {
            let known = rows.iter().filter(|row| row.seq <= as_of && row.at < period.end);
            known.map(RecordedState::seen).collect()
        };
        self.availability.iter().map(|(uid, rows)| (uid.clone(), observed(&seen(rows), &until))).collect()
    }

    fn decided(&self, gap: i64) -> impl Iterator<Item = &RecordedDecision> {
        self.decisions.get(&gap).into_iter().flatten()
    }

    fn allocations(&self, as_of: i64) -> BTreeMap<OrderUid, Vec<Allocation>> {
        let mut found: BTreeMap<OrderUid, Vec<Allocation>> = BTreeMap::new();
        for row in self.allocations.iter().filter(|row| row.seq <= as_of) {
            let entry = Allocation { at: row.at, shares: row.shares.clone() };
            found.entry(row.order_uid.clone()).or_default().push(entry);
        }
        found
    }

    /// The orders about whose closed months something was recorded between two closings, and those months.
    fn late(&self, period: &Period, as_of: i64) -> (BTreeSet<OrderUid>, Vec<Period>) {
        let Some(known) = closed_as_of(&self.periods, period) else { return Default::default() };
        let is_new = |seq: i64| seq > known && seq <= as_of;
        let usage = self.usage.values().flatten();
        let usage = usage.filter(|row| is_new(row.seq)).map(|row| (&row.order_uid, row.at));
        let decided = self.gaps.iter().filter(|gap| self.decided(gap.id).any(|row| is_new(row.seq)));
        let facts = usage.chain(decided.map(|gap| (&gap.order_uid, gap.start)));
        let facts: Vec<(&OrderUid, Timestamp)> = facts.filter(|(_, at)| *at < period.start).collect();
        let earliest = facts.iter().map(|(_, at)| *at).min();
        let orders = facts.into_iter().map(|(uid, _)| uid.clone()).collect();
        (orders, touched(&self.periods, period, earliest))
    }
}

/// Computes a month again and compares it with its documents, byte by byte.
fn recompute(record: &Record, state: &PeriodState) -> anyhow::Result<()> {
    let period = &state.period;
    let as_of = state
        .as_of
        .with_context(|| format!("{} is closed and does not say up to which record", period.month))?;
    let issued: Vec<&Statement> = record.statements(period).collect();
    let (late_orders, months) = record.late(period, as_of);
    let first = issued.first().map_or(i64::MAX, |d| d.position);
    let since = months.first().map(|period| period.month);
    let known = closed_as_of(&record.periods, period);
    let billed =
        record.documents.iter().filter(|d| d.position < first && since.is_some_and(|m| d.period.month >= m));
    let buyers: BTreeMap<TenantName, (Buyer, TaxRegime)> =
        issued.iter().map(|d| (d.buyer.tenant.clone(), (d.buyer.clone(), d.tax.clone()))).collect();
    let books = Books {
        period,
        intervals: record.intervals(period, as_of, None),
        gaps: record.gaps(period, as_of, known),
        observed: record.observed(period, as_of),
        known,
        late: months.iter().map(|p| (p.clone(), record.intervals(p, as_of, Some(&late_orders)))).collect(),
        billed: billed.cloned().collect(),
        lists: record.lists.iter().filter(|list| list.valid_from < period.end).cloned().collect(),
        allocations: record.allocations(as_of),
        orders: payers(record, &issued, &late_orders),
        late_orders,
        buyers,
        require_budget_line: false,
    };
    let drafts = drafts(&books).map_err(|blockers| {
        let first = blockers.first().map_or("no reason", |blocker| blocker.detail.as_str());
        anyhow::anyhow!("{} cannot be computed again: {first}", period.month)
    })?;
    compare(period, &issued, drafts)
}

/// The orders, each with the tenant whose document of the month names it. One that none names is billed to nobody, which
/// shows as a document too many.
fn payers(
    record: &Record,
    issued: &[&Statement],
    late: &BTreeSet<OrderUid>,
) -> BTreeMap<OrderUid, (Billed, TenantName)> {
    let mut found = BTreeMap::new();
    for document in issued {
        let lines = document.lines.iter().chain(&document.corrections).map(|line| &line.order);
        for order in lines.chain(document.gaps.iter().map(|gap| &gap.order)) {
            found.insert(order.uid.clone(), (order.clone(), document.buyer.tenant.clone()));
        }
    }
    // A late fact that changed nothing is named by no document; whoever paid before would pay.
    let mut paid: BTreeMap<&OrderUid, &TenantName> = BTreeMap::new();
    if late.iter().any(|uid| !found.contains_key(uid)) {
        for document in &record.documents {
            for line in document.lines.iter().filter(|line| late.contains(&line.order.uid)) {
                paid.entry(&line.order.uid).or_insert(&document.buyer.tenant);
            }
        }
    }
    for (uid, payer) in paid {
        if let Some(order) = record.orders.get(uid) {
            found.entry(uid.clone()).or_insert_with(|| (order.clone(), payer.clone()));
        }
    }
    found
}

fn compare(period: &Period, issued: &[&Statement], drafts: Vec<Draft>) -> anyhow::Result<()> {
    let mut drafts: BTreeMap<TenantName, Draft> =
        drafts.into_iter().map(|draft| (draft.buyer.tenant.clone(), draft)).collect();
    // A program that does not know of availability closes a month without it, in all of its documents.
    let told = issued.iter().any(|document| !document.availability.is_empty());
    for document in issued {
        ensure!(
            document.period == *period,
            "{} has other borders of {} than the export",
            document.number,
            period.month
        );
        let tenant = &document.buyer.tenant;
        let draft = drafts.remove(tenant).with_context(|| {
            format!("{}: by the record, {tenant} used nothing in {}", document.number, period.month)
        })?;
        let again = Statement {
            lines: draft.lines,
            corrections: draft.corrections,
            gaps: draft.gaps,
            availability: if told { draft.availability } else { vec![] },
            totals: draft.totals,
            ..(*document).clone()
        };
        if again == **document {
            continue;
        }
        let (was, is) = (document.bytes()?, again.bytes()?);
        if let Some(byte) = first_difference(&was, &is) {
            let around = |bytes: &[u8]| {
                let end = bytes.len().min(byte.saturating_add(40));
                String::from_utf8_lossy(bytes.get(byte.saturating_sub(40)..end).unwrap_or_default())
                    .into_owned()
            };
            bail!(
                "{} is not what the record gives: byte {byte} differs; the document has …{}…, the record gives …{}…",
                document.number,
                around(&was),
                around(&is)
            );
        }
    }
    match drafts.into_values().next() {
        None => Ok(()),
        Some(draft) => {
            bail!(
                "{} of {}: by the record there is a statement, and there is none",
                period.month,
                draft.buyer.tenant
            )
        }
    }
}
