//! Purposes and terms as other vocabularies call them, from the reviewed files `data/purposes.csv` and `data/duo.csv`.

use crate::Purpose;

const PURPOSES: &str = include_str!("../data/purposes.csv");

/// A vocabulary of the table of purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Words for people; the id is a language by BCP 47.
    Plain,
    /// Data Use Ontology.
    Duo,
    /// HL7 v3 ActReason, as FHIR Consent uses it (`http://terminology.hl7.org/CodeSystem/v3-ActReason`).
    Fhir,
    /// W3C Data Privacy Vocabulary with its extensions.
    Dpv,
}

impl Vocabulary {
    const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Duo => "duo",
            Self::Fhir => "fhir",
            Self::Dpv => "dpv",
        }
    }
}

/// What a purpose is called in a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The purpose.
    pub purpose: Purpose,
    /// Its id there.
    pub id: String,
    /// Its label there.
    pub label: String,
    /// Whether the id may be read back as the purpose without widening.
    pub reads_back: bool,
}

/// Fields of a row: separated by commas, quoted where they hold one.
fn fields(row: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in row.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
    }
    fields
}

/// Every term of a vocabulary, in the order of the file.
pub fn terms(vocabulary: Vocabulary) -> Vec<Term> {
    let rows = PURPOSES.lines().filter(|row| !row.starts_with('#')).skip(1).map(fields);
    let of_it = rows.filter(|row| row.get(1).is_some_and(|word| word == vocabulary.word()));
    let term = |row: Vec<String>| {
        let [purpose, _, id, label, direction, _] = <[String; 6]>::try_from(row).ok()?;
        Some(Term { purpose: Purpose::parse(&purpose)?, id, label, reads_back: direction == "both" })
    };
    of_it.filter_map(term).collect()
}

/// What the purpose is called there.
pub fn term_of(purpose: Purpose, vocabulary: Vocabulary) -> Option<Term> {
    terms(vocabulary).into_iter().find(|term| term.purpose == purpose)
}

/// The purpose in words for people, in a language by BCP 47; English where there is none.
pub fn plain_words(purpose: Purpose, language: &str) -> String {
    let of_it = || terms(Vocabulary::Plain).into_iter().filter(move |term| term.purpose == purpose);
    let found = of_it().find(|term| term.id == language).or_else(|| of_it().find(|term| term.id == "en"));
    found.map_or_else(|| purpose.as_str().to_owned(), |term| term.label)
}

/// The purpose an id may be read back as. Others are `None`: reading them would widen what was given.
pub fn purpose_of(vocabulary: Vocabulary, id: &str) -> Option<Purpose> {
    terms(vocabulary).into_iter().find(|term| term.reads_back && term.id == id).map(|term| term.purpose)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DuoTerm;

    #[test]
    fn every_row_is_understood_and_every_purpose_has_every_vocabulary() {
        let rows = PURPOSES.lines().filter(|row| !row.starts_with('#')).count() - 1;
        let all = [Vocabulary::Plain, Vocabulary::Duo, Vocabulary::Fhir, Vocabulary::Dpv];
        assert_eq!(all.into_iter().map(|vocabulary| terms(vocabulary).len()).sum::<usize>(), rows);
        for purpose in Purpose::ALL {
            for vocabulary in all {
                assert!(term_of(purpose, vocabulary).is_some(), "{purpose} {vocabulary:?}");
            }
            assert_ne!(plain_words(purpose, "de"), plain_words(purpose, "en"));
            assert_eq!(plain_words(purpose, "xx"), plain_words(purpose, "en"));
        }
    }

    #[test]
    fn nothing_reads_back_as_two_purposes_or_as_open_publication() {
        for vocabulary in [Vocabulary::Duo, Vocabulary::Fhir, Vocabulary::Dpv] {
            let back: Vec<Term> = terms(vocabulary).into_iter().filter(|term| term.reads_back).collect();
            for (at, term) in back.iter().enumerate() {
                assert_ne!(term.purpose, Purpose::OpenPublication, "open publication is a separate opt-in");
                assert!(back[at + 1..].iter().all(|other| other.id != term.id), "{}", term.id);
            }
        }
        assert_eq!(purpose_of(Vocabulary::Fhir, "HRESCH"), Some(Purpose::Research));
        assert_eq!(purpose_of(Vocabulary::Duo, "DUO:0000042"), None);
    }

    #[test]
    fn the_file_of_duo_terms_and_the_code_agree() {
        let rows: Vec<Vec<String>> =
            include_str!("../data/duo.csv").lines().filter(|row| !row.starts_with('#')).skip(1).map(fields).collect();
        let mut in_use = Vec::new();
        for row in &rows {
            match (row[3].as_str(), DuoTerm::parse(&row[0])) {
                ("group" | "retired", None) => {}
                ("group" | "retired", Some(_)) => panic!("{} is not in use", row[0]),
                (_, term) => {
                    let term = term.unwrap_or_else(|| panic!("{} is in use", row[0]));
                    assert_eq!(term.short(), row[1]);
                    in_use.push(term);
                }
            }
        }
        assert_eq!(in_use, DuoTerm::ALL);
    }
}
