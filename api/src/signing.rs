//! The key that signs documents: Ed25519 (RFC 8032), outside of the database, so that whoever can write there cannot sign.

use anyhow::{Context as _, anyhow};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use siyada_model::canonical::sha256;
use std::path::Path;

/// Signs documents.
pub struct Signer {
    pair: Ed25519KeyPair,
    id: String,
}

impl Signer {
    /// Reads a key as PKCS#8 in PEM: `openssl genpkey -algorithm ed25519 -out key.pem`.
    ///
    /// # Errors
    /// When the file is not such a key.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let wrong = || {
            format!(
                "{} is no Ed25519 key in PEM; make one with openssl genpkey -algorithm ed25519",
                path.display()
            )
        };
        let key =
            PrivateKeyDer::from_pem_file(path).map_err(|cause| anyhow!("{cause}")).with_context(wrong)?;
        Self::new(key.secret_der()).with_context(wrong)
    }

    /// A key as PKCS#8.
    ///
    /// # Errors
    /// When it is not an Ed25519 key.
    pub fn new(pkcs8: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|cause| anyhow!("{cause}"))?;
        let id = key_id(pair.public_key().as_ref());
        Ok(Self { pair, id })
    }

    /// The signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    /// The id of the key: the first 16 digits of the SHA-256 of the public key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key: 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

/// The id of a public key of 32 bytes.
pub fn key_id(public_key: &[u8]) -> String {
    sha256(public_key).chars().take(16).collect()
}

/// Whether a signature is that of these bytes by that key.
pub fn verifies(public_key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_these_bytes_and_of_this_key() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let signer = Signer::new(pkcs8.as_ref()).unwrap();
        let signature = signer.sign(b"SIY-2026-000001");
        assert!(verifies(signer.public_key(), b"SIY-2026-000001", &signature));
        assert!(!verifies(signer.public_key(), b"SIY-2026-000002", &signature));
        assert_eq!(signer.id(), key_id(signer.public_key()));
        assert!(Signer::new(b"no key").is_err());
    }
}
