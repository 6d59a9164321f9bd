//! Tables in files, against reference figures and against plain counting.

mod attacks;
mod edges;
mod events;
mod large;
mod reference;
mod shift;
mod transform;
