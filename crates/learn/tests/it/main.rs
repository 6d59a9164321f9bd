//! Training and validation against numbers of other programs. `tests/data/survival-reference.json` says where each comes from.

mod attacks;
mod coordinated;
mod decentralised;
mod double_masking;
mod equal;
mod flamby;
mod imported;
mod network;
mod noise;
mod proven;
mod reference;
mod support;
mod validation;
mod whole;
