//! Institutional login: OpenID Connect with the authorization code flow, PKCE, state and nonce.
//!
//! Source: OpenID Connect Core 1.0 (§3.1), Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (`iss` in the answer),
//! RP-Initiated Logout 1.0 and the practice of RFC 9700. The
//! provider is believed only as far as its signature goes: an ID token for this node, for this very login, of now.

use std::time::{Duration, Instant};

use acequia_types::{Clock, Digest, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::AccessError;
use crate::fetch::{Fetcher, KeyRing, safe_url};
use crate::session::random;

/// How long what the provider says of itself is kept.
const METADATA_FOR: Duration = Duration::from_secs(3600);
/// How far two clocks may be apart, in seconds.
const LEEWAY_S: i64 = 60;
/// How old an ID token may be when it comes, in seconds.
const OLDEST_S: i64 = 600;
/// Longest name of a person at the provider (OpenID Connect Core §2), and of other words from there.
const LONGEST_WORD: usize = 255;

/// The institutional login, as the settings have it.
pub struct Login {
    /// Who signs people in, such as `https://login.example.org`.
    pub issuer: String,
    /// What the node is called there.
    pub client_id: String,
    /// What the node shows there; a public client has none.
    pub client_secret: Option<Zeroizing<String>>,
    /// What is asked for; `openid` always is.
    pub scopes: Vec<String>,
    /// What the page calls it, such as `the login of your university`.
    pub name: Option<String>,
}

/// Who signed in, as the provider says. Kept as long as the session, and in no log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) subject: String,
    pub(crate) name: Option<String>,
    /// Where the person works, in the words of the provider.
    pub(crate) affiliation: Option<String>,
    /// Visas (GA4GH Passport), not looked at yet.
    pub(crate) visas: Vec<String>,
}

/// What a login under way must remember.
#[derive(Clone)]
pub(crate) struct Begun {
    pub(crate) nonce: String,
    pub(crate) verifier: Zeroizing<String>,
    pub(crate) next: String,
    /// Digest of what only this browser holds.
    pub(crate) browser: Digest,
    pub(crate) at: Timestamp,
}

#[derive(Clone)]
struct Metadata {
    authorization: Url,
    token: Url,
    keys: Url,
    userinfo: Option<Url>,
    sign_out: Option<Url>,
    /// It promises to name itself in its answer.
    names_itself: bool,
    /// The secret goes into the form, not into a header.
    secret_in_form: bool,
}

pub(crate) struct Provider {
    pub(crate) login: Login,
    issuer: Url,
    redirect: String,
    metadata: Mutex<Option<(Instant, Metadata)>>,
    keys: KeyRing,
}

const fn untrue(what: &'static str) -> AccessError {
    AccessError::Provider { what }
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes())
}

impl Provider {
    /// `address` is that of this node, `https://host`.
    pub(crate) fn new(login: Login, address: &str) -> Result<Self, AccessError> {
        let issuer = safe_url(&login.issuer)
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .ok_or(AccessError::Settings { what: "issuer must be an address of https" })?;
        if login.client_id.is_empty() {
            return Err(AccessError::Settings { what: "client_id is missing" });
        }
        let redirect = format!("{address}/login/callback");
        Ok(Self { login, issuer, redirect, metadata: Mutex::default(), keys: KeyRing::default() })
    }

