//! The exit seal: an Ed25519 signature over a manifest's digest, made when a version leaves; and whose gate it was.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use acequia_types::Digest;

use crate::{GateError, Manifest, Outbound, Parcel};

const DOMAIN: &[u8] = b"acequia exit seal v1\0";
const OWNER: &[u8] = b"acequia gate of a member v1\0";

/// The node's signing key.
pub struct GateKey(SigningKey);

/// The public half: checks seals.
#[derive(Debug, Clone)]
pub struct GateVerifier(VerifyingKey);

/// The gate of another node: its key, which said itself whose it is. Nothing else makes one, so no member passes off the
/// versions of another as its own.
#[derive(Debug, Clone)]
pub struct OriginGate(GateVerifier);

/// A signature over the version's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExitSeal(String);

impl std::fmt::Debug for GateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GateKey(masked)")
    }
}

impl GateKey {
    /// Takes 32 secret bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The public half.
    pub fn verifier(&self) -> GateVerifier {
        GateVerifier(self.0.verifying_key())
    }

    /// Says that this gate is that of the member of a network with this public key: 128 hex digits.
    pub fn say_whose(&self, member: &[u8; 32]) -> String {
        hex::encode(self.0.sign(&[OWNER, member].concat()).to_bytes())
    }
}

impl GateVerifier {
    /// The public key, 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }
}

impl OriginGate {
    /// The gate with the public key `gate` (64 hex digits), if its key said ([`GateKey::say_whose`]) that it is that of the member
    /// with this public key.
    pub fn of_member(gate: &str, member: &[u8; 32], said: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(gate, &mut key).ok()?;
        // As it is printed: one gate has one spelling.
        let verifier = GateVerifier(VerifyingKey::from_bytes(&key).ok()?);
        let signature = signature(said).filter(|_| verifier.to_hex() == gate)?;
        verifier.0.verify_strict(&[OWNER, member].concat(), &signature).ok()?;
        Some(Self(verifier))
    }

    /// Its key, which checks seals.
    pub fn verifier(&self) -> &GateVerifier {
        &self.0
    }

    /// Whether the seal is this gate's over the manifest with this digest; its bytes are not needed for that.
    pub fn sealed(&self, manifest: &Digest, seal: &ExitSeal) -> bool {
        signature(&seal.0).is_some_and(|signature| self.0.0.verify_strict(&message(manifest), &signature).is_ok())
    }
}

impl ExitSeal {
    /// The signature, 128 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the text a store kept; whether it verifies is [`readmit`]'s business.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }
}

/// Name of the file beside a version that carries its seal. It cannot be listed in the manifest, over which the seal is.
pub const SEAL_FILE: &str = "seal.json";

/// A seal with all that is needed to check it, for whoever has a copy of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealFile {
    /// Layout of this document: `acequia-seal/1`.
    pub schema: String,
    /// What is signed: the text `acequia exit seal v1`, a zero byte, and the 32 bytes of `manifest`.
    pub algorithm: String,
    /// SHA-256 of the version's `manifest.json`.
    pub manifest: Digest,
    /// The signature, 128 hex digits.
    pub seal: ExitSeal,
    /// Public key of the gate, 64 hex digits. Whose it is, its owner has to say elsewhere.
    pub key: String,
}

impl SealFile {
    /// The seal of this gate over a manifest with this digest.
    pub fn new(manifest: Digest, seal: &ExitSeal, key: &str) -> Self {
        let schema = "acequia-seal/1".to_owned();
        Self { schema, algorithm: "Ed25519".to_owned(), manifest, seal: seal.clone(), key: key.to_owned() }
    }

    /// Its canonical bytes: pretty JSON with a final newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether the seal is that of its key over the manifest with this digest.
    pub fn holds(&self, manifest: &Digest) -> bool {
        let mut key = [0; 32];
        let key = hex::decode_to_slice(&self.key, &mut key).ok().and_then(|()| VerifyingKey::from_bytes(&key).ok());
        let (Some(key), Some(signature)) = (key, signature(self.seal.as_str())) else { return false };
        self.manifest == *manifest && key.verify_strict(&message(manifest), &signature).is_ok()
    }
}

fn message(manifest: &Digest) -> Vec<u8> {
    [DOMAIN, manifest.as_bytes().as_slice()].concat()
}

fn signature(text: &str) -> Option<Signature> {
    Signature::from_slice(&hex::decode(text).ok()?).ok()
}

/// Seals a version on its way out.
pub fn seal(parcel: &Outbound<Parcel>, key: &GateKey) -> ExitSeal {
    ExitSeal(hex::encode(key.0.sign(&message(&parcel.get().manifest.digest())).to_bytes()))
}

/// Lets a version that this node published back in, to be served.
///
/// # Errors
/// [`GateError::Manifest`] when the bytes are not a manifest; [`GateError::Seal`] when the seal is not this node's.
pub fn readmit(
    manifest: &[u8],
    exit_seal: &ExitSeal,
    verifier: &GateVerifier,
) -> Result<Outbound<Manifest>, GateError> {
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|source| GateError::Manifest { source })?;
    let shut = || GateError::Seal { dataset: manifest.dataset.to_string() };
    let signature = signature(&exit_seal.0).ok_or_else(shut)?;
    verifier.0.verify(&message(&manifest.digest()), &signature).map_err(|_| shut())?;
    Ok(Outbound::readmitted(manifest))
}

/// Lets a version that another node published in, to be mirrored: it left that node's gate, and the gate is that of the member it
/// is said to be of. The bytes must be those that were sealed, so that the version has the same name here.
///
/// A bare key does not do, for anybody could have made it:
///
/// ```compile_fail,E0308
/// use acequia_gate::{ExitSeal, GateVerifier, readmit_mirrored};
/// fn mirror(manifest: &[u8], seal: &ExitSeal, key: &GateVerifier) {
///     let _ = readmit_mirrored(manifest, seal, key);
/// }
/// ```
/// ```
/// use acequia_gate::{ExitSeal, OriginGate, readmit_mirrored};
/// fn mirror(manifest: &[u8], seal: &ExitSeal, origin: &OriginGate) {
///     let _ = readmit_mirrored(manifest, seal, origin);
/// }
/// ```
///
/// # Errors
/// [`GateError::Manifest`] when the bytes are not a manifest; [`GateError::Seal`] when the seal is not the origin's, or is over other
/// bytes.
pub fn readmit_mirrored(
    manifest: &[u8],
    exit_seal: &ExitSeal,
    origin: &OriginGate,
) -> Result<Outbound<Manifest>, GateError> {
    let readmitted = readmit(manifest, exit_seal, origin.verifier())?;
    // A manifest of a newer program may hold what this one does not know, and would lose.
    if readmitted.get().digest() == Digest::of(manifest) && origin.sealed(&readmitted.get().digest(), exit_seal) {
        Ok(readmitted)
    } else {
        Err(GateError::Seal { dataset: readmitted.get().dataset.to_string() })
    }
}
