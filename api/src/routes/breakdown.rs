//! A month's cost, grouped as finance asks; each figure opens down to the intervals and the price behind it.

use super::commitments::Format;
use super::{tenants::currency, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Key, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::state::App;
use crate::store::breakdown::{self, MonthOf, Rated, unrated};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use siyada_documents::cell;
use siyada_model::id::TenantName;
use siyada_model::money::{Currency, Money};
use siyada_model::period::Month;
use siyada_model::statement::breakdown::{
    Asked, Dimension, Figure, Figures, Group, GroupedUsage, UsageGroup, group,
};
use siyada_model::uri::escaped;
use siyada_model::wire::{Problem, code};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use utoipa::IntoParams;

/// Most rows of one answer.
const MOST_ROWS: usize = 100_000;

/// Which figures, and how they are grouped.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The month, like `2026-10`; the issuer's current one when absent.
    #[param(value_type = Option<String>)]
    pub period: Option<Month>,
    /// By what, with commas: some of `day`, `tenant`, `service`, `instance`, `plan`, `meter`, `costCentre`, `budgetLine` and
    /// `priceList`. One sum of all when absent.
    #[param(example = "day,service")]
    pub group_by: Option<String>,
    /// `json` or `csv`.
    #[param(inline)]
    pub format: Option<Format>,
    /// Only this day, `2026-10-03`; a month, `2026-09`, for the corrections about it.
    pub day: Option<String>,
    /// Only what this tenant ordered.
    pub tenant: Option<String>,
    /// Only this kind of order.
    pub service: Option<String>,
    /// Only the order with this uid.
    pub instance: Option<String>,
    /// Only this price key.
    pub plan: Option<String>,
    /// Only this meter.
    pub meter: Option<String>,
    /// Only what is booked on this cost centre; empty for what is booked on none.
    pub cost_centre: Option<String>,
    /// Only what is booked on this budget line; empty for what is booked on none.
    pub budget_line: Option<String>,
    /// Only what this price list prices.
    pub price_list: Option<String>,
}

impl Which {
    fn asked(self) -> Result<Asked, Error> {
        let mut by = Vec::new();
        for word in self.group_by.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
            let dimension: Dimension = word.parse().map_err(|cause| Error::invalid(format!("{cause}")))?;
            if by.contains(&dimension) {
                return Err(Error::invalid(format!("groupBy names {dimension} twice")));
            }
            by.push(dimension);
        }
        let only = [
            (Dimension::Day, self.day),
            (Dimension::Tenant, self.tenant),
            (Dimension::Service, self.service),
            (Dimension::Instance, self.instance),
            (Dimension::Plan, self.plan),
            (Dimension::Meter, self.meter),
            (Dimension::CostCentre, self.cost_centre),
            (Dimension::BudgetLine, self.budget_line),
            (Dimension::PriceList, self.price_list),
        ];
        let only = only.into_iter().filter_map(|(dimension, value)| Some((dimension, value?))).collect();
        Ok(Asked { by, only })
    }
}

/// A month of a tenant and everything below it, without tax, by day, sub-tenant, service, instance, plan, meter, cost
/// centre, budget line and price list. The sum of any grouping is that of the statements' lines: a closed month has the figures
/// of its statements, an open one those so far and a forecast.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage/grouped", tag = "usage",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "The figures, or a file", content(
            (GroupedUsage = "application/json", example = json!(examples::grouped())),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`price-unknown` for time without a price", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn grouped(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let currency = currency(&app, &tenant).await?;
    let (month, format) = (which.period, which.format.unwrap_or_default());
    let asked = which.asked()?;
    let mut tx = crate::store::snapshot(&app.pool).await?;
    let now = crate::store::now(&mut tx).await?;
    let state = breakdown::period(&mut tx, month, now).await?;
    let by_day = asked.uses(Dimension::Day);
    let month = breakdown::read(&mut tx, &tenant, (state, now), by_day, currency).await?;
    drop(tx);
    // A large month takes a while, which is not for the threads that answer.
    let answer = tokio::task::spawn_blocking(move || answer(name, &asked, &month, currency)).await;
    let answer = answer.map_err(|cause| Error::Fault(format!("failed to group usage: {cause}")))??;
    match format {
        Format::Json => Ok(Json(answer).into_response()),
        Format::Csv => {
            let file = format!("usage-{}-{}.csv", answer.tenant, answer.period.month);
            Ok(attachment(CSV, &file, csv(&answer)))
        }
    }
}

