//! One contract, kept by every back end; and what can go wrong with a bucket.

mod bucket;
mod contract;
mod folder;
mod server;
