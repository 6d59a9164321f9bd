//! Granted source records become OMOP CDM tables with lineage.
