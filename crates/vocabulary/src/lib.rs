//! Vocabularies as files: an Athena export becomes an index that is memory-mapped, two indexes are compared, and local
//! codes are proposed to people, reviewed by two of them and exported.
//!
//! Comes in: the download of <https://athena.ohdsi.org> (zip or folder, OMOP CDM 5.4 vocabulary tables), tables of local
//! codes. Goes out: an index for [`acequia_omop::Vocabulary`], a review file, SSSOM and source_to_concept_map.
//!
//! ```
//! use acequia_vocabulary::{load, open};
//! # let folder = tempfile::tempdir()?;
//! # let athena = folder.path();
//! std::fs::write(athena.join("CONCEPT.csv"), "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\t\
//! standard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason\n\
//! 3004501\tGlucose [Mass/volume] in Serum or Plasma\tMeasurement\tLOINC\tLab Test\tS\t2345-7\t19700101\t20991231\t\n")?;
//! let index = athena.join("index");
//! load(athena, &index, &mut |_, _| {})?;
//! assert_eq!(open(&index)?.by_code("LOINC", "2345-7").unwrap().concept_id, 3_004_501);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod athena;
mod candidates;
mod compare;
mod error;
mod export;
mod review;

use std::path::Path;
use std::sync::Arc;

use acequia_blobs::map_file;
use acequia_omop::Vocabulary;

pub use athena::{Loaded, load};
pub use candidates::{Candidates, LocalCode, candidates, read_codes};
pub use compare::{Change, Changes, CodeChange, Kind, compare, compare_codes, read_used_codes};
pub use error::VocabularyFileError;
pub use export::{source_to_concept_map, sssom};
pub use review::{Decision, Equivalence, Progress, Review, ReviewRow, Status, read_review, write_review};

/// File name of the index in a node's folder.
pub const INDEX_NAME: &str = "vocabulary.index";

/// Indexes up to this size are checked whole when they are opened; of a larger one only the structure is: reading
/// gigabytes for one question would cost seconds.
const CHECKED_BYTES: u64 = 256 << 20;

/// Opens an index by mapping it into memory.
///
/// # Errors
/// [`VocabularyFileError::Index`] when it is none or damaged, [`VocabularyFileError::File`].
pub fn open(index: &Path) -> Result<Vocabulary, VocabularyFileError> {
    let mapped = map_file(index, "the vocabulary index")?;
    let small = mapped.as_ref().len() as u64 <= CHECKED_BYTES;
    let bytes = Arc::new(mapped);
    Ok(if small { Vocabulary::from_bytes(bytes)? } else { Vocabulary::from_checked_bytes(bytes)? })
}

/// Opens an index and checks every byte of it.
///
/// # Errors
/// As [`open`].
pub fn open_checked(index: &Path) -> Result<Vocabulary, VocabularyFileError> {
    Ok(Vocabulary::from_bytes(Arc::new(map_file(index, "the vocabulary index")?))?)
}
