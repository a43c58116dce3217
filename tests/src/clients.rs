//! Clients of the services, with nothing but what the bound Secret says.

use crate::kubectl::{Kubectl, secret_value};
use anyhow::{Context as _, Result, anyhow};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What a client connects with.
#[derive(Clone, Debug)]
pub struct Binding {
    /// DNS name.
    pub host: String,
    /// Login.
    pub username: String,
    /// Password.
    pub password: String,
    /// Database.
    pub database: String,
    /// Address with everything in it.
    pub uri: String,
    /// Authority of the server's certificate.
    pub authority: String,
}

impl Binding {
    /// Reads a bound Secret, as somebody who may.
    ///
    /// # Errors
    /// When it is not there or not whole.
    pub async fn read(who: &Kubectl, namespace: &str, name: &str) -> Result<Self> {
        Self::of(&who.get("secret", namespace, name).await?.context("there is no such Secret")?)
    }

    /// The binding that a Secret holds.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn of(secret: &Value) -> Result<Self> {
        let value = |key: &str| secret_value(secret, key);
        Ok(Self {
            host: value("host")?,
            username: value("username")?,
            password: value("password")?,
            database: value("database")?,
            uri: value("uri")?,
            authority: value("ca.crt")?,
        })
    }

    /// The same with another password.
    pub fn with_password(&self, password: &str) -> Self {
        Self {
            password: password.to_owned(),
            uri: self.uri.replace(&self.password, password),
            ..self.clone()
        }
    }
}

/// Logs in to PostgreSQL over TLS that is verified by name.
///
/// # Errors
/// Why nobody can log in.
pub async fn postgres(binding: &Binding) -> Result<tokio_postgres::Client> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(binding.authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut config: tokio_postgres::Config = binding.uri.replace("verify-full", "require").parse()?;
    config.connect_timeout(Duration::from_secs(5));
    let connector = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) =
        config.connect(connector).await.map_err(|e| anyhow!("{e}: {:?}", e.as_db_error()))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Tries PostgreSQL without TLS, with the right password.
///
/// # Errors
/// The server's refusal: what is wanted.
pub async fn postgres_in_the_clear(binding: &Binding) -> Result<()> {
    let mut config: tokio_postgres::Config = binding.uri.replace("verify-full", "disable").parse()?;
    config.connect_timeout(Duration::from_secs(5));
    let (_, _connection) =
        config.connect(tokio_postgres::NoTls).await.map_err(|e| anyhow!("{e}: {:?}", e.as_db_error()))?;
    Ok(())
}

/// A MongoDB client over TLS that is verified by name. The driver wants the authority as a file.
///
/// # Errors
/// When the binding cannot be read as an address. Logins fail at first use only.
pub async fn documents(binding: &Binding) -> Result<mongodb::Client> {
    use mongodb::options::{ClientOptions, Tls, TlsOptions};
    let file: PathBuf = std::env::temp_dir().join(format!("siyada-{}-authority.pem", std::process::id()));
    tokio::fs::write(&file, &binding.authority).await?;
    let mut options = ClientOptions::parse(&binding.uri).await?;
    options.tls = Some(Tls::Enabled(TlsOptions::builder().ca_file_path(file).build()));
    options.direct_connection = Some(true);
    options.server_selection_timeout = Some(Duration::from_secs(5));
    Ok(mongodb::Client::with_options(options)?)
}

/// The same without any credentials.
///
/// # Errors
/// See [`documents`].
pub async fn documents_without_credentials(binding: &Binding) -> Result<mongodb::Client> {
    let bare = format!("{}:{}@", binding.username, binding.password);
    let uri = binding.uri.replace(&bare, "").replace("authMechanism=PLAIN&", "");
    documents(&Binding { uri, ..binding.clone() }).await
}
