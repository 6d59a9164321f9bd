//! The network: members find one another by key, and run plans together without a record leaving its home.
//!
//! Comes in: a signed [`Roster`], this node's [`Identity`], a run plan. Goes out: sums of rows, masked so that only the sum over all
//! sites can be read, and never anything but [`Outbound`](acequia_gate::Outbound) values and a closed set of messages.
//!
//! A site dials out and opens no port. [`Coordinator`] asks, [`SiteAgent`] answers after its people said yes ([`Queue`]),
//! [`AggregatorDesk`] adds up. Without a coordinator, sites add up in turns: those that the roster gives an address. The rounds themselves are `acequia-learn`'s, which knows no network; here is who may ask whom,
//! what is on disk before anything is said, and what happens when a connection or a process dies.
//!
//! Members who cannot reach one another directly meet at a [`Relay`] of the network's own.
//!
//! Members also tell one another what they published ([`CatalogueDesk`], [`CatalogueClient`]), and hand it out by content address.

mod aggregator;
mod catalogue;
mod coordinator;
mod error;
mod folder;
mod identity;
mod link;
mod message;
mod peers;
mod proposal;
mod queue;
mod refusals;
mod relay;
mod roster;
mod site;
#[cfg(test)]
mod tests;
mod validation;

pub use aggregator::AggregatorDesk;
pub use catalogue::{
    CatalogueClient, CatalogueDesk, CatalogueSource, Entry, Fetched, Given, Heard, KnownVersion, MANIFEST_BYTES_MAX,
    Offered, Page, TakenDownThere, check_manifest,
};
pub use coordinator::{Coordinator, CoordinatorSettings, NetworkReport, RunEvent};
pub use error::NetError;
pub use folder::MemberFolder;
pub use identity::{Identity, MemberKey};
pub use link::{Incoming, Link, Network, Protocol};
pub use message::{Frame, read_anything};
pub use queue::{Among, Begun, Failed, Offer, Queue, QueuedRun};
pub use relay::{DISCOVERY_PORT, Relay, RelaySettings, Relayed};
pub use roster::{Member, Members, Role, Roster, authorities_of_pem, listens_at};
pub use site::{Approve, Held, HeldForValidation, Holdings, SiteAgent, SiteEvent, SiteSettings, Watch};
pub use validation::{check_record, check_statements, signed_here, state};
