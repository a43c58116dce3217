//! Certificates of servers: until when they are valid, and keeping those of the platform itself in Secrets.

use crate::authority::CertificateAuthority;
use crate::names::{CERTIFICATE_FOR, RENEW_AFTER};
use crate::plan::Certificate;
use crate::run::chain;
use crate::seen::{metadata, secret_value};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use std::time::Duration;

/// A certificate is renewed when this much of its time is left, whatever is noted beside it.
pub const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Between two looks at a certificate that nobody touches.
const LOOK: Duration = Duration::from_secs(6 * 3_600);
/// After a fault.
const AGAIN: Duration = Duration::from_secs(3);

/// Until when the first certificate of a PEM text is valid; nothing where it cannot be read.
pub fn not_after(pem: &str) -> Option<Timestamp> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// Whether a Secret with a server's certificate must be replaced: it is not whole, its certificate has little time left, its time to
/// be renewed has come, or it is for something else than `wanted`.
pub fn must_renew(secret: &Value, wanted: &str, now: Timestamp) -> bool {
    let value = |key: &str| secret_value(secret, key).filter(|text| !text.is_empty());
    let (Some(pem), Some(_)) = (value("tls.crt"), value("tls.key")) else { return true };
    let renew = metadata(secret, "annotations", RENEW_AFTER).and_then(|text| text.parse::<i64>().ok());
    let same = metadata(secret, "annotations", CERTIFICATE_FOR) == Some(wanted);
    let is_short = not_after(&pem).is_some_and(|end| end.duration_since(now) <= RENEW_BEFORE);
    !same || is_short || renew.is_none_or(|second| second <= now.as_second())
}

/// The Secret with the certificate of a service of the platform.
pub fn secret_of(service: &str) -> String {
    format!("{service}-tls")
}

/// The names that a service of the platform is reached by.
pub fn hosts(service: &str, namespace: &str) -> Vec<String> {
    vec![service.to_owned(), format!("{service}.{namespace}"), format!("{service}.{namespace}.svc")]
}

/// A service of the platform whose certificate is kept.
#[derive(Clone, Debug)]
pub struct Service {
    /// Namespace of the platform.
    pub namespace: String,
    /// The service.
    pub name: String,
}

/// Keeps the certificate of a service in a Secret, renewed in time and whenever somebody changed it, and hands on each that is
/// there. Ends with the process.
pub async fn keep(
    client: Client,
    authority: CertificateAuthority,
    service: Service,
    mut take: impl AsyncFnMut(Certificate),
) {
    loop {
        if let Err(error) = follow(&client, &authority, &service, &mut take).await {
            let error = chain(&*error);
            tracing::warn!(error, "the certificate of {} is not kept; tried again soon", service.name);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Keeps it until something goes wrong: a new watch begins with what there is.
async fn follow(
    client: &Client,
    authority: &CertificateAuthority,
    service: &Service,
    take: &mut impl AsyncFnMut(Certificate),
) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &service.namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={}", secret_of(&service.name)));
    let mut events = watcher(secrets, only).boxed();
    loop {
        match tokio::time::timeout(LOOK, events.try_next()).await {
            Ok(Ok(Some(Event::Init | Event::InitApply(_)))) => continue,
            Ok(Ok(None)) => anyhow::bail!("the watch ended"),
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(Some(_))) | Err(_) => {}
        }
        take(authority.keep(client, service, Timestamp::now()).await?).await;
    }
}

/// The certificate of a Secret that can be served: nothing where it must be replaced, or cannot be read as one.
pub fn served(secret: &Value, wanted: &str, now: Timestamp) -> Option<Certificate> {
    let there = held(secret).filter(|there| not_after(&there.certificate_pem).is_some())?;
    (!must_renew(secret, wanted, now)).then_some(there)
}

/// The certificate that a Secret holds; nothing where it is not whole.
pub fn held(secret: &Value) -> Option<Certificate> {
    let renew = metadata(secret, "annotations", RENEW_AFTER)?.parse().ok()?;
    Some(Certificate {
        certificate_pem: secret_value(secret, "tls.crt")?,
        key_pem: secret_value(secret, "tls.key")?,
        renew_after_second: renew,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use serde_json::json;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    fn secret(certificate: &Certificate) -> Value {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        json!({
            "metadata": {"annotations": {
                RENEW_AFTER: certificate.renew_after_second.to_string(), CERTIFICATE_FOR: "names and authority",
            }},
            "data": {"tls.crt": bytes(&certificate.certificate_pem), "tls.key": bytes(&certificate.key_pem)},
        })
    }

    #[test]
    fn the_end_that_is_read_is_the_one_that_was_issued() {
        let authority = CertificateAuthority::generate().unwrap();
        let made = authority.issue(&["a".to_owned()], at(0)).unwrap();
        let end = not_after(&made.certificate_pem).unwrap();
        assert!((at(90)..=at(91)).contains(&end), "{end}");
        assert_eq!(not_after(authority.pem()).unwrap().to_string(), "2046-01-01T00:00:00Z");
        assert_eq!(not_after("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
        assert_eq!(not_after(""), None);
    }

    #[test]
    fn a_certificate_is_renewed_by_its_own_time_by_what_is_noted_and_when_it_is_not_whole() {
        let authority = CertificateAuthority::generate().unwrap();
        let made = authority.issue(&["a".to_owned()], at(0)).unwrap();
        let check = |secret: &Value, wanted: &str, now: Timestamp, expect: bool| {
            assert_eq!(must_renew(secret, wanted, now), expect, "{now}");
        };
        let whole = secret(&made);
        check(&whole, "names and authority", at(0), false);
        check(&whole, "names and authority", at(59), false);
        check(&whole, "names and authority", at(60), true);
        check(&whole, "other names", at(0), true);
        assert_eq!(served(&whole, "names and authority", at(0)), Some(made.clone()));
        assert_eq!(served(&whole, "other names", at(0)), None);
        let mut garbage = whole.clone();
        garbage["data"]["tls.crt"] = json!(ByteString(b"no certificate".to_vec()));
        assert_eq!(served(&garbage, "names and authority", at(0)), None);
        // What is noted says that there is time, and the certificate says that there is not.
        let mut replaced = whole.clone();
        let nearly_over = authority.issue(&["a".to_owned()], at(-85)).unwrap();
        replaced["data"] = secret(&nearly_over)["data"].clone();
        check(&replaced, "names and authority", at(0), true);
        for damage in ["/data/tls.crt", "/data/tls.key", "/metadata/annotations/siyada.cloud~1renew-after"] {
            let mut damaged = whole.clone();
            *damaged.pointer_mut(damage).unwrap() = json!("");
            check(&damaged, "names and authority", at(0), true);
        }
    }
}
