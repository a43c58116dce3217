//! What is told to the ledger, drawn from a seed: the same for the run that is disturbed and for the one that is not.

use crate::closing::fact;
use crate::random::Dice;
use jiff::Timestamp;
use serde_json::Value;
use siyada_model::period::Period;
use std::collections::BTreeSet;

/// Orders, each of the tenant and the collector that its number gives.
pub const ORDERS: usize = 24;
/// Collectors: two clusters, each with operators that follow one another.
pub const COLLECTORS: [&str; 2] = ["cluster-a", "cluster-b"];
const TENANTS: [&str; 3] = ["police", "health", "interior"];
/// Every so many facts, one is about a month that is closed.
const LATE: u64 = 6;

/// A fact about an order, as it is sent.
#[derive(Clone, Debug)]
pub struct Told {
    pub collector: usize,
    pub fact: Value,
}

/// A month: its name, and what is told before it closes.
pub struct Month {
    pub label: String,
    pub batches: Vec<Vec<Told>>,
}

pub struct Plan {
    pub months: Vec<Month>,
    /// Facts that only a collector which was replaced tells: none may ever be on record.
    pub false_facts: Vec<Told>,
}

pub fn uid(order: usize) -> String {
    format!("s-{order:02}")
}

pub fn tenant_of(order: usize) -> &'static str {
    TENANTS[order % TENANTS.len()]
}

/// The months of a plan, the first of which is February 2024, with its 29 days and Ramadan after it.
fn periods(count: usize) -> Vec<Period> {
    let mut found = vec![Period::first("2024-02".parse().unwrap(), "Africa/Casablanca").unwrap()];
    while found.len() < count {
        found.push(found[found.len() - 1].next("Africa/Casablanca").unwrap());
    }
    found
}

/// Draws facts, no two of them about the same instant of a stream.
struct Draw {
    dice: Dice,
    taken: BTreeSet<(usize, bool, i64)>,
}

impl Draw {
    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.dice.below(u64::try_from(sides).unwrap())).unwrap()
    }

    fn fact(&mut self, order: usize, compute: bool, within: &Period) -> Told {
        let at = loop {
            let span = u64::try_from(within.length_ms()).unwrap();
            let at = within.start.as_millisecond() + i64::try_from(self.dice.below(span)).unwrap();
            if self.taken.insert((order, compute, at)) {
                break Timestamp::from_millisecond(at).unwrap();
            }
        };
        let (meter, sku, most) =
            if compute { ("compute", "postgres-small", 5) } else { ("storage", "block-storage", 50_000) };
        let quantity = i64::try_from(self.dice.below(most)).unwrap();
        let level = (quantity > 0).then_some((sku, quantity));
        Told {
            collector: order % COLLECTORS.len(),
            fact: fact(&uid(order), tenant_of(order), meter, &at.to_string(), level),
        }
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.below(last + 1);
            all.swap(last, other);
        }
    }

    fn month(&mut self, periods: &[Period], index: usize) -> Month {
        let mut told = Vec::new();
        for order in 0..ORDERS {
            for compute in [true, false] {
                for _ in 0..self.below(4) {
                    let late = index > 0 && self.dice.below(LATE) == 0;
                    let of = if late { self.below(index) } else { index };
                    told.push(self.fact(order, compute, &periods[of]));
                }
            }
        }
        self.shuffle(&mut told);
        let mut batches = Vec::new();
        for collector in 0..COLLECTORS.len() {
            let own: Vec<Told> = told.iter().filter(|t| t.collector == collector).cloned().collect();
            batches.extend(own.chunks(3).map(<[Told]>::to_vec));
        }
        self.shuffle(&mut batches);
        Month { label: periods[index].month.to_string(), batches }
    }
}

impl Plan {
    pub fn draw(seed: u64, months: usize) -> Self {
        let mut draw = Draw { dice: Dice(seed | 1), taken: BTreeSet::new() };
        let periods = periods(months);
        let months = (0..months).map(|index| draw.month(&periods, index)).collect();
        let false_facts = (0..40).map(|number| {
            let within = &periods[number % periods.len()];
            draw.fact(number % ORDERS, number % 2 == 0, within)
        });
        let false_facts = false_facts.collect();
        Self { months, false_facts }
    }
}
