//! What goes into an index comes out of it, whatever the export looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use acequia_vocabulary::{load, open};
use proptest::prelude::*;

type Pairs = BTreeSet<(u32, u32)>;

fn write(folder: &Path, codes: &BTreeMap<u32, String>, maps: &Pairs, ancestors: &Pairs, backwards: bool) {
    let order = |mut lines: Vec<String>| {
        if backwards {
            lines.reverse();
        }
        lines.concat()
    };
    let concepts = codes.iter().map(|(id, code)| {
        let vocabulary = ["A", "B"][*id as usize % 2];
        format!("{id}\tname of {code}\tCondition\t{vocabulary}\tClass\t\t{code}\t19700101\t20991231\t\n")
    });
    let header = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t\
                  valid_start_date\tvalid_end_date\tinvalid_reason\n";
    std::fs::write(folder.join("CONCEPT.csv"), header.to_owned() + &order(concepts.collect())).unwrap();
    let maps = maps.iter().map(|(from, to)| format!("{from}\t{to}\tMaps to\t\n{to}\t{from}\tMapped from\t\n"));
    let header = "concept_id_1\tconcept_id_2\trelationship_id\tinvalid_reason\n";
    std::fs::write(folder.join("CONCEPT_RELATIONSHIP.csv"), header.to_owned() + &order(maps.collect())).unwrap();
    let ancestors = ancestors.iter().map(|(above, below)| format!("{above}\t{below}\n"));
    let header = "ancestor_concept_id\tdescendant_concept_id\n";
    std::fs::write(folder.join("CONCEPT_ANCESTOR.csv"), header.to_owned() + &order(ancestors.collect())).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_row_is_found_again(
        codes in prop::collection::btree_map(any::<u32>(), "[ -~&&[^\t]]{1,14}", 1..60),
        pairs in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..120),
    ) {
        let ids: Vec<u32> = codes.keys().copied().collect();
        let (mut maps, mut ancestors) = (Pairs::new(), Pairs::new());
        for (from, to, is_map) in pairs {
            let pair = (*from.get(&ids), *to.get(&ids));
            if is_map { maps.insert(pair) } else { ancestors.insert(pair) };
        }
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index");
        write(folder.path(), &codes, &maps, &ancestors, false);
        load(folder.path(), &index, &mut |_, _| {}).unwrap();
        let first = std::fs::read(&index).unwrap();
        write(folder.path(), &codes, &maps, &ancestors, true);
        load(folder.path(), &index, &mut |_, _| {}).unwrap();
        prop_assert!(first == std::fs::read(&index).unwrap(), "the order of rows does not show");

        let vocabulary = open(&index).unwrap();
        prop_assert_eq!(vocabulary.len(), codes.len());
        let of = |pairs: &Pairs, id: u32| -> Vec<i64> {
            pairs.iter().filter(|pair| pair.0 == id).map(|pair| i64::from(pair.1)).collect()
        };
        let turned: Pairs = ancestors.iter().map(|(above, below)| (*below, *above)).collect();
        for (id, code) in &codes {
            let concept = vocabulary.by_id(i64::from(*id)).unwrap();
            prop_assert_eq!(concept.code, code.as_str());
            let same = codes.iter().find(|(other, found)| *found == code && *other % 2 == id % 2).unwrap();
            prop_assert_eq!(vocabulary.by_code(concept.vocabulary_id, code).unwrap().concept_id, i64::from(*same.0));
            let mapped: Vec<_> = vocabulary.maps_to(i64::from(*id)).map(|(target, _)| target).collect();
            prop_assert_eq!(mapped, of(&maps, *id));
            let without_itself = |mut ids: Vec<i64>| {
                ids.retain(|other| *other != i64::from(*id));
                ids
            };
            prop_assert_eq!(vocabulary.descendants(i64::from(*id)).collect::<Vec<_>>(), without_itself(of(&ancestors, *id)));
            prop_assert_eq!(vocabulary.ancestors(i64::from(*id)).collect::<Vec<_>>(), without_itself(of(&turned, *id)));
        }
    }
}

#[test]
fn a_failed_load_leaves_the_old_index_and_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    std::fs::write(&index, b"old").unwrap();
    let export = tempfile::tempdir().unwrap();
    let header = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\t\
                  valid_start_date\tvalid_end_date\tinvalid_reason\n";
    let concepts = export.path().join("concept.CSV");
    std::fs::write(&concepts, format!("{header}1\tx\tCondition\tA\tC\tS\t1\t19700101\t2099123\t\n")).unwrap();
    let error = load(export.path(), &index, &mut |_, _| {}).unwrap_err();
    assert_eq!(error.to_string(), "CONCEPT, line 2: a date is no YYYYMMDD");
    std::fs::remove_file(&concepts).unwrap();
    assert_eq!(load(export.path(), &index, &mut |_, _| {}).unwrap_err().to_string(), "the export has no table CONCEPT");
    assert!(load(&folder.path().join("none"), &index, &mut |_, _| {}).is_err());
    assert!(load(&index, &index, &mut |_, _| {}).is_err(), "no zip");
    assert_eq!(std::fs::read(&index).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
