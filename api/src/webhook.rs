//! Webhooks: alerts told over HTTP, signed, to addresses that the platform allows.
//!
//! A name is resolved first, every address is checked, and then exactly that address is connected to, so that no answer
//! of a name server given later leads anywhere else. No redirects, no proxy. The signature is that of
//! standardwebhooks.com: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

use crate::error::Error;
use crate::state::App;
use crate::store::alerts::{After, Delivery, finish, take_due};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For this long nobody else tries the same; longer than a try takes.
const TAKEN_MS: i64 = 60_000;
/// Deliveries taken at once.
const MOST_AT_ONCE: i64 = 20;
/// Waits between tries; after the last one it is given up. About two hours in all.
const WAITS_MS: [i64; 8] = [1_000, 5_000, 30_000, 120_000, 300_000, 900_000, 1_800_000, 3_600_000];
/// Most targets in the configuration.
const MOST_TARGETS: usize = 100;
/// Shortest secret.
const SHORTEST_SECRET: usize = 16;

/// Where alerts may be sent.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    url: String,
    secret: String,
}

/// The targets of the configuration, and the networks in which they may lie although they are not public.
#[derive(Default)]
pub struct Webhooks {
    targets: Vec<Target>,
    allowed: Vec<Network>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.targets.iter().map(|target| &target.name)).finish()
    }
}

impl Webhooks {
    /// The targets in `file`, and `allowed` networks as CIDR.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it is wrong; never with a secret in the words.
    pub fn read(file: Option<&Path>, allowed: &[String]) -> anyhow::Result<Self> {
        let allowed = allowed
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .map(Network::parse)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let Some(file) = file else { return Ok(Self { targets: Vec::new(), allowed }) };
        let text =
            std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        // The text of a parse error may hold a secret.
        let targets: Vec<Target> = serde_json::from_str(&text)
            .map_err(|_| anyhow::anyhow!("{} is not JSON of [{{name, url, secret}}]", file.display()))?;
        if targets.len() > MOST_TARGETS {
            bail!("{} has more than {MOST_TARGETS} targets", file.display());
        }
        for target in &targets {
            check(target, !allowed.is_empty())?;
        }
        Ok(Self { targets, allowed })
    }

    /// Sends one alert to its target.
    async fn send(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let target = self.targets.iter().find(|t| t.name == delivery.target);
        let target = target.context("no such target in the configuration of the api")?;
        let url = reqwest::Url::parse(&target.url).context("the target's URL is no URL")?;
        let host = url.host_str().context("the target's URL names no host")?.to_owned();
        let address = self.resolve(&url, &host).await?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .resolve(&host, address)
            .build()
            .context("failed to make a client")?;
        let id = format!("alert-{}-{}", delivery.alert.id, delivery.target);
        let body = serde_json::to_vec(&delivery.alert).context("failed to write the body")?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let answer = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &seconds)
            .header("webhook-signature", signature(&target.secret, &id, &seconds, &body))
            .body(body)
            .send()
            .await
            .map_err(|cause| anyhow::anyhow!(cause.without_url()))
            .context("failed to reach the target")?;
        if !answer.status().is_success() {
            bail!("the target answered {}", answer.status().as_u16());
        }
        Ok(())
    }

    /// The address to connect to: all that the name stands for must be allowed.
    async fn resolve(&self, url: &reqwest::Url, host: &str) -> anyhow::Result<SocketAddr> {
        let port = url.port_or_known_default().context("the target's URL names no port")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let found: Vec<SocketAddr> = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((bare, port)))
            .await
            .context("the target's name did not resolve in time")?
            .context("failed to resolve the target's name")?
            .collect();
        if let Some(refused) = found.iter().find(|address| !self.may_reach(address.ip())) {
            bail!("the target lies at {}, which is not public and not allowed", refused.ip());
        }
        found.first().copied().context("the target's name has no address")
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.holds(address))
    }
}

fn check(target: &Target, plain_allowed: bool) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(&target.url)
        .map_err(|_| anyhow::anyhow!("the URL of webhook {} is no URL", target.name))?;
    // Without TLS only inside of a network that was allowed by name.
    if url.scheme() != "https" && !(url.scheme() == "http" && plain_allowed) {
        bail!("the URL of webhook {} must be https", target.name);
    }
    if target.name.is_empty() || target.name.len() > 63 {
        bail!("the name of a webhook has 1 to 63 characters");
    }
    if target.secret.len() < SHORTEST_SECRET {
        bail!("the secret of webhook {} must have at least {SHORTEST_SECRET} characters", target.name);
    }
    Ok(())
}

