//! Candidates for local codes: what speaks for a concept is added up, and people decide.
//!
//! | part of the score | from | |
//! |---|---|---|
//! | words | cosine of the names, rare words weigh more | 0 to 1 |
//! | code | the local code is the concept's code | + 1 |
//! | unit | the unit is of the kind the concept is measured in | + 0.15, else − 0.35 |
//! | values | the values lie where those of the concept lie | + 0.15, else − 0.25 |

use std::collections::BTreeMap;
use std::sync::LazyLock;

use acequia_omop::{ConceptRef, Found, Reading, SearchScope, Units, Vocabulary};

use crate::review::delimiter;
use crate::{Review, ReviewRow, VocabularyFileError};

const UNIT_AGREES: f64 = 0.15;
const UNIT_DISAGREES: f64 = -0.35;
const VALUES_AGREE: f64 = 0.15;
const VALUES_DISAGREE: f64 = -0.25;
const CODE_IS_EQUAL: f64 = 1.0;
/// Candidates looked at for each one that is proposed.
const LOOKED_AT: usize = 40;

/// A code of a site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalCode {
    /// Its system.
    pub system: String,
    /// The code.
    pub code: String,
    /// What the site calls it.
    pub name: String,
    /// Unit of its values.
    pub unit: String,
    /// Low end of its values (such as the 5th percentile), in `unit`.
    pub low: Option<f64>,
    /// High end of its values.
    pub high: Option<f64>,
    /// How often it occurs.
    pub count: Option<u64>,
    /// `domain_id` its concept must have.
    pub domain: String,
}

/// How candidates are sought.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    /// Candidates for each code.
    pub each: usize,
}

impl Default for Candidates {
    fn default() -> Self {
        Self { each: 5 }
    }
}

/// Reads a table of local codes: columns `code` and `name`, and if the site has them `system`, `unit`, `low`, `high`,
/// `count`, `domain`. Other columns are left alone.
///
/// # Errors
/// [`VocabularyFileError::NoColumn`], [`VocabularyFileError::Row`].
pub fn read_codes(bytes: &[u8]) -> Result<Vec<LocalCode>, VocabularyFileError> {
    const TABLE: &str = "the table of codes";
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(bytes)).trim(csv::Trim::All).from_reader(bytes);
    let wrong = |line, what| VocabularyFileError::Row { table: TABLE, line, what };
    let headers = reader.headers().map_err(|_| wrong(1, "it is not UTF-8"))?.clone();
    let place = |column: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(column));
    let required = |column: &'static str| place(column).ok_or(VocabularyFileError::NoColumn { table: TABLE, column });
    let (code, name) = (required("code")?, required("name")?);
    let optional = ["system", "unit", "low", "high", "count", "domain"].map(place);
    let mut codes = Vec::new();
    for (record, line) in reader.records().zip(2..) {
        let record =
            record.map_err(|_| wrong(line, "it cannot be read as UTF-8 CSV with as many fields as the header"))?;
        let [system, unit, low, high, count, domain] =
            optional.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
        let number = |text: &str| match text {
            "" => Ok(None),
            _ => text
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(Some)
                .ok_or_else(|| wrong(line, "low or high is no number with a decimal point")),
        };
        if record[code].is_empty() {
            return Err(wrong(line, "it has no code"));
        }
        codes.push(LocalCode {
            system: system.to_owned(),
            code: record[code].to_owned(),
            name: record[name].to_owned(),
            unit: unit.to_owned(),
            low: number(low)?,
            high: number(high)?,
            count: match count {
                "" => None,
                _ => Some(count.parse().map_err(|_| wrong(line, "count is no whole number"))?),
            },
            domain: domain.to_owned(),
        });
    }
    Ok(codes)
}

/// Proposes concepts for every code: a review file with all decisions open. Codes keep their order; the most frequent
/// first is a good one for the people who review.
///
/// ```
/// # use acequia_omop::Vocabulary;
/// # use acequia_vocabulary::{Candidates, LocalCode, candidates};
/// let sodium = LocalCode {
///     code: "NA".into(), name: "Sodium, serum".into(), unit: "mmol/L".into(), low: Some(132.0), high: Some(147.0),
///     ..LocalCode::default()
/// };
/// let review = candidates(&[sodium], Vocabulary::bundled(), Candidates::default());
/// assert_eq!(review.rows[0].concept_name, "Sodium [Moles/volume] in Serum or Plasma");
/// ```
pub fn candidates(codes: &[LocalCode], vocabulary: &Vocabulary, options: Candidates) -> Review {
    let units = Units::new(vocabulary);
    let mut rows = Vec::new();
    for code in codes {
        let mut ranked = rank(code, vocabulary, &units);
        ranked.truncate(options.each.max(1));
        let row = |rank: Option<u32>| ReviewRow {
            source_system: code.system.clone(),
            source_code: code.code.clone(),
            source_name: code.name.clone(),
            source_unit: code.unit.clone(),
            source_count: code.count,
            rank,
            ..ReviewRow::default()
        };
        if ranked.is_empty() {
            // The code is not lost: people can fill in a concept, or say that there is none.
            rows.push(ReviewRow { why: "nothing found".to_owned(), ..row(None) });
        }
        for (candidate, rank) in ranked.into_iter().zip(1..) {
            let concept = candidate.concept;
            rows.push(ReviewRow {
                score: Some((candidate.score * 1000.0).round() / 1000.0),
                concept_id: Some(concept.concept_id),
                concept_name: concept.name.to_owned(),
                vocabulary_id: concept.vocabulary_id.to_owned(),
                concept_code: concept.code.to_owned(),
                domain_id: concept.domain_id.to_owned(),
                why: candidate.why.join("; "),
                ..row(Some(rank))
            });
        }
    }
    Review { rows }
}

