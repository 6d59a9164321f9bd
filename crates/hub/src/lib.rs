//! The hub: catalogue, pages and the Hub-compatible read interface over published versions.
//!
//! Comes in: [`PublishedVersion`]s, each made of an [`acequia_gate::Outbound`] manifest, and bytes by content address,
//! both through the [`Catalogue`] that the node implements. Goes out: an [`axum::Router`] that serves
//!
//! - pages for people: server-rendered, readable without JavaScript, nothing loaded from elsewhere;
//! - the routes that `huggingface_hub`, `datasets`, `pandas`, `@huggingface/hub` and `mlcroissant` read, with nothing
//!   set but `HF_ENDPOINT` (routes and headers after those clients' source);
//! - rows, sizes and statistics as the Hub's data set viewer gives them;
//! - Croissant, DCAT-AP with HealthDCAT-AP, schema.org, DataCite, RO-Crate, Signposting, OAI-PMH, GA4GH DRS and citations
//!   for catalogues and harvesters, all computed from the version's own documents.
//!
//! The hub knows no user, sets no cookie and logs no client: who may read the rows of a version that is not open, a router in front
//! says by a [`Reader`] in the extensions of a request. Without one only what is open is read.
//!
//! ```
//! use std::{ops::Range, sync::Arc};
//! use acequia_hub::{Catalogue, HubError, Shelf, router};
//! use acequia_types::Digest;
//!
//! /// A node that has published nothing yet.
//! struct Empty;
//! impl Catalogue for Empty {
//!     fn shelf(&self) -> Arc<Shelf> {
//!         Arc::new(Shelf::default())
//!     }
//!     fn read(&self, sha256: &Digest, _: Range<u64>) -> Result<bytes::Bytes, HubError> {
//!         Err(HubError::Missing { sha256: *sha256 })
//!     }
//! }
//! let app: axum::Router = router(Arc::new(Empty)); // axum::serve(listener, app).await
//! # drop(app);
//! ```

mod admission;
mod api;
mod body;
mod bundle;
mod card;
mod catalogue;
mod chart;
mod describe;
mod difference;
mod error;
mod facts;
mod files;
mod finding;
mod frame;
mod http;
mod openapi;
mod pages;
mod range;
mod refusal;
mod rows;
pub mod search;
mod selection;
mod site;
mod viewer;
mod xet;

/// The forms of the Hub's interface, for who serves something other than published versions with them.
pub mod wire {
    pub use crate::api::{About, Change, Snapshot, answer_at, info_of, paths_info, tree, wanted_paths};
    pub use crate::body::Source;
    pub use crate::card::{front_matter, tags, texts};
    pub use crate::catalogue::{artefact_of, plural};
    pub use crate::files::of_snapshot as resolve;
    pub use crate::http::{
        Fields, REPO_COMMIT, Reply, content, cookie, iso_ms, json_bytes, own_address, parse_address, percent_decoded,
        percent_encoded, put, same_origin, segments,
    };
    pub use crate::refusal::Refusal;
    pub use crate::xet::{Hashed, Place as XetPlace, Wants as XetWants, plan as xet_plan, token as xet_token};
}

pub use admission::{Admission, Admits, Reader};
pub use body::CHUNK_BYTES;
pub use catalogue::{
    Catalogue, Mirrored, Neighbour, NeighbourState, NeighbourVersion, Operator, PublishedVersion, Shelf,
    TakenDownVersion,
};
pub use error::HubError;
pub use frame::Frame;
pub use site::{router, router_at};
