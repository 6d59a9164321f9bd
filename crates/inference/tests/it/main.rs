//! Models of other programs, against what those programs' runtimes say.

mod conformance;
mod damaged;
mod foreign;
mod told;
