//! Serving: opens the database, listens, keeps the certificate fresh and stops in good order.

use crate::auth::{Issuer, KeySource, Population, Verifier};
use crate::config::{DatabaseArgs, ExportArgs, RecoverArgs, Serve, TokenArgs, VerifyArgs};
use crate::embedded::{Embedded, Options};
use crate::signing::Signer;
use crate::store::incarnation::{self, Declaration, Standing, stand};
use crate::webhook::Webhooks;
use crate::{App, app, people, store, tasks};
use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long requests may go on after the order to stop: longer than a request may take.
const DRAIN: Duration = Duration::from_secs(20);
/// How often the files of the certificate are compared with what is served.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(2);
/// How long to wait between two tries to reach the database.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long a client may take to begin its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// Serves until told to stop.
///
/// # Errors
/// When an address, a certificate or the private PostgreSQL cannot be used.
pub async fn serve(args: Serve) -> anyhow::Result<()> {
    if args.insecure_http && !args.listen.ip().is_loopback() {
        bail!("--insecure-http is only for a loopback address such as 127.0.0.1:8080, not {}", args.listen);
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Certificate::read(cert.clone(), key.clone()).await?),
        _ => None,
    };
    let verifier = verifier(&args.tokens)?;
    let (database, embedded) = open(&args.database).await?;
    let webhooks = Webhooks::read(args.webhooks.as_deref(), &args.webhook_allow)?;
    let standing = Arc::new(Standing::new(args.accept_failover));
    let pool = store::guarded_pool(database.clone(), &standing);
    let mut state = App::new(pool, verifier, args.platform.clone().into());
    state.standing = standing;
    state.webhooks = Arc::new(webhooks);
    state.signer = args.signing_key.as_deref().map(Signer::read).transpose()?.map(Arc::new);
    state.fiscal_year_start_month = args.fiscal_year_start_month;
    state.coverage_threshold_basis_points = args.coverage_threshold_basis_points;
    let (api, metrics) = (bind(args.listen)?, bind(args.metrics_listen)?);
    tracing::info!("serving on {} and metrics on {}", api.local_addr()?, metrics.local_addr()?);

    let handle = Handle::new();
    tokio::spawn(stop_when_told(handle.clone()));
    tokio::spawn(migrate_until_done(state.clone(), database));
    tokio::spawn(axum_server::from_tcp(metrics)?.serve(metrics_app(state.clone()).into_make_service()));
    let service = app(state.clone()).into_make_service();
    match tls {
        Some(certificate) => {
            let acceptor = RustlsAcceptor::new(certificate.config.clone());
            tokio::spawn(certificate.keep_fresh());
            let server = axum_server::from_tcp(api)?.acceptor(acceptor).handle(handle);
            server.first_request_timeout(FIRST_REQUEST).serve(service).await
        }
        None => {
            let server = axum_server::from_tcp(api)?.handle(handle);
            server.first_request_timeout(FIRST_REQUEST).serve(service).await
        }
    }
    .context("failed to serve")?;
    state.pool.close().await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Brings the schema up to date, and stops.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub async fn migrate(args: DatabaseArgs) -> anyhow::Result<()> {
    let (database, embedded) = open(&args).await?;
    let migrated = store::migrate(&database).await.context("failed to migrate the database");
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    migrated
}

/// Declares what a restored database is, and stops.
///
/// # Errors
/// When there is nothing to declare, or the database does not answer.
pub async fn recover(args: RecoverArgs) -> anyhow::Result<()> {
    let (database, embedded) = open(&args.database).await?;
    let recovered = declare(&database, args.into()).await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    recovered
}

async fn declare(database: &PgConnectOptions, declaration: Declaration) -> anyhow::Result<()> {
    store::migrate(database).await.context("failed to migrate the database")?;
    let mut connection = database.connect().await?;
    let recovered = incarnation::recover(&mut connection, &declaration).await;
    let recovered = recovered.map_err(|error| match error.refusal() {
        Some(problem) => anyhow::anyhow!("{}", problem.detail),
        None => anyhow::anyhow!("the database failed: {error:?}"),
    })?;
    connection.close().await?;
    if declaration.nothing_lost {
        println!("declared: the ledger is whole on this server since {}", recovered.began);
    } else {
        println!(
            "declared: the ledger is restored as of {}\n{} streams of usage wait until they are seen again; from there until \
             then is a gap of each\nnumbers of this fiscal year go on in a series of their own, R{}",
            recovered.last_known,
            recovered.spans,
            siyada_model::statement::chain::restored_at(recovered.began)
        );
    }
    Ok(())
}

/// Writes an export, and stops.
///
/// # Errors
/// When the directory cannot be made or the database does not answer.
pub async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let (database, embedded) = open(&args.database).await?;
    let pool = store::pool(database);
    let exported = crate::export::export(&pool, &args.dir).await;
    pool.close().await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    let manifest = exported?;
    println!("{} documents exported into {}", manifest.documents, args.dir.display());
    Ok(())
}

/// Checks an export, and says what was checked.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let key = args.public_key.as_deref().map(|text| STANDARD.decode(text)).transpose();
    let key = key.context("--public-key is no base64")?;
    let found = crate::verify::verify(&args.export, key.as_deref())?;
    println!(
        "{} documents are canonical, numbered without a hole and chained; {} signatures are right\n{} closed months \
         computed again from {} records give the same bytes\nthe chain ends at {}",
        found.documents, found.signed, found.months, found.records, found.chain
    );
    Ok(())
}

