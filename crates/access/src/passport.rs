//! GA4GH passports: visas that others issue are checked, and the node issues visas about what it granted itself.
//!
//! Source: GA4GH Passport 1.2 and AAI OIDC Profile 1.2. A visa counts only from an issuer that the settings name, with its keys from where the
//! settings say, and never from where the visa says. What is not understood denies.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::DuoTerm;
use acequia_hub::PublishedVersion;
use acequia_hub::wire::plural;
use acequia_types::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::AccessError;
use crate::fetch::{Fetcher, KeyRing, safe_url};
use crate::jose::{ES256, Signed};
use crate::readers::{About, Outcome, ReaderId, Record, decidable, digest_of, kept};
use crate::session::random;

/// Most visas of a passport that are looked at.
const MOST_VISAS: usize = 100;
/// How far two clocks may be apart, in seconds.
const LEEWAY_S: i64 = 60;
/// How long a visa of this node counts, in seconds: who revokes a grant waits so long at most for others to follow.
const VISA_S: i64 = 3600;
/// What says that somebody is a bona fide researcher (Dyke et al., European Journal of Human Genetics 2018), as visas name it.
pub(crate) const BONA_FIDE: &str = "https://doi.org/10.1038/s41431-018-0219-y";
/// Longest pattern of a condition, and the longest text it is held against.
const LONGEST_PATTERN: usize = 1024;

/// An issuer of visas that is believed, as the settings have it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The claim `iss` of its visas.
    pub issuer: String,
    /// Where its keys are: the header `jku` of its visas.
    pub keys: String,
    /// The claim `source` of visas that count; all when empty.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Whether its word that people granted access counts (`ControlledAccessGrants`): it decides as the trustee does.
    #[serde(default)]
    pub grants: bool,
    /// `https://host` of nodes of whose data sets, mirrored here, its visas speak; those of this node always are.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Policies that readers accepted with it, by their addresses, and the DUO terms that whoever accepted one keeps.
    #[serde(default)]
    pub policies: BTreeMap<String, BTreeSet<DuoTerm>>,
}

struct Trusted {
    stated: TrustedIssuer,
    keys: Url,
    ring: KeyRing,
}

/// The issuers that are believed.
pub(crate) struct Trust {
    all: Vec<Trusted>,
    /// `https://host` of this node, for which passports and visas may be made out.
    own: String,
}

/// A visa whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visa {
    /// Place of its issuer among the trusted ones.
    issuer: usize,
    subject: String,
    body: Body,
    from_s: i64,
    until_s: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    asserted: i64,
    value: String,
    source: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    conditions: Option<Vec<Vec<Condition>>>,
}

/// What another visa must say. Fields that are not known make the visa unreadable, which denies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

const fn refused(what: &'static str) -> AccessError {
    AccessError::Provider { what }
}

impl Visa {
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        now.unix_s() < self.until_s && self.from_s <= now.unix_s().saturating_add(LEEWAY_S)
    }
}

