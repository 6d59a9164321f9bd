//! Who belongs to the network: a signed document of names, keys, roles and addresses. Nobody else is heard.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use acequia_learn::{Signatures, Vouching};
use acequia_types::{Day, Digest, digest_named};
use iroh::RelayUrl;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::identity::{Identity, MemberKey};

const SCHEMA: &str = "acequia-roster/1";
const PURPOSE: &str = "acequia roster 1";
/// Relays, and authorities of their certificates, of one network at most.
const RELAYS_MAX: usize = 16;
/// Length of the certificate of an authority at most, in bytes of PEM.
const AUTHORITY_BYTES_MAX: usize = 16 << 10;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Holds rows and answers runs.
    Site,
    /// Offers runs, and goes from one round to the next.
    Coordinator,
    /// Adds up shares of sums.
    Aggregator,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Coordinator => "coordinator",
            Self::Aggregator => "aggregator",
        }
    }
}

/// An organisation with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Short name, of small letters, digits and hyphens.
    pub name: String,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its public key.
    pub key: MemberKey,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where it can be reached, `host:port` over UDP; a site needs none, it dials out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Where its catalogue is asked for, `host:port` over UDP; without it the member tells nobody what it published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
    /// Where people read its pages, `http(s)://host[:port]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
}

/// Whether it is `host:port`.
fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    port.and_then(|(_, port)| port.parse::<u16>().ok()).is_some_and(|port| port != 0)
}

/// Whether it is `http(s)://host[:port]`, which becomes part of pages.
fn is_web(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | ':' | '[' | ']');
    !host.is_empty() && host.len() <= 253 && host.chars().all(plain)
}

/// Whether it is `https://host[:port]`. What goes through a relay is encrypted between members; that it is a relay which they know is not.
fn is_relay(text: &str) -> bool {
    let bare = text.strip_suffix('/').unwrap_or(text);
    bare.starts_with("https://") && is_web(bare) && text.parse::<RelayUrl>().is_ok()
}

/// A certificate in PEM, which an authority of relays has.
fn authority(pem: &str) -> Option<CertificateDer<'static>> {
    let der = (pem.len() <= AUTHORITY_BYTES_MAX).then(|| CertificateDer::from_pem_slice(pem.as_bytes()).ok())??;
    rustls::RootCertStore::empty().add(der.clone()).is_ok().then_some(der)
}

/// The certificates of a PEM file, one by one, as a roster has them.
///
/// # Errors
/// [`NetError::Roster`] when there is none, or one cannot be read.
pub fn authorities_of_pem(text: &str) -> Result<Vec<String>, NetError> {
    const ENDS: (&str, &str) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(ENDS.0) {
        let end = rest[begin..].find(ENDS.1).ok_or_else(|| wrong("the certificate of an authority breaks off"))?;
        let end = begin + end + ENDS.1.len();
        found.push(rest[begin..end].to_owned());
        rest = &rest[end..];
    }
    if found.is_empty() || !found.iter().all(|pem| authority(pem).is_some()) {
        return Err(wrong("the certificate of an authority of relays is not one in PEM"));
    }
    Ok(found)
}

/// The roster before somebody signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Layout of this document: `acequia-roster/1`.
    pub schema: String,
    /// What the network is for, in a sentence.
    pub title: String,
    /// Last day on which it is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Day>,
    /// Relays of the network's own (addresses with https), for members who cannot reach one another directly. None are used
    /// besides these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<String>,
    /// Certificates (PEM) of authorities whose word about a relay's certificate is believed, beside that of those whom browsers believe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relay_authorities: Vec<String>,
    /// The members.
    pub members: Vec<Member>,
}

/// A roster with the signature of whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    roster: Members,
    signed_by: MemberKey,
    signature: String,
}

fn wrong(message: impl Into<String>) -> NetError {
    NetError::Roster { message: message.into() }
}

impl Member {
    /// Reads a card: what a member says of itself.
    ///
    /// # Errors
    /// [`NetError::Roster`] with the line.
    pub fn from_json(text: &str) -> Result<Self, NetError> {
        let card: Self =
            serde_json::from_str(text).map_err(|error| wrong(format!("a card, line {}: {error}", error.line())))?;
        card.check()?;
        Ok(card)
    }

    /// As JSON, with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Whether it can be a member.
    ///
    /// # Errors
    /// [`NetError::Roster`].
    pub fn check(&self) -> Result<(), NetError> {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(wrong("a name is of at most 64 small letters, digits and hyphens"));
        }
        if !self.addresses.iter().chain(&self.catalogue).all(|address| is_address(address)) {
            return Err(wrong(format!("an address of {} is not host:port", self.name)));
        }
        if !self.web.iter().all(|web| is_web(web)) {
            return Err(wrong(format!("the pages of {} are not at http(s)://host[:port]", self.name)));
        }
        Ok(())
    }
}

/// Where a member listens that others dial at `address`, `host:port`: at its port, on loopback where that is loopback.
pub fn listens_at(address: &str) -> SocketAddr {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let literal = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    literal.unwrap_or(SocketAddr::from((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)))
}