async fn open(args: &DatabaseArgs) -> anyhow::Result<(PgConnectOptions, Option<Embedded>)> {
    if let Some(directory) = &args.embedded_postgres {
        let options = Options { unsafe_no_fsync: args.embedded_unsafe_no_fsync };
        let embedded = Embedded::start(directory, options).await?;
        return Ok((embedded.connect_options("siyada"), Some(embedded)));
    }
    let url = args.database_url.as_deref().context("give --database-url or --embedded-postgres")?;
    // The text of a parse error may hold the password.
    let options: PgConnectOptions =
        url.parse().map_err(|_| anyhow::anyhow!("--database-url is not a PostgreSQL URL"))?;
    Ok((secured(options, args.database_ca.as_deref())?, None))
}

/// Refuses to send the ledger over a network unproven.
fn secured(options: PgConnectOptions, ca: Option<&Path>) -> anyhow::Result<PgConnectOptions> {
    let options = match ca {
        Some(ca) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca),
        None => options,
    };
    let host = options.get_host();
    let local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !local && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        bail!("the database {host} is over a network: give --database-ca, or sslmode=verify-full in the URL");
    }
    Ok(options)
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to set up a listener")?;
    Ok(listener)
}

async fn stop_when_told(handle: Handle<SocketAddr>) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("failed to listen for signals; stop me with SIGKILL");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to stop; finishing what is being answered");
    handle.graceful_shutdown(Some(DRAIN));
}

async fn migrate_until_done(state: App, database: PgConnectOptions) {
    loop {
        match ready(&state, &database).await {
            Ok(()) => {
                state.set_migrated();
                tracing::info!("the schema is in place");
                tokio::spawn(tasks::keep_valued(state.clone()));
                tokio::spawn(tasks::keep_open(state.clone()));
                tokio::spawn(tasks::keep_closed(state.clone()));
                tokio::spawn(tasks::keep_pruned(state.clone()));
                tokio::spawn(tasks::keep_told(state));
                return;
            }
            Err(cause) => {
                let cause = format!("{cause:#}");
                tracing::warn!(cause, "failed to migrate the database, or to stand on it; trying again");
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// The schema is in place, and the server is the one that is on record: a connection from before may not have been asked.
async fn ready(state: &App, database: &PgConnectOptions) -> anyhow::Result<()> {
    store::migrate(database).await?;
    let mut connection = database.connect().await?;
    stand(&mut connection, &state.standing).await?;
    Ok(connection.close().await?)
}

/// What the port for metrics serves.
pub fn metrics_app(state: App) -> Router {
    async fn metrics(
        State(app): State<App>,
    ) -> Result<([(&'static str, &'static str); 1], String), StatusCode> {
        crate::checks::look(&app, Instant::now()).await;
        let text = app.metrics.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
    }
    Router::new().route("/metrics", get(metrics)).with_state(state)
}

fn verifier(args: &TokenArgs) -> anyhow::Result<Verifier> {
    let source = KeySource::at(&args.jwks_url, args.jwks_ca.as_deref(), args.jwks_token_file.clone())?;
    let fresh = Duration::from_secs(args.keys_fresh_seconds);
    let (name, audience) = (args.issuer.clone(), args.audience.clone());
    let mut issuers = vec![Issuer::with_fresh(name, audience, Population::Cluster, source, fresh)];
    issuers.extend(people::issuers(args)?);
    Ok(Verifier::new(issuers))
}

/// The certificate that is served, and the files it comes from.
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    served: (Vec<u8>, Vec<u8>),
    config: RustlsConfig,
}

impl Certificate {
    async fn read(cert: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let served = read_both(&cert, &key).await?;
        let config = RustlsConfig::from_pem(served.0.clone(), served.1.clone()).await.with_context(|| {
            format!("{} and {} are no certificate and key", cert.display(), key.display())
        })?;
        Ok(Self { cert, key, served, config })
    }

    /// Serves the new certificate soon after the files changed. Comparing content, not times, sees every change of a
    /// mounted Secret.
    async fn keep_fresh(mut self) {
        loop {
            tokio::time::sleep(LOOK_AT_CERTIFICATE).await;
            if let Err(cause) = self.refresh().await {
                tracing::warn!(
                    cause = format!("{cause:#}"),
                    "failed to renew the certificate; serving the old one"
                );
            }
        }
    }

    async fn refresh(&mut self) -> anyhow::Result<()> {
        let found = read_both(&self.cert, &self.key).await?;
        if found == self.served {
            return Ok(());
        }
        self.config.reload_from_pem(found.0.clone(), found.1.clone()).await?;
        self.served = found;
        tracing::info!("serving the renewed certificate of {}", self.cert.display());
        Ok(())
    }
}

async fn read_both(cert: &Path, key: &Path) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let read = async |path: &Path| {
        tokio::fs::read(path).await.with_context(|| format!("failed to read {}", path.display()))
    };
    Ok((read(cert).await?, read(key).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_over_a_network_must_prove_itself() {
        let check = |url: &str, ca: Option<&str>, expect: bool| {
            let options: PgConnectOptions = url.parse().unwrap();
            assert_eq!(secured(options, ca.map(Path::new)).is_ok(), expect, "{url} {ca:?}");
        };
        check("postgres://u@ledger.siyada-system/siyada", None, false);
        check("postgres://u@ledger.siyada-system/siyada?sslmode=require", None, false);
        check("postgres://u@ledger.siyada-system/siyada?sslmode=verify-full", None, true);
        check("postgres://u@ledger.siyada-system/siyada", Some("/ca.crt"), true);
        check("postgres://u@ledger.siyada-system/siyada?sslmode=disable", Some("/ca.crt"), true);
        check("postgres://u@127.0.0.1/siyada", None, true);
        check("postgres://u@10.0.0.1/siyada", None, false);
        check("postgres:///siyada?host=/run/postgresql", None, true);
    }
}
