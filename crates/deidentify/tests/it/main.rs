//! Tables in files, against reference figures and against plain counting.

mod attacks;
mod edges;
mod large;
mod reference;
mod shift;
mod transform;
