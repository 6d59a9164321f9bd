//! The pack that comes with the program, put together from the tables under `data/`.

use std::sync::{Arc, LazyLock};

use super::Vocabulary;

/// Version of the pack: what lineage states. Changed with every change of the tables.
#[cfg(test)]
const VERSION: &str = "acequia pack 2026-11-25";

/// Tables in the columns of CONCEPT, comma-separated. `NOTICES.md` beside them states source and licence of each.
#[cfg(test)]
const CONCEPTS: &[&str] = &[
    include_str!("../../data/pack/omop.csv"),
    include_str!("../../data/pack/ucum.csv"),
    include_str!("../../data/pack/loinc.csv"),
    include_str!("../../data/pack/rxnorm.csv"),
    include_str!("../../data/pack/local.csv"),
];

/// `concept_id_1`, `concept_id_2` of `Maps to`.
#[cfg(test)]
const MAPS_TO: &str = include_str!("../../data/pack/maps-to.csv");

/// `vocabulary_id`, `vocabulary_name`, `vocabulary_version`.
#[cfg(test)]
const VOCABULARIES: &str = include_str!("../../data/pack/vocabularies.csv");

/// Concepts of the course; see [`crate::Concepts`].
pub(crate) const COURSE: &str = include_str!("../../data/concepts.csv");

/// The index of these tables, as it would be built from them: building it takes longer than many a command.
const INDEX: &[u8] = include_bytes!("../../data/pack/pack.index");

pub(super) static BUNDLED: LazyLock<Vocabulary> =
    LazyLock::new(|| Vocabulary::from_checked_bytes(Arc::new(INDEX)).expect("the tests compare it with the tables"));

/// The bytes of an index of the tables.
#[cfg(test)]
fn built() -> Vec<u8> {
    use std::collections::BTreeSet;
    use std::io::Cursor;

    use super::{ConceptRow, Relation, VocabularyBuilder, VocabularyInfo};

    let mut builder = VocabularyBuilder::new(VERSION, None);
    rows(VOCABULARIES, |row| {
        builder.vocabulary(VocabularyInfo {
            vocabulary_id: row[0].to_owned(),
            name: row[1].to_owned(),
            version: row[2].to_owned(),
        });
    });
    let mut known = BTreeSet::new();
    let mut take = |row: ConceptRow<'_>| {
        if known.insert(row.concept_id) {
            builder.concept(&row).expect("the tables of the pack hold concepts");
        }
    };
    for table in CONCEPTS {
        rows(table, |row| {
            take(ConceptRow {
                concept_id: id(&row[0]),
                name: &row[1],
                domain_id: &row[2],
                vocabulary_id: &row[3],
                concept_class_id: &row[4],
                standard: &row[5],
                code: &row[6],
                valid_start: day(&row[7]),
                valid_end: day(&row[8]),
                invalid_reason: &row[9],
            });
        });
    }
    let (first, last) = (day("1970-01-01"), day("2099-12-31"));
    rows(COURSE, |row| {
        take(ConceptRow {
            concept_id: id(&row[0]),
            name: &row[1],
            domain_id: &row[2],
            vocabulary_id: &row[3],
            concept_class_id: "Undefined",
            standard: if &row[5] == "S" { "S" } else { "" },
            code: &row[4],
            valid_start: first,
            valid_end: last,
            invalid_reason: "",
        });
    });
    rows(MAPS_TO, |row| {
        builder.relate(id(&row[0]), id(&row[1]), Relation::MapsTo).expect("the pack maps concepts of the pack");
    });
    let mut bytes = Cursor::new(Vec::new());
    let built = builder.finish(&mut bytes).expect("memory can be written");
    assert_eq!(built.without_concept, 0, "the pack maps concepts of the pack");
    bytes.into_inner()
}

#[cfg(test)]
fn id(text: &str) -> u32 {
    text.parse().expect("the tables of the pack have numeric ids")
}

#[cfg(test)]
fn day(text: &str) -> acequia_types::Day {
    acequia_types::parse_day(text).expect("the tables of the pack have days")
}

/// Hands each row of a table to `each`, without its header.
pub(crate) fn rows(table: &'static str, mut each: impl FnMut(&csv::StringRecord)) {
    for record in csv::Reader::from_reader(table.as_bytes()).records() {
        each(&record.expect("the tables of the pack are part of this crate"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a change of the tables: `ACEQUIA_WRITE_PACK=1 cargo nextest run -p acequia-omop the_index_is_that`.
    #[test]
    fn the_index_is_that_of_the_tables() {
        let built = built();
        if std::env::var_os("ACEQUIA_WRITE_PACK").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/data/pack/pack.index"), &built).unwrap();
        }
        assert!(built == INDEX || std::env::var_os("ACEQUIA_WRITE_PACK").is_some(), "write it anew: see above");
        assert!(Vocabulary::from_bytes(Arc::new(INDEX)).is_ok());
    }
}
