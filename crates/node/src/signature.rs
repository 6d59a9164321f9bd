//! What the node says of itself to others, signed: notices to recipients and receipts of donors.
//!
//! Source: JSON Web Signature, RFC 7515 §7.1, with Ed25519 by RFC 8037.

use acequia_portal::Signer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier};
use serde_json::{Value, json};

use crate::home::Node;

/// The key that signs them.
pub(crate) struct NodeSignature(SigningKey);

impl Node {
    pub(crate) fn signature(&self) -> NodeSignature {
        NodeSignature(SigningKey::from_bytes(&self.notice_key()))
    }
}

impl NodeSignature {
    /// The public key, in the letters of a JSON Web Key.
    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    fn signed(&self, header: &Value, payload: &Value) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = self.0.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// For who has to be told the key too: it stands in the header.
    pub(crate) fn sign_with_key(&self, payload: &Value) -> String {
        self.signed(&json!({ "alg": "EdDSA", "jwk": self.jwk() }), payload)
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.public() })
    }
}

impl Signer for NodeSignature {
    /// Short, for it goes into a code on paper: the key is at `/.well-known/jwks.json`.
    fn sign(&self, payload: &Value) -> String {
        self.signed(&json!({ "alg": "EdDSA" }), payload)
    }

    /// A key that it carries is not asked: only the node's own counts.
    fn verify(&self, signed: &str) -> Option<Value> {
        let (input, signature) = signed.rsplit_once('.')?;
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        self.0.verifying_key().verify(input.as_bytes(), &signature).ok()?;
        let (_, payload) = input.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    fn public_key(&self) -> Value {
        let mut key = self.jwk();
        key["use"] = json!("sig");
        key["alg"] = json!("EdDSA");
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_or_signed_by_another_does_not_verify() {
        let [own, other] = [7, 8].map(|byte| NodeSignature(SigningKey::from_bytes(&[byte; 32])));
        let short = own.sign(&json!({ "jti": "1" }));
        assert_eq!(own.verify(&short), Some(json!({ "jti": "1" })));
        let signed = own.sign_with_key(&json!({ "jti": "1" }));
        assert_eq!(own.verify(&signed), Some(json!({ "jti": "1" })));
        let (input, signature) = signed.rsplit_once('.').unwrap();
        let (header, payload) = input.split_once('.').unwrap();
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let read: Value = serde_json::from_slice(&decoded(header)).unwrap();
        assert_eq!(read["jwk"]["x"].as_str().unwrap(), own.public());
        assert_eq!(decoded(payload), br#"{"jti":"1"}"#);
        let forged = URL_SAFE_NO_PAD.encode(r#"{"jti":"2"}"#);
        for bad in [
            format!("{header}.{forged}.{signature}"),
            // Another key signs, and says so in the header.
            other.sign_with_key(&json!({ "jti": "1" })),
            other.sign(&json!({ "jti": "1" })),
            signed[1..].to_owned(),
            input.to_owned(),
            String::new(),
        ] {
            assert_eq!(own.verify(&bad), None);
        }
    }
}
