//! Passkeys: what this node asks authenticators, and whether it believes the answers. The cryptography is webauthn-rs.
//!
//! Source: W3C Web Authentication Level 3, §7.1 (registration), §7.2 (authentication); threat T9.

use acequia_store::{Account, StoredPasskey};
use serde_json::{Value, json};
use url::Url;
use webauthn_rs::prelude::{
    CredentialID, DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use crate::PortalError;

pub(crate) struct Passkeys {
    webauthn: Webauthn,
    /// With the port, without a slash at the end.
    pub(crate) origin: String,
}

/// Who answered, by their own word: it is not yet verified.
pub(crate) struct Claimed {
    /// Number of the account.
    pub(crate) account: String,
    credential: PublicKeyCredential,
}

/// What came of an answer.
pub(crate) enum Verified {
    /// It is the passkey: its name, and what it is verified by from now on.
    Yes { credential: String, passkey: String },
    /// It counts backwards, so somebody may hold a copy of the passkey of this name.
    Copied { credential: String },
    /// It is not.
    No,
}

fn name(id: &CredentialID) -> String {
    hex::encode(id)
}

impl Passkeys {
    /// # Errors
    /// [`PortalError::Origin`] when the address is no name, or neither HTTPS nor `localhost`.
    pub(crate) fn new(origin: &str, trustee: &str) -> Result<Self, PortalError> {
        let url = Url::parse(origin).map_err(|_| PortalError::Origin)?;
        let name = url.domain().ok_or(PortalError::Origin)?;
        if url.scheme() != "https" && name != "localhost" {
            return Err(PortalError::Origin);
        }
        let builder = WebauthnBuilder::new(name, &url).map_err(|_| PortalError::Origin)?;
        let webauthn = builder.rp_name(trustee).build().map_err(|_| PortalError::Origin)?;
        Ok(Self { webauthn, origin: url.origin().ascii_serialization() })
    }

    /// Asks for a new passkey. It must be one that the authenticator finds by itself, so that nobody types a name.
    pub(crate) fn register(
        &self,
        account: &Account,
        shown: &str,
        own: &[StoredPasskey],
    ) -> Option<(Value, PasskeyRegistration)> {
        let id = Uuid::from_slice(&hex::decode(&account.id).ok()?).ok()?;
        let own = own.iter().filter_map(|key| hex::decode(&key.credential).ok()).collect();
        let (challenge, state) = self.webauthn.start_passkey_registration(id, shown, shown, Some(own)).ok()?;
        let mut options = serde_json::to_value(challenge).ok()?;
        let wanted = options["publicKey"]["authenticatorSelection"].as_object_mut()?;
        wanted.insert("residentKey".to_owned(), json!("required"));
        wanted.insert("requireResidentKey".to_owned(), json!(true));
        Some((options, state))
    }

    /// The new passkey: its name, and what it is verified by.
    pub(crate) fn registered(&self, answer: &Value, state: &PasskeyRegistration) -> Option<(String, String)> {
        let answer: RegisterPublicKeyCredential = serde_json::from_value(answer.clone()).ok()?;
        let passkey = self.webauthn.finish_passkey_registration(&answer, state).ok()?;
        Some((name(passkey.cred_id()), serde_json::to_string(&passkey).ok()?))
    }

    /// Asks whoever is there for a passkey.
    pub(crate) fn sign_in(&self) -> Option<(Value, DiscoverableAuthentication)> {
        let (challenge, state) = self.webauthn.start_discoverable_authentication().ok()?;
        let mut options = serde_json::to_value(challenge).ok()?;
        // A button was pressed: the browser is to ask at once.
        options.as_object_mut()?.remove("mediation");
        Some((options, state))
    }

    /// Who claims to answer.
    pub(crate) fn claimed(&self, answer: &Value) -> Option<Claimed> {
        let credential: PublicKeyCredential = serde_json::from_value(answer.clone()).ok()?;
        let (id, _) = self.webauthn.identify_discoverable_authentication(&credential).ok()?;
        Some(Claimed { account: hex::encode(id.as_bytes()), credential })
    }

    /// Whether the answer is by one of the account's passkeys.
    pub(crate) fn verified(
        &self,
        claimed: &Claimed,
        state: DiscoverableAuthentication,
        own: &[StoredPasskey],
    ) -> Verified {
        let wanted = hex::encode(claimed.credential.get_credential_id());
        let Some(stored) = own.iter().find(|key| key.credential == wanted) else { return Verified::No };
        let Ok(mut passkey) = serde_json::from_str::<Passkey>(&stored.passkey) else { return Verified::No };
        let key = DiscoverableKey::from(&passkey);
        match self.webauthn.finish_discoverable_authentication_v2(&claimed.credential, state, &key) {
            Ok(result) if result.user_verified() => {
                passkey.update_credential(&result);
                match serde_json::to_string(&passkey) {
                    Ok(passkey) => Verified::Yes { credential: wanted, passkey },
                    Err(_) => Verified::No,
                }
            }
            Ok(_) => Verified::No,
            Err(WebauthnError::CredentialPossibleCompromise) => Verified::Copied { credential: wanted },
            Err(_) => Verified::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_bound_to_a_name() {
        for good in ["https://data.example.org", "http://localhost:8080", "https://data.example.org:8443"] {
            assert_eq!(Passkeys::new(good, "T").map(|keys| keys.origin).ok().as_deref(), Some(good));
        }
        for bad in ["http://data.example.org", "https://192.0.2.1", "http://127.0.0.1:8080", "data.example.org", ""] {
            assert!(matches!(Passkeys::new(bad, "T"), Err(PortalError::Origin)), "{bad}");
        }
    }
}
