//! A folder that breaks every type of check, made from a seed.

use std::fmt::Write;
use std::path::Path;

use acequia_omop::{CdmTable, FieldType};

/// A small generator of numbers: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.roll(words.len() as u64)).unwrap()]
    }
}

/// Concepts of the checks for sex and units, standard ones and others, and some that are not in `concept`.
const CONCEPTS: [&str; 16] = [
    "0",
    "8507",
    "8532",
    "26662",
    "26935",
    "4095793",
    "443343",
    "4090861",
    "3006315",
    "3004410",
    "8784",
    "8961",
    "8551",
    "2000000005",
    "777777",
    "40487382",
];
const DOMAINS: [&str; 6] = ["Gender", "Condition", "Measurement", "Unit", "Type Concept", "Visit"];

fn value(dice: &mut Dice, field: &str, field_type: FieldType) -> String {
    if dice.roll(12) == 0 {
        return String::new();
    }
    match field_type {
        FieldType::Integer if field.ends_with("concept_id") || field.contains("concept_id_") => {
            dice.one_of(&CONCEPTS).to_owned()
        }
        FieldType::Integer if field == "year_of_birth" => (1840 + dice.roll(200)).to_string(),
        FieldType::Integer if field == "month_of_birth" => (dice.roll(12) + 1).to_string(),
        FieldType::Integer if field == "day_of_birth" => (dice.roll(28) + 1).to_string(),
        FieldType::Integer if dice.roll(40) == 0 => dice.one_of(&["1.5", "x", "-"]).to_owned(),
        FieldType::Integer => (dice.roll(60)).to_string(),
        FieldType::Float => format!("{}.{}", dice.roll(400), dice.roll(10)),
        FieldType::Date | FieldType::Datetime => {
            let day = format!("{}-{:02}-{:02}", 1945 + dice.roll(84), dice.roll(12) + 1, dice.roll(28) + 1);
            match (field_type, dice.roll(60)) {
                (_, 0) => "soon".to_owned(),
                (FieldType::Datetime, _) => format!("{day} {:02}:30:00", dice.roll(24)),
                _ => day,
            }
        }
        FieldType::Varchar => match field {
            "standard_concept" => dice.one_of(&["S", "C", "S"]).to_owned(),
            "invalid_reason" => dice.one_of(&["", "", "D"]).to_owned(),
            "domain_id" => dice.one_of(&DOMAINS).to_owned(),
            _ => dice.one_of(&["a", "b", "c", "d, with \"quotes\"", "e"]).to_owned(),
        },
    }
}

/// Writes every table of the model with so many rows, dense with faults; as CSV.
pub(crate) fn write(folder: &Path, seed: u64, rows: u64) {
    let mut dice = Dice::new(seed);
    for table in CdmTable::ALL {
        let fields = table.fields();
        let mut text = fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(",") + "\n";
        for row in 0..rows {
            let cells: Vec<String> = fields
                .iter()
                .map(|field| {
                    let text = match (table, field.name.as_str()) {
                        (CdmTable::Concept, "concept_id") => CONCEPTS.get(usize::try_from(row).unwrap()).map_or_else(
                            || (500_000 + row).to_string(),
                            |id| if *id == "777777" { "777778".to_owned() } else { (*id).to_owned() },
                        ),
                        // Persons repeat rarely: a person who is two people has no one birth.
                        (CdmTable::Person, "person_id") => row.to_string(),
                        (CdmTable::VisitOccurrence, "visit_occurrence_id") => row.to_string(),
                        (CdmTable::ObservationPeriod, "observation_period_id") => row.to_string(),
                        _ => value(&mut dice, &field.name, field.field_type),
                    };
                    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
                })
                .collect();
            writeln!(text, "{}", cells.join(",")).unwrap();
        }
        std::fs::write(folder.join(format!("{}.csv", table.name())), text).unwrap();
    }
}
