//! The device flow (RFC 8628): a code that is typed where there is a browser.

use super::issuer::{Issuer, Tokens};
use crate::arguments::Login;
use crate::error::Error;
use crate::table::harmless;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two questions when the issuer does not say it (RFC 8628, section 3.5).
const USUAL_INTERVAL: u64 = 5;
/// Longest time between two questions.
const LONGEST_INTERVAL: u64 = 60;
/// By how much more to wait when the issuer says that it is asked too often.
const SLOW_DOWN: u64 = 5;
/// Longest time that a code is waited for.
const LONGEST_WAIT: u64 = 1_800;

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// Signs in with a code.
pub async fn sign_in(issuer: &Issuer, login: &Login) -> Result<Tokens, Error> {
    let url = issuer.is.device_authorization_endpoint.as_deref();
    let url =
        url.ok_or_else(|| Error::Wrong("the issuer has no sign-in by code; use --browser".to_owned()))?;
    let mut asked = vec![("client_id", login.client_id.as_str()), ("scope", login.scope.as_str())];
    asked.extend(login.resource.as_deref().map(|resource| ("resource", resource)));
    let begun: Begun = issuer.post(url, &asked).await?.map_err(|r| Error::NotSignedIn(r.to_string()))?;
    eprintln!("Open this address on any device:\n\n    {}\n", harmless(&begun.verification_uri));
    eprintln!("and enter the code:\n\n    {}\n", harmless(&begun.user_code));
    if let Some(complete) = &begun.verification_uri_complete {
        eprintln!("or open this one, which has the code in it:\n\n    {}\n", harmless(complete));
    }
    wait(issuer, login, &begun).await
}

async fn wait(issuer: &Issuer, login: &Login, begun: &Begun) -> Result<Tokens, Error> {
    let end = Instant::now() + Duration::from_secs(begun.expires_in.min(LONGEST_WAIT));
    let mut interval = begun.interval.unwrap_or(USUAL_INTERVAL).clamp(1, LONGEST_INTERVAL);
    let asked = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", begun.device_code.as_str()),
        ("client_id", login.client_id.as_str()),
    ];
    loop {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        let refused = match issuer.tokens(&asked).await {
            Ok(Ok(tokens)) => return Ok(tokens),
            Ok(Err(refused)) => refused,
            // A network that is away for a moment does not end a sign-in.
            Err(error @ Error::NotNow(_)) if Instant::now() >= end => return Err(error),
            Err(Error::NotNow(_)) => continue,
            Err(error) => return Err(error),
        };
        match refused.error.as_str() {
            "authorization_pending" => {}
            "slow_down" => interval = (interval + SLOW_DOWN).min(LONGEST_INTERVAL),
            _ => return Err(Error::NotSignedIn(format!("you were not signed in: {refused}"))),
        }
        if Instant::now() >= end {
            return Err(Error::NotSignedIn("nobody entered the code in time; begin anew".to_owned()));
        }
    }
}
