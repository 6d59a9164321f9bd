//! An authenticator that can be told to lie.
//!
//! Source: W3C Web Authentication Level 3, §6.1 (authenticator data), §6.5.1 (attested credential data), §7.1, §7.2; CBOR by
//! RFC 8949; COSE keys by RFC 9053 §7.1.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const ATTESTED: u8 = 1 << 6;

/// A passkey on a device. A clone of it is what a thief would have.
#[derive(Clone)]
pub(crate) struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
    /// Whom the passkey says it is for.
    pub(crate) user: Vec<u8>,
    /// How often it was used.
    pub(crate) counter: u32,
    /// What the browser says the page is.
    pub(crate) origin: String,
    /// Whose passkey it is by its own word.
    pub(crate) rp_id: String,
    /// Whether the finger was shown.
    pub(crate) verifies_user: bool,
}

fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("text")).expect("base64url")
}

/// A CBOR byte string.
fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    let head = match bytes.len() {
        short @ 0..=23 => vec![0x40 | u8::try_from(short).unwrap()],
        middle @ 24..=255 => vec![0x58, u8::try_from(middle).unwrap()],
        long => [vec![0x59], u16::try_from(long).unwrap().to_be_bytes().to_vec()].concat(),
    };
    [head, bytes.to_vec()].concat()
}

fn cbor_text(text: &str) -> Vec<u8> {
    [vec![0x60 | u8::try_from(text.len()).unwrap()], text.as_bytes().to_vec()].concat()
}

impl Authenticator {
    /// A device whose key and name follow from numbers.
    pub(crate) fn new(key: u8, name: usize, origin: &str) -> Self {
        Self {
            key: SigningKey::from_slice(&[key; 32]).expect("a key"),
            id: [[0; 12].as_slice(), &name.to_be_bytes()].concat(),
            user: Vec::new(),
            counter: 0,
            origin: origin.to_owned(),
            rp_id: "localhost".to_owned(),
            verifies_user: true,
        }
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let told = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        told.to_string().into_bytes()
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let verified = if self.verifies_user { USER_VERIFIED } else { 0 };
        let flags = USER_PRESENT | verified | more;
        [Sha256::digest(self.rp_id.as_bytes()).to_vec(), vec![flags], self.counter.to_be_bytes().to_vec()].concat()
    }

    /// Makes the passkey that is asked for.
    pub(crate) fn create(&mut self, options: &Value) -> Value {
        let key = &options["publicKey"];
        assert_eq!(key["authenticatorSelection"]["residentKey"], "required", "found without a name");
        assert_eq!(key["authenticatorSelection"]["userVerification"], "required");
        self.user = decoded(&key["user"]["id"]);
        let point = self.key.verifying_key().to_sec1_bytes();
        let (x, y) = uncompressed(&self.key, &point);
        // {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}
        let cose =
            [vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21], cbor_bytes(&x), vec![0x22], cbor_bytes(&y)].concat();
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes().to_vec();
        let data = [self.data(ATTESTED), vec![0; 16], length, self.id.clone(), cose].concat();
        // {"fmt": "none", "attStmt": {}, "authData": data}
        let object = [
            vec![0xa3],
            cbor_text("fmt"),
            cbor_text("none"),
            cbor_text("attStmt"),
            vec![0xa0],
            cbor_text("authData"),
            cbor_bytes(&data),
        ]
        .concat();
        json!({
            "id": coded(&self.id),
            "rawId": coded(&self.id),
            "type": "public-key",
            "response": {
                "attestationObject": coded(object),
                "clientDataJSON": coded(self.client_data("webauthn.create", &key["challenge"])),
                "transports": ["internal"],
            },
            "extensions": {},
        })
    }

    /// Answers a challenge.
    pub(crate) fn get(&mut self, options: &Value) -> Value {
        self.counter += 1;
        let client = self.client_data("webauthn.get", &options["publicKey"]["challenge"]);
        let data = self.data(0);
        let signature: Signature = self.key.sign(&[data.clone(), Sha256::digest(&client).to_vec()].concat());
        json!({
            "id": coded(&self.id),
            "rawId": coded(&self.id),
            "type": "public-key",
            "response": {
                "authenticatorData": coded(data),
                "clientDataJSON": coded(client),
                "signature": coded(signature.to_der().as_bytes()),
                "userHandle": coded(&self.user),
            },
            "extensions": {},
        })
    }
}

/// The two coordinates of the public key.
fn uncompressed(key: &SigningKey, point: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let whole =
        if point.len() == 65 { point.to_vec() } else { key.verifying_key().to_sec1_point(false).as_bytes().to_vec() };
    (whole[1..33].to_vec(), whole[33..65].to_vec())
}
