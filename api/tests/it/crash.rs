//! The program dies at every point of reserving and releasing; what it answered stands, and the sums are right.

use crate::support::{
    AUDIENCE, ISSUER, OPERATOR, World, account, but, claims, fresh_database, order, served_address, signer,
    tenant, until, url_of,
};
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use siyada_api::fail::POINTS;
use siyada_api::store;
use sqlx::postgres::PgConnectOptions;
use std::process::{Child, Command, Stdio};

pub struct Program {
    child: Child,
    address: Address,
}

/// Where a program is asked, also while somebody waits for its end.
#[derive(Clone)]
pub struct Address {
    base: String,
    client: reqwest::Client,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// The program on a database, which dies at `fail_at` if it is a fail point; it serves.
    pub async fn start(database: &PgConnectOptions, keys: &str, fail_at: &str) -> Self {
        let program = Self::spawn(database, keys, fail_at).await;
        program.ready().await;
        program
    }

    /// Waits until it serves: its schema is in place.
    pub async fn ready(&self) {
        until("the program is ready", 60, async || {
            self.send("GET", "/readyz", None).await.is_ok_and(|status| status == 200)
        })
        .await;
    }

    /// The same, which listens and may not serve yet.
    pub async fn spawn(database: &PgConnectOptions, keys: &str, fail_at: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siyada-api"));
        command.env("SIYADA_FAIL_AT", fail_at);
        Self::serve(command, database, keys).await
    }

    /// A program that is started by this command, of whatever landing it is; it listens and may not serve yet.
    pub async fn serve(mut command: Command, database: &PgConnectOptions, keys: &str) -> Self {
        let mut child = command
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--insecure-http"])
            .args([
                format!("--issuer={ISSUER}"),
                format!("--jwks-url={keys}"),
                format!("--audience={AUDIENCE}"),
            ])
            .env("SIYADA_DATABASE_URL", url_of(database))
            .env("SIYADA_PLATFORM_OPERATOR", OPERATOR)
            .env("SIYADA_PLATFORM_FINANCE", "system:serviceaccounts:finance")
            .env("SIYADA_PLATFORM_AUDITOR", "system:serviceaccounts:audit")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = served_address(&mut child).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, address: Address { base: format!("http://{address}"), client } }
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<u16, reqwest::Error> {
        Ok(self.ask(OPERATOR, method, path, body).await?.0)
    }

    /// The status and the body of an answer.
    pub async fn ask(
        &self,
        subject: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), reqwest::Error> {
        self.address.ask(subject, method, path, body).await
    }

    pub fn address(&self) -> Address {
        self.address.clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A world whose requests go to this program.
    pub fn world(&self, database: &PgConnectOptions) -> World {
        let address = self.address();
        let ask = move |request: Request| async move { address.forward(request).await };
        World { app: Router::new().fallback(ask), ..World::on(store::pool(database.clone())) }
    }

    /// Tells it to stop, and waits until it has done so in good order.
    pub async fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.dead().await;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    pub async fn dead(&mut self) {
        let child = &mut self.child;
        until("the program died", 20, || std::future::ready(child.try_wait().unwrap().is_some())).await;
    }
}

impl Address {
    /// The status and the body of an answer.
    pub async fn ask(
        &self,
        subject: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let response = self.response(subject, method, path, body).await?;
        Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
    }

    /// The whole answer, as soon as its head is there.
    pub async fn response(
        &self,
        subject: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let url = format!("{}{path}", self.base);
        let mut request =
            self.client.request(method.parse().unwrap(), url).bearer_auth(signer().sign(&claims(subject)));
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await
    }