struct Candidate<'v> {
    concept: ConceptRef<'v>,
    score: f64,
    why: Vec<&'static str>,
}

fn rank<'v>(code: &LocalCode, vocabulary: &'v Vocabulary, units: &Units<'_>) -> Vec<Candidate<'v>> {
    let domain_id = Some(code.domain.as_str()).filter(|domain| !domain.is_empty());
    let scope = SearchScope { domain_id, standard: true, ..SearchScope::default() };
    let by_name = vocabulary.search(&code.name, scope, LOOKED_AT);
    let by_code = vocabulary.search(&code.code, scope, LOOKED_AT).into_iter().filter(|found| found.by_code);
    let by_code: Vec<Found<'v>> = by_code.collect();
    let mut found: BTreeMap<i64, Candidate<'v>> = BTreeMap::new();
    for hit in by_name {
        let why = if hit.score > 0.999 { "the same words" } else { "words in common" };
        found.insert(hit.concept.concept_id, Candidate { concept: hit.concept, score: hit.score, why: vec![why] });
    }
    for hit in by_code {
        let candidate = found.entry(hit.concept.concept_id).or_insert(Candidate {
            concept: hit.concept,
            score: 0.0,
            why: Vec::new(),
        });
        candidate.score += CODE_IS_EQUAL;
        candidate.why.push("the same code");
    }
    let mut ranked: Vec<Candidate<'v>> = found.into_values().collect();
    for candidate in &mut ranked {
        let reasons = [
            agreement(
                unit_agrees(code, &candidate.concept, vocabulary, units),
                UNIT_AGREES,
                UNIT_DISAGREES,
                ["the unit fits", "the unit does not fit"],
            ),
            agreement(
                values_agree(code, &candidate.concept, units),
                VALUES_AGREE,
                VALUES_DISAGREE,
                ["the values fit", "the values do not fit"],
            ),
        ];
        for (score, why) in reasons.into_iter().flatten() {
            candidate.score += score;
            candidate.why.push(why);
        }
    }
    ranked.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.concept.name.len().cmp(&b.concept.name.len()))
            .then_with(|| a.concept.concept_id.cmp(&b.concept.concept_id))
    });
    ranked
}

