//! The mutants. Their texts are looked for in every test run: one that is not found exactly once fails it.

/// An edit of the sources that breaks an invariant, and the test that finds it.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What is no longer so, in words.
    pub breaks: &'static str,
    /// The invariant, by its number.
    pub invariant: u8,
    /// The file that is edited.
    pub file: &'static str,
    /// What is there, exactly once.
    pub text: &'static str,
    /// What is there instead.
    pub instead: &'static str,
    /// The package of the test.
    pub package: &'static str,
    /// Which of its targets has the test, as an argument of cargo.
    pub target: &'static str,
    /// The test, by its whole name.
    pub test: &'static str,
}

/// Tests in the library of `model`.
const MODEL: Mutant = Mutant {
    name: "",
    breaks: "",
    invariant: 0,
    file: "",
    text: "",
    instead: "",
    package: "siyada-model",
    target: "--lib",
    test: "",
};
/// Its properties of statements.
const STATEMENTS: Mutant = Mutant { target: "--test=statements", ..MODEL };
/// Tests on the api and a real PostgreSQL.
const API: Mutant = Mutant { package: "siyada-api", target: "--test=it", ..MODEL };

/// All of them, by invariant.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "interval-stays-open",
        breaks: "an interval does not end where the next begins",
        invariant: 1,
        file: "model/src/usage.rs",
        text: "            open.end = Some(at);",
        instead: "            let _ = &open.end;",
        test: "usage::tests::i01_intervals_never_overlap_and_at_most_the_last_is_open",
        ..MODEL
    },
    Mutant {
        name: "conflict-is-known",
        breaks: "another level at the same instant is taken as the one that is on record",
        invariant: 1,
        file: "model/src/usage.rs",
        text: "            Some(known) if known.level == level => Record::Nothing,\n            Some(_) => Record::Conflict,",
        instead: "            Some(_) => Record::Nothing,",
        test: "usage::i01_at_one_instant_there_is_one_level_and_a_batch_is_all_or_nothing",
        ..API
    },
    Mutant {
        name: "days-by-length",
        breaks: "a line is spread over its days by their length, not by what was used on each",
        invariant: 1,
        file: "model/src/statement/breakdown.rs",
        text: "== Some(whole)\n",
        instead: "== Some(whole.saturating_add(1))\n",
        test: "i01_days_have_what_was_used_on_them_and_nothing_else",
        ..STATEMENTS
    },
    Mutant {
        name: "month-without-an-end",
        breaks: "an interval counts past the end of the month",
        invariant: 2,
        file: "model/src/usage.rs",
        text: "interval.end.unwrap_or(to).min(to)",
        instead: "interval.end.unwrap_or(to)",
        test: "i02_what_is_billed_is_what_lies_in_the_period_to_the_millisecond",
        ..STATEMENTS
    },
    Mutant {
        name: "booking-past-its-slice",
        breaks: "a booking that changes later lengthens what is billed before",
        invariant: 2,
        file: "model/src/statement/rating.rs",
        text: "change.map_or(slice.end, |change| change.min(slice.end))",
        instead: "change.unwrap_or(slice.end)",
        test: "i02_what_is_billed_is_what_lies_in_the_period_to_the_millisecond",
        ..STATEMENTS
    },
    Mutant {
        name: "twice-is-twice",
        breaks: "a fact that comes again is added again",
        invariant: 3,
        file: "model/src/usage.rs",
        text: "            Some(known) if known.level == level => Record::Nothing,",
        instead: "            Some(known) if known.level == level => Record::Add(Change { at, level }),",
        test: "i03_any_prefix_of_facts_gives_the_same_intervals_doubled_and_in_any_order",
        ..STATEMENTS
    },
    Mutant {
        name: "order-of-arrival",
        breaks: "changes count in the order in which they came, not by their instants",
        invariant: 3,
        file: "model/src/usage.rs",
        text: "    let by_time: BTreeMap<Timestamp, &Option<Level>> = changes",
        instead: "    let by_time: Vec<(Timestamp, &Option<Level>)> = changes",
        test: "usage::tests::i03_intervals_are_the_same_from_any_duplicated_and_reordered_facts",
        ..MODEL
    },
    Mutant {
        name: "no-fence",
        breaks: "an operator that was replaced is still heard",
        invariant: 3,
        file: "api/src/store/usage.rs",
        text: "where collector.epoch <= excluded.epoch",
        instead: "where true",
        test: "usage::i03_a_lower_epoch_is_fenced_out_and_a_higher_one_takes_over",
        ..API
    },
    Mutant {
        name: "no-fence-in-a-storm",
        breaks: "the same, while operators follow one another and everything dies",
        invariant: 4,
        file: "api/src/store/usage.rs",
        text: "where collector.epoch <= excluded.epoch",
        instead: "where true",
        test: "storm::i04_a_sample_of_a_storm_loses_nothing_and_bills_nothing_twice",
        ..API
    },
    Mutant {
        name: "half-a-batch",
        breaks: "of a batch that is acknowledged only the first fact is stored",
        invariant: 4,
        file: "api/src/store/usage.rs",
        text: "    insert(&mut tx, batch, &decided.added, now).await?;",
        instead: "    insert(&mut tx, batch, &decided.added[..decided.added.len().min(1)], now).await?;",
        test: "storm::i04_a_sample_of_a_storm_loses_nothing_and_bills_nothing_twice",
        ..API
    },
    Mutant {
        name: "closing-in-two",
        breaks: "the documents of a month are committed before the month is closed",
        invariant: 4,
        file: "api/src/store/closing.rs",
        text: "    point(\"closing-issued\");",
        instead: "    tx.commit().await?;\n    let mut tx = pool.begin().await?;\n    point(\"closing-issued\");",
        test: "closing::i04_dead_at_any_point_of_a_closing_a_month_is_closed_whole_or_not_at_all",
        ..API
    },
    Mutant {
        name: "gap-counted-twice",
        breaks: "what is billed of a gap counts again where an interval proves it",
        invariant: 1,
        file: "model/src/proof.rs",
        text: "        from = from.max(end.unwrap_or(to));",
        instead: "        let _ = end;",
        test: "proof::tests::i01_a_billed_gap_never_overlaps_what_is_proven_and_fills_the_rest",
        ..MODEL
    },
    Mutant {
        name: "clock-believed",
        breaks: "time by which the ledger's clock jumped counts as time that went by",
        invariant: 5,
        file: "model/src/proof.rs",
        text: "        Some(_) if ahead.saturating_sub(ran_ms) > MOST_AHEAD_MS => {",
        instead: "        Some(_) if ahead.saturating_sub(ran_ms) > i64::MAX - MOST_AHEAD_MS => {",
        test: "proof::tests::i05_the_ledgers_clock_moved_by_anything_bills_no_more_than_went_by",
        ..MODEL
    },
    Mutant {
        name: "restored-is-proven",
        breaks: "what a restored ledger lost is billed as if it had been seen all the time",
        invariant: 5,
        file: "api/src/store/usage.rs",
        text: "decided.gaps.extend(gap.map(|gap| (fact, gap, GapReason::LedgerRestored)));",
        instead: "let _ = gap.map(|gap| (fact, gap, GapReason::LedgerRestored));",
        test: "recovery::i13_restored_to_a_moment_no_number_is_given_out_twice_and_what_was_lost_is_proved_again_or_a_gap",
        ..API
    },
    Mutant {
        name: "unseen-is-proven",
        breaks: "a level that changed while nobody looked counts until it is seen to have changed",
        invariant: 5,
        file: "model/src/proof.rs",
        text: "    (for_ms > MOST_UNSEEN_MS).then(",
        instead: "    (for_ms > i64::MAX - MOST_UNSEEN_MS).then(",
        test: "usage::tests::i05_what_changed_while_nobody_looked_is_a_gap_and_what_did_not_change_is_proven",
        ..MODEL
    },
    Mutant {
        name: "gap-without-a-decision",
        breaks: "a month closes over a gap that nobody decided",
        invariant: 5,
        file: "model/src/statement/closing.rs",
        text: "            blockers.push(undecided(payer, gap));",
        instead: "            let _ = undecided(payer, gap);",
        test: "gaps::i05_a_month_waits_for_the_decision_of_a_gap_and_the_statement_lists_it",
        ..API
    },
    Mutant {
        name: "tax-not-posted",
        breaks: "the tax of a statement is owed and posted nowhere",
        invariant: 6,
        file: "model/src/ledger.rs",
        text: "        entries.push(Entry::take(account, money(tax.minor))?);",
        instead: "        let _ = (account, tax.minor);",
        test: "ledger::tests::i06_every_statement_sums_to_zero",
        ..MODEL
    },
    Mutant {
        name: "uneven-in-sql",
        breaks: "the database takes a transaction that does not sum to zero",
        invariant: 6,
        file: "api/migrations/0008_ledger.sql",
        text: "group by currency having sum(minor) <> 0 limit 1;",
        instead: "group by currency having false limit 1;",
        test: "ledger::i06_the_database_refuses_what_does_not_sum_to_zero",
        ..API
    },
    Mutant {
        name: "any-content",
        breaks: "another content under a known key is taken as the known one",
        invariant: 7,
        file: "api/src/store/ledger.rs",
        text: "            Some(same) if *same == sha256 => {}",
        instead: "            Some(_) if !sha256.is_empty() => {}",
        test: "ledger::i07_the_same_key_and_content_changes_nothing_and_another_content_is_refused",
        ..API
    },
    Mutant {
        name: "content-without-amounts",
        breaks: "the hash of a transaction says nothing of its entries",
        invariant: 7,
        file: "model/src/ledger.rs",
        text: "        Ok(canonical::sha256(&canonical::bytes(self)?))",
        instead: "        Ok(canonical::sha256(&canonical::bytes(&self.id)?))",
        test: "ledger::tests::i07_another_amount_is_another_content",
        ..MODEL
    },
    Mutant {
        name: "limit-without-held",
        breaks: "what is held already does not count against the limit",
        invariant: 8,
        file: "model/src/quota.rs",
        text: "        if asked > 0 && asked > free {",
        instead: "        if asked > 0 && asked > limit {",
        test: "quota::tests::i08_what_fits_stays_within_the_limit",
        ..MODEL
    },
    Mutant {
        name: "own-limit-only",
        breaks: "the limits of the tenants above are not looked at",
        invariant: 8,
        file: "api/src/store/batch.rs",
        text: "        for row in self.chain(path)? {",
        instead: "        for row in self.chain(path)?.into_iter().take(1) {",
        test: "races::i08_of_sixty_four_callers_one_gets_the_last_unit_at_the_root",
        ..API
    },
    Mutant {
        name: "sums-never-fall",
        breaks: "what is released stays in the sums",
        invariant: 9,
        file: "api/src/store/quota.rs",
        text: "                   held_instances = held_instances + d.instances,",
        instead: "                   held_instances = held_instances + greatest(d.instances, 0),",
        test: "random::i09_after_any_history_the_sums_equal_a_recount",
        ..API
    },
    Mutant {
        name: "sums-of-the-leaf",
        breaks: "what is held is added to the tenant, not to those above it",
        invariant: 9,
        file: "api/src/store/batch.rs",
        text: "        for tenant_id in path {",
        instead: "        for tenant_id in path.iter().rev().take(1) {",
        test: "random::i09_after_any_history_the_sums_equal_a_recount",
        ..API
    },
    Mutant {
        name: "built-while-waiting",
        breaks: "an order is built although the ledger did not answer, or wants an approval",
        invariant: 10,
        file: "operator/src/reconcile.rs",
        text: "        (*admission == Admission::Held).then_some(Self(valid))",
        instead: "        (!matches!(admission, Admission::Refused(_))).then_some(Self(valid))",
        package: "siyada-operator",
        target: "--test=plan",
        test: "i10_nothing_is_built_unless_the_ledger_holds_it",
    },
    Mutant {
        name: "half-is-nothing",
        breaks: "half of a minor unit is rounded down",
        invariant: 11,
        file: "model/src/price.rs",
        text: "checked_mul(2)? >= denominator",
        instead: "checked_mul(2)? > denominator",
        test: "price::tests::i11_amounts_round_once_half_away_from_zero",
        ..MODEL
    },
    Mutant {
        name: "tax-of-places",
        breaks: "the taxes of the places are not the tax",
        invariant: 11,
        file: "model/src/statement/mod.rs",
        text: "zip(split(left, &weights)?)",
        instead: "zip(split(left.min(0), &weights)?)",
        test: "i11_lines_are_the_net_tax_is_rounded_once_and_columns_are_their_totals",
        ..STATEMENTS
    },
    Mutant {
        name: "last-note-only",
        breaks: "a credit note knows of the one before it, not of all",
        invariant: 11,
        file: "model/src/statement/credit.rs",
        text: "            *sum = Some(minus(sum.unwrap_or(0), line.minor)?);",
        instead: "            *sum = Some(minus(0, line.minor)?);",
        test: "i11_all_credit_notes_of_a_statement_cancel_it_figure_by_figure",
        ..STATEMENTS
    },
    Mutant {
        name: "lists-as-read",
        breaks: "price lists count in the order in which they are read",
        invariant: 12,
        file: "model/src/statement/rating.rs",
        text: "    lists.sort_by_key(|list| list.valid_from);",
        instead: "    lists.sort_by_key(|_| 0);",
        test: "i12_the_same_record_gives_the_same_bytes_in_whatever_order_it_is_read",
        ..STATEMENTS
    },
    Mutant {
        name: "billed-forgotten",
        breaks: "a correction bills again what was billed",
        invariant: 12,
        file: "model/src/statement/rating.rs",
        text: "billed.map(|line| (line, -1))",
        instead: "billed.map(|line| (line, 0))",
        test: "i12_late_facts_are_corrected_to_what_they_would_have_been",
        ..STATEMENTS
    },
    Mutant {
        name: "closed-anew",
        breaks: "the database lets a closed month be opened",
        invariant: 12,
        file: "api/migrations/0006_statements.sql",
        text: "\n           or old.closed_ms is not null then",
        instead: " then",
        test: "closing::i14_the_database_itself_refuses_a_hole_a_change_and_a_broken_link",
        ..API
    },
    Mutant {
        name: "record-altered",
        breaks: "what is on record of usage can be altered",
        invariant: 12,
        file: "api/migrations/0004_usage.sql",
        text: "    before update or delete or truncate on usage_change",
        instead: "    before delete or truncate on usage_change",
        test: "closing::i14_the_database_itself_refuses_a_hole_a_change_and_a_broken_link",
        ..API
    },
    Mutant {
        name: "holes-allowed",
        breaks: "whoever reads the chain does not look at the numbers",
        invariant: 13,
        file: "model/src/statement/chain.rs",
        text: "        if expected != document.number {",
        instead: "        if expected.is_empty() {",
        test: "i13_a_hole_and_a_number_twice_are_found",
        ..STATEMENTS
    },
    Mutant {
        name: "number-of-a-lost-ledger",
        breaks: "a restored ledger numbers on from where it stood at the moment",
        invariant: 13,
        file: "api/src/store/closing.rs",
        text: "if year(now) <= year(restored) =>",
        instead: "if year(now) < year(restored) =>",
        test: "recovery::i13_restored_to_a_moment_no_number_is_given_out_twice_and_what_was_lost_is_proved_again_or_a_gap",
        ..API
    },
    Mutant {
        name: "undeclared-is-served",
        breaks: "a ledger on another server than on record is served before anybody has declared what it lost",
        invariant: 13,
        file: "api/src/store/incarnation.rs",
        text: "        _ => Verdict::Undeclared,",
        instead: "        _ => Verdict::Begins(\"failover\"),",
        test: "recovery::i13_restored_to_a_moment_no_number_is_given_out_twice_and_what_was_lost_is_proved_again_or_a_gap",
        ..API
    },
    Mutant {
        name: "holes-in-sql",
        breaks: "the database takes a number that is not the next",
        invariant: 13,
        file: "api/migrations/0015_by_statement.sql",
        text: " or new.sequence <> coalesce(last_of_series, 0) + 1",
        instead: "",
        test: "closing::i14_the_database_itself_refuses_a_hole_a_change_and_a_broken_link",
        ..API
    },
    Mutant {
        name: "chain-not-followed",
        breaks: "a document may follow any other",
        invariant: 14,
        file: "model/src/statement/chain.rs",
        text: "        if document.previous_chain != self.chain {",
        instead: "        if document.previous_chain.is_empty() {",
        test: "i14_a_byte_that_is_changed_is_found_in_its_document",
        ..STATEMENTS
    },
    Mutant {
        name: "event-slipped-in",
        breaks: "the database takes an event that does not name the one before",
        invariant: 14,
        file: "api/migrations/0009_audit.sql",
        text: "        or new.previous_sha256 <> coalesce(before.sha256, repeat('0', 64))\n",
        instead: "",
        test: "audit::i14_the_database_takes_no_event_that_does_not_follow",
        ..API
    },
    Mutant {
        name: "one-price-an-interval",
        breaks: "a price that changes while something runs is not seen",
        invariant: 15,
        file: "model/src/usage.rs",
        text: "            let until = lists.get(after).map_or(end, |next| next.valid_from.min(end));",
        instead: "            let until = end;",
        test: "i15_a_price_that_changes_changes_only_what_comes_after",
        ..STATEMENTS
    },
    Mutant {
        name: "piece-by-piece",
        breaks: "each piece of an interval is rounded by itself",
        invariant: 15,
        file: "model/src/usage.rs",
        text: "        let share = slice.length_ms().checked_mul(i128::from(interval.level.quantity));",
        instead: "        let share = slice.length_ms().checked_mul(i128::from(interval.level.quantity)).map(|ms| ms / 1_000 * 1_000);",
        test: "usage::tests::i15_cutting_an_interval_anywhere_changes_no_amount",
        ..MODEL
    },
    Mutant {
        name: "remainder-lost",
        breaks: "what does not divide is given to nobody",
        invariant: 16,
        file: "model/src/allocation.rs",
        text: "            part.1 = part.1.saturating_add(1);",
        instead: "            part.1 = part.1.saturating_add(0);",
        test: "allocation::tests::i16_parts_sum_to_the_whole_and_err_by_less_than_one",
        ..MODEL
    },
    Mutant {
        name: "days-round-down",
        breaks: "what a day has of an amount is rounded down, and nobody has the rest",
        invariant: 16,
        file: "model/src/statement/breakdown.rs",
        text: "split(part.minor, &weights)?",
        instead: "weights.iter().map(|w| i64::try_from(i128::from(part.minor) * w / weights.iter().sum::<i128>().max(1)).unwrap_or_default())",
        test: "i16_every_grouping_sums_to_the_bill",
        ..STATEMENTS
    },
    Mutant {
        name: "first-booking-only",
        breaks: "all parts of a line are grouped where the first one is booked",
        invariant: 16,
        file: "model/src/statement/breakdown.rs",
        text: "booking: &part.booking, day: day.day",
        instead: "booking: line.parts.first().map_or(&part.booking, |first| &first.booking), day: day.day",
        test: "i16_budget_lines_are_those_of_the_statement_and_only_picks_what_it_says",
        ..STATEMENTS
    },
    Mutant {
        name: "only-and-what-is-below",
        breaks: "figures of one budget line are also those of the ones before it in the alphabet",
        invariant: 16,
        file: "model/src/statement/breakdown.rs",
        text: "dimension.text(cell) == value)",
        instead: "dimension.text(cell) <= value.as_str())",
        test: "i16_budget_lines_are_those_of_the_statement_and_only_picks_what_it_says",
        ..STATEMENTS
    },
    Mutant {
        name: "groups-without-corrections",
        breaks: "the figures of a closed month are without what its statements correct",
        invariant: 16,
        file: "api/src/store/breakdown.rs",
        text: "lines.into_iter().chain(corrections))",
        instead: "lines.into_iter().chain(corrections.into_iter().take(0)))",
        test: "national::i16_any_grouping_of_a_closed_month_sums_to_its_statements",
        ..API
    },
    Mutant {
        name: "export-without-corrections",
        breaks: "the export of a closed month is without its corrections, and its last record proves it",
        invariant: 16,
        file: "api/src/routes/national.rs",
        text: "in &share.corrections {",
        instead: "in share.corrections.iter().take(0) {",
        test: "national::i16_the_export_of_a_closed_month_is_its_statements_part_by_part",
        ..API
    },
    Mutant {
        name: "export-of-a-page",
        breaks: "of a tenant with more orders than are rated at a time only the first are exported",
        invariant: 16,
        file: "api/src/store/national.rs",
        text: "where (tenant_id, uid collate \"C\") > ($1, $2) order by",
        instead: "where tenant_id > $1 and $2::text is not null order by",
        test: "national::i16_the_export_of_an_open_month_is_what_its_closing_would_come_to",
        ..API
    },
    Mutant {
        name: "keys-of-everybody",
        breaks: "the key of a credit note is looked for among the notes of all tenants",
        invariant: 17,
        file: "api/src/store/statements.rs",
        text: "select request_key, document from statement where credits = $1 order by position",
        instead: "select request_key, document from statement where credits is not null and $1 <> '' order by position",
        test: "closing::i17_a_key_of_one_tenant_is_not_the_key_of_another",
        ..API
    },
    Mutant {
        name: "statement-of-everybody",
        breaks: "a statement is shown to whoever knows its number",
        invariant: 17,
        file: "api/src/store/statements.rs",
        text: "where s.number = $1 and t.path @> array[$2]",
        instead: "where s.number = $1 and $2 > 0",
        test: "closing::i17_documents_of_another_tenant_are_not_there",
        ..API
    },
    Mutant {
        name: "names-run-together",
        breaks: "two places share the name of an account: a:b below c, and b below c:a",
        invariant: 17,
        file: "model/src/ledger.rs",
        text: "matches!(c, '.' | '_' | '-')",
        instead: "matches!(c, '.' | '_' | '-' | ':')",
        test: "ledger::tests::i17_two_texts_never_share_a_word",
        ..MODEL
    },
    Mutant {
        name: "focus-without-tax",
        breaks: "the rows of FOCUS have no tax",
        invariant: 18,
        file: "api/documents/src/focus.rs",
        text: "    let mut charge = of(statement, amount.minor);",
        instead: "    let mut charge = of(statement, 0);",
        package: "siyada-documents",
        target: "--test=it",
        test: "focus::i18_the_billed_cost_of_an_invoice_is_its_gross_total",
    },
    Mutant {
        name: "verifier-knows-more",
        breaks: "the offline check counts what was recorded after the month closed",
        invariant: 19,
        file: "api/src/verify.rs",
        text: "    let known = rows.iter().skip(from).filter(|row| row.seq <= as_of);",
        instead: "    let known = rows.iter().skip(from).filter(|row| as_of > 0 || row.seq > 0);",
        test: "export::i19_an_export_gives_the_same_bytes_with_nothing_but_its_files",
        ..API
    },
    Mutant {
        name: "month-of-greenwich",
        breaks: "a month begins at midnight in UTC, wherever the issuer is",
        invariant: 20,
        file: "model/src/period.rs",
        text: "        let start = month.begins(&zone(time_zone)?)?;",
        instead: "        let start = month.begins(&TimeZone::UTC)?;",
        test: "period::tests::i20_a_month_has_exactly_its_length_in_utc",
        ..MODEL
    },
    Mutant {
        name: "month-of-720-hours",
        breaks: "every month is billed for 30 days",
        invariant: 20,
        file: "model/src/usage.rs",
        text: "        i128::from(self.end.as_millisecond()).saturating_sub(i128::from(self.start.as_millisecond()))",
        instead: "        i128::from(self.end.as_millisecond()).saturating_sub(i128::from(self.start.as_millisecond())).min(2_592_000_000)",
        test: "i20_what_runs_all_month_is_billed_for_its_length_in_utc",
        ..STATEMENTS
    },
    Mutant {
        name: "month-anew",
        breaks: "a month begins where the rules of today say, not where the last one ended",
        invariant: 20,
        file: "model/src/period.rs",
        text: "        Self::from(self.month.next()?, self.end, time_zone)",
        instead: "        Self::first(self.month.next()?, time_zone)",
        test: "period::tests::i20_an_issuer_that_moves_loses_no_hour_and_bills_none_twice",
        ..MODEL
    },
    Mutant {
        name: "days-of-24-hours",
        breaks: "every day has 24 hours, whatever clocks do",
        invariant: 20,
        file: "model/src/statement/breakdown.rs",
        text: "let end = begins(next).unwrap_or(period.end).clamp(start, period.end);",
        instead: "let end = begins(next).and(Timestamp::from_millisecond(start.as_millisecond() + 86_400_000).ok()).unwrap_or(period.end).clamp(start, period.end);",
        test: "i20_days_are_23_24_or_25_hours_and_join_to_the_month",
        ..STATEMENTS
    },
    Mutant {
        name: "at-work-for-ever",
        breaks: "what an operator found holds until another one comes, although it was not at work",
        invariant: 21,
        file: "model/src/availability.rs",
        text: "            Some(next) => next.at.min(proven),",
        instead: "            Some(next) => next.at,",
        test: "availability::tests::i21_a_state_holds_as_long_as_its_watcher_was_at_work",
        ..MODEL
    },
    Mutant {
        name: "gap-is-up",
        breaks: "time that is not proven counts as up if the last that was seen was so",
        invariant: 21,
        file: "model/src/availability.rs",
        text: "length_ms(&common(&while_running, unproven))",
        instead: "length_ms(&common(&[], unproven))",
        test: "availability::tests::i21_up_down_and_unobserved_are_the_time_for_which_it_should_run",
        ..MODEL
    },
    Mutant {
        name: "nearly-is-whole",
        breaks: "a percentage is rounded up",
        invariant: 21,
        file: "model/src/availability.rs",
        text: "up.saturating_mul(10_000).checked_div(",
        instead: "up.saturating_mul(10_000).saturating_add(down).checked_div(",
        test: "availability::tests::i21_a_percentage_is_rounded_down_and_is_whole_only_if_nothing_was_down",
        ..MODEL
    },
    Mutant {
        name: "availability-believed",
        breaks: "the offline check takes the availability of a document for right",
        invariant: 21,
        file: "api/src/verify.rs",
        text: "availability: if told { draft.availability } else { vec![] },",
        instead: "availability: if told { document.availability.clone() } else { vec![] },",
        test: "availability::i21_a_statement_says_how_available_its_instances_were_and_a_wrong_figure_is_found",
        ..API
    },
];
