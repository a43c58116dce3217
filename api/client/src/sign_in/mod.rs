//! Signing in at an issuer of OpenID Connect: with a browser, or with a code typed on another device.
//!
//! The client is a public one (RFC 8252): it has no secret, only proofs that last for one sign-in. The tokens are not
//! looked into here; the ledger checks them.

mod browser;
mod device;
mod issuer;

use crate::arguments::{Login, Reach};
use crate::error::Error;
use crate::server::Server;
use crate::session::{Kind, Place, Session};
use crate::table;
use crate::web;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use issuer::{Issuer, Tokens};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use siyada_model::wire::WhoAmI;

/// A token is renewed this long before its end, so that it does not end on the way.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(30);
/// How long a token is used whose issuer does not say it.
const USUAL_LIFE: i64 = 300;
/// Longest life of a token that is believed, so that the sum of instants exists.
const LONGEST_LIFE: i64 = 10 * 365 * 86_400;

/// Signs somebody in and keeps the session, once the ledger has accepted the token.
pub async fn login(reach: &Reach, login: Login) -> Result<(), Error> {
    let server = reach.server.clone();
    let server = server.ok_or_else(|| Error::Wrong("give --server: where the ledger is".to_owned()))?;
    web::safe(&server)?;
    let place = Place::usual()?;
    let issuer = Issuer::discover(&login.issuer, login.issuer_ca.as_deref()).await?;
    let by_device = login.device || (!login.browser && !has_screen());
    let tokens = if by_device {
        device::sign_in(&issuer, &login).await?
    } else {
        browser::sign_in(&issuer, &login).await?
    };
    let kind = if login.id_token { Kind::Id } else { Kind::Access };
    let absolute = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| std::path::absolute(path).map_err(Error::file(path))).transpose()
    };
    let session = Session {
        server,
        ca: absolute(&reach.ca)?,
        connect_to: reach.connect_to,
        issuer: login.issuer,
        issuer_ca: absolute(&login.issuer_ca)?,
        client_id: login.client_id,
        resource: login.resource,
        kind,
        token: String::new(),
        refresh_token: None,
        expires_at: Timestamp::UNIX_EPOCH,
    };
    let session = with(session, tokens, Timestamp::now())?;
    let me: WhoAmI = Server::of_session(&session, reach)?.get(&["whoami"], &[]).await?;
    place.write(&session)?;
    eprintln!("Signed in to {} as {}.", session.server, table::harmless(&me.subject));
    Ok(())
}

/// Signs out. Telling the issuer is best effort: the session is forgotten whatever it answers.
pub async fn logout() -> Result<(), Error> {
    let place = Place::usual()?;
    let _turn = place.lock()?;
    let Some(session) = place.read()? else {
        eprintln!("Nobody is signed in here.");
        return Ok(());
    };
    place.forget()?;
    let told = async {
        let issuer = Issuer::discover(&session.issuer, session.issuer_ca.as_deref()).await?;
        issuer.revoke(&session).await
    };
    match told.await {
        Ok(()) => eprintln!("Signed out of {}.", session.server),
        Err(cause) => eprintln!("The session is forgotten, but the issuer was not told: {cause}"),
    }
    Ok(())
}

