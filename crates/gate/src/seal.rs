//! The exit seal: an Ed25519 signature over a manifest's digest, made when a version leaves.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{GateError, Manifest, Outbound, Parcel};

const DOMAIN: &[u8] = b"acequia exit seal v1\0";

/// The node's signing key.
pub struct GateKey(SigningKey);

/// The public half: checks seals.
#[derive(Debug, Clone)]
pub struct GateVerifier(VerifyingKey);

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
}

impl GateVerifier {
    /// The public key, 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
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

fn message(manifest: &Manifest) -> Vec<u8> {
    [DOMAIN, manifest.digest().as_bytes().as_slice()].concat()
}

/// Seals a version on its way out.
pub fn seal(parcel: &Outbound<Parcel>, key: &GateKey) -> ExitSeal {
    ExitSeal(hex::encode(key.0.sign(&message(&parcel.get().manifest)).to_bytes()))
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
    let bytes = hex::decode(&exit_seal.0).map_err(|_| shut())?;
    let signature = Signature::from_slice(&bytes).map_err(|_| shut())?;
    verifier.0.verify(&message(&manifest), &signature).map_err(|_| shut())?;
    Ok(Outbound::readmitted(manifest))
}
