//! Diversity: who is in the data compared with a reference population, and who is not.
//!
//! Comes in: [`People`] (a table of people, or OMOP tables), [`Reference`] populations and a [`Question`]. Goes out: a
//! [`Report`], whose counts below a minimum are hidden together with all from which they would follow, and a [`page`].
//!
//! What is reported follows STANDING Together, "Recommendations for diversity, inclusivity and generalisability in AI
//! health technologies and health datasets", version 1.0, 2023. The report is itself a release, so it is treated as one.
//! This crate knows no node and no stage: `release` reports on a version with it, `acequia diversity` on plain files.
//!
//! ```
//! use acequia_diversity::{People, Question, Reference, report};
//! let mut csv = String::from("sex\n");
//! (0..60).for_each(|_| csv += "female\n");
//! (0..40).for_each(|_| csv += "male\n");
//! let people = People::from_csv(csv.as_bytes(), &Default::default())?;
//! let reference = Reference::parse("sex,people\nfemale,50\nmale,50\n", None, None)?;
//! let report = report(&people, &Question { references: vec![reference], ..Question::new(10) })?;
//! assert_eq!(report.dimensions[0].total_variation_distance, Some(0.1));
//! # Ok::<(), acequia_diversity::DiversityError>(())
//! ```

mod audit;
mod describe;
mod error;
mod groups;
mod interval;
mod measures;
mod omop;
mod page;
mod people;
mod reference;
mod report;
mod suppress;

pub use describe::{Compared, describe, overlapping, round2, round3, round4, share, spread};
pub use error::DiversityError;
pub use groups::{consent_groups, statement};
pub use interval::{Interval, interval, natural};
pub use omop::{EVENT_TABLES, OmopReader};
pub use page::page;
pub use people::{Column, People, TableSettings};
pub use reference::{Reference, ReferenceBy, ReferenceCell, ReferencePopulation};
pub use report::{
    AskedPerson, Cell, Change, ChangedCell, ChangedDimension, Consent, Coverage, CoverageLine, Described, Events,
    FollowUp, Gap, Group, GroupConsent, GroupOutcomes, Groups, Intersection, Missing, ModelError, NotRecorded, Outcome,
    Prediction, Question, Report, SCHEMA, Weighting, change, report,
};
pub use suppress::{Sum, suppress, suppress_line, suppress_sums};
