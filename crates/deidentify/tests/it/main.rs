//! Tables in files, against reference figures and against plain counting.

mod attacks;
mod events;
mod large;
mod reference;
