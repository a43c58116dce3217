//! An issuer: what it says of itself, and its answers to requests for tokens.

use crate::error::Error;
use crate::session::Session;
use crate::{table, web};
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;

/// What of an issuer's description is used here (OpenID Connect Discovery 1.0, RFC 8628, RFC 9207).
#[derive(Deserialize)]
pub struct Description {
    /// Its name.
    pub issuer: String,
    /// Where people sign in.
    pub authorization_endpoint: Option<String>,
    /// Where programs get tokens.
    pub token_endpoint: String,
    /// Where a sign-in on another device begins.
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are ended.
    pub revocation_endpoint: Option<String>,
    /// Whether it names itself when it sends a browser back.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// What an issuer gives. It is never printed.
#[derive(Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub token_type: String,
    pub expires_in: Option<i64>,
    pub refresh_token: Option<String>,
    pub id_token: Option<String>,
}

/// Why an issuer gives nothing (RFC 6749, section 5.2).
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// One word.
    pub error: String,
    /// A sentence.
    pub error_description: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table::harmless(self.error_description.as_ref().unwrap_or(&self.error)))
    }
}

/// An issuer that described itself.
pub struct Issuer {
    client: reqwest::Client,
    pub is: Description,
}

impl Issuer {
    /// The issuer of this name, by its own description.
    pub async fn discover(name: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let client = web::client(&web::safe(name)?, ca, None)?;
        let url = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
        let answer = client.get(&url).send().await.map_err(|cause| web::unreachable(&cause))?;
        let status = answer.status();
        let bytes = web::body(answer).await?;
        let is = serde_json::from_slice::<Description>(&bytes).ok().filter(|_| status.is_success());
        let is = is.ok_or_else(|| {
            Error::NotNow(format!("{url} answered {status} and no description; is --issuer right?"))
        })?;
        if is.issuer != name {
            let other = table::harmless(&is.issuer);
            return Err(Error::Wrong(format!("{name} calls itself {other}; give exactly that as --issuer")));
        }
        Ok(Self { client, is })
    }

    /// Asks for tokens. The inner error is the issuer's refusal.
    pub async fn tokens(&self, asked: &[(&str, &str)]) -> Result<Result<Tokens, Refusal>, Error> {
        self.post(&self.is.token_endpoint, asked).await
    }

    /// Sends a form to one of its addresses.
    pub async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        asked: &[(&str, &str)],
    ) -> Result<Result<T, Refusal>, Error> {
        let request = self.client.post(web::safe(url)?);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(web::form(asked)).send().await.map_err(|cause| web::unreachable(&cause))?;
        let status = answer.status();
        let bytes = web::body(answer).await?;
        let strange = || Error::NotNow(format!("{url} answered {status} and nothing that is known"));
        if status.is_success() {
            return serde_json::from_slice(&bytes).map(Ok).map_err(|_| strange());
        }
        serde_json::from_slice(&bytes).map(Err).map_err(|_| strange())
    }

    /// Ends the tokens of a session (RFC 7009), if the issuer can.
    pub async fn revoke(&self, session: &Session) -> Result<(), Error> {
        let (Some(url), Some(token)) = (&self.is.revocation_endpoint, &session.refresh_token) else {
            return Ok(());
        };
        let asked = [
            ("token", token.as_str()),
            ("token_type_hint", "refresh_token"),
            ("client_id", &session.client_id),
        ];
        let request = self.client.post(web::safe(url)?);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer =
            request.body(web::form(&asked)).send().await.map_err(|cause| web::unreachable(&cause))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(Error::NotNow(format!("it answered {}", answer.status())))
    }
}