impl Members {
    /// A roster of these members.
    ///
    /// # Errors
    /// [`NetError::Roster`] with the member that contradicts another.
    pub fn new(
        title: &str,
        members: Vec<Member>,
        last_day: Option<Day>,
        relays: Vec<String>,
    ) -> Result<Self, NetError> {
        let (schema, title, relay_authorities) = (SCHEMA.to_owned(), title.to_owned(), Vec::new());
        let roster = Self { schema, title, last_day, relays, relay_authorities, members };
        roster.check()?;
        Ok(roster)
    }

    /// The same with authorities (PEM) of the certificates of its relays; see [`authorities_of_pem`].
    ///
    /// # Errors
    /// [`NetError::Roster`].
    pub fn with_relay_authorities(mut self, authorities: Vec<String>) -> Result<Self, NetError> {
        self.relay_authorities = authorities;
        self.check()?;
        Ok(self)
    }

    /// The certificates of authorities of relays.
    pub(crate) fn authorities(&self) -> Vec<CertificateDer<'static>> {
        self.relay_authorities.iter().filter_map(|pem| authority(pem)).collect()
    }

    /// Where the relays are.
    pub(crate) fn relay_urls(&self) -> Vec<RelayUrl> {
        self.relays.iter().filter_map(|relay| relay.parse().ok()).collect()
    }

    fn check(&self) -> Result<(), NetError> {
        if self.schema != SCHEMA {
            return Err(wrong(format!("schema is not {SCHEMA}")));
        }
        if !self.relays.iter().all(|relay| is_relay(relay)) {
            return Err(wrong("a relay is not at https://host[:port]"));
        }
        if !self.relay_authorities.iter().all(|pem| authority(pem).is_some()) {
            return Err(wrong("the certificate of an authority of relays is not one in PEM"));
        }
        if self.relays.len() > RELAYS_MAX || self.relay_authorities.len() > RELAYS_MAX {
            return Err(wrong(format!("more than {RELAYS_MAX} relays or authorities of them")));
        }
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            member.check()?;
            // Two names of one key could be two sites of one organisation, and a sum over both that of one alone.
            if !names.insert(&member.name) || !keys.insert(member.key) {
                return Err(wrong(format!("{} or its key stands there twice", member.name)));
            }
            let reachable = [Role::Coordinator, Role::Aggregator];
            if member.addresses.is_empty()
                && self.relays.is_empty()
                && reachable.iter().any(|role| member.roles.contains(role))
            {
                return Err(wrong(format!("{} needs an address: others dial it", member.name)));
            }
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        digest_named(PURPOSE, [("members", bytes.as_slice())])
    }

    /// Signs it.
    pub fn sign(self, identity: &Identity) -> Roster {
        let signature = identity.sign(PURPOSE, &self.digest());
        Roster { signed_by: identity.key(), signature, roster: self }
    }
}

impl Roster {
    /// Reads a signed roster, and believes it if `signer` signed it.
    ///
    /// # Errors
    /// [`NetError::Roster`] when it cannot be read, [`NetError::Untrusted`] when it is not believed.
    pub fn from_json(text: &str, signer: &MemberKey) -> Result<Self, NetError> {
        let signed: Self =
            serde_json::from_str(text).map_err(|error| wrong(format!("line {}: {error}", error.line())))?;
        signed.roster.check()?;
        if signed.signed_by != *signer {
            return Err(NetError::Untrusted { reason: "another key signed it than the one to be trusted" });
        }
        if !signer.verifies(PURPOSE, &signed.digest(), &signed.signature) {
            return Err(NetError::Untrusted { reason: "it was changed after it was signed" });
        }
        Ok(signed)
    }

    /// Whether it is still believed.
    ///
    /// # Errors
    /// [`NetError::Untrusted`] after its last day.
    pub fn valid_on(&self, day: Day) -> Result<(), NetError> {
        match self.roster.last_day {
            Some(last) if last < day => Err(NetError::Untrusted { reason: "its last day has passed" }),
            _ => Ok(()),
        }
    }

    /// As JSON, with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Names it: everything said in a run is bound to it.
    pub fn digest(&self) -> Digest {
        self.roster.digest()
    }

    /// The document.
    pub fn document(&self) -> &Members {
        &self.roster
    }

    /// Who signed it.
    pub fn signed_by(&self) -> MemberKey {
        self.signed_by
    }

