//! Who may read what is not open. The hub knows no users: a router in front of it says what a request may read.

use std::sync::Arc;

use acequia_custody::Tier;
use axum::http::Extensions;

use crate::PublishedVersion;
use crate::catalogue::{MANIFEST, plural};
use crate::refusal::Refusal;

/// Files that describe a version and hold nobody's row. They are open whatever the terms are; everything else is not.
const DESCRIBING: [&str; 7] =
    ["README.md", MANIFEST, "croissant.json", "dictionary.json", "statistics.json", "risk.json", "diversity.json"];

/// What a router in front of the hub found out about who asks, to be put into the extensions of the request. Without one, a request
/// reads what is open.
#[derive(Clone)]
pub struct Reader(pub Arc<dyn Admits>);

/// Says of each version whether somebody may read it.
pub trait Admits: Send + Sync {
    /// Whether the rows of a version that is not open may be read.
    fn admits(&self, version: &PublishedVersion) -> Admission;

    /// What opens the rows of this version, and of others of its name, at addresses that are read without the client's own token, as those of
    /// xorbs are: for some hours, and no longer than the reader is admitted. Nothing for who asks by something that has no such pass.
    fn pass(&self, _version: &PublishedVersion) -> Option<String> {
        None
    }
}

/// Whether the rows of a version may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// They may.
    Granted,
    /// Nobody is signed in.
    Unknown,
    /// Who is signed in has not promised, or was not granted, what its terms ask for.
    Refused,
}

/// Whether this file of a version may be read by anybody.
pub(crate) fn is_open(version: &PublishedVersion, path: &str) -> bool {
    version.tier() == Tier::Open || DESCRIBING.contains(&path)
}

/// Lets a request read the rows of a version, or not.
///
/// # Errors
/// [`Refusal::SignIn`], [`Refusal::NotAdmitted`].
pub(crate) fn admit(version: &PublishedVersion, asked: &Extensions) -> Result<(), Refusal> {
    if version.tier() == Tier::Open {
        return Ok(());
    }
    let page = page(version);
    match asked.get::<Reader>().map_or(Admission::Unknown, |reader| reader.0.admits(version)) {
        Admission::Granted => Ok(()),
        Admission::Unknown => Err(Refusal::SignIn { page }),
        Admission::Refused => Err(Refusal::NotAdmitted { page }),
    }
}

/// Path of the page that says how to get access.
pub(crate) fn page(version: &PublishedVersion) -> String {
    format!("/{}/{}/access", plural(version.artefact()), version.manifest().dataset)
}

/// Who may read the rows of a tier, as pages and facets say it.
pub(crate) const fn in_words(tier: Tier) -> &'static str {
    match tier {
        Tier::Open => "everybody",
        Tier::Registered => "who signs in and promises",
        Tier::Controlled => "who was granted access",
    }
}

/// The values of the facet that are meant by the parameter `gated` of Hub clients.
pub(crate) fn meant(gated: bool) -> impl Iterator<Item = &'static str> {
    let tiers = [Tier::Open, Tier::Registered, Tier::Controlled].into_iter();
    tiers.filter(move |tier| (*tier != Tier::Open) == gated).map(in_words)
}

/// What Hub clients call the tier.
pub(crate) fn gated(version: &PublishedVersion) -> serde_json::Value {
    match version.tier() {
        Tier::Open => false.into(),
        Tier::Registered => "auto".into(),
        Tier::Controlled => "manual".into(),
    }
}
