//! Clients of the services, with nothing but what the bound Secret says.

use crate::kubectl::{Kubectl, secret_value};
use anyhow::{Context as _, Result, anyhow, ensure};
use mongodb::bson::{Document, doc};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use std::collections::BTreeSet;
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

/// Whether every row that a client was told is written is among those that are there now, each by its own number. There may
/// be more: an answer can be lost on the way.
///
/// # Errors
/// Says which are lost, or that nothing was written at all.
pub fn nothing_lost(acknowledged: &BTreeSet<i64>, there: &BTreeSet<i64>) -> Result<()> {
    ensure!(!acknowledged.is_empty(), "nothing was written at all");
    let lost: Vec<&i64> = acknowledged.difference(there).collect();
    ensure!(
        lost.is_empty(),
        "of {} that were acknowledged {} are lost: {lost:?}",
        acknowledged.len(),
        lost.len()
    );
    Ok(())
}

/// The `id` of every row of a table.
///
/// # Errors
/// When it cannot be read.
pub async fn ids(client: &tokio_postgres::Client, table: &str) -> Result<BTreeSet<i64>> {
    let rows = client.query(&format!("select id from {table}"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The `_id` of every document of a collection.
///
/// # Errors
/// When it cannot be read, or one is no number.
pub async fn numbers(collection: &mongodb::Collection<Document>) -> Result<BTreeSet<i64>> {
    let (mut cursor, mut all) = (collection.find(doc! {}).await?, BTreeSet::new());
    while cursor.advance().await? {
        all.insert(cursor.deserialize_current()?.get_i64("_id")?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_row_is_found_whatever_else_is_there() {
        let check = |acknowledged: &[i64], there: &[i64], expect: bool| {
            let set = |all: &[i64]| all.iter().copied().collect();
            let said = nothing_lost(&set(acknowledged), &set(there));
            assert_eq!(said.is_ok(), expect, "{acknowledged:?} in {there:?}: {said:?}");
        };
        check(&[1, 2], &[1, 2], true);
        check(&[1, 2], &[1, 2, 3], true);
        check(&[1, 2], &[1, 3, 4], false);
        check(&[], &[1], false);
    }
}