/// The signature header of a body.
pub fn signature(secret: &str, id: &str, seconds: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u128,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{text} is no network like 10.0.0.0/8");
        let (address, bits) = text.split_once('/').with_context(wrong)?;
        let (address, bits): (IpAddr, u32) =
            (address.parse().with_context(wrong)?, bits.parse().with_context(wrong)?);
        let offset = if address.is_ipv4() { 96 } else { 0 };
        if bits > 128 - offset {
            bail!(wrong());
        }
        Ok(Self { address: number(address), bits: bits + offset })
    }

    fn holds(self, address: IpAddr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
        number(address) & mask == self.address & mask
    }
}

/// An address as a number; IPv4 as IPv6 writes it.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Whether an address is one of the public internet: not of this machine, this link, a private network, or a range with
/// a meaning of its own.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // 2000::/3 is all that is given out; of it, tunnels carry an address of IPv4 that nobody checked.
    let global = segments[0] & 0xe000 == 0x2000;
    let tunnel = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] == 0);
    let documentation = segments[0] == 0x2001 && segments[1] == 0x0db8;
    global && !tunnel && !documentation
}

/// Delivers what is due; true when there was something.
///
/// # Errors
/// When the database does not answer. What was sent and not stored is sent again.
pub async fn deliver_due(app: &App) -> Result<bool, Error> {
    let due = take_due(&app.pool, MOST_AT_ONCE, TAKEN_MS).await?;
    let any = !due.is_empty();
    let mut sending = tokio::task::JoinSet::new();
    for delivery in due {
        let app = app.clone();
        sending.spawn(async move { deliver(&app, &delivery).await });
    }
    while let Some(sent) = sending.join_next().await {
        sent.map_err(|cause| Error::Fault(format!("a delivery ended: {cause}")))??;
    }
    Ok(any)
}

async fn deliver(app: &App, delivery: &Delivery) -> Result<(), Error> {
    let (id, target) = (delivery.alert.id, &delivery.target);
    let Err(cause) = app.webhooks.send(delivery).await else {
        app.metrics.delivery("delivered");
        return finish(&app.pool, delivery, "delivered", After::Done).await;
    };
    let words = format!("{cause:#}");
    let wait = usize::try_from(delivery.attempts).ok().and_then(|tries| WAITS_MS.get(tries));
    match wait {
        Some(ms) => {
            tracing::info!(alert = id, target, cause = words, "failed to deliver alert {id}; trying again");
            app.metrics.delivery("again");
            finish(&app.pool, delivery, &words, After::Again(*ms)).await
        }
        None => {
            tracing::warn!(alert = id, target, cause = words, "failed to deliver alert {id}; giving up");
            app.metrics.delivery("gaveUp");
            finish(&app.pool, delivery, &words, After::Done).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached_unless_a_network_is_allowed() {
        let closed = Webhooks::default();
        let open = Webhooks { allowed: vec![Network::parse("127.0.0.0/8").unwrap()], ..Webhooks::default() };
        let check = |address: &str, public: bool, allowed: bool| {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!((closed.may_reach(ip), open.may_reach(ip)), (public, allowed), "{address}");
        };
        check("127.0.0.1", false, true);
        check("::ffff:127.0.0.1", false, true);
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "203.0.113.9",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:0:a00:1::",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            check(inside, false, false);
        }
        for outside in ["8.8.8.8", "196.200.128.1", "2a00:1450:4007::1", "2001:4860::8888"] {
            check(outside, true, true);
        }
    }

    #[test]
    fn networks_are_read_or_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/x"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(all.holds("10.0.0.1".parse().unwrap()) && !all.holds("2001::1".parse().unwrap()));
        assert!(Network::parse("::/0").unwrap().holds("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_signature_is_the_one_of_the_standard() {
        // Computed with openssl: printf 'msg_1.1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef -binary | base64
        let made = signature("0123456789abcdef", "msg_1", "1700000000", b"{}");
        assert_eq!(made, "v1,3uojc/2kvL+KpJkw4ZNrA/5YjEs9cdfKdc3lXIvRjkk=");
    }
}