fn agreement(agrees: Option<bool>, yes: f64, no: f64, why: [&'static str; 2]) -> Option<(f64, &'static str)> {
    agrees.map(|agrees| if agrees { (yes, why[0]) } else { (no, why[1]) })
}

/// Whether the unit is of a kind the concept is measured in; `None` when nothing can be said.
fn unit_agrees(code: &LocalCode, concept: &ConceptRef<'_>, vocabulary: &Vocabulary, units: &Units<'_>) -> Option<bool> {
    if code.unit.is_empty() {
        return None;
    }
    let unit = units.read(&code.unit, concept.name.contains("[#/"));
    if unit.reading == Reading::Unknown {
        return None;
    }
    if let Some(plausible) = PLAUSIBLE_UNITS.get(&concept.concept_id) {
        let fits = |concept_id: &i64| {
            unit.concept_id == Some(*concept_id)
                || vocabulary.by_id(*concept_id).is_some_and(|plausible| units.convertible(plausible.code, &unit.ucum))
        };
        return Some(plausible.iter().any(fits));
    }
    // LOINC states the property in brackets (LOINC Users' Guide, "property").
    let property = concept.name.split_once('[')?.1.split_once(']')?.0;
    let kinds: &[&str] = match property {
        "Mass/volume" => &["g/L"],
        "Moles/volume" => &["mol/L", "eq/L"],
        "#/volume" => &["/L"],
        "Enzymatic activity/volume" | "Catalytic activity/volume" => &["U/L", "[IU]/L"],
        "Units/volume" => &["[IU]/L", "[arb'U]/L", "U/L"],
        "Mass Ratio" | "Mass/mass" => &["g/g", "g/g{creat}"],
        "Ratio" | "Volume Fraction" | "Molar ratio" | "Mass fraction" | "Pure mass fraction" => &["%", "1"],
        "Entitic volume" => &["fL"],
        "Entitic mass" => &["pg"],
        "Mass/time" => &["g/d"],
        "Moles/time" => &["mol/d"],
        "Osmolality" => &["osm/kg"],
        "Partial pressure" => &["mm[Hg]"],
        "Time" => &["s"],
        _ => return None,
    };
    Some(kinds.iter().any(|kind| units.convertible(kind, &unit.ucum)))
}

/// Whether the values lie between the wide limits of the concept; `None` when there are none.
fn values_agree(code: &LocalCode, concept: &ConceptRef<'_>, units: &Units<'_>) -> Option<bool> {
    let (unit, low, high) = RANGES.get(&concept.concept_id)?;
    let written = units.read(&code.unit, concept.name.contains("[#/"));
    let inside = |value: f64| {
        // Without a unit the numbers are compared as they are.
        let value = if code.unit.is_empty() { Some(value) } else { units.convert(value, &written.ucum, unit) };
        value.map(|value| (*low..=*high).contains(&value))
    };
    match (code.low.map(inside), code.high.map(inside)) {
        (Some(low), Some(high)) => Some(low? && high?),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => None,
    }
}

/// Units of measurement concepts; see `data/SOURCES.md`.
static PLAUSIBLE_UNITS: LazyLock<BTreeMap<i64, Vec<i64>>> = LazyLock::new(|| {
    let lines = include_str!("../data/plausible-units.csv").lines().skip(1);
    lines
        .filter_map(|line| {
            let (concept, units) = line.split_once(',')?;
            Some((concept.parse().ok()?, units.split(' ').filter_map(|unit| unit.parse().ok()).collect()))
        })
        .collect()
});

/// UCUM unit and wide limits of common tests; see `data/SOURCES.md`.
static RANGES: LazyLock<BTreeMap<i64, (&'static str, f64, f64)>> = LazyLock::new(|| {
    let lines = include_str!("../data/ranges.csv").lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split(',');
            let concept = fields.next()?.parse().ok()?;
            Some((concept, (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)))
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn best(code: LocalCode) -> String {
        let review = candidates(&[code], Vocabulary::bundled(), Candidates { each: 3 });
        review.rows[0].concept_code.clone()
    }

    #[test]
    fn unit_and_values_tell_tests_of_one_name_apart() {
        let named = |name: &str, unit: &str, low, high| LocalCode {
            code: "x".to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            low,
            high,
            ..LocalCode::default()
        };
        assert_eq!(best(named("Potassium serum", "mmol/L", Some(3.4), Some(5.4))), "2823-3");
        assert_eq!(best(named("Hemoglobin blood", "g/dL", Some(9.0), Some(17.0))), "718-7");
        assert_eq!(best(named("Leukocytes blood automated count", "K/uL", Some(3.0), Some(18.0))), "6690-2");
        assert_eq!(
            best(LocalCode { code: "2160-0".to_owned(), name: "KREA".to_owned(), ..LocalCode::default() }),
            "2160-0"
        );
    }

    #[test]
    fn a_code_without_candidate_stays_in_the_file() {
        let code = LocalCode { code: "ZZ1".to_owned(), name: "qqqq".to_owned(), ..LocalCode::default() };
        let review = candidates(&[code], Vocabulary::bundled(), Candidates::default());
        assert_eq!((review.rows.len(), review.rows[0].concept_id), (1, None));
    }

    #[test]
    fn the_tables_are_read_whole() {
        assert_eq!(PLAUSIBLE_UNITS.len(), include_str!("../data/plausible-units.csv").lines().count() - 1);
        assert_eq!(RANGES.len(), include_str!("../data/ranges.csv").lines().count() - 1);
        let units = Units::new(Vocabulary::bundled());
        for (concept_id, (unit, low, high)) in &*RANGES {
            assert!(Vocabulary::bundled().by_id(*concept_id).is_some() && low < high, "{concept_id}");
            assert!(units.convertible(unit, unit), "{unit}");
        }
    }

    #[test]
    fn a_broken_table_is_refused_with_its_line() {
        let codes = read_codes(b"code;Name;unit;low;n\nA;Glucose;mg/dL;70.5;1\n").unwrap();
        assert_eq!((codes[0].low, codes[0].name.as_str()), (Some(70.5), "Glucose"));
        assert!(matches!(
            read_codes(b"code,low,name\nA,1,x\nB,1;5,x\n"),
            Err(VocabularyFileError::Row { line: 3, .. })
        ));
        assert!(matches!(read_codes(b"code\n"), Err(VocabularyFileError::NoColumn { column: "name", .. })));
        assert!(matches!(read_codes(b"code,name\n,x\n"), Err(VocabularyFileError::Row { line: 2, .. })));
    }
}