    /// The answer to a request that was made for an api in this process.
    async fn forward(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let request = self.client.request(parts.method, format!("{}{}", self.base, parts.uri));
        let answer = request.headers(parts.headers).body(body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap()).into_response()
    }
}

pub async fn keys() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = format!("http://{}/keys", listener.local_addr().unwrap());
    let set = JwkSet { keys: vec![signer().jwk()] };
    let router = Router::new().route("/keys", get(move || async move { Json(set) }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    keys
}

/// What is on record before, the method and the body of a call, and its status once it is answered.
pub type Case = (Vec<(&'static str, Value)>, &'static str, Option<Value>, u16);

/// The calls that pass a point: what is on record before, the call, and the status of the same call afterwards.
pub fn calls(point: &str) -> Vec<Case> {
    let db = || order("police", "db", 1, 10);
    let hold =
        |before: Vec<(&'static str, Value)>, after: Value, status| (before, "PUT", Some(after), status);
    let grown = but(&db(), json!({"generation": 2, "resources": order("police", "db", 2, 10)["resources"]}));
    let release = (vec![("u-1", db())], "DELETE", None, 204);
    let waits = but(&order("guarded", "db", 1, 10), json!({"requester": account("x")}));
    let too_much = order("police", "db", 99, 10);
    match point {
        "insert-orders" => vec![hold(vec![], db(), 200)],
        "describe-orders" => vec![hold(vec![("u-1", db())], but(&grown, json!({"plan": "large"})), 200)],
        "drop-orders" => vec![hold(vec![], too_much, 409)],
        "delete-reservations" => vec![release],
        "write-approval-requests" => vec![hold(vec![], waits, 409)],
        "delete-approval-requests" => vec![hold(vec![("u-1", db())], grown, 200), release],
        _ => vec![hold(vec![], db(), 200), hold(vec![("u-1", db())], grown, 200), release],
    }
    .into_iter()
    // Only a hold writes a reservation.
    .filter(|(_, method, ..)| point != "write-reservations" || *method == "PUT")
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i04_dead_at_any_point_nothing_that_was_answered_is_lost_and_the_sums_are_right() {
    siyada_api::install_tls_provider();
    let keys = keys().await;
    let database = fresh_database().await;
    let world = World::with_tenants_on(store::pool(database.clone())).await;
    let operator = world.operator();
    let limit = tenant("police", Some("interior"), json!({"instances": 20}));
    operator.put("/v1/tenants/police", &limit).await.ok::<Value>();
    let guarded = but(
        &tenant("guarded", Some("kingdom"), json!({})),
        json!({"approvalAbove": {"minor": 0, "currency": "MAD"}}),
    );
    operator.put("/v1/tenants/guarded", &guarded).await.ok::<Value>();
    operator.put("/v1/reservations/stands", &order("police", "stands", 3, 10)).await.ok::<Value>();
    for (number, point) in POINTS.iter().enumerate() {
        for (index, (before, method, body, status)) in calls(point).into_iter().enumerate() {
            let path = format!("/v1/reservations/u-{number}-{index}");
            for (_, request) in &before {
                operator.put(&path, request).await.ok::<Value>();
            }
            let mut program = Program::start(&database, &keys, point).await;
            let answered = program.send(method, &path, body.as_ref()).await;
            assert!(
                answered.is_err(),
                "{point}: the program answered {answered:?}, so it did not pass this point"
            );
            program.dead().await;
            // What was open is undone by the database as soon as it sees that the program is gone.
            until("the sums are right", 20, async || world.wrong_sums().await.is_empty()).await;
            let again = Program::start(&database, &keys, "").await;
            for _ in 0..2 {
                assert_eq!(
                    again.send(method, &path, body.as_ref()).await.unwrap(),
                    status,
                    "{point} {method}"
                );
            }
            assert_eq!(world.wrong_sums().await, Vec::<String>::new(), "{point}");
            assert_eq!(again.send("DELETE", &path, None).await.unwrap(), 204);
        }
    }
    let left: Value = operator.get("/v1/reservations").await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "only what was answered before stands");
    let view: Value = operator.get("/v1/tenants/police/quota").await.ok();
    assert_eq!(view["held"]["resources"]["instances"], 3);
    let orders: i64 = sqlx::query_scalar("select count(*) from orders where uid like 'u-2-%'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(orders, 0, "an order that was refused at once is not known");
}

/// Every statement that writes while something is reserved or released has a point before it.
#[test]
fn every_write_of_a_reservation_has_a_fail_point() {
    let sources = [
        ("batch", include_str!("../../src/store/batch.rs")),
        ("orders", include_str!("../../src/store/orders.rs")),
        ("quota", include_str!("../../src/store/quota.rs")),
        ("reservations", include_str!("../../src/store/reservations.rs")),
    ];
    let mut named = std::collections::BTreeSet::new();
    for (file, source) in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        for function in code.split("async fn ").skip(1) {
            let name = function.split(['(', '<']).next().unwrap();
            let writes = ["\"insert into ", "\"update ", "\"delete from "];
            let statements: usize = writes.iter().map(|verb| function.matches(verb).count()).sum();
            let points: Vec<&str> =
                function.split("point(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            assert!(
                points.len() >= statements,
                "{file}::{name} writes {statements} times, with points {points:?}"
            );
            named.extend(points.into_iter().map(ToOwned::to_owned));
        }
    }
    assert_eq!(named, POINTS.iter().map(|point| (*point).to_owned()).collect());
}
