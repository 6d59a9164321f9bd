//! Tables and fields of OMOP CDM 5.4.
//!
//! Source: the CDM 5.4 field definitions of OHDSI (`OMOP_CDMv5.4_Field_Level.csv`, Apache-2.0); facts only are kept, in
//! `data/cdm54-fields.csv`.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

macro_rules! tables {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $key:expr;)*) => {
        /// A table of the Common Data Model that Acequia fills.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CdmTable { $($(#[$doc])* $variant,)* }

        impl CdmTable {
            /// Every table, in the order they are filled: a table comes after those it refers to.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the model.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its primary key, where it has one.
            pub const fn key(self) -> Option<&'static str> {
                match self { $(Self::$variant => $key,)* }
            }
        }
    };
}

tables! {
    /// Versions of the vocabularies in use.
    Vocabulary => "vocabulary", None;
    /// What concepts can be about.
    Domain => "domain", None;
    /// Kinds of concepts within a vocabulary.
    ConceptClass => "concept_class", None;
    /// Kinds of relations between concepts.
    Relationship => "relationship", None;
    /// Concepts: the meaning of every `*_concept_id`.
    Concept => "concept", Some("concept_id");
    /// Relations between concepts.
    ConceptRelationship => "concept_relationship", None;
    /// Other names of concepts.
    ConceptSynonym => "concept_synonym", None;
    /// Which concepts are kinds of others, at any distance.
    ConceptAncestor => "concept_ancestor", None;
    /// Local codes and the concepts they were mapped to.
    SourceToConceptMap => "source_to_concept_map", None;
    /// Ingredients of drugs and their amounts.
    DrugStrength => "drug_strength", None;
    /// Where the data come from; one row per source.
    CdmSource => "cdm_source", None;
    /// Facts about the data set.
    Metadata => "metadata", Some("metadata_id");
    /// Addresses, as coarse as intake leaves them.
    Location => "location", Some("location_id");
    /// Institutions and wards.
    CareSite => "care_site", Some("care_site_id");
    /// Clinicians, without names.
    Provider => "provider", Some("provider_id");
    /// One row per person.
    Person => "person", Some("person_id");
    /// Spans of time in which events of a person would have been recorded.
    ObservationPeriod => "observation_period", Some("observation_period_id");
    /// Encounters.
    VisitOccurrence => "visit_occurrence", Some("visit_occurrence_id");
    /// Parts of encounters.
    VisitDetail => "visit_detail", Some("visit_detail_id");
    /// Diagnoses and findings.
    ConditionOccurrence => "condition_occurrence", Some("condition_occurrence_id");
    /// Things done to the patient.
    ProcedureOccurrence => "procedure_occurrence", Some("procedure_occurrence_id");
    /// Drugs prescribed, given or taken.
    DrugExposure => "drug_exposure", Some("drug_exposure_id");
    /// Devices used on or in the patient.
    DeviceExposure => "device_exposure", Some("device_exposure_id");
    /// Structured results.
    Measurement => "measurement", Some("measurement_id");
    /// Facts that fit no other table.
    Observation => "observation", Some("observation_id");
    /// Samples.
    Specimen => "specimen", Some("specimen_id");
    /// Texts.
    Note => "note", Some("note_id");
    /// What was found in texts.
    NoteNlp => "note_nlp", Some("note_nlp_id");
    /// Spans in which somebody paid for care.
    PayerPlanPeriod => "payer_plan_period", Some("payer_plan_period_id");
    /// What care cost.
    Cost => "cost", Some("cost_id");
    /// Pairs of rows that belong together.
    FactRelationship => "fact_relationship", None;
    /// Spans in which a condition lasted, derived.
    ConditionEra => "condition_era", Some("condition_era_id");
    /// Spans in which a drug ingredient was taken, derived.
    DrugEra => "drug_era", Some("drug_era_id");
    /// Spans in which a drug was taken at one dose, derived.
    DoseEra => "dose_era", Some("dose_era_id");
    /// At most one row per person.
    Death => "death", None;
    /// Disease episodes.
    Episode => "episode", Some("episode_id");
    /// Which events make up an episode.
    EpisodeEvent => "episode_event", None;
    /// Who belongs to a cohort, and when.
    Cohort => "cohort", None;
    /// What a cohort is.
    CohortDefinition => "cohort_definition", None;
}

impl CdmTable {
    /// Finds a table by its name in the model.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }

    /// Whether a mapped or coded event can become a row of it: a diagnosis, a procedure, a drug, a result, a fact.
    pub const fn holds_events(self) -> bool {
        matches!(
            self,
            Self::ConditionOccurrence
                | Self::ProcedureOccurrence
                | Self::DrugExposure
                | Self::Measurement
                | Self::Observation
        )
    }

