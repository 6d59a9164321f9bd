//! The page of a version that is not served any more: what it was, why it is gone, what is in its place.
//!
//! It keeps what others may have cited (reference design §3.6(5)): name, title, licence, checksum. It holds nothing of the data.

use acequia_gate::Artefact;
use maud::html;

use super::{document, version_path};
use crate::PublishedVersion;
use crate::catalogue::{Repository, TakenDownVersion};

/// The page, to be answered with status 410.
pub(crate) fn tombstone(dataset: &Repository, version: &PublishedVersion, down: &TakenDownVersion) -> String {
    let manifest = version.manifest();
    let successor = dataset.successor(down, version);
    let newest = Some(dataset.newest()).filter(|newest| newest.tombstone().is_none());
    let newest = newest.filter(|newest| successor.is_none_or(|next| next.commit() != newest.commit()));
    let (what, list) = match version.artefact() {
        Artefact::Dataset => ("data set", "/"),
        Artefact::Model => ("model", "/models"),
    };
    let main = html! {
        div.frame.narrow {
            p.eyebrow { "Version " (manifest.version) " · not served any more" }
            h1 { (manifest.title) }
            p.lead { "This version was taken down on " (down.at.day()) ". " (down.reason) }
            @if let Some(mirrored) = version.origin() { p { "It was published by " (super::origin(mirrored)) ", and mirrored here." } }
            @if let Some(next) = successor {
                p { "In its place is " a href=(version_path(next)) { "version " (next.manifest().version) } "." }
            }
            @match newest {
                Some(newest) => {
                    p { "The newest version that is served is " a href=(version_path(newest)) { "version " (newest.manifest().version) } "." }
                }
                None if successor.is_none() => { p { "No version of this " (what) " is served any more." } }
                None => {}
            }
            p { "Copies that were downloaded before cannot be called back. Whoever has one is asked to delete it." }
            dl.facts {
                dt { "Name" } dd { (manifest.dataset) }
                dt { "Version" } dd { (manifest.version) }
                dt { "Published" } dd { (version.published_at().day()) }
                dt { "Licence" } dd { (manifest.license) }
                dt { "SHA-256 of its manifest" } dd { code { (version.digest()) } }
            }
            p { a href=(list) { "See all " (what) "s" } }
        }
    };
    let title = format!("{} {} · not served any more · Acequia", manifest.title, manifest.version);
    // Found again under its name by those who cite it, but nothing for an index of data.
    let head = html! { meta name="robots" content="noindex"; };
    document(&title, "This version is not served any more.", &head, &main)
}
