//! Certificates that are renewed under the people who use them.

use super::{DISPOSABLE, HOME, advice, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, secret_value};
use crate::platform::{Api, SYSTEM, engine, gone, ready};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Between two tries of a client.
const PAUSE: Duration = Duration::from_millis(100);
/// A client that fails so often in a row has noticed: it tries again a few times, as drivers do.
const TRIES: u32 = 3;
/// How PostgreSQL is asked for TLS.
const ASK_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A server whose certificate is renewed, and the Secret that it is kept in.
struct Server {
    namespace: String,
    secret: String,
    host: String,
    port: u16,
    postgres: bool,
}

/// What a certificate is told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    serial: String,
    not_after: Timestamp,
}

impl Seen {
    fn of(der: &[u8]) -> Result<Self> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())?;
        Ok(Self { serial: certificate.raw_serial_as_string(), not_after })
    }

    fn of_pem(pem: &str) -> Result<Self> {
        Self::of(&CertificateDer::from_pem_slice(pem.as_bytes())?)
    }
}

/// The certificate of each server is replaced by one of the same authority that is nearly over, as if the operator had been away
/// until then. It renews each at once; whoever writes, reads or orders meanwhile loses nothing, and trusts what he trusted.
pub async fn renewed() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "renewing", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "renewing", 240).await?;
    let binding = Binding::read(&ministry, HOME, "renewing-postgresql").await?;
    clients::postgres(&binding).await?.batch_execute("create table acts (id bigint primary key)").await?;
    let servers = servers(&order, &binding)?;
    let (stop, acknowledged) = (AtomicBool::default(), AtomicI64::default());
    tokio::try_join!(
        renew_all(&admin, servers, &binding.authority, &stop),
        writes(&binding, &stop, &acknowledged),
        asks_for_advice(&ministry, &stop),
        reads(&stop),
    )?;
    let written = acknowledged.load(SeqCst);
    let acknowledged = "select count(*) from acts where id <= $1";
    let count: i64 = clients::postgres(&binding).await?.query_one(acknowledged, &[&written]).await?.get(0);
    ensure!(written > 0 && count == written, "{written} were acknowledged, {count} of them are there");
    let after = Binding::read(&ministry, HOME, "renewing-postgresql").await?;
    ensure!(after.authority == binding.authority, "clients must trust something else now");
    println!("        {written} rows acknowledged under three renewals, all there");
    ministry.run(&["-n", HOME, "delete", "pgi", "renewing", "--wait=false"]).await?;
    gone("pgi", HOME, "renewing", 180).await
}

fn servers(order: &Value, binding: &Binding) -> Result<[Server; 3]> {
    let (namespace, cluster) = engine(order)?;
    let of_platform = |name: &str, port| Server {
        namespace: SYSTEM.to_owned(),
        secret: format!("{name}-tls"),
        host: format!("{name}.{SYSTEM}.svc"),
        port,
        postgres: false,
    };
    let instance = Server {
        namespace,
        secret: format!("{cluster}-server"),
        host: binding.host.clone(),
        port: 5432,
        postgres: true,
    };
    Ok([instance, of_platform("siyada-api", 8443), of_platform("siyada-operator", 443)])
}

/// Renews one after the other, and lets the clients stop then.
async fn renew_all(admin: &Kubectl, servers: [Server; 3], authority: &str, stop: &AtomicBool) -> Result<()> {
    for server in servers {
        renew(admin, &server, authority).await?;
    }
    stop.store(true, SeqCst);
    Ok(())
}

/// Brings the end of a certificate near, and waits until another one is kept and served, to whoever trusts the authority.
async fn renew(admin: &Kubectl, server: &Server, authority: &str) -> Result<()> {
    let (namespace, name) = (&server.namespace, &server.secret);
    let before = served(server, authority).await?;
    let old = nearly_over(admin, &server.host).await?;
    let nearly = Seen::of_pem(&old.0)?;
    let left = nearly.not_after.duration_since(Timestamp::now());
    ensure!(left > SignedDuration::ZERO && left < SignedDuration::from_hours(24 * 8), "it ends in {left}");
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = json!({"data": {"tls.crt": bytes(&old.0), "tls.key": bytes(&old.1)}});
    admin.patch("secret", namespace, name, &data).await?;
    let kept =
        eventually(seconds(60), &format!("the certificate of {} to be renewed", server.host), || async {
            let secret = admin.get("secret", namespace, name).await?.context("the Secret is gone")?;
            let kept = Seen::of_pem(&secret_value(&secret, "tls.crt")?)?;
            ensure!(kept != nearly && kept != before, "it is {kept:?}");
            Ok(kept)
        })
        .await?;
    ensure!(
        kept.not_after.duration_since(Timestamp::now()) > SignedDuration::from_hours(24 * 60),
        "{kept:?}"
    );
    // The kubelet brings a changed Secret to a pod within two minutes.
    eventually(seconds(180), &format!("{} to serve the new certificate", server.host), || async {
        let now = served(server, authority).await?;
        ensure!(now == kept, "it serves {now:?}");
        Ok(())
    })
    .await
}

