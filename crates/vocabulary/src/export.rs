//! Decisions as other tools read them.

use acequia_omop::Vocabulary;
use acequia_types::{Day, parse_day};

use crate::{Review, VocabularyFileError};

/// Longest `source_vocabulary_id` (CDM 5.4, SOURCE_TO_CONCEPT_MAP).
const VOCABULARY_ID_CHARS: usize = 20;

/// SSSOM/TSV 1.0: the decisions with their metadata, one mapping for each.
///
/// *Source*: Matentzoglu et al. 2022, doi 10.1093/database/baac035; `mapping_justification` from SEMAPV.
///
/// ```
/// # use acequia_omop::Vocabulary;
/// # use acequia_vocabulary::{Review, ReviewRow, Status, sssom};
/// let row = ReviewRow {
///     source_system: "https://lab.example".into(), source_code: "GLU".into(), concept_id: Some(3_000_483),
///     status: Status::Approved, author: "ana".into(), approved_by: "ben".into(), ..ReviewRow::default()
/// };
/// let text = sssom(&Review { rows: vec![row] }, Vocabulary::bundled(), "https://lab.example/mappings/1");
/// assert!(text.lines().last().unwrap().starts_with("local0:GLU\t\tskos:exactMatch\tOMOP:3000483\tGlucose"));
/// ```
pub fn sssom(review: &Review, vocabulary: &Vocabulary, mapping_set_id: &str) -> String {
    let decisions: Vec<_> = review.decisions().collect();
    let mut systems: Vec<&str> = decisions.iter().map(|decision| decision.row.source_system.as_str()).collect();
    systems.sort_unstable();
    systems.dedup();
    let mut text = String::from("#sssom_version: \"1.0\"\n#curie_map:\n");
    text.push_str("#  OMOP: \"https://athena.ohdsi.org/search-terms/terms/\"\n");
    text.push_str("#  semapv: \"https://w3id.org/semapv/vocab/\"\n");
    text.push_str("#  skos: \"http://www.w3.org/2004/02/skos/core#\"\n");
    text.push_str("#  sssom: \"https://w3id.org/sssom/\"\n");
    for (number, system) in systems.iter().enumerate() {
        let joint = if system.ends_with(['/', '#', ':']) { "" } else { "#" };
        text.push_str(&format!("#  local{number}: {}\n", quoted(&format!("{system}{joint}"))));
    }
    text.push_str(&format!("#mapping_set_id: {}\n", quoted(mapping_set_id)));
    text.push_str(&format!("#object_source_version: {}\n", quoted(vocabulary.version())));
    let columns = [
        "subject_id",
        "subject_label",
        "predicate_id",
        "object_id",
        "object_label",
        "object_source",
        "mapping_justification",
        "author_label",
        "reviewer_label",
        "mapping_date",
        "confidence",
        "comment",
    ];
    text.push_str(&columns.join("\t"));
    text.push('\n');
    for decision in &decisions {
        let row = decision.row;
        let number = systems.iter().position(|system| *system == row.source_system).unwrap_or(0);
        let concept = decision.concept_id.and_then(|concept_id| vocabulary.by_id(concept_id));
        // SSSOM says "no match" with an object of its own.
        let object = decision.concept_id.map_or("sssom:NoTermFound".to_owned(), |id| format!("OMOP:{id}"));
        let fields: [&str; 12] = [
            &format!("local{number}:{}", row.source_code),
            &row.source_name,
            if decision.concept_id.is_some() { row.equivalence.predicate() } else { "skos:exactMatch" },
            &object,
            concept.map_or("", |concept| concept.name),
            concept.map_or("", |concept| concept.vocabulary_id),
            "semapv:ManualMappingCuration",
            &row.author,
            &row.approved_by,
            &row.approved_on,
            &row.score.map_or(String::new(), |score| format!("{:.3}", score.clamp(0.0, 1.0))),
            &row.comment,
        ];
        let fields = fields.map(|field| field.replace(['\t', '\n', '\r'], " "));
        text.push_str(&fields.join("\t"));
        text.push('\n');
    }
    text
}

/// A YAML string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "))
}

/// The OMOP table SOURCE_TO_CONCEPT_MAP of CDM 5.4 as CSV. `vocabulary_id` names the site's vocabulary. A code without a
/// standard concept gets 0, as the convention of the table has it.
///
/// # Errors
/// [`VocabularyFileError::Row`] when the vocabulary id is longer than 20 characters, a code longer than 50, or
/// `approved_on` is no day.
pub fn source_to_concept_map(
    review: &Review,
    vocabulary: &Vocabulary,
    vocabulary_id: &str,
) -> Result<String, VocabularyFileError> {
    let wrong = |line, what| VocabularyFileError::Row { table: "the review file", line, what };
    if vocabulary_id.is_empty() || vocabulary_id.chars().count() > VOCABULARY_ID_CHARS {
        return Err(wrong(1, "the vocabulary id must have 1 to 20 characters"));
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut put = |fields: [&str; 9]| {
        // Memory can be written.
        let _ = writer.write_record(fields);
    };
    put([
        "source_code",
        "source_concept_id",
        "source_vocabulary_id",
        "source_code_description",
        "target_concept_id",
        "target_vocabulary_id",
        "valid_start_date",
        "valid_end_date",
        "invalid_reason",
    ]);
    for decision in review.decisions() {
        let row = decision.row;
        let line = review.rows.iter().position(|found| std::ptr::eq(found, row)).map_or(0, |at| at as u64 + 2);
        if row.source_code.chars().count() > 50 {
            return Err(wrong(line, "the code is longer than the 50 characters of source_to_concept_map"));
        }
        let start: Option<Day> = match row.approved_on.as_str() {
            "" => parse_day("1970-01-01"),
            day => Some(parse_day(day).ok_or_else(|| wrong(line, "approved_on is no day (YYYY-MM-DD)"))?),
        };
        let concept = decision.concept_id.and_then(|concept_id| vocabulary.by_id(concept_id));
        let name: String = row.source_name.chars().take(255).collect();
        put([
            &row.source_code,
            "0",
            vocabulary_id,
            &name,
            &decision.concept_id.unwrap_or(0).to_string(),
            concept.map_or("None", |concept| concept.vocabulary_id),
            &start.unwrap_or_default().to_string(),
            "2099-12-31",
            "",
        ]);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    Ok(String::from_utf8(bytes).unwrap_or_default())
}
