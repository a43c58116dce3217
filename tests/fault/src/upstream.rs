//! The real API server: where it listens, and who the proxy is to it.

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Who the proxy is to the server.
pub enum Login {
    /// A token, as of a service account.
    Token(String),
    /// A certificate with its key, both PEM.
    Certificate {
        /// The chain.
        chain: String,
        /// The key.
        key: String,
    },
}

/// The real API server.
pub struct Upstream {
    address: SocketAddr,
    name: ServerName<'static>,
    token: Option<HeaderValue>,
    tls: TlsConnector,
}

impl Upstream {
    /// A server that is known by its authority's certificate.
    ///
    /// # Errors
    /// When a name, certificate, key or token cannot be read.
    pub fn new(address: SocketAddr, name: &str, authority: &str, login: Login) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(one.context("failed to read the authority")?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let (config, token) = match login {
            Login::Token(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
                value.set_sensitive(true);
                (builder.with_no_client_auth(), Some(value))
            }
            Login::Certificate { chain, key } => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .context("failed to read the chain")?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("failed to read the key")?;
                (builder.with_client_auth_cert(chain, key)?, None)
            }
        };
        let name = ServerName::try_from(name.to_owned())?;
        Ok(Self { address, name, token, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends one request on a connection of its own, so that what breaks one request breaks no other.
    ///
    /// # Errors
    /// When the server cannot be reached, or breaks off before it answers.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        // Who asks the proxy showed its key to the proxy; the server is shown the proxy's.
        request.headers_mut().remove(AUTHORIZATION);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let plain = TcpStream::connect(self.address).await.context("failed to reach the API server")?;
        let stream =
            self.tls.connect(self.name.clone(), plain).await.context("failed to greet the API server")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body; a failure is the body's failure too, and told there.
        tokio::spawn(connection);
        sender.send_request(request).await.context("failed to ask the API server")
    }
}
