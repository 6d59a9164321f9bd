//! An index of vocabularies, a review file, tables of codes and units that somebody else wrote.

#![no_main]

use std::sync::{Arc, LazyLock};

use acequia_omop::{SearchScope, Units, Vocabulary, normal_code, vocabulary_of};
use acequia_vocabulary::{read_codes, read_review, read_used_codes, sssom, write_review};
use libfuzzer_sys::fuzz_target;

static UNITS: LazyLock<Units<'static>> = LazyLock::new(|| Units::new(Vocabulary::bundled()));

fn ask(vocabulary: &Vocabulary) {
    for concept in vocabulary.concepts().take(20) {
        let id = concept.concept_id;
        vocabulary.by_code(concept.vocabulary_id, concept.code);
        vocabulary.maps_to(id).take(20).for_each(drop);
        vocabulary.ancestors(id).take(20).for_each(drop);
        vocabulary.descendants(id).take(20).for_each(drop);
        vocabulary.synonyms(id).take(20).for_each(drop);
    }
    vocabulary.search("glucose in blo", SearchScope::default(), 3);
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(vocabulary) = Vocabulary::from_checked_bytes(Arc::new(bytes.to_vec())) {
        ask(&vocabulary);
    }
    let _ = Vocabulary::from_bytes(Arc::new(bytes.to_vec()));
    if let Ok(review) = read_review(bytes) {
        let _ = (review.check(Vocabulary::bundled()), review.progress(), review.local_codes().digest());
        sssom(&review, Vocabulary::bundled(), "urn:x");
        assert!(read_review(&write_review(&review)).is_ok(), "what is written can be read");
    }
    let _ = (read_codes(bytes), read_used_codes(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (system, code) = text.split_once('\n').unwrap_or((text, text));
    normal_code(vocabulary_of(system), code);
    let unit = UNITS.read(system, true);
    let _ = (UNITS.convert(1.5, &unit.ucum, code), UNITS.convert_substance(1.5, &unit.ucum, code, 18.0));
});