fn answer(
    tenant: TenantName,
    asked: &Asked,
    month: &MonthOf,
    currency: Currency,
) -> Result<GroupedUsage, Error> {
    let figures =
        |rated: &Rated| group(asked, month.period.month, &rated.lines, &rated.daily).map_err(unrated);
    let used = figures(&month.used)?;
    let forecast = month.forecast.as_ref().map(figures).transpose()?;
    let keys: BTreeSet<&Vec<String>> = used.keys().chain(forecast.iter().flat_map(Figures::keys)).collect();
    if keys.len() > MOST_ROWS {
        let detail = format!(
            "this grouping has {} rows, at most {MOST_ROWS} are answered; ask for a part",
            keys.len()
        );
        return Err(Error::refuse(code::TOO_LARGE, detail));
    }
    let money = |minor| Money { minor, currency };
    let rows: Vec<UsageGroup> = keys
        .into_iter()
        .filter_map(|key| {
            let expected = forecast.as_ref().map(|all| all.get(key));
            let any = used.get(key).or(expected.flatten())?;
            let with_price = asked.by.contains(&Dimension::Plan) && asked.by.contains(&Dimension::PriceList);
            let with_name = asked.by.contains(&Dimension::Instance);
            let figure = used.get(key);
            let quantity = figure.filter(|_| asked.by.contains(&Dimension::Plan)).and_then(|f| f.quantity_ms);
            let group = Group::new(&asked.by, key.clone());
            Some(UsageGroup {
                opens: figure.map(|figure| opens(&tenant, month.period.month, asked, (&group, figure))),
                group,
                namespace: with_name.then(|| any.order.namespace.clone()),
                name: with_name.then(|| any.order.name.clone()),
                unit: with_price.then_some(any.price.0),
                unit_price: with_price.then(|| any.price.1.clone()),
                quantity_ms: quantity.map(|quantity| quantity.to_string()),
                amount: money(figure.map_or(0, |figure| figure.minor)),
                forecast: expected.map(|figure| money(figure.map_or(0, |figure| figure.minor))),
            })
        })
        .collect();
    let total = rows.iter().try_fold(money(0), |sum, row| sum.add(row.amount))?;
    let expected = rows.iter().filter_map(|row| row.forecast).try_fold(money(0), Money::add)?;
    let expected = forecast.map(|_| expected);
    let MonthOf { period, until, closed, .. } = month;
    let (period, until, closed) = (period.clone(), *until, *closed);
    Ok(GroupedUsage {
        tenant,
        period,
        until,
        closed,
        group_by: asked.by.clone(),
        rows,
        total,
        forecast: expected,
    })
}

/// Where a figure opens: to its intervals, if it is of one order, else to the orders that it is of.
fn opens(tenant: &TenantName, month: Month, asked: &Asked, (group, figure): (&Group, &Figure)) -> String {
    let value = |dimension| group.get(dimension).or(asked.only.get(&dimension).map(String::as_str));
    let mut path = format!("/v1/tenants/{tenant}/");
    if let Some(uid) = value(Dimension::Instance) {
        let _ = write!(path, "intervals?orderUid={}&from={}&to={}", escaped(uid), figure.from, figure.to);
        for (name, dimension) in [("meter", Dimension::Meter), ("sku", Dimension::Plan)] {
            if let Some(value) = value(dimension) {
                let _ = write!(path, "&{name}={}", escaped(value));
            }
        }
        return path;
    }
    let by: Vec<&str> = asked.by.iter().map(|dimension| dimension.as_str()).chain(["instance"]).collect();
    let _ = write!(path, "usage/grouped?period={month}&groupBy={}", by.join(","));
    for dimension in Dimension::ALL {
        if let Some(value) = value(dimension) {
            let _ = write!(path, "&{dimension}={}", escaped(value));
        }
    }
    path
}

fn csv(answer: &GroupedUsage) -> String {
    let mut text = String::from(
        "month,day,tenant,service,instance,namespace,name,plan,meter,costCentre,budgetLine,priceList,unit,unitPrice,\
         quantityMs,amount,forecast,currency\r\n",
    );
    for row in &answer.rows {
        let of = |dimension| cell(row.group.get(dimension).unwrap_or_default());
        let word = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
        let cells = [
            answer.period.month.to_string(),
            of(Dimension::Day),
            of(Dimension::Tenant),
            of(Dimension::Service),
            of(Dimension::Instance),
            word(&row.namespace),
            word(&row.name),
            of(Dimension::Plan),
            of(Dimension::Meter),
            of(Dimension::CostCentre),
            of(Dimension::BudgetLine),
            of(Dimension::PriceList),
            row.unit.map(|unit| unit.as_str().to_owned()).unwrap_or_default(),
            word(&row.unit_price),
            row.quantity_ms.clone().unwrap_or_default(),
            row.amount.decimal(),
            row.forecast.map(Money::decimal).unwrap_or_default(),
            answer.total.currency.to_string(),
        ];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_value_of_a_query() {
        assert_eq!(escaped("a&b=c d/ميزانية"), "a%26b%3Dc%20d%2F%D9%85%D9%8A%D8%B2%D8%A7%D9%86%D9%8A%D8%A9");
    }

    #[test]
    fn what_is_asked_is_read_or_refused() {
        let asked = |text: &str| Which { group_by: Some(text.to_owned()), ..Which::default() }.asked();
        assert_eq!(asked("day,budgetLine").unwrap().by, [Dimension::Day, Dimension::BudgetLine]);
        assert!(asked("").unwrap().by.is_empty());
        assert!(asked("day,day").is_err() && asked("colour").is_err());
        let none = Which { budget_line: Some(String::new()), ..Which::default() }.asked().unwrap();
        assert_eq!(none.only[&Dimension::BudgetLine], "");
    }
}
