//! The gate: the one way out of a node.
//!
//! Comes in: a proof type ([`acequia_deidentify::Deidentified`], [`acequia_learn::SiteUpdate`], [`acequia_learn::TestedModel`]) and an [`acequia_custody::Approval`] about exactly that
//! value. Goes out: [`Outbound<T>`]. `release`, `hub` and the network accept nothing else, so a leak is a compile error.
//!
//! A published version comes back in through [`readmit`], which checks the node's exit seal before it is served, and one of another
//! node through [`readmit_mirrored`], which checks that node's.
//!
//! An open table does not pass:
//!
//! ```compile_fail,E0277
//! use acequia_custody::Approval;
//! fn leak(table: acequia_frame::Table, approval: &Approval) {
//!     let _ = acequia_gate::let_out(table, approval);
//! }
//! ```
//! ```
//! use acequia_custody::Approval;
//! fn pass(table: acequia_deidentify::Deidentified, approval: &Approval) {
//!     let _ = acequia_gate::let_out(table, approval);
//! }
//! ```
//!
//! Nor does an identified one:
//!
//! ```compile_fail,E0277
//! use acequia_custody::{Approval, Identified};
//! fn leak(table: Identified<acequia_frame::Table>, approval: &Approval) {
//!     let _ = acequia_gate::let_out(table, approval);
//! }
//! ```
//! ```
//! use acequia_custody::{Approval, Identified};
//! fn pass(table: Identified<acequia_deidentify::Deidentified>, approval: &Approval) {
//!     let _ = table.map(|table| acequia_gate::let_out(table, approval).is_ok());
//! }
//! ```
//!
//! An outbound value cannot be built by hand, and the proof cannot be forged:
//!
//! ```compile_fail,E0451
//! use acequia_gate::Outbound;
//! fn forge(table: acequia_frame::Table) -> Outbound<acequia_frame::Table> {
//!     Outbound { value: table }
//! }
//! ```
//! ```
//! use acequia_gate::Outbound;
//! fn read(table: &Outbound<acequia_frame::Table>) -> &acequia_frame::Table {
//!     table.get()
//! }
//! ```
//!
//! ```compile_fail,E0277
//! struct Forged(acequia_frame::Table);
//! fn leak(forged: Forged, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(forged, approval);
//! }
//! ```
//! ```
//! struct Wrapped(acequia_deidentify::Deidentified);
//! fn pass(wrapped: Wrapped, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(wrapped.0, approval);
//! }
//! ```

//!
//! Sums of a site leave when the site's rules were checked, not before:
//!
//! ```compile_fail,E0277
//! fn leak(sums: acequia_learn::Sums, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(sums, approval);
//! }
//! ```
//! ```
//! fn pass(update: acequia_learn::SiteUpdate, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(update, approval);
//! }
//! ```
//! ```compile_fail,E0277
//! fn leak(message: acequia_learn::Message, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(message, approval);
//! }
//! ```
//! ```
//! fn pass(update: acequia_learn::SiteUpdate, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(update, approval).map(|outbound| outbound.get().round());
//! }
//! ```
//!
//! What a model is worth at a site leaves as a finding under the site's rules, not as a bare evaluation:
//!
//! ```compile_fail,E0277
//! fn leak(evaluation: acequia_learn::SiteEvaluation, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(evaluation, approval);
//! }
//! ```
//! ```
//! fn pass(finding: acequia_learn::SiteFinding, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(finding, approval).map(|outbound| outbound.get().evaluation().rows);
//! }
//! ```
//!
//! A model leaves when it was attacked, with records that are about it:
//!
//! ```compile_fail,E0277
//! fn leak(model: acequia_learn::Model, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(model, approval);
//! }
//! ```
//! ```
//! fn pass(model: acequia_learn::TestedModel, approval: &acequia_custody::Approval) {
//!     let _ = acequia_gate::let_out(model, approval).map(|outbound| outbound.get().model().digest());
//! }
//! ```

mod doors;
mod parcel;
mod seal;

pub use doors::{GateError, Outbound, Proof, Public, let_out};
pub use parcel::{Artefact, InputDigest, Manifest, Parcel, ReleasedFile, is_plain_path};
pub use seal::{ExitSeal, GateKey, GateVerifier, OriginGate, SEAL_FILE, SealFile, readmit, readmit_mirrored, seal};
