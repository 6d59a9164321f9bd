//! Originals sealed at rest, opened with a Grant only.
