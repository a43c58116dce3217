//! The certificate authority: its key lies in the operator's own namespace only.

use crate::apply;
use crate::certificate::{Service, hosts, secret_of, served};
use crate::names;
use crate::plan::Certificate;
use crate::seen::secret_value;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Secret with the authority's certificate and key.
pub const SECRET: &str = "siyada-authority";
/// Days a server certificate is valid.
const SERVER_DAYS: i64 = 90;
/// It is renewed when this many days are left.
const RENEW_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Authority {
    /// Making or reading a certificate.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// Reading the authority's Secret.
    #[error("failed to read Secret {SECRET}")]
    Read(#[source] Box<kube::Error>),
    /// Writing a Secret.
    #[error("failed to keep a certificate")]
    Keep(#[from] apply::Apply),
    /// The Secret is there, but not whole. A new authority would cut off every client, so nobody makes one by itself.
    #[error("Secret {SECRET} has no tls.crt and tls.key: restore it from the platform's backup")]
    Damaged,
    /// A time outside of what a certificate can say.
    #[error("failed to reckon a certificate's time")]
    Time,
}

/// The authority.
#[derive(Clone)]
pub struct CertificateAuthority {
    pem: Arc<str>,
    key_pem: Arc<str>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateAuthority")
    }
}

impl CertificateAuthority {
    /// A new authority, valid for twenty years.
    ///
    /// # Errors
    /// [`Authority::Make`] when the key or the certificate cannot be made.
    pub fn generate() -> Result<Self, Authority> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name = named("Siyada authority");
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2046, 1, 1);
        let certificate = parameters.self_signed(&key)?;
        Ok(Self { pem: certificate.pem().into(), key_pem: key.serialize_pem().into() })
    }

    /// The authority kept in the operator's namespace; made there when there is none yet.
    ///
    /// # Errors
    /// [`Authority::Damaged`] when its Secret is not whole; else what went wrong on the way.
    pub async fn load(client: &Client, namespace: &str) -> Result<Self, Authority> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        loop {
            if let Some(secret) = secrets.get_opt(SECRET).await.map_err(|e| Authority::Read(Box::new(e)))? {
                let secret = serde_json::to_value(&secret).unwrap_or(Value::Null);
                let value =
                    |key| secret_value(&secret, key).filter(|v| !v.is_empty()).ok_or(Authority::Damaged);
                return Ok(Self { pem: value("tls.crt")?.into(), key_pem: value("tls.key")?.into() });
            }
            let fresh = Self::generate()?;
            let body = tls_secret(namespace, SECRET, &fresh.pem, &fresh.key_pem, None);
            // Whoever is second finds the first one's in the next round.
            apply::create_secret(client, namespace, SECRET, &body).await?;
        }
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of these DNS names.
    ///
    /// # Errors
    /// [`Authority::Make`] when it cannot be made.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Certificate, Authority> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names.to_vec())?;
        parameters.distinguished_name = named(names.first().map_or("server", String::as_str));
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        // A clock that is an hour behind still accepts it.
        let at = |second: i64| {
            let day = Timestamp::from_second(second).map_err(|_| Authority::Time)?;
            let date = day.to_zoned(jiff::tz::TimeZone::UTC).date();
            let month = u8::try_from(date.month()).map_err(|_| Authority::Time)?;
            let day = u8::try_from(date.day()).map_err(|_| Authority::Time)?;
            Ok::<_, Authority>(date_time_ymd(i32::from(date.year()), month, day))
        };
        parameters.not_before = at(now.as_second() - DAY_SECONDS)?;
        parameters.not_after = at(now.as_second() + (SERVER_DAYS + 1) * DAY_SECONDS)?;
        let issuer = Issuer::from_ca_cert_pem(&self.pem, KeyPair::from_pem(&self.key_pem)?)?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Ok(Certificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            renew_after_second: now.as_second() + (SERVER_DAYS - RENEW_DAYS) * DAY_SECONDS,
        })
    }

    /// The certificate of a service of the platform, kept in a Secret of the operator's namespace and renewed in time.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn keep(
        &self,
        client: &Client,
        service: &Service,
        now: Timestamp,
    ) -> Result<Certificate, Authority> {
        let (namespace, name) = (service.namespace.as_str(), secret_of(&service.name));
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let there = secrets.get_opt(&name).await.map_err(|e| Authority::Read(Box::new(e)))?;
        let there = there.and_then(|secret| serde_json::to_value(secret).ok());
        let issued_by = names::short_hash(&self.pem);
        if let Some(certificate) = there.and_then(|secret| served(&secret, &issued_by, now)) {
            return Ok(certificate);
        }
        let certificate = self.issue(&hosts(&service.name, namespace), now)?;
        let annotations = json!({
            names::RENEW_AFTER: certificate.renew_after_second.to_string(),
            names::CERTIFICATE_FOR: issued_by,
        });
        let (pem, key) = (&certificate.certificate_pem, &certificate.key_pem);
        let mut body = tls_secret(namespace, &name, pem, key, Some(annotations));
        body["data"]["ca.crt"] = json!(ByteString(self.pem.as_bytes().to_vec()));
        let resource = crate::object::ChildKind::Secret.api_resource();
        apply::platform_object(client, &resource, Some(namespace), &name, &body).await?;
        tracing::info!("the certificate of {} was renewed", service.name);
        Ok(certificate)
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // A common name has at most 64 characters (RFC 5280); the whole name is in the alternative names.
    name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    name
}

fn tls_secret(
    namespace: &str,
    name: &str,
    certificate: &str,
    key: &str,
    annotations: Option<Value>,
) -> Value {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([("tls.crt", bytes(certificate)), ("tls.key", bytes(key))]);
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations.unwrap_or_else(|| json!({}))},
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_for_long_names() {
        let authority = CertificateAuthority::generate().unwrap();
        let names = [format!("{}.siyada-t-interior.svc", "a".repeat(60)), "b".to_owned()];
        let certificate = authority.issue(&names, Timestamp::from_second(1_800_000_000).unwrap()).unwrap();
        assert!(certificate.certificate_pem.starts_with("-----BEGIN CERTIFICATE"));
        assert!(certificate.renew_after_second > 1_800_000_000);
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }
}
