//! Signposting (signposting.org/FAIR, level 2): typed links in the `Link` header, and all of them as a link set
//! (RFC 9264).

use serde_json::{Map, Value, json};

use super::{Description, Form, forms};
use crate::catalogue::is_large;
use crate::http::content_type;

/// Length of a `Link` header at which no more links are added: proxies pass 4 KiB of headers at least. The link set has
/// all of them.
const LONGEST_BYTES: usize = 3_000;

/// One typed link.
struct Link {
    relation: &'static str,
    target: String,
    media_type: Option<&'static str>,
    profile: Option<&'static str>,
}

fn links(described: Description<'_>) -> Vec<Link> {
    let plain = |relation, target| Link { relation, target, media_type: None, profile: None };
    let mut all = vec![
        plain("cite-as", described.iri()),
        plain(
            "type",
            if described.is_model() { "https://schema.org/SoftwareApplication" } else { "https://schema.org/Dataset" }
                .to_owned(),
        ),
        plain("type", "https://schema.org/AboutPage".to_owned()),
    ];
    for offered in forms(described.version.artefact()).filter(|offered| offered.form != Form::Linkset) {
        let (target, media_type) = (described.form_iri(offered.name), Some(offered.media_type));
        all.push(Link { relation: "describedby", target, media_type, profile: offered.profile });
    }
    let license = described.license_iri();
    if license.starts_with("https://") {
        all.push(plain("license", license));
    }
    all.extend(described.creators().iter().filter_map(|agent| agent.url).map(|url| plain("author", url.to_owned())));
    for file in described.version.files().values().filter(|file| is_large(file)) {
        let media_type = content_type(&file.path).split(';').next();
        all.push(Link { relation: "item", target: described.file_iri(file), media_type, profile: None });
    }
    all
}

/// The value of the `Link` header of the version's page.
pub(crate) fn header(described: Description<'_>) -> String {
    let set = Link {
        relation: "linkset",
        target: described.form_iri("linkset.json"),
        media_type: Some("application/linkset+json"),
        profile: None,
    };
    let mut out = String::new();
    let shown = std::iter::once(set).chain(links(described));
    for link in shown.filter(|link| !link.target.contains(['<', '>', '"', ' '])) {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(&format!("<{}>; rel=\"{}\"", link.target, link.relation));
        if let Some(media_type) = link.media_type {
            out.push_str(&format!("; type=\"{media_type}\""));
        }
        if let Some(profile) = link.profile {
            out.push_str(&format!("; profile=\"{profile}\""));
        }
        if out.len() >= LONGEST_BYTES {
            break;
        }
    }
    out
}

/// `application/linkset+json`: the version's links, and for each file what it belongs to.
pub(crate) fn linkset(described: Description<'_>) -> Value {
    let mut own = Map::from_iter([("anchor".to_owned(), Value::from(described.iri()))]);
    let mut sets = Vec::new();
    for link in links(described) {
        let mut target = json!({ "href": link.target });
        if let Some(media_type) = link.media_type {
            target["type"] = media_type.into();
        }
        if let Some(profile) = link.profile {
            target["profile"] = json!([profile]);
        }
        if link.relation == "item" {
            sets.push(
                json!({ "anchor": link.target, "collection": [{ "href": described.iri(), "type": "text/html" }] }),
            );
        }
        if let Some(all) = own.entry(link.relation).or_insert_with(|| json!([])).as_array_mut() {
            all.push(target);
        }
    }
    sets.insert(0, Value::Object(own));
    json!({ "linkset": sets })
}
