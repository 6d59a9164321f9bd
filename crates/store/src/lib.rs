//! The node's own records in SQLite: donations, consent, step results, published versions.
