//! Requests over the network: over TLS, bounded in time and size, and never led elsewhere.

use crate::error::Error;
use reqwest::{Client, Response, Url};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long a request may take: longer than the ledger takes for its longest answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a file may take that comes in parts, each in the time of a request.
pub const LONGEST_DOWNLOAD: Duration = Duration::from_secs(6 * 60 * 60);
/// Largest answer that is read.
const LARGEST_ANSWER: usize = 512 * 1024 * 1024;

/// The URL, if a secret may be sent there: over TLS, or to this machine.
pub fn safe(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|_| Error::Wrong(format!("{text} is no URL")))?;
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)) {
        return Ok(url);
    }
    Err(Error::Wrong(format!("{text} must begin with https://")))
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// A client for this URL. With a CA it trusts no other; `at` is the address to connect to instead of the name's own.
pub fn client(url: &Url, ca: Option<&Path>, at: Option<IpAddr>) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .timeout(TIMEOUT)
        .read_timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("siyada/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) || at.is_some() {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(Error::file(path))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| Error::Wrong(format!("{} holds no certificates", path.display())))?;
        builder = builder.tls_certs_only(roots);
    }
    if let (Some(address), Some(host)) = (at, url.host_str()) {
        builder = builder.resolve(host, SocketAddr::new(address, 0));
    }
    builder.build().map_err(|cause| Error::Failed(format!("failed to make a client: {}", chain(&cause))))
}

/// The whole answer, up to a limit.
pub async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|cause| unreachable(&cause))? {
        bytes.extend_from_slice(&part);
        if bytes.len() > LARGEST_ANSWER {
            return Err(Error::NotNow(format!("the answer is longer than {LARGEST_ANSWER} bytes")));
        }
    }
    Ok(bytes)
}

/// The server did not answer.
pub fn unreachable(cause: &reqwest::Error) -> Error {
    let place = cause.url().map(|url| format!(" {}", url.origin().ascii_serialization())).unwrap_or_default();
    Error::NotNow(format!("failed to reach{place}: {}", chain(cause)))
}

/// The innermost cause, which says what happened; the URL of a request may hold a code.
fn chain(cause: &dyn std::error::Error) -> String {
    let mut inner = cause;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A form as the body of a request.
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form").expect("a constant");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_over_tls_or_to_this_machine() {
        for (url, expect) in [
            ("https://ledger.example", true),
            ("http://127.0.0.1:8080", true),
            ("http://ledger.example", false),
            ("http://127.0.0.1.example", false),
            ("ledger.example", false),
        ] {
            assert_eq!(safe(url).is_ok(), expect, "{url}");
        }
    }
}
