//! OMOP CDM 5.4.
