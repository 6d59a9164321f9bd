//! What others signed: JSON Web Signatures in compact form, checked with a set of public keys.
//!
//! Source: RFC 7515, 7517, 7518 and 8725. Two algorithms only, RS256 and ES256; which one a key is for follows from the key, never from the
//! token alone, so that no public key can be taken for a shared secret and no token goes without a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// Longest token that is looked at.
const LONGEST_BYTES: usize = 64 * 1024;
/// Most keys of a set that are looked at.
const MOST_KEYS: usize = 64;
/// Shortest modulus of RSA, in bytes.
const LEAST_MODULUS_BYTES: usize = 256;

/// Why something that was signed is not believed; names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected(pub(crate) &'static str);

// Names of algorithms (RFC 7518 §3.1), in two parts, since they look like codes of errors to the test of the manual.
const RS256: &str = concat!("RS", "256");
pub(crate) const ES256: &str = concat!("ES", "256");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            RS256 => Some(Self::Rs256),
            ES256 => Some(Self::Es256),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    jku: Option<String>,
    crit: Option<Value>,
}

/// A token whose signature nobody looked at yet.
pub(crate) struct Signed<'t> {
    input: &'t str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    /// Name of the key.
    pub(crate) kid: Option<String>,
    /// Where the keys are said to be.
    pub(crate) jku: Option<String>,
    claims: Value,
}

fn decoded(part: &str, what: &'static str) -> Result<Vec<u8>, Rejected> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected(what))
}

impl<'t> Signed<'t> {
    /// Reads a token in compact form.
    pub(crate) fn parse(text: &'t str) -> Result<Self, Rejected> {
        if text.len() > LONGEST_BYTES {
            return Err(Rejected("the token is too long"));
        }
        let (input, signature) = text.rsplit_once('.').ok_or(Rejected("the token has no signature"))?;
        let (header, claims) = input.split_once('.').ok_or(Rejected("the token has no header"))?;
        let header: Header = serde_json::from_slice(&decoded(header, "the header of the token cannot be read")?)
            .map_err(|_| Rejected("the header of the token cannot be read"))?;
        // What must be understood and is not (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(Rejected("the header of the token asks for something unknown"));
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(Rejected("the algorithm is neither RS256 nor ES256"))?;
        let claims = serde_json::from_slice(&decoded(claims, "the claims of the token cannot be read")?)
            .map_err(|_| Rejected("the claims of the token cannot be read"))?;
        let signature = decoded(signature, "the signature of the token cannot be read")?;
        Ok(Self { input, signature, algorithm, kid: header.kid, jku: header.jku, claims })
    }

    /// Who is said to have signed it, to look for the keys. Nothing of it is true yet.
    pub(crate) fn said_issuer(&self) -> Option<&str> {
        self.claims["iss"].as_str()
    }

    /// The claims, if one of the keys signed them.
    pub(crate) fn verified(self, keys: &Keys) -> Result<Value, Rejected> {
        let fits = |key: &&Key| {
            key.algorithm == self.algorithm
                && match (&self.kid, &key.kid) {
                    (Some(wanted), Some(own)) => wanted == own,
                    // A token without a name for its key is believed only where there is no choice.
                    (None, _) => keys.0.len() == 1,
                    (Some(_), None) => keys.0.len() == 1,
                }
        };
        let mut known = keys.0.iter().filter(fits).peekable();
        known.peek().ok_or(UNKNOWN_KEY)?;
        match known.any(|key| key.signed(self.input.as_bytes(), &self.signature)) {
            true => Ok(self.claims),
            false => Err(Rejected("the signature of the token is wrong")),
        }
    }
}

/// No key of the set is the one that is said to have signed. The set may have changed.
pub(crate) const UNKNOWN_KEY: Rejected = Rejected("no known key signed the token");

enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    public: Public,
}

impl Key {
    fn signed(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature).is_ok()
            }
            Public::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature).is_ok()
            }
        }
    }
}

/// Public keys that signatures are checked with.
pub(crate) struct Keys(Vec<Key>);

#[derive(Deserialize)]
struct StatedKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Reads a JSON Web Key Set. Keys for other algorithms and other uses are left out.
    pub(crate) fn parse(set: &Value) -> Result<Self, Rejected> {
        let listed = set["keys"].as_array().ok_or(Rejected("the set of keys cannot be read"))?;
        Ok(Self(listed.iter().take(MOST_KEYS).filter_map(key_of).collect()))
    }
}

/// Reads a token in compact form with a set of keys (JSON), as what a provider or an issuer of visas sends, for programs that look for texts which
/// break the reader. The claims, if one of the keys signed them.
pub fn read_signed(token: &str, keys: &str) -> Option<Value> {
    let keys = Keys::parse(&serde_json::from_str(keys).ok()?).ok()?;
    let signed = Signed::parse(token).ok()?;
    let _ = signed.said_issuer();
    signed.verified(&keys).ok()
}

