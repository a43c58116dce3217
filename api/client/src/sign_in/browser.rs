//! The authorization code flow with PKCE: a browser on this machine, which the issuer sends back to us (RFC 8252).

use super::issuer::{Description, Issuer, Tokens};
use crate::arguments::Login;
use crate::error::Error;
use crate::table::harmless;
use crate::web;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Url;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long somebody may take to sign in.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a browser may take to send its request.
const REQUEST: Duration = Duration::from_secs(10);
/// Most requests that wait to be looked at.
const MOST_WAITING: usize = 8;
/// Longest request that is read.
const LONGEST_REQUEST: usize = 16 * 1024;

/// Signs in with a browser.
pub async fn sign_in(issuer: &Issuer, login: &Login) -> Result<Tokens, Error> {
    let address = issuer.is.authorization_endpoint.as_deref();
    let address = address
        .ok_or_else(|| Error::Wrong("the issuer has no sign-in by browser; use --device".to_owned()))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::file("a port of 127.0.0.1"))?;
    let port = listener.local_addr().map_err(Error::file("a port of 127.0.0.1"))?.port();
    let back = format!("http://127.0.0.1:{port}/callback");
    let (verifier, state) = (random(), random());
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let mut url = web::safe(address)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &login.client_id)
        .append_pair("redirect_uri", &back)
        .append_pair("scope", &login.scope)
        .append_pair("state", &state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if login.scope.split(' ').any(|scope| scope == "offline_access") {
        // OpenID Connect Core, section 11: without it the scope may be ignored.
        url.query_pairs_mut().append_pair("prompt", "consent");
    }
    if let Some(resource) = &login.resource {
        url.query_pairs_mut().append_pair("resource", resource);
    }
    eprintln!("Sign in at this address:\n\n    {}\n", harmless(url.as_str()));
    if !login.no_open {
        open(&url);
    }
    let waited = tokio::time::timeout(PATIENCE, code(&listener, &state, issuer)).await;
    let code =
        waited.map_err(|_| Error::NotSignedIn("nobody signed in in time; begin anew".to_owned()))??;
    let mut asked = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", &back),
        ("client_id", &login.client_id),
        ("code_verifier", &verifier),
    ];
    asked.extend(login.resource.as_deref().map(|resource| ("resource", resource)));
    issuer
        .tokens(&asked)
        .await?
        .map_err(|refused| Error::NotSignedIn(format!("you were not signed in: {refused}")))
}

/// 256 random bits as text.
fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Shows the address in whatever browser there is; that it was printed has to do if there is none.
fn open(url: &Url) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(opener);
    let _none =
        command.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

/// The code that the browser brings. Whoever else knocks at the port is sent away, and a connection that a browser opens
/// in advance and leaves silent holds nobody up.
async fn code(listener: &TcpListener, state: &str, issuer: &Issuer) -> Result<String, Error> {
    let (send, mut receive) = mpsc::channel(MOST_WAITING);
    loop {
        let (asked, mut stream) = tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted.map_err(Error::file("a port of 127.0.0.1"))?;
                let send = send.clone();
                tokio::spawn(async move {
                    if let Ok(Some(asked)) = tokio::time::timeout(REQUEST, request(&mut stream)).await {
                        let _over = send.send((asked, stream)).await;
                    }
                });
                continue;
            }
            Some(asked) = receive.recv() => asked,
        };
        let found = answer(&asked, state, &issuer.is);
        let (status, words) = match &found {
            None => ("404 Not Found", "There is nothing here.".to_owned()),
            Some(Ok(_)) => ("200 OK", "Go back to your terminal; you can close this window.".to_owned()),
            Some(Err(why)) => ("400 Bad Request", format!("You were not signed in. {why}")),
        };
        reply(&mut stream, status, &words).await;
        match found {
            None => {}
            Some(Ok(code)) => return Ok(code),
            Some(Err(why)) => return Err(Error::NotSignedIn(format!("you were not signed in: {why}"))),
        }
    }
}

/// What the browser asks, from the first line of its request.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 2_048];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(part.get(..count)?);
        if bytes.len() > LONGEST_REQUEST {
            return None;
        }
    }
    let head = String::from_utf8(bytes).ok()?;
    let path = head.lines().next()?.strip_prefix("GET ")?.split(' ').next()?;
    Some(path.to_owned())
}

/// The code in what the browser asks, or why there is none; nothing when it is not the answer to our question.
fn answer(asked: &str, state: &str, issuer: &Description) -> Option<Result<String, String>> {
    let url = Url::parse("http://127.0.0.1").ok()?.join(asked).ok()?;
    let all: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let get = |name: &str| all.get(name).map(String::as_str);
    if url.path() != "/callback" || get("state") != Some(state) {
        return None;
    }
    // RFC 9207: an answer of another issuer must not be exchanged at this one.
    let names_itself = issuer.authorization_response_iss_parameter_supported;
    if get("iss").map_or(names_itself, |named| named != issuer.issuer) {
        return Some(Err("another issuer answered".to_owned()));
    }
    if let Some(code) = get("code") {
        return Some(Ok(code.to_owned()));
    }
    let why = get("error_description").or(get("error")).unwrap_or("the issuer gave no code");
    Some(Err(harmless(why)))
}

async fn reply(stream: &mut TcpStream, status: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>siyada</title><p>{words}");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Content-Security-Policy: default-src 'none'\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        page.len()
    );
    // The code is ours whether or not the browser waits for the page.
    let _gone = stream.write_all((head + &page).as_bytes()).await;
    let _gone = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_our_question_is_taken() {
        let check = |asked: &str, names_itself: bool, expect: Option<Result<&str, &str>>| {
            let issuer = Description {
                issuer: "https://id".to_owned(),
                authorization_endpoint: None,
                token_endpoint: String::new(),
                device_authorization_endpoint: None,
                revocation_endpoint: None,
                authorization_response_iss_parameter_supported: names_itself,
            };
            let found = answer(asked, "ours", &issuer);
            let expect = expect.map(|r| r.map(ToOwned::to_owned).map_err(ToOwned::to_owned));
            assert_eq!(found, expect, "{asked}");
        };
        check("/callback?code=c&state=ours", false, Some(Ok("c")));
        check("/callback?code=c&state=ours&iss=https%3A%2F%2Fid", true, Some(Ok("c")));
        check(
            "/callback?code=c&state=ours&iss=https%3A%2F%2Fother",
            false,
            Some(Err("another issuer answered")),
        );
        check("/callback?code=c&state=ours", true, Some(Err("another issuer answered")));
        check("/callback?code=c&state=theirs", false, None);
        check("/callback?code=c", false, None);
        check("/favicon.ico", false, None);
        check("/callback?error=access_denied&error_description=no&state=ours", false, Some(Err("no")));
        check("/callback?state=ours", false, Some(Err("the issuer gave no code")));
    }
}
