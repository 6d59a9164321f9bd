//! The OMOP Common Data Model 5.4 as Arrow schemas, a concept pack, and the neutral record every input format becomes.
//!
//! Comes in: nothing but the data files of this crate. Goes out: [`CdmTable`] schemas and a [`TableBuilder`] for them,
//! [`Vocabulary`] for looking up codes and what they map to, [`Concepts`] for the standard ones of the bundled pack, and
//! the neutral [`Event`]: readers of `intake` tell events to a [`Sink`], and `unify` is one. [`SourceFile`] is the same in
//! owned form, for one donated file at a time: [`Collector`] makes it from events, [`SourceFile::tell`] tells them again.
//!
//! ```
//! use acequia_omop::{CdmTable, Cell, Concepts, TableBuilder};
//! let concepts = Concepts::bundled();
//! let tumour = concepts.by_code("SNOMED", "254837009").unwrap();
//! assert_eq!(tumour.concept_id, 4_112_853);
//! let mut builder = TableBuilder::new(CdmTable::ObservationPeriod);
//! builder.push(&[
//!     ("observation_period_id", Cell::Id(1)),
//!     ("person_id", Cell::Id(7)),
//!     ("observation_period_start_date", Cell::Day(acequia_types::parse_day("1990-01-01").unwrap())),
//!     ("observation_period_end_date", Cell::Day(acequia_types::parse_day("1995-01-01").unwrap())),
//!     ("period_type_concept_id", Cell::Id(32_879)),
//! ])?;
//! assert_eq!(builder.finish()?.num_rows(), 1);
//! # Ok::<(), acequia_omop::CdmError>(())
//! ```

mod adapt;
mod concept;
mod event;
mod schema;
mod source;
mod table;
mod units;
mod vocabulary;

pub use adapt::Collector;
pub use concept::{Concept, Concepts, LOCAL_CONCEPT_FLOOR, Unit, source_concept_id};
pub use event::{
    Code, Comparator, Event, ItemHead, Kind, More, Party, Pass, Passes, Person, Precision, Sink, Value, When,
    day_number,
};
pub use schema::{CdmTable, Field, FieldType};
pub use source::{
    Coding, DateError, Details, Excluded, Fate, Held, Item, ItemCounts, PartialDate, Sex, SourceEvent, SourceFile,
    SourcePerson, SourceRecord, SourceValue, Unmapped, VisitKind,
};
pub use table::{CdmError, Cell, TableBuilder};
pub use units::{ReadUnit, Reading, Units};
pub use vocabulary::{
    Built, ConceptRef, ConceptRow, Found, IndexBytes, InvalidReason, LocalCodes, Relation, Scratch, ScratchFile,
    SearchScope, Standard, Vocabulary, VocabularyBuilder, VocabularyError, VocabularyInfo, normal_code, vocabulary_of,
};