/// A certificate of the platform's authority for a server, with a week left, and its key.
async fn nearly_over(admin: &Kubectl, host: &str) -> Result<(String, String)> {
    let secret = admin.get("secret", SYSTEM, "siyada-authority").await?.context("there is no authority")?;
    let (pem, key) = (secret_value(&secret, "tls.crt")?, secret_value(&secret, "tls.key")?);
    let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key)?)?;
    let mut parameters = CertificateParams::new(vec![host.to_owned()])?;
    let day = |days: i64| -> Result<_> {
        let at = Timestamp::now().checked_add(SignedDuration::from_hours(24 * days))?;
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        Ok(date_time_ymd(i32::from(date.year()), u8::try_from(date.month())?, u8::try_from(date.day())?))
    };
    (parameters.not_before, parameters.not_after) = (day(-84)?, day(7)?);
    let own = KeyPair::generate()?;
    Ok((parameters.signed_by(&own, &issuer)?.pem(), own.serialize_pem()))
}

/// What a server shows to somebody who trusts the authority and verifies its name.
async fn served(server: &Server, authority: &str) -> Result<Seen> {
    let (host, port, postgres) = (server.host.clone(), server.port, server.postgres);
    let authority = authority.to_owned();
    tokio::task::spawn_blocking(move || shown(&host, port, postgres, &authority)).await?
}

fn shown(host: &str, port: u16, postgres: bool, authority: &str) -> Result<Seen> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(seconds(10)))?;
    stream.set_write_timeout(Some(seconds(10)))?;
    if postgres {
        stream.write_all(&ASK_FOR_TLS)?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer)?;
        ensure!(answer == *b"S", "{host} speaks without TLS");
    }
    let name = ServerName::try_from(host.to_owned())?;
    let mut session = rustls::ClientConnection::new(Arc::new(config), name)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let chain = session.peer_certificates().context("it showed nothing")?;
    Seen::of(chain.first().context("it showed nothing")?)
}

/// How often in a row a client has failed.
struct Client {
    what: &'static str,
    failed: u32,
}

impl Client {
    fn new(what: &'static str) -> Self {
        Self { what, failed: 0 }
    }

    /// Takes in how a try ended, and waits a little. Fails when [`TRIES`] in a row did.
    async fn tried(&mut self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => self.failed = 0,
            Err(error) => {
                self.failed += 1;
                ensure!(
                    self.failed < TRIES,
                    "{} failed {} times in a row: {error:#}",
                    self.what,
                    self.failed
                );
            }
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Writes rows: over one connection that is opened again when it breaks, and over a new one, in turn.
async fn writes(binding: &Binding, stop: &AtomicBool, acknowledged: &AtomicI64) -> Result<()> {
    let (mut writer, mut kept) = (Client::new("a client that writes"), None);
    while !stop.load(SeqCst) {
        let next = acknowledged.load(SeqCst) + 1;
        let outcome = write(binding, next, &mut kept).await;
        if outcome.is_ok() {
            acknowledged.store(next, SeqCst);
        }
        writer.tried(outcome).await?;
    }
    Ok(())
}

async fn write(binding: &Binding, id: i64, kept: &mut Option<tokio_postgres::Client>) -> Result<()> {
    // An answer that was lost may have been an acknowledgement.
    let sql = "insert into acts values ($1) on conflict do nothing";
    if id % 2 == 0 {
        clients::postgres(binding).await?.execute(sql, &[&id]).await?;
        return Ok(());
    }
    let client = match kept.take().filter(|client| !client.is_closed()) {
        Some(client) => client,
        None => clients::postgres(binding).await?,
    };
    client.execute(sql, &[&id]).await?;
    *kept = Some(client);
    Ok(())
}

/// Reads from the api, as a program does that keeps its connections.
async fn reads(stop: &AtomicBool) -> Result<()> {
    let (api, mut reader) = (Api::service_account(HOME, "ministry-it").await?, Client::new("the api"));
    while !stop.load(SeqCst) {
        let answer = api.read("/v1/tenants/interior/quota").await;
        reader.tried(answer.map(drop)).await?;
    }
    Ok(())
}

/// Asks what an order would cost, as people do before they order: without the webhook there would be no price in the answer.
async fn asks_for_advice(ministry: &Kubectl, stop: &AtomicBool) -> Result<()> {
    if !advice::given("the price in each answer while its certificate is renewed") {
        return Ok(());
    }
    let (order, mut asker) = (postgres(HOME, "asked-for", ""), Client::new("advice"));
    while !stop.load(SeqCst) {
        let said = ministry.try_with(&["apply", "--dry-run=server", "-f", "-"], &order).await?;
        let is_advised = said.ok && said.err.contains("Warning: at most");
        let outcome = if is_advised { Ok(()) } else { Err(anyhow!("it says {:?}", said.err)) };
        asker.tried(outcome).await?;
    }
    Ok(())
}
