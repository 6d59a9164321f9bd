//! GA4GH Data Repository Service 1.4: a file is named by its SHA-256, a version by its commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use acequia_types::Digest;

use super::{file_iri, version_iri};
use crate::admission::is_open;
use crate::http::{content_type, host, iso_ms};
use crate::{PublishedVersion, Shelf};

/// `GET /ga4gh/drs/v1/service-info` (GA4GH Service Info 1.0.0).
pub(crate) fn service_info(address: &str, operator: &str, objects: usize) -> Value {
    json!({
        "id": format!("acequia.{}", host(address)),
        "name": "Acequia hub",
        "type": { "group": "org.ga4gh", "artifact": "drs", "version": "1.4.0" },
        "description": "De-identified and synthetic health data sets. What is open may be read by anybody; for the rest, access_id says where to ask.",
        "organization": { "name": operator, "url": format!("{address}/") },
        "version": env!("CARGO_PKG_VERSION"),
        "environment": "prod",
        "maxBulkRequestLength": 1,
        "drs": { "maxBulkRequestLength": 1, "objectCount": objects },
    })
}

/// The object of an id, if there is one. All of it follows from manifests.
pub(crate) fn object(shelf: &Shelf, id: &str, address: &str) -> Option<Value> {
    match Digest::parse(id).ok().and_then(|sha256| shelf.file(&sha256)) {
        Some((version, path)) => file(version, path, address),
        None => shelf.commit(id).map(|version| bundle(version, address)),
    }
}

/// The one way to the bytes of a file that is not open to everybody.
pub(crate) const ACCESS: &str = "rows";

/// `GET /ga4gh/drs/v1/objects/{id}/access/rows`: where the bytes of a file are, and the version that they are in.
pub(crate) fn access<'s>(shelf: &'s Shelf, id: &str, address: &str) -> Option<(&'s Arc<PublishedVersion>, Value)> {
    let (version, path) = shelf.file(&Digest::parse(id).ok()?)?;
    let file = version.files().get(path)?;
    Some((version, json!({ "url": file_iri(address, version, file) })))
}

/// A name as DRS has them: letters, digits, hyphen, period and underscore.
fn portable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect()
}

/// A file of a version.
fn file(version: &PublishedVersion, path: &str, address: &str) -> Option<Value> {
    let file = version.files().get(path)?;
    let (id, at) = (file.sha256.to_string(), iso_ms(version.published_at()));
    let access = match is_open(version, path) {
        true => {
            json!({ "type": "https", "access_url": { "url": file_iri(address, version, file) }, "available": true })
        }
        false => json!({
            "type": "https", "access_id": ACCESS, "available": true,
            "authorizations": { "supported_types": ["BearerAuth", "PassportAuth"], "bearer_auth_issuers": [address] },
        }),
    };
    Some(json!({
        "id": id,
        "name": portable(&file.path),
        "self_uri": format!("drs://{}/{id}", host(address)),
        "size": file.bytes,
        "created_time": at,
        "updated_time": at,
        "version": version.commit(),
        "mime_type": content_type(&file.path).split(';').next(),
        "checksums": [{ "type": "sha-256", "checksum": id }],
        "access_methods": [access],
        "description": format!("{} of {} {}", file.path, version.manifest().dataset, version.manifest().version),
        "aliases": [format!("{}/{}", version.manifest().dataset, file.path)],
    }))
}

/// A version: a bundle of its files. Its checksum is that of the sorted checksums of the files (DRS, "Checksums").
fn bundle(version: &PublishedVersion, address: &str) -> Value {
    let (id, at) = (version.commit(), iso_ms(version.published_at()));
    let mut sums: Vec<String> = version.files().values().map(|file| file.sha256.to_string()).collect();
    sums.sort_unstable();
    let mut taken = BTreeSet::new();
    let contents: Vec<Value> = version
        .files()
        .values()
        .map(|file| {
            let mut name = portable(&file.path);
            // Names inside a bundle are unique; paths that differ in other characters only get a digest.
            if !taken.insert(name.clone()) {
                name = format!("{}-{name}", Digest::of(file.path.as_bytes()).short(12));
            }
            json!({
                "name": name, "id": file.sha256.to_string(),
                "drs_uri": [format!("drs://{}/{}", host(address), file.sha256)],
            })
        })
        .collect();
    json!({
        "id": id,
        "name": portable(&format!("{}-{}", version.manifest().dataset, version.manifest().version)),
        "self_uri": format!("drs://{}/{id}", host(address)),
        "size": version.total_bytes(),
        "created_time": at,
        "updated_time": at,
        "version": version.manifest().version,
        "checksums": [{ "type": "sha-256", "checksum": Digest::of(sums.concat().as_bytes()).to_string() }],
        "description": version.manifest().title,
        "contents": contents,
        "aliases": [version_iri(address, version)],
    })
}

/// What is not there, as DRS says it.
pub(crate) fn not_found() -> Value {
    json!({ "msg": "This node has no object of this id.", "status_code": 404 })
}
