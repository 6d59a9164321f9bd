//! The pack that comes with the program, put together from the tables under `data/`.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use acequia_types::{Day, parse_day};

use super::{ConceptRow, Relation, Vocabulary, VocabularyBuilder, VocabularyInfo};

/// Version of the pack: what lineage states. Changed with every change of the tables.
const VERSION: &str = "acequia pack 2026-11-25";

/// Tables in the columns of CONCEPT, comma-separated. `NOTICES.md` beside them states source and licence of each.
const CONCEPTS: &[&str] = &[
    include_str!("../../data/pack/omop.csv"),
    include_str!("../../data/pack/ucum.csv"),
    include_str!("../../data/pack/loinc.csv"),
    include_str!("../../data/pack/rxnorm.csv"),
    include_str!("../../data/pack/local.csv"),
];

/// `concept_id_1`, `concept_id_2` of `Maps to`.
const MAPS_TO: &str = include_str!("../../data/pack/maps-to.csv");

/// `vocabulary_id`, `vocabulary_name`, `vocabulary_version`.
const VOCABULARIES: &str = include_str!("../../data/pack/vocabularies.csv");

/// Concepts of the course; see [`crate::Concepts`].
pub(crate) const COURSE: &str = include_str!("../../data/concepts.csv");

pub(super) static BUNDLED: LazyLock<Vocabulary> = LazyLock::new(|| {
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
    Vocabulary::from_checked_bytes(Arc::new(bytes.into_inner())).expect("the pack has just been written")
});

fn id(text: &str) -> u32 {
    text.parse().expect("the tables of the pack have numeric ids")
}

fn day(text: &str) -> Day {
    parse_day(text).expect("the tables of the pack have days")
}

/// Hands each row of a table to `each`, without its header.
pub(crate) fn rows(table: &'static str, mut each: impl FnMut(&csv::StringRecord)) {
    for record in csv::Reader::from_reader(table.as_bytes()).records() {
        each(&record.expect("the tables of the pack are part of this crate"));
    }
}