    async fn metadata(&self, fetcher: &Fetcher) -> Result<Metadata, AccessError> {
        let mut kept = self.metadata.lock().await;
        if let Some((at, metadata)) = kept.as_ref()
            && at.elapsed() < METADATA_FOR
        {
            return Ok(metadata.clone());
        }
        let mut at = self.issuer.clone();
        // Behind the whole issuer, path and all (Discovery 1.0 §4).
        at.set_path(&format!("{}/.well-known/openid-configuration", self.issuer.path().trim_end_matches('/')));
        let told = fetcher.get(&at, None).await?;
        if told["issuer"].as_str() != Some(self.login.issuer.as_str()) {
            return Err(untrue("it says that it is another one"));
        }
        let address = |key: &str| told[key].as_str().and_then(safe_url);
        let lists = |key: &str, wanted: &str| told[key].as_array().map(|all| all.iter().any(|one| one == wanted));
        if lists("code_challenge_methods_supported", "S256") == Some(false) {
            return Err(untrue("it knows no PKCE with S256"));
        }
        let ways = "token_endpoint_auth_methods_supported";
        let metadata = Metadata {
            authorization: address("authorization_endpoint").ok_or(untrue("it names no place to sign in at"))?,
            token: address("token_endpoint").ok_or(untrue("it names no place to ask for tokens"))?,
            keys: address("jwks_uri").ok_or(untrue("it names no keys"))?,
            userinfo: address("userinfo_endpoint"),
            sign_out: address("end_session_endpoint"),
            names_itself: told["authorization_response_iss_parameter_supported"].as_bool() == Some(true),
            secret_in_form: lists(ways, "client_secret_basic") == Some(false)
                && lists(ways, "client_secret_post") == Some(true),
        };
        *kept = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    /// Where a person ends what the provider remembers of this browser (RP-Initiated Logout 1.0 §2), if it says. The provider asks her
    /// there, since the node keeps nothing that would show it who she is.
    pub(crate) async fn sign_out_at(&self, fetcher: &Fetcher) -> Option<Url> {
        let mut at = self.metadata(fetcher).await.ok()?.sign_out?;
        at.query_pairs_mut().append_pair("client_id", &self.login.client_id);
        Some(at)
    }

    /// Begins a login: what to remember, under which state, and where to send the browser.
    pub(crate) async fn begin(
        &self,
        fetcher: &Fetcher,
        (next, browser): (String, Digest),
        now: Timestamp,
    ) -> Result<(String, Begun, Url), AccessError> {
        let metadata = self.metadata(fetcher).await?;
        let [state, nonce, verifier] = [random()?, random()?, random()?];
        let mut to = metadata.authorization;
        let mut scopes = vec!["openid"];
        scopes.extend(self.login.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"));
        to.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.login.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge(&verifier))
            .append_pair("code_challenge_method", "S256");
        Ok((state, Begun { nonce, verifier: Zeroizing::new(verifier), next, browser, at: now }, to))
    }

    /// Ends a login with the code that the provider gave the browser; `named` is how the provider called itself there.
    pub(crate) async fn finish(
        &self,
        fetcher: &Fetcher,
        begun: &Begun,
        (code, named): (&str, Option<&str>),
        clock: &dyn Clock,
    ) -> Result<Identity, AccessError> {
        let metadata = self.metadata(fetcher).await?;
        // An answer of another provider, sent here to mix the two up (RFC 9207 §2.4).
        let right = named.map_or(!metadata.names_itself, |named| named == self.login.issuer);
        if !right {
            return Err(untrue("the answer is not the one of this login"));
        }
        let secret = self.login.client_secret.as_ref().map(|secret| secret.as_str());
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        // Both are form-encoded before they go into the header (RFC 6749 §2.3.1).
        let in_header = secret.filter(|_| !metadata.secret_in_form);
        let basic = in_header.map(|secret| (encode(&self.login.client_id), encode(secret)));
        let form = {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "authorization_code")
                .append_pair("code", code)
                .append_pair("redirect_uri", &self.redirect)
                .append_pair("code_verifier", &begun.verifier);
            if basic.is_none() {
                form.append_pair("client_id", &self.login.client_id);
                form.extend_pairs(secret.map(|secret| ("client_secret", secret)));
            }
            Zeroizing::new(form.finish())
        };
        let basic = basic.as_ref().map(|(name, secret)| (name.as_str(), secret.as_str()));
        let (good, told) = fetcher.post(&metadata.token, basic, &form).await?;
        if !good {
            return Err(untrue("it takes the code for no good one"));
        }
        let id_token = told["id_token"].as_str().ok_or(untrue("it gave no ID token"))?;
        let claims = self.keys.verified(fetcher, &metadata.keys, id_token).await?;
        self.check(&claims, &begun.nonce, clock.now())?;
        let access_token = told["access_token"].as_str();
        if let (Some(stated), Some(token)) = (claims["at_hash"].as_str(), access_token) {
            let whole = Digest::of(token.as_bytes());
            if stated != URL_SAFE_NO_PAD.encode(&whole.as_bytes()[..16]) {
                return Err(untrue("the access token is not the one of the ID token"));
            }
        }
        let subject = claims["sub"].as_str().unwrap_or_default();
        if subject.is_empty() || subject.len() > LONGEST_WORD {
            return Err(untrue("it does not say who signed in"));
        }
        let more = match (&metadata.userinfo, access_token) {
            (Some(userinfo), Some(token)) => {
                let more = fetcher.get(userinfo, Some(token)).await?;
                if more["sub"].as_str() != Some(subject) {
                    return Err(untrue("it tells about somebody else"));
                }
                more
            }
            _ => Value::Null,
        };
        let word = |key: &str| {
            let of = |claims: &Value| match &claims[key] {
                Value::String(text) => Some(text.clone()),
                Value::Array(all) => {
                    let all: Vec<&str> = all.iter().filter_map(Value::as_str).take(4).collect();
                    (!all.is_empty()).then(|| all.join(", "))
                }
                _ => None,
            };
            of(&claims).or_else(|| of(&more)).map(|text| text.trim().chars().take(LONGEST_WORD).collect::<String>())
        };
        let visas = [&more, &claims].into_iter().find_map(|claims| claims["ga4gh_passport_v1"].as_array());
        Ok(Identity {
            subject: subject.to_owned(),
            name: word("name").filter(|name| !name.is_empty()),
            affiliation: word("eduperson_scoped_affiliation").or_else(|| word("schac_home_organization")),
            visas: visas.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }

    /// OpenID Connect Core §3.1.3.7.
    fn check(&self, claims: &Value, nonce: &str, now: Timestamp) -> Result<(), AccessError> {
        let now = now.unix_s();
        if claims["iss"].as_str() != Some(self.login.issuer.as_str()) {
            return Err(untrue("the ID token is of another issuer"));
        }
        let own = self.login.client_id.as_str();
        let (is_for, several) = match &claims["aud"] {
            Value::String(one) => (one == own, false),
            Value::Array(all) => (all.iter().any(|one| one == own), all.len() > 1),
            _ => (false, false),
        };
        if !is_for {
            return Err(untrue("the ID token is for another node"));
        }
        match claims["azp"].as_str() {
            Some(party) if party != own => return Err(untrue("the ID token is for another node")),
            None if several => return Err(untrue("the ID token does not say for whom of several it is")),
            _ => {}
        }
        if claims["nonce"].as_str() != Some(nonce) {
            return Err(untrue("the ID token is of another login"));
        }
        let (Some(until), Some(at)) = (claims["exp"].as_i64(), claims["iat"].as_i64()) else {
            return Err(untrue("the ID token does not say when it ends"));
        };
        if until.saturating_add(LEEWAY_S) < now {
            return Err(untrue("the ID token has ended"));
        }
        if at > now.saturating_add(LEEWAY_S) || at.saturating_add(OLDEST_S) < now {
            return Err(untrue("the ID token is not of now; compare the clocks"));
        }
        if claims["nbf"].as_i64().is_some_and(|from| from > now.saturating_add(LEEWAY_S)) {
            return Err(untrue("the ID token does not count yet"));
        }
        Ok(())
    }
}
