//! People from OMOP tables (CDM 5.3 and 5.4).
//!
//! Sex, race and ethnicity are concepts of `person`; 0 and no concept are not known. Age counts at the day asked for, or at
//! death before it; without a day, at the last day of any observation period. Places come from `location` and
//! `care_site`, follow-up from `observation_period`, events and coverage from the event tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use acequia_omop::{CdmTable, Concepts};
use acequia_types::{Day, parse_day};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use chrono::Datelike;

use crate::DiversityError;
use crate::people::{Column, Covered, People, TableSettings, age_on};
use crate::report::NotRecorded;

/// Hands the batches of a table on, one after the other; a table that is not there has none.
pub type OmopReader<'a, E> =
    &'a mut dyn FnMut(CdmTable, &mut dyn FnMut(&RecordBatch) -> Result<(), E>) -> Result<(), E>;

/// Tables whose rows count as events, and their fields: concept, first day.
pub const EVENT_TABLES: [(CdmTable, &str, &str); 7] = [
    (CdmTable::VisitOccurrence, "visit_concept_id", "visit_start_date"),
    (CdmTable::ConditionOccurrence, "condition_concept_id", "condition_start_date"),
    (CdmTable::DrugExposure, "drug_concept_id", "drug_exposure_start_date"),
    (CdmTable::ProcedureOccurrence, "procedure_concept_id", "procedure_date"),
    (CdmTable::DeviceExposure, "device_concept_id", "device_exposure_start_date"),
    (CdmTable::Measurement, "measurement_concept_id", "measurement_date"),
    (CdmTable::Observation, "observation_concept_id", "observation_date"),
];

const DAYS_PER_YEAR: f64 = 365.25;
/// What sources write for the language a person speaks: the word, and LOINC 54899-0, "Preferred language".
const LANGUAGE: [&str; 3] = ["language", "preferred language", "54899-0"];

fn field(batch: &RecordBatch, name: &str) -> Option<ArrayRef> {
    let schema = batch.schema();
    let at = schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name))?;
    Some(batch.column(at).clone())
}

/// Whole numbers; what is none is missing.
fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let array = field(batch, name).and_then(|column| cast(&column, &DataType::Int64).ok());
    match array {
        Some(array) => array.as_primitive::<Int64Type>().iter().collect(),
        None => vec![None; batch.num_rows()],
    }
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let array = field(batch, name).and_then(|column| cast(&column, &DataType::Utf8).ok());
    match array {
        Some(array) => array
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned))
            .collect(),
        None => vec![None; batch.num_rows()],
    }
}

fn days(batch: &RecordBatch, name: &str) -> Vec<Option<Day>> {
    let Some(column) = field(batch, name) else { return vec![None; batch.num_rows()] };
    if column.data_type() != &DataType::Date32
        && let Ok(text) = cast(&column, &DataType::Utf8)
    {
        let text = text.as_string::<i32>();
        return text.iter().map(|text| parse_day(text?.get(..10)?)).collect();
    }
    match cast(&column, &DataType::Date32) {
        Ok(array) => array.as_primitive::<Date32Type>().iter().map(|day| Date32Type::to_naive_date_opt(day?)).collect(),
        Err(_) => vec![None; batch.num_rows()],
    }
}

#[derive(Default)]
struct Person {
    born: Option<Day>,
    sex: Option<i64>,
    race: Option<i64>,
    ethnicity: Option<i64>,
    location: Option<i64>,
    site: Option<i64>,
}