    /// Members that do this, in the order of names.
    pub fn with_role(&self, role: Role) -> Vec<&Member> {
        let mut members: Vec<&Member> =
            self.roster.members.iter().filter(|member| member.roles.contains(&role)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Members that tell what they published, in the order of names.
    pub fn publishers(&self) -> Vec<&Member> {
        let mut members: Vec<&Member> =
            self.roster.members.iter().filter(|member| member.catalogue.is_some()).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// A member by name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.roster.members.iter().find(|member| member.name == name)
    }

    /// A member by key.
    pub fn of_key(&self, key: &MemberKey) -> Option<&Member> {
        self.roster.members.iter().find(|member| member.key == *key)
    }

    /// A member of this name that does this.
    ///
    /// # Errors
    /// [`NetError::NotAMember`].
    pub fn expect(&self, name: &str, role: Role) -> Result<&Member, NetError> {
        self.named(name)
            .filter(|member| member.roles.contains(&role))
            .ok_or_else(|| NetError::NotAMember { who: name.to_owned(), role: role.as_str() })
    }
}

/// What a site's signature is for that goes to other sites by way of the coordinator.
const DOUBLE_MASKING: &str = "acequia double masking 1";

impl Signatures for Roster {
    fn has_signed(&self, site: &str, statement: &Digest, signature: &str) -> bool {
        self.expect(site, Role::Site).is_ok_and(|member| member.key.verifies(DOUBLE_MASKING, statement, signature))
    }
}

/// A site that signs what it says to others by way of the coordinator.
pub(crate) struct Signer {
    pub(crate) identity: Identity,
    pub(crate) roster: Arc<Roster>,
}

impl Signatures for Signer {
    fn has_signed(&self, site: &str, statement: &Digest, signature: &str) -> bool {
        self.roster.has_signed(site, statement, signature)
    }
}

impl Vouching for Signer {
    fn sign(&self, statement: &Digest) -> String {
        self.identity.sign(DOUBLE_MASKING, statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(folder: &std::path::Path, name: &str) -> Identity {
        Identity::open_or_create(&folder.join(name)).unwrap()
    }

    #[test]
    fn only_what_the_trusted_key_signed_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, north) = (identity(folder.path(), "keeper"), identity(folder.path(), "north"));
        let card = |name: &str, identity: &Identity, roles: &[Role], address: Option<&str>| Member {
            name: name.to_owned(),
            title: None,
            key: identity.key(),
            roles: roles.iter().copied().collect(),
            addresses: address.map(str::to_owned).into_iter().collect(),
            catalogue: None,
            web: None,
        };
        let trustee = card("trustee", &keeper, &[Role::Coordinator, Role::Aggregator], Some("localhost:7700"));
        let site = card("north", &north, &[Role::Site], None);
        assert_eq!(Member::from_json(&trustee.to_json()).unwrap(), trustee);
        let of = |members: &[&Member]| {
            let members = members.iter().copied().cloned().collect();
            Members::new("A network", members, acequia_types::parse_day("2027-12-31"), Vec::new())
        };
        let signed = of(&[&trustee, &site]).unwrap().sign(&keeper);
        let json = signed.to_json();
        let read = Roster::from_json(&json, &keeper.key()).unwrap();
        assert_eq!((&read, read.digest()), (&signed, signed.digest()));
        assert_eq!(read.of_key(&north.key()).unwrap().name, "north");
        assert!(read.expect("north", Role::Site).is_ok() && read.expect("north", Role::Coordinator).is_err());
        assert!(read.valid_on(acequia_types::parse_day("2027-12-31").unwrap()).is_ok());
        assert!(read.valid_on(acequia_types::parse_day("2028-01-01").unwrap()).is_err());
        assert!(matches!(Roster::from_json(&json, &north.key()), Err(NetError::Untrusted { .. })));
        let changed = json.replace("localhost:7700", "elsewhere:7700");
        assert!(matches!(Roster::from_json(&changed, &keeper.key()), Err(NetError::Untrusted { .. })));

        let said = |members: &[&Member]| of(members).unwrap_err().to_string();
        assert!(said(&[&site, &card("south", &north, &[Role::Site], None)]).contains("twice"));
        assert!(said(&[&card("South", &north, &[], None)]).contains("small letters"));
        assert!(said(&[&card("south", &north, &[Role::Site], Some(":1"))]).contains("host:port"));
        assert!(said(&[&card("south", &north, &[Role::Aggregator], None)]).contains("south needs an address"));
        let tells = |catalogue: &str, web: &str| {
            let (catalogue, web) = (Some(catalogue.to_owned()), Some(web.to_owned()));
            Member { catalogue, web, ..site.clone() }
        };
        let publisher = tells("catalogue.example:7720", "https://[::1]:8080");
        assert_eq!(of(&[&trustee, &publisher]).unwrap().sign(&keeper).publishers(), [&publisher]);
        assert!(signed.publishers().is_empty() && !site.to_json().contains("catalogue"));
        assert!(said(&[&tells("catalogue.example", "https://x")]).contains("host:port"));
        for web in ["", "https://", "javascript:alert(1)", "https://a/b", "https://a b", "https://a\"b", "ftp://a"] {
            assert!(said(&[&tells("catalogue.example:1", web)]).contains("pages of north"), "{web}");
        }
        assert_eq!(listens_at("127.0.0.1:7720").to_string(), "127.0.0.1:7720");
        assert_eq!(listens_at("catalogue.example:7720").to_string(), "0.0.0.0:7720");
        let short = site.to_json().replace(&north.key().to_string(), "00");
        assert!(Member::from_json(&short).unwrap_err().to_string().contains("64 hex digits"));
    }
}