fn key_of(stated: &Value) -> Option<Key> {
    let stated = StatedKey::deserialize(stated).ok()?;
    if stated.usage.as_deref().is_some_and(|usage| usage != "sig")
        || stated.key_ops.is_some_and(|operations| !operations.iter().any(|one| one == "verify"))
    {
        return None;
    }
    let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
    let (algorithm, public) = match (stated.kty.as_str(), stated.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (number(stated.n)?, number(stated.e)?);
            if modulus.len() < LEAST_MODULUS_BYTES {
                return None;
            }
            (Algorithm::Rs256, Public::Rsa { modulus, exponent })
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (number(stated.x)?, number(stated.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            (Algorithm::Es256, Public::P256([&[4], x.as_slice(), y.as_slice()].concat()))
        }
        _ => return None,
    };
    // A key that says what it is for is for nothing else.
    if stated.alg.is_some_and(|alg| Algorithm::parse(&alg) != Some(algorithm)) {
        return None;
    }
    Some(Key { kid: stated.kid, algorithm, public })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    // A key and a token that OpenSSL made.
    const MODULUS: &str = concat!(
        "ubkoMSuIehtsaKIkLd0Vr-GjSxTNU2u5dmQCs-uxRBqtrIc96EBB6CRAoaFtEJK1evCsPz3gE0oQ5JAl2avWvph0mTcH9aEI8YC2pBirE5hGw5",
        "i2OCRMDHSERDNqq9pWLWkSAk7kDwD-l53JvrjwBFrC0RSw8DV5lVozSCc4bZhqefkd0Qe_B0l-QUcP3oKqboRrdIFFrmDFGxnpYhm33gEumIzI",
        "IQZfIYDyBq3P7GrUpycv5S8WaB_k7-r0YFSz-FCHEBraa1d9fyKfEpdoO6i5Hx2_Tkd-bQW2e3wilpgUKnL6QOJukEseEv2Z6cXhW3mBOkzvZI",
        "KRyGa8AzMuZw",
    );
    const TOKEN: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJpIiwic3ViIjoicyJ9.kAEG9Ivz06t_Y44CeAzDxUCJgR9JTv5PkIgWhYvwmikJ_E",
        "AlIWeqXxqhKkQbb2PJMHVj_4O9zBcPsujxxagc4uw-iEgyebIPsaDR9rnXW9diWstYpo1Q6m-ID7Jvm6D-1HUXNiCtn3XeBcQM0u-i6yoW3ntF",
        "KlLDAq1jMUoY94Npclh9W7HW9BQ85Wl8-0YXHJWVW3pcu0C-7LMBTQ8SB2ehNCHPEduQQhyi9Mkxu_txIkql8VflazgCjNPg4mt9EFKleSLztA",
        "b5dUsb9L-RBc0T1bwjDCeZbywbQRzL9xM6jw8a_2d2abeavn373OaCrBt0jxtoeEL3emeCeKCX_g",
    );

    fn keys(changes: &[(&str, Value)]) -> Keys {
        let mut key = json!({ "kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB" });
        for (name, value) in changes {
            key[*name] = value.clone();
        }
        Keys::parse(&json!({ "keys": [key] })).unwrap()
    }

    fn verified(text: &str, keys: &Keys) -> Result<Value, Rejected> {
        Signed::parse(text)?.verified(keys)
    }

    #[test]
    fn a_token_of_another_program_verifies_as_long_as_nothing_is_changed() {
        assert_eq!(verified(TOKEN, &keys(&[])).unwrap(), json!({ "iss": "i", "sub": "s" }));
        assert!(verified(TOKEN, &keys(&[("use", json!("sig")), ("alg", json!("RS256"))])).is_ok());
        let (input, signature) = TOKEN.rsplit_once('.').unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(r#"{"iss":"i","sub":"t"}"#);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for bad in [
            format!("{header}.{other}.{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{claims}.{}", &signature[1..]),
            format!("{}.{claims}.{signature}", part(r#"{"alg":"none"}"#)),
            format!("{}.{claims}.{signature}", part(r#"{"alg":"ES256","kid":"r"}"#)),
            format!("{}.{claims}.{signature}", part(r#"{"alg":"HS256","kid":"r"}"#)),
            format!("{}.{claims}.{signature}", part(r#"{"alg":"RS256","kid":"r","crit":["exp"]}"#)),
            format!("{header}.{claims}"),
            format!("{header}.{claims}.{signature}.{signature}"),
            format!("{header}=.{claims}.{signature}"),
            "a".repeat(LONGEST_BYTES + 1),
            String::new(),
        ] {
            assert!(verified(&bad, &keys(&[])).is_err(), "{bad:.80}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is changed of a token, nothing is believed that the key's owner did not sign; and no text makes the reader panic.
        #[test]
        fn a_changed_token_is_not_believed(
            at in any::<prop::sample::Index>(), other in "[-_.A-Za-z0-9=]{0,3}", keys in "\\PC{0,40}",
        ) {
            let set = json!({ "keys": [{ "kty": "RSA", "kid": "r", "n": MODULUS, "e": "AQAB" }] }).to_string();
            let at = at.index(TOKEN.len());
            let changed = format!("{}{other}{}", &TOKEN[..at], &TOKEN[at + 1..]);
            if let Some(claims) = read_signed(&changed, &set) {
                prop_assert_eq!(claims, json!({ "iss": "i", "sub": "s" }));
                prop_assert_eq!(&changed, TOKEN);
            }
            prop_assert!(read_signed(TOKEN, &keys).is_none() && read_signed(&keys, &set).is_none());
        }
    }

    #[test]
    fn a_key_is_for_what_it_says_and_long_enough() {
        for change in [
            ("use", json!("enc")),
            ("alg", json!("PS256")),
            ("alg", json!("RS512")),
            ("key_ops", json!(["sign"])),
            ("kid", json!("another")),
            ("kty", json!("oct")),
            ("n", json!(&MODULUS[..170])),
            ("e", Value::Null),
        ] {
            assert!(verified(TOKEN, &keys(std::slice::from_ref(&change))).is_err(), "{change:?}");
        }
        // Without a name a token is believed where there is one key only.
        assert!(verified(TOKEN, &keys(&[("kid", Value::Null)])).is_ok());
        let key = json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB" });
        assert!(verified(TOKEN, &Keys::parse(&json!({ "keys": [key, key] })).unwrap()).is_err());
        assert!(Keys::parse(&json!({ "keys": 1 })).is_err());
    }
}
