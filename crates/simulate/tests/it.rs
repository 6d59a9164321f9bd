//! What the simulated files are like to the crate that reads them.

use acequia_intake::{Limits, Mapping, read};
use acequia_omop::{ItemCounts, Vocabulary};
use acequia_simulate::{donors, hostile};
use acequia_types::Coded;

#[test]
fn the_bundles_are_read_and_their_mess_is_counted() {
    let (mut readable, mut unreadable, mut counts, mut bytes) = (0, Vec::new(), ItemCounts::default(), 0);
    for file in donors(300, 300).files {
        bytes += file.bytes.len();
        match read(&file.bytes, None, &Limits::default()) {
            Ok(read) => {
                readable += 1;
                assert_eq!(read.records.len(), 1, "{}", file.name);
                counts = counts.plus(ItemCounts::of(&read.items));
            }
            Err(error) => unreadable.push(error.code()),
        }
    }
    println!("{readable} bundles, {} kB, {counts:?}", bytes / 1000);
    assert_eq!((readable, unreadable), (298, vec!["IN003", "IN002"]));
    // Which codes have no concept is for unification to say.
    assert!(counts.excluded > 40 && counts.unmapped == 0 && counts.rejected == 5, "{counts:?}");
}

#[test]
fn every_hostile_input_meets_its_code() {
    let mapping = Mapping::parse(
        r#"
        source = { id = "clinic", title = "A clinic", place = "NL", type_concept_id = 32817 }
        index = { date_column = "surgery" }
        person = { key = "id", sex = "female", age_years = "age" }
        [[event]]
        table = "measurement"
        column = "size"
        concept_id = 3046581
        unit = "mm"
        number = { min = 0, max = 300 }
        "#,
        Vocabulary::bundled(),
    )
    .unwrap();
    for input in hostile() {
        let table = input.name.contains(".csv") || input.name.ends_with(".zip");
        let found = match read(&input.bytes, table.then_some(&mapping), &Limits::default()) {
            Err(error) => error.code().to_owned(),
            Ok(file) => file.problems[0].code.clone(),
        };
        assert_eq!(found, input.code, "{}", input.what);
    }
}
