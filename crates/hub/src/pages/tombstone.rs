//! The page of a version that is not served any more: what it was, why it is gone, what is in its place.
//!
//! It keeps what others may have cited (reference design §3.6(5)): name, title, licence, checksum. It holds nothing of the data.

use maud::html;

use super::{document, version_path};
use crate::PublishedVersion;
use crate::catalogue::{Dataset, TakenDownVersion};

/// The page, to be answered with status 410.
pub(crate) fn tombstone(dataset: &Dataset, version: &PublishedVersion, down: &TakenDownVersion) -> String {
    let manifest = version.manifest();
    let named = |wanted: &str| dataset.revision(wanted).filter(|other| other.commit() != version.commit());
    let successor = down.successor.as_deref().and_then(named);
    let newest = Some(dataset.newest()).filter(|newest| newest.tombstone().is_none());
    let newest = newest.filter(|newest| successor.is_none_or(|next| next.commit() != newest.commit()));
    let main = html! {
        div.frame.narrow {
            p.eyebrow { "Version " (manifest.version) " · not served any more" }
            h1 { (manifest.title) }
            p.lead { "This version was taken down on " (down.at.day()) ". " (down.reason) }
            @if let Some(next) = successor {
                p {
                    "In its place is "
                    a href=(version_path(next)) { "version " (next.manifest().version) }
                    ". Please use that one, and delete your copies of this one."
                }
            } @else {
                p { "There is no version in its place. Please delete your copies." }
            }
            @if let Some(newest) = newest {
                p { "The newest version is " a href=(version_path(newest)) { (newest.manifest().version) } "." }
            }
            p { "Copies that were downloaded before cannot be called back; whoever has one is asked to let it go." }
            dl.facts {
                dt { "Data set" } dd { (manifest.dataset) }
                dt { "Version" } dd { (manifest.version) }
                dt { "Published" } dd { (version.published_at().day()) }
                dt { "Licence" } dd { (manifest.license) }
                dt { "SHA-256 of its manifest" } dd { code { (version.digest()) } }
            }
            p { a href="/" { "See all data sets" } }
        }
    };
    let title = format!("{} {} · not served any more · Acequia", manifest.title, manifest.version);
    // Found again under its name by those who cite it, but nothing for an index of data.
    let head = html! { meta name="robots" content="noindex"; };
    document(&title, "This version is not served any more.", &head, &main)
}