impl Trust {
    pub(crate) fn new(issuers: Vec<TrustedIssuer>, own: &str) -> Result<Self, AccessError> {
        let trusted = |stated: TrustedIssuer| {
            let keys = safe_url(&stated.keys)
                .ok_or(AccessError::Settings { what: "keys of a visa issuer must be an address of https" })?;
            if stated.issuer.is_empty() {
                return Err(AccessError::Settings { what: "a visa issuer has no issuer" });
            }
            Ok(Trusted { stated, keys, ring: KeyRing::default() })
        };
        Ok(Self { all: issuers.into_iter().map(trusted).collect::<Result<_, _>>()?, own: own.to_owned() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The claims of something that a trusted issuer signed and that counts now, and whose it is.
    async fn claims(
        &self,
        fetcher: &Fetcher,
        text: &str,
        visa: bool,
        now: Timestamp,
    ) -> Result<(usize, Value), AccessError> {
        let signed = Signed::parse(text).map_err(|why| refused(why.0))?;
        let issuer = signed.said_issuer().unwrap_or_default();
        let jku = signed.jku.as_deref();
        // The same issuer may be listed with two places of keys.
        let place = self.all.iter().position(|own| {
            own.stated.issuer == issuer
                && match jku {
                    Some(jku) => jku == own.stated.keys,
                    // A visa names the place of its keys; a passport may leave it out.
                    None => !visa,
                }
        });
        let place = place.ok_or(refused("it is of no issuer that is trusted here"))?;
        let own = &self.all[place];
        let claims = own.ring.verified(fetcher, &own.keys, text).await?;
        let (Some(until), Some(at)) = (claims["exp"].as_i64(), claims["iat"].as_i64()) else {
            return Err(refused("it does not say when it ends"));
        };
        let latest = now.unix_s().saturating_add(LEEWAY_S);
        if until <= now.unix_s() || at > latest || claims["nbf"].as_i64().is_some_and(|from| from > latest) {
            return Err(refused("it does not count now"));
        }
        // What was made out for somebody else is not for this node (RFC 7519 §4.1.3).
        let is_for = match &claims["aud"] {
            Value::Null => true,
            Value::String(one) => *one == self.own,
            Value::Array(all) => all.iter().any(|one| one == self.own.as_str()),
            _ => false,
        };
        if !is_for {
            return Err(refused("it is for somebody else"));
        }
        Ok((place, claims))
    }

    /// A visa, if a trusted issuer signed it and it counts now.
    async fn visa(&self, fetcher: &Fetcher, text: &str, now: Timestamp) -> Result<Visa, AccessError> {
        let (issuer, claims) = self.claims(fetcher, text, true, now).await?;
        let body = Body::deserialize(&claims["ga4gh_visa_v1"]).map_err(|_| refused("the visa cannot be read"))?;
        let subject = claims["sub"].as_str().filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(refused("the visa does not say whose it is"))?;
        let sources = &self.all[issuer].stated.sources;
        if !sources.is_empty() && !sources.contains(&body.source) {
            return Err(refused("the source of the visa is not trusted here"));
        }
        if body.asserted > now.unix_s().saturating_add(LEEWAY_S) {
            return Err(refused("the visa says what is still to come"));
        }
        let (from_s, until_s) = (body.asserted, claims["exp"].as_i64().unwrap_or_default());
        Ok(Visa { issuer, subject: subject.to_owned(), body, from_s, until_s })
    }

    /// The visas among these that count, of the person whom `subject` means. Others are left out.
    pub(crate) async fn visas(&self, fetcher: &Fetcher, texts: &[String], subject: &str, now: Timestamp) -> Vec<Visa> {
        let mut good = Vec::new();
        for text in texts.iter().take(MOST_VISAS) {
            match self.visa(fetcher, text, now).await {
                Ok(visa) => good.push(visa),
                // Of an issuer that is not trusted there may be many; neither the visa nor its holder belongs in a log.
                Err(error) => tracing::debug!("a visa does not count: {error}"),
            }
        }
        self.of_person(good, subject)
    }

    /// Those of one person: by the same name, or by a name that a visa of hers links to it.
    fn of_person(&self, all: Vec<Visa>, subject: &str) -> Vec<Visa> {
        let mut own: BTreeSet<(Option<String>, String)> = BTreeSet::from([(None, subject.to_owned())]);
        let is_own = |own: &BTreeSet<(Option<String>, String)>, visa: &Visa| {
            own.contains(&(None, visa.subject.clone()))
                || own.contains(&(Some(self.all[visa.issuer].stated.issuer.clone()), visa.subject.clone()))
        };
        // Links may lead to links; each round takes one step.
        for _ in 0..4 {
            let linked = all.iter().filter(|visa| visa.body.kind == "LinkedIdentities" && is_own(&own, visa));
            // `sub,iss;sub,iss`, percent-encoded (Passport 1.2, LinkedIdentities).
            let pairs = linked.flat_map(|visa| visa.body.value.split(';')).filter_map(|pair| {
                let (subject, issuer) = pair.split_once(',')?;
                let plain = |text: &str| acequia_hub::wire::percent_decoded(text);
                Some((Some(plain(issuer)?), plain(subject)?))
            });
            let pairs: Vec<_> = pairs.take(MOST_VISAS).collect();
            own.extend(pairs);
        }
        all.into_iter().filter(|visa| is_own(&own, visa)).collect()
    }

    /// The visas of a passport: a token of a trusted issuer with visas in it, all of one person.
    pub(crate) async fn passport(
        &self,
        fetcher: &Fetcher,
        text: &str,
        now: Timestamp,
    ) -> Result<Vec<Visa>, AccessError> {
        let (_, claims) = self.claims(fetcher, text, false, now).await?;
        let subject = claims["sub"].as_str().ok_or(refused("the passport does not say whose it is"))?;
        let texts = claims["ga4gh_passport_v1"].as_array().ok_or(refused("the passport has no visas"))?;
        let texts: Vec<String> = texts.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(self.visas(fetcher, &texts, subject, now).await)
    }

    /// Whether a value is the address of something of this name: here, or at a node of which the issuer speaks.
    fn names(&self, visa: &Visa, own: &str, path: &str) -> bool {
        let addresses = self.all[visa.issuer].stated.addresses.iter().map(|address| address.trim_end_matches('/'));
        let mut all = addresses.chain([own]);
        all.any(|address| visa.body.value.strip_prefix(address) == Some(path))
    }

    /// Whether all conditions of a visa are met by the others (Passport 1.2, `conditions`: one of the lists, all in it).
    fn holds(&self, visa: &Visa, all: &[Visa], now: Timestamp) -> bool {
        holds(visa, all, now, MOST_STEPS)
    }

    /// Whether visas open the rows of a version. `own` is the address of this node.
    pub(crate) fn admits(&self, visas: &[Visa], version: &PublishedVersion, own: &str, now: Timestamp) -> bool {
        let manifest = version.manifest();
        let path = format!("/{}/{}", plural(manifest.artefact), manifest.dataset);
        let good = |visa: &&Visa| visa.counts(now) && self.holds(visa, visas, now);
        let of_kind = |kind: &'static str| visas.iter().filter(good).filter(move |visa| visa.body.kind == kind);
        // A grant is about terms: those that it names, or those that a version had when it was made.
        let under_terms = format!("{path}?terms={}", digest_of(&manifest.terms));
        let is_about = |visa: &Visa| {
            self.names(visa, own, &under_terms)
                || (self.names(visa, own, &path) && visa.from_s >= version.published_at().unix_s())
        };
        let granted = decidable(&manifest.terms)
            && of_kind("ControlledAccessGrants").any(|visa| {
                self.all[visa.issuer].stated.grants && visa.body.by.as_deref() == Some("dac") && is_about(visa)
            });
        if granted {
            return true;
        }
        if manifest.terms.tier() != acequia_custody::Tier::Registered {
            return false;
        }
        // Registered access: a researcher by the word of an institution, who accepted what the rows are given under.
        let researcher = of_kind("ResearcherStatus")
            .any(|visa| visa.body.value == BONA_FIDE && matches!(visa.body.by.as_deref(), Some("so" | "system")));
        let own_terms = format!("{path}/access?terms={}", digest_of(&manifest.terms));
        let mut accepted = BTreeSet::new();
        for visa in of_kind("AcceptedTermsAndPolicies") {
            if self.names(visa, own, &own_terms) {
                accepted.extend(manifest.terms.duo.iter().copied());
            }
            accepted.extend(self.all[visa.issuer].stated.policies.get(&visa.body.value).into_iter().flatten().copied());
        }
        researcher && kept(version, &accepted)
    }
}

/// Visas that stand on one another, at most.
const MOST_STEPS: u8 = 4;

/// Whether a visa stands: one list of its conditions is met by others that stand themselves.
fn holds(visa: &Visa, all: &[Visa], now: Timestamp, steps: u8) -> bool {
    let Some(lists) = &visa.body.conditions else { return true };
    let met = |condition: &Condition| {
        all.iter().any(|other| {
            other != visa && other.counts(now) && meets(condition, &other.body) && holds(other, all, now, steps - 1)
        })
    };
    steps > 0 && lists.iter().any(|list| !list.is_empty() && list.iter().all(met))
}

fn meets(condition: &Condition, visa: &Body) -> bool {
    let field = |wanted: &Option<String>, found: Option<&str>| match wanted {
        None => true,
        Some(wanted) => found.is_some_and(|found| matches_text(wanted, found)),
    };
    // A condition that asks for nothing but a type is none that anybody meant.
    let asks = condition.value.is_some() || condition.source.is_some() || condition.by.is_some();
    asks && condition.kind == visa.kind
        && field(&condition.value, Some(&visa.value))
        && field(&condition.source, Some(&visa.source))
        && field(&condition.by, visa.by.as_deref())
}

/// `const:`, `pattern:` with `?` and `*`, and `split_pattern:` over parts between semicolons; anything else matches nothing.
fn matches_text(wanted: &str, found: &str) -> bool {
    match wanted.split_once(':') {
        Some(("const", text)) => text == found,
        Some(("pattern", pattern)) => fits(pattern, found),
        Some(("split_pattern", pattern)) => found.split(';').any(|part| fits(pattern, part)),
        _ => false,
    }
}

/// Whether a text fits a pattern with `?` for one character and `*` for any number of them.
fn fits(pattern: &str, text: &str) -> bool {
    if pattern.len() > LONGEST_PATTERN || text.len() > LONGEST_PATTERN {
        return false;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where the last star was, and how much of the text it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(one) if *one == '?' || *one == text[here] => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((place, swallowed)) => {
                    star = Some((place, swallowed + 1));
                    at = place + 1;
                    here = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

/// Signs visas and passports of this node.
pub(crate) struct Issuer {
    key: SigningKey,
    kid: String,
    /// `https://host` of this node, which is the issuer's name.
    address: String,
}

impl Issuer {
    /// The key follows from a secret of the node.
    pub(crate) fn new(secret: &[u8; 32], address: &str) -> Result<Self, AccessError> {
        let key = SigningKey::from_slice(secret).map_err(|_| AccessError::Randomness)?;
        let mut own = Self { key, kid: String::new(), address: address.to_owned() };
        let named = own.public();
        // The thumbprint of RFC 7638: members in the order of their names.
        let print = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":{},\"y\":{}}}", named["x"], named["y"]);
        own.kid = URL_SAFE_NO_PAD.encode(acequia_types::Digest::of(print.as_bytes()).as_bytes());
        Ok(own)
    }

    fn public(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        json!({
            "kty": "EC", "crv": "P-256", "alg": ES256, "use": "sig", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]), "y": URL_SAFE_NO_PAD.encode(&bytes[33..65]),
        })
    }

    /// The set of keys that others check with.
    pub(crate) fn keys(&self) -> Value {
        json!({ "keys": [self.public()] })
    }

    fn signed(&self, kind: &str, claims: &Value) -> String {
        let header = json!({
            "alg": ES256, "typ": kind, "kid": self.kid, "jku": format!("{}/ga4gh/jwks.json", self.address),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let signature: Signature = self.key.sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// Visas about what a reader promised and was granted, for those of `versions` that it counts for.
    pub(crate) fn visas(
        &self,
        (reader, record): (&ReaderId, &Record),
        versions: &[std::sync::Arc<PublishedVersion>],
        now: Timestamp,
    ) -> Result<Vec<String>, AccessError> {
        let mut visas = Vec::new();
        let mut visa = |kind: &str, value: String, by: &str, at: Timestamp, until_s: i64| {
            let claims = json!({
                "iss": self.address, "sub": reader.as_str(), "jti": random()?, "iat": now.unix_s(),
                "exp": until_s.min(now.unix_s() + VISA_S),
                "ga4gh_visa_v1": { "type": kind, "asserted": at.unix_s(), "value": value, "source": self.address, "by": by },
            });
            visas.push(self.signed("vnd.ga4gh.visa+jwt", &claims));
            Ok::<_, AccessError>(())
        };
        for version in versions {
            let manifest = version.manifest();
            let path = format!("{}/{}/{}", self.address, plural(manifest.artefact), manifest.dataset);
            if !record.admits(version, now) {
                continue;
            }
            if let Some(until) = record.granted(version, now) {
                let about = About::of(version);
                let decided = record
                    .requests()
                    .iter()
                    .filter(|request| request.about.terms == about.terms && request.about.name == about.name);
                let at = decided.filter_map(|request| match request.outcome {
                    Outcome::Granted { at, .. } => Some(at),
                    _ => None,
                });
                let value = format!("{path}?terms={}", digest_of(&manifest.terms));
                visa("ControlledAccessGrants", value, "dac", at.max().unwrap_or(now), until.unix_s())?;
            }
            if let Some(at) = record.promised(version) {
                let value = format!("{path}/access?terms={}", digest_of(&manifest.terms));
                visa("AcceptedTermsAndPolicies", value, "self", at, i64::MAX)?;
            }
        }
        Ok(visas)
    }

    /// A passport with these visas in it.
    pub(crate) fn passport(&self, reader: &ReaderId, visas: &[String], now: Timestamp) -> Result<String, AccessError> {
        let claims = json!({
            "iss": self.address, "sub": reader.as_str(), "jti": random()?, "iat": now.unix_s(),
            "exp": now.unix_s() + VISA_S, "ga4gh_passport_v1": visas,
        });
        Ok(self.signed("vnd.ga4gh.passport+jwt", &claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_conditions() {
        for (pattern, text, expected) in [
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("*b*", "abc", true),
            ("a**c", "ac", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(600), &"a".repeat(1000)), "too long to be tried");
        assert!(matches_text("const:a", "a") && !matches_text("a", "a") && !matches_text("new:a", "a"));
        assert!(matches_text("split_pattern:b*", "a;bc") && !matches_text("pattern:b*", "a;bc"));
    }
}
