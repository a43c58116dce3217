//! Random histories of several writers at once: at the end, the sums are what a recount says.

use crate::support::{World, but, order, tenant};
use serde_json::{Value, json};
use std::sync::Arc;

/// Numbers that are the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

const TENANTS: [&str; 4] = ["kingdom", "interior", "police", "health"];

async fn one_step(world: &World, dice: &mut Dice, generation: i64) {
    let operator = world.operator();
    let number = dice.below(30);
    let path = format!("/v1/reservations/u-{number}");
    // An order is always of the same tenant.
    let owner = TENANTS[usize::try_from(number % 4).unwrap()];
    let answer = match dice.below(10) {
        0..6 => {
            let amounts = (i64::try_from(dice.below(4)).unwrap(), i64::try_from(dice.below(30)).unwrap());
            let request = order(owner, &format!("db-{number}"), amounts.0, amounts.1);
            let changes = json!({"generation": generation, "retained": dice.below(5) == 0});
            operator.put(&path, &but(&request, changes)).await
        }
        6..8 => operator.delete(&path).await,
        8 => {
            let limit = json!({"instances": dice.below(20), "storageBytes": dice.below(300) << 30});
            let name = dice.pick(&["interior", "health"]);
            let record = tenant(name, Some("kingdom"), limit);
            operator
                .put(&format!("/v1/tenants/{name}"), &but(&record, json!({"generation": generation})))
                .await
        }
        _ => {
            let parent = dice.pick(&["interior", "health", "kingdom"]);
            let record = tenant("police", Some(parent), json!({}));
            operator.put("/v1/tenants/police", &but(&record, json!({"generation": generation}))).await
        }
    };
    let status = answer.status.as_u16();
    assert!([200, 204, 409].contains(&status), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn i09_after_any_history_the_sums_equal_a_recount() {
    let world = Arc::new(World::with_tenants().await);
    let writers: Vec<_> = (1..=8_u64)
        .map(|seed| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                for generation in 1..=60 {
                    one_step(&world, &mut dice, generation).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(world.wrong_sums().await, Vec::<String>::new());
    let view: Value = world.operator().get("/v1/tenants/kingdom/quota").await.ok();
    let sum: i64 = sqlx::query_scalar("select coalesce(sum(money_minor), 0)::bigint from reservation")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(view["held"]["monthlyCost"]["minor"], sum);
    assert!(sum > 0, "the history left nothing to compare");
}