    /// Whether it is one of the ten tables of the standardized vocabularies: it holds no record of anybody.
    pub const fn is_vocabulary(self) -> bool {
        matches!(
            self,
            Self::Vocabulary
                | Self::Domain
                | Self::ConceptClass
                | Self::Relationship
                | Self::Concept
                | Self::ConceptRelationship
                | Self::ConceptSynonym
                | Self::ConceptAncestor
                | Self::SourceToConceptMap
                | Self::DrugStrength
        )
    }

    /// Its fields, in the order of the specification.
    pub fn fields(self) -> &'static [Field] {
        &FIELDS[self as usize].0
    }

    /// Its Arrow schema: required fields are not nullable.
    pub fn schema(self) -> &'static SchemaRef {
        &FIELDS[self as usize].1
    }
}

/// Type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// `integer`: Arrow `Int64`.
    Integer,
    /// `float`: Arrow `Float64`.
    Float,
    /// `date`: Arrow `Date32`.
    Date,
    /// `datetime`: Arrow `Timestamp(Second)` without zone.
    Datetime,
    /// `varchar`: Arrow `Utf8`.
    Varchar,
}

impl FieldType {
    /// The Arrow type.
    pub const fn arrow(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Datetime => DataType::Timestamp(TimeUnit::Second, None),
            Self::Varchar => DataType::Utf8,
        }
    }
}

/// One field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Name in the model.
    pub name: String,
    /// Whether it may not be null.
    pub required: bool,
    /// Its type.
    pub field_type: FieldType,
    /// The table it refers to, if it is a foreign key.
    pub references: Option<String>,
}

type TableFields = (Vec<Field>, SchemaRef);

static FIELDS: LazyLock<Vec<TableFields>> = LazyLock::new(|| {
    let mut tables: Vec<Vec<Field>> = vec![Vec::new(); CdmTable::ALL.len()];
    let mut reader = csv::Reader::from_reader(include_bytes!("../data/cdm54-fields.csv").as_slice());
    for record in reader.records() {
        let record = record.expect("cdm54-fields.csv is part of this crate");
        let table = CdmTable::parse(&record[0]).expect("cdm54-fields.csv names known tables");
        let field_type = match &record[3] {
            "integer" => FieldType::Integer,
            "float" => FieldType::Float,
            "date" => FieldType::Date,
            "datetime" => FieldType::Datetime,
            _ => FieldType::Varchar,
        };
        tables[table as usize].push(Field {
            name: record[1].to_owned(),
            required: &record[2] == "yes",
            field_type,
            references: (!record[4].is_empty()).then(|| record[4].to_owned()),
        });
    }
    let schema = |fields: &[Field]| {
        let columns: Vec<_> = fields
            .iter()
            .map(|field| arrow::datatypes::Field::new(&field.name, field.field_type.arrow(), !field.required))
            .collect();
        Arc::new(Schema::new(columns))
    };
    tables
        .into_iter()
        .map(|fields| {
            let schema = schema(&fields);
            (fields, schema)
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_key_among_its_fields() {
        for table in CdmTable::ALL {
            assert!(!table.fields().is_empty(), "{}", table.name());
            if let Some(key) = table.key() {
                assert!(table.fields().iter().any(|field| field.name == key && field.required), "{key}");
            }
        }
    }

    #[test]
    fn all_tables_of_the_model_are_there() {
        let fields = || CdmTable::ALL.iter().flat_map(|table| table.fields());
        assert_eq!(CdmTable::ALL.len(), 39);
        assert_eq!((fields().count(), fields().filter(|field| field.required).count()), (432, 180));
    }

    #[test]
    fn the_field_list_agrees_with_the_specification() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/ehr/omop-cdm-spec");
        let Some(spec) = find(path) else {
            println!("skipped: the OMOP specification is not beside this checkout");
            return;
        };
        let mut reader = csv::Reader::from_path(spec).unwrap();
        let headers = reader.headers().unwrap().clone();
        let at = |name: &str| headers.iter().position(|header| header == name).unwrap();
        let (table_at, field_at, required_at) = (at("cdmTableName"), at("cdmFieldName"), at("isRequired"));
        let mut seen = 0;
        for record in reader.records() {
            let record = record.unwrap();
            let Some(table) = CdmTable::parse(&record[table_at].to_lowercase()) else { continue };
            let name = record[field_at].trim_matches('"').to_lowercase();
            let field = table.fields().iter().find(|field| field.name == name);
            let field = field.unwrap_or_else(|| panic!("{} lacks {name}", table.name()));
            assert_eq!(field.required, record[required_at].eq_ignore_ascii_case("yes"), "{name}");
            seen += 1;
        }
        assert_eq!(seen, CdmTable::ALL.iter().map(|table| table.fields().len()).sum::<usize>());
    }

    fn find(dir: &str) -> Option<std::path::PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        files.into_iter().find(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            name.contains("5.4") && name.contains("field") && name.ends_with(".csv")
        })
    }
}
