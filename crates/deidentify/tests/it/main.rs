//! Tables in files, against reference figures and against plain counting.

mod large;
mod reference;
