//! Checks and repairs over whole tables and folders.

mod course;
mod folder;
mod hostile;
mod reference;
