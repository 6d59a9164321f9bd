//! Bytes by content address, written aside and renamed, sealed under envelope keys.
