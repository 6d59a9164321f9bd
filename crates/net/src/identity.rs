//! Who a node is: a key pair. The public half is its name towards others, the TLS identity of its connections, and what it signs
//! with.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use acequia_learn::ShareKey;
use acequia_types::digest_named;
use iroh::{PublicKey, SecretKey, Signature};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{NetError, file};

const WHAT: &str = "the key of this node";

/// The node's secret key (Ed25519).
#[derive(Clone)]
pub struct Identity(SecretKey);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(masked)")
    }
}

/// Somebody's public key: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberKey(pub(crate) PublicKey);

impl Identity {
    /// Reads the key from its file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn open_or_create(path: &Path) -> Result<Self, NetError> {
        match Self::open(path) {
            Err(NetError::File { problem: std::io::ErrorKind::NotFound, .. }) => {}
            found => return found,
        }
        if let Some(folder) = path.parent() {
            acequia_blobs::make_private(folder, WHAT)?;
        }
        let secret = Zeroizing::new(SecretKey::generate().to_bytes());
        acequia_blobs::write_file_atomically(path, &*secret)?;
        // Another command may have made one at the same instant: what is on disk counts.
        Self::open(path)
    }

    fn open(path: &Path) -> Result<Self, NetError> {
        let bytes = Zeroizing::new(std::fs::read(path).map_err(file(WHAT))?);
        let secret: &[u8; 32] =
            bytes.as_slice().try_into().map_err(|_| file(WHAT)(std::io::ErrorKind::InvalidData.into()))?;
        Ok(Self(SecretKey::from_bytes(secret)))
    }

    /// The public half.
    pub fn key(&self) -> MemberKey {
        MemberKey(self.0.public())
    }

    pub(crate) fn secret(&self) -> SecretKey {
        self.0.clone()
    }

    /// Signs a digest for one use, which is part of what is signed.
    pub(crate) fn sign(&self, purpose: &str, digest: &acequia_types::Digest) -> String {
        hex::encode(self.0.sign(&signed(purpose, digest)).to_bytes())
    }

    /// What the shares of this site's answers follow from; see [`ShareKey`].
    pub(crate) fn share_key(&self) -> ShareKey {
        let secret = Zeroizing::new(self.0.to_bytes());
        ShareKey::from(*digest_named("acequia share key 1", [("secret", secret.as_slice())]).as_bytes())
    }
}

fn signed(purpose: &str, digest: &acequia_types::Digest) -> Vec<u8> {
    [purpose.as_bytes(), b"\0", digest.as_bytes()].concat()
}

impl MemberKey {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn verifies(&self, purpose: &str, digest: &acequia_types::Digest, signature: &str) -> bool {
        let Ok(bytes) = hex::decode(signature) else { return false };
        let Ok(bytes) = <[u8; Signature::LENGTH]>::try_from(bytes) else { return false };
        self.0.verify(&signed(purpose, digest), &Signature::from_bytes(&bytes)).is_ok()
    }
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberKey({self})")
    }
}

impl FromStr for MemberKey {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a key is of 64 hex digits, as `acequia network key` prints it";
        let bytes: [u8; 32] = hex::decode(text).map_err(|_| wrong)?.try_into().map_err(|_| wrong)?;
        PublicKey::from_bytes(&bytes).map(Self).map_err(|_| wrong)
    }
}

impl TryFrom<String> for MemberKey {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MemberKey> for String {
    fn from(key: MemberKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use acequia_types::Digest;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_signs_for_one_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/network.key");
        let identity = Identity::open_or_create(&path).unwrap();
        assert_eq!(Identity::open_or_create(&path).unwrap().key(), identity.key());
        assert_eq!(identity.key().to_string().parse::<MemberKey>(), Ok(identity.key()));
        let digest = Digest::of(b"x");
        let signature = identity.sign("one", &digest);
        assert!(identity.key().verifies("one", &digest, &signature));
        assert!(!identity.key().verifies("two", &digest, &signature));
        assert!(!identity.key().verifies("one", &Digest::of(b"y"), &signature));
        assert!(!identity.key().verifies("one", &digest, &signature[2..]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, b"short").unwrap();
        assert!(Identity::open_or_create(&path).is_err());
    }
}