impl People {
    /// Reads people and what happened to them.
    ///
    /// # Errors
    /// What `read` says; [`DiversityError::Table`] when `person` has nobody.
    pub fn from_omop<E: From<DiversityError>>(read: OmopReader<'_, E>, settings: &TableSettings) -> Result<Self, E> {
        let mut place: HashMap<i64, usize> = HashMap::new();
        let mut persons: Vec<Person> = Vec::new();
        read(CdmTable::Person, &mut |batch| {
            let ids = numbers(batch, "person_id");
            let [year, month, day, sex, race, ethnicity, location, site] = [
                "year_of_birth",
                "month_of_birth",
                "day_of_birth",
                "gender_concept_id",
                "race_concept_id",
                "ethnicity_concept_id",
                "location_id",
                "care_site_id",
            ]
            .map(|name| numbers(batch, name));
            for (row, id) in ids.into_iter().enumerate() {
                let Some(id) = id else { continue };
                if place.insert(id, persons.len()).is_some() {
                    let problem = "person_id: a person is there twice".to_owned();
                    return Err(DiversityError::Table { table: "table person".to_owned(), problem }.into());
                }
                let told = |value: Option<i64>| value.filter(|id| *id != 0);
                // A year alone counts from its middle.
                let born = year[row].and_then(|year| {
                    let (month, day) = match (month[row], day[row]) {
                        (Some(month), day) => (month, day.unwrap_or(15)),
                        (None, _) => (7, 1),
                    };
                    parse_day(&format!("{year:04}-{month:02}-{day:02}"))
                });
                persons.push(Person {
                    born,
                    sex: told(sex[row]),
                    race: told(race[row]),
                    ethnicity: told(ethnicity[row]),
                    location: location[row],
                    site: site[row],
                });
            }
            Ok(())
        })?;
        if persons.is_empty() {
            let problem = "it is not there, or has nobody".to_owned();
            return Err(DiversityError::Table { table: "table person".to_owned(), problem }.into());
        }
        let rows = persons.len();

        let mut died: Vec<Option<Day>> = vec![None; rows];
        read(CdmTable::Death, &mut |batch| {
            for (id, day) in numbers(batch, "person_id").into_iter().zip(days(batch, "death_date")) {
                if let (Some(at), Some(day)) = (id.and_then(|id| place.get(&id)), day) {
                    died[*at] = Some(died[*at].map_or(day, |known| known.min(day)));
                }
            }
            Ok(())
        })?;
        let mut followed: Vec<f64> = vec![f64::NAN; rows];
        let mut last: Option<Day> = None;
        read(CdmTable::ObservationPeriod, &mut |batch| {
            let ids = numbers(batch, "person_id");
            let (from, to) = (days(batch, "observation_period_start_date"), days(batch, "observation_period_end_date"));
            for ((id, from), to) in ids.into_iter().zip(from).zip(to) {
                let (Some(at), Some(from), Some(to)) = (id.and_then(|id| place.get(&id)), from, to) else { continue };
                let years = (to - from).num_days().max(0) as f64 / DAYS_PER_YEAR;
                followed[*at] = if followed[*at].is_nan() { years } else { followed[*at] + years };
                last = Some(last.map_or(to, |known| known.max(to)));
            }
            Ok(())
        })?;

        let mut regions: HashMap<i64, String> = HashMap::new();
        let mut countries: HashMap<i64, String> = HashMap::new();
        read(CdmTable::Location, &mut |batch| {
            let ids = numbers(batch, "location_id");
            let (states, lands) = (texts(batch, "state"), texts(batch, "country_source_value"));
            for ((id, state), land) in ids.into_iter().zip(states).zip(lands) {
                let Some(id) = id else { continue };
                state.into_iter().for_each(|state| drop(regions.insert(id, state)));
                land.into_iter().for_each(|land| drop(countries.insert(id, land)));
            }
            Ok(())
        })?;
        let mut sites: HashMap<i64, String> = HashMap::new();
        read(CdmTable::CareSite, &mut |batch| {
            for (id, name) in numbers(batch, "care_site_id").into_iter().zip(texts(batch, "care_site_name")) {
                id.zip(name).into_iter().for_each(|(id, name)| drop(sites.insert(id, name)));
            }
            Ok(())
        })?;

        let mut events = Vec::new();
        let mut conditions: BTreeMap<i64, u64> = BTreeMap::new();
        let mut devices: BTreeMap<i64, u64> = BTreeMap::new();
        let mut language: Vec<Option<String>> = vec![None; rows];
        let mut years: BTreeMap<i32, u64> = BTreeMap::new();
        let mut person_years: BTreeSet<(i32, usize)> = BTreeSet::new();
        let mut latest_event: Option<Day> = None;
        for (table, concept, start) in EVENT_TABLES {
            let mut counts = vec![0_u32; rows];
            let mut seen: BTreeSet<(i64, usize)> = BTreeSet::new();
            let mut any = false;
            read(table, &mut |batch| {
                any = true;
                let (ids, concepts) = (numbers(batch, "person_id"), numbers(batch, concept));
                let starts = days(batch, start);
                let spoken = (table == CdmTable::Observation)
                    .then(|| (texts(batch, "observation_source_value"), texts(batch, "value_as_string")));
                for (row, id) in ids.into_iter().enumerate() {
                    let Some(&at) = id.and_then(|id| place.get(&id)) else { continue };
                    counts[at] = counts[at].saturating_add(1);
                    if let Some(day) = starts[row] {
                        person_years.insert((day.year(), at));
                        latest_event = Some(latest_event.map_or(day, |known| known.max(day)));
                    }
                    if let Some((questions, answers)) = &spoken {
                        let asked = questions[row].as_deref().map(str::to_lowercase);
                        if asked.is_some_and(|asked| LANGUAGE.contains(&asked.as_str())) {
                            language[at].clone_from(&answers[row]);
                        }
                    }
                    let told = matches!(table, CdmTable::ConditionOccurrence | CdmTable::DeviceExposure);
                    if let Some(concept) = concepts[row].filter(|id| told && *id != 0) {
                        seen.insert((concept, at));
                    }
                }
                Ok(())
            })?;
            let into = match table {
                CdmTable::ConditionOccurrence => Some(&mut conditions),
                CdmTable::DeviceExposure => Some(&mut devices),
                _ => None,
            };
            if let Some(into) = into {
                seen.into_iter().for_each(|(concept, _)| *into.entry(concept).or_default() += 1);
            }
            if any {
                events.push((table.name().to_owned(), counts));
            }
        }
        person_years.into_iter().for_each(|(year, _)| *years.entry(year).or_default() += 1);

        // Names of the concepts that occur: from the data's own vocabulary, else from the bundled pack.
        let mut wanted: BTreeSet<i64> = conditions.keys().chain(devices.keys()).copied().collect();
        wanted.extend(persons.iter().flat_map(|person| [person.sex, person.race, person.ethnicity]).flatten());
        let mut names: HashMap<i64, String> = HashMap::new();
        read(CdmTable::Concept, &mut |batch| {
            for (id, name) in numbers(batch, "concept_id").into_iter().zip(texts(batch, "concept_name")) {
                if let (Some(id), Some(name)) = (id.filter(|id| wanted.contains(id)), name) {
                    names.insert(id, name);
                }
            }
            Ok(())
        })?;
        let name = |id: i64| match (id, names.get(&id)) {
            (8532, _) => "female".to_owned(),
            (8507, _) => "male".to_owned(),
            (_, Some(name)) => name.clone(),
            _ => {
                Concepts::bundled().by_id(id).map_or_else(|| format!("concept {id}"), |concept| concept.name.to_owned())
            }
        };
        let on = settings.on.or(last).or(latest_event);
        let age = |(person, died): (&Person, &Option<Day>)| {
            let day = on.map(|on| died.filter(|died| *died < on).unwrap_or(on));
            Some(age_on(person.born?, day?))
        };
        let ages: Vec<Option<u32>> = persons.iter().zip(&died).map(age).collect();
        let wide: Vec<Option<String>> = ages.iter().map(|age| age.map(|age| settings.wide_band(age))).collect();
        let combined = vec![Column::new(&settings.wide_name(), "Age", wide.iter().map(Option::as_deref))];
        let ages: Vec<Option<String>> = ages.into_iter().map(|age| age.map(|age| settings.band(age))).collect();
        let place_name = |id: Option<i64>, names: &HashMap<i64, String>, kind: &str| {
            let id = id.filter(|id| *id != 0)?;
            Some(names.get(&id).cloned().unwrap_or_else(|| format!("{kind} {id}")))
        };
        let facts: [(&str, &str, Vec<Option<String>>); 8] = [
            ("age", "Age", ages),
            ("sex", "Sex", persons.iter().map(|person| person.sex.map(name)).collect()),
            ("race", "Race", persons.iter().map(|person| person.race.map(name)).collect()),
            ("ethnicity", "Ethnicity", persons.iter().map(|person| person.ethnicity.map(name)).collect()),
            ("region", "Region", persons.iter().map(|person| regions.get(&person.location?).cloned()).collect()),
            ("country", "Country", persons.iter().map(|person| countries.get(&person.location?).cloned()).collect()),
            ("language", "Language", language),
            ("site", "Site", persons.iter().map(|person| place_name(person.site, &sites, "care site")).collect()),
        ];
        let mut columns = Vec::new();
        let mut missing = Vec::new();
        let mut not_recorded = Vec::new();
        for (column, title, texts) in facts {
            if texts.iter().all(Option::is_none) {
                not_recorded.push(NotRecorded { name: column.to_owned(), reason: reason(column).to_owned() });
                continue;
            }
            missing.push((column.to_owned(), texts.iter().map(Option::is_none).collect()));
            columns.push(Column::new(column, title, texts.iter().map(Option::as_deref)));
        }
        for column in ["education", "deprivation", "migration", "disability"] {
            let reason = "the model has no field for it, and no observation is read as such";
            not_recorded.push(NotRecorded { name: column.to_owned(), reason: reason.to_owned() });
        }
        if events.iter().all(|(table, _)| table != CdmTable::DeviceExposure.name()) {
            let reason = "there is no table device_exposure".to_owned();
            not_recorded.push(NotRecorded { name: "device".to_owned(), reason });
        }
        let covered = |key: &str, title: &str, people: BTreeMap<String, u64>| Covered {
            name: key.to_owned(),
            title: title.to_owned(),
            people,
        };
        let named = |counts: BTreeMap<i64, u64>| {
            let mut people: BTreeMap<String, u64> = BTreeMap::new();
            counts.into_iter().for_each(|(id, count)| *people.entry(name(id)).or_default() += count);
            people
        };
        let all_covered = vec![
            covered("condition", "Conditions", named(conditions)),
            covered("device", "Devices", named(devices)),
            covered("year", "Years", years.into_iter().map(|(year, count)| (year.to_string(), count)).collect()),
        ];
        Ok(Self {
            rows,
            columns,
            combined,
            missing,
            ids: place.into_iter().map(|(id, at)| (id.to_string(), at)).collect(),
            events,
            follow_up_years: followed.iter().any(|years| years.is_finite()).then_some(followed),
            covered: all_covered.into_iter().filter(|covered| !covered.people.is_empty()).collect(),
            coverage: ["site", "region", "country", "language"].map(str::to_owned).into(),
            not_recorded,
            on,
        })
    }
}

/// Why nothing of a kind is in the tables.
fn reason(column: &str) -> &'static str {
    match column {
        "age" => "person.year_of_birth is empty, or no day is known at which age would count",
        "sex" => "person.gender_concept_id is 0 or empty for everybody",
        "race" => "person.race_concept_id is 0 or empty for everybody",
        "ethnicity" => "person.ethnicity_concept_id is 0 or empty for everybody",
        "region" => "location.state is empty for everybody",
        "country" => "location.country_source_value is empty for everybody",
        "site" => "person.care_site_id is empty for everybody",
        _ => "no observation states it",
    }
}
