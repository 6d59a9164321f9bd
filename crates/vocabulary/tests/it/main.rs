//! Vocabularies of real size and real sources.

mod reference;
mod roundtrip;