/// The session with a token that is good for a while. Two programs at once renew it once: a refresh token may be good
/// for one use only.
pub async fn renewed(place: &Place, session: Session) -> Result<Session, Error> {
    if !is_old(&session, Timestamp::now()) {
        return Ok(session);
    }
    let _turn = place.lock()?;
    let gone = || Error::NotSignedIn("you signed out meanwhile".to_owned());
    let session = place.read()?.ok_or_else(gone)?;
    if !is_old(&session, Timestamp::now()) {
        return Ok(session);
    }
    let Some(refresh) = session.refresh_token.clone() else {
        return Err(Error::NotSignedIn(
            "the session is over, and the issuer gave nothing to renew it".to_owned(),
        ));
    };
    let issuer = Issuer::discover(&session.issuer, session.issuer_ca.as_deref()).await?;
    let mut asked =
        vec![("grant_type", "refresh_token"), ("refresh_token", &refresh), ("client_id", &session.client_id)];
    asked.extend(session.resource.as_deref().map(|resource| ("resource", resource)));
    let tokens = match issuer.tokens(&asked).await? {
        Ok(tokens) => tokens,
        Err(refused) if refused.error == "invalid_grant" => {
            place.forget()?;
            return Err(Error::NotSignedIn(format!("the session is over: {refused}")));
        }
        Err(refused) => return Err(Error::NotNow(format!("the session was not renewed: {refused}"))),
    };
    let session = with(session, tokens, Timestamp::now())?;
    place.write(&session)?;
    Ok(session)
}

fn is_old(session: &Session, now: Timestamp) -> bool {
    session.expires_at.duration_since(now) < RENEW_BEFORE
}

/// The session with these tokens, which came at `now`.
fn with(session: Session, tokens: Tokens, now: Timestamp) -> Result<Session, Error> {
    if !tokens.token_type.eq_ignore_ascii_case("bearer") {
        let kind = table::harmless(&tokens.token_type);
        return Err(Error::NotNow(format!("the issuer gave a token of type {kind}; only Bearer is known")));
    }
    let life = |seconds: i64| SignedDuration::from_secs(seconds.clamp(0, LONGEST_LIFE));
    let by_access = now.saturating_add(life(tokens.expires_in.unwrap_or(USUAL_LIFE)));
    let (token, expires_at) = match session.kind {
        Kind::Access => (tokens.access_token, by_access),
        Kind::Id => {
            let token = tokens.id_token.ok_or_else(|| {
                Error::NotNow("the issuer gave no ID token; is `openid` in --scope?".to_owned())
            })?;
            let end = end_of(&token).and_then(|second| Timestamp::from_second(second).ok());
            (token, end.map_or(by_access, Ok))
        }
    };
    let expires_at = expires_at.map_err(|cause| Error::Failed(cause.to_string()))?;
    let refresh_token = tokens.refresh_token.or(session.refresh_token.clone());
    Ok(Session { token, refresh_token, expires_at, ..session })
}

/// When a JWT ends, unchecked: only to know when to ask for the next one.
fn end_of(token: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct End {
        exp: i64,
    }
    let payload = token.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice::<End>(&bytes).ok().map(|end| end.exp)
}

/// Whether a browser can be shown to whoever sits here.
fn has_screen() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    !remote && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_its_end_and_a_refresh_token_is_kept_until_another_comes() {
        let now: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
        let session = |kind| Session {
            server: String::new(),
            ca: None,
            connect_to: None,
            issuer: String::new(),
            issuer_ca: None,
            client_id: String::new(),
            resource: None,
            kind,
            token: String::new(),
            refresh_token: Some("first".to_owned()),
            expires_at: now,
        };
        let tokens = |text: &str| serde_json::from_str::<Tokens>(text).unwrap();
        let plain = tokens(r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 60}"#);
        let kept = with(session(Kind::Access), plain, now).unwrap();
        assert_eq!((kept.token.as_str(), kept.refresh_token.as_deref()), ("a", Some("first")));
        assert!(!is_old(&kept, now) && is_old(&kept, "2026-10-01T00:00:31Z".parse().unwrap()));
        let id = format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1790899200}"#));
        let text = format!(
            r#"{{"access_token": "a", "token_type": "bearer", "id_token": "{id}", "refresh_token": "b"}}"#
        );
        let by_id = with(session(Kind::Id), tokens(&text), now).unwrap();
        assert_eq!(
            (by_id.expires_at.as_second(), by_id.refresh_token.as_deref()),
            (1_790_899_200, Some("b"))
        );
        let bound = tokens(r#"{"access_token": "a", "token_type": "DPoP"}"#);
        assert!(with(session(Kind::Access), bound, now).is_err());
    }
}
