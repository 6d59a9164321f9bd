//! Looking at columns of OMOP tables by name.

use std::collections::HashMap;

use acequia_frame::{FrameError, Table};
use acequia_omop::CdmTable;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type};

/// Days since 1970-01-01, or nothing.
pub(crate) type Days = Option<i32>;

pub(crate) fn ids(table: &Table, column: &str) -> Result<Vec<Option<i64>>, FrameError> {
    let array = table.column(column)?;
    Ok(array.as_primitive_opt::<Int64Type>().map_or_else(|| vec![None; array.len()], |values| values.iter().collect()))
}

pub(crate) fn days(table: &Table, column: &str) -> Result<Vec<Days>, FrameError> {
    let array = table.column(column)?;
    Ok(array.as_primitive_opt::<Date32Type>().map_or_else(|| vec![None; array.len()], |values| values.iter().collect()))
}

pub(crate) fn numbers(table: &Table, column: &str) -> Result<Vec<Option<f64>>, FrameError> {
    let array = table.column(column)?;
    Ok(array
        .as_primitive_opt::<Float64Type>()
        .map_or_else(|| vec![None; array.len()], |values| values.iter().collect()))
}

/// Names of the start date, end date and concept of an event table; `None` for tables that hold no events.
pub(crate) struct EventFields {
    pub(crate) start: &'static str,
    pub(crate) end: Option<&'static str>,
    pub(crate) concept: &'static str,
}

pub(crate) const fn event_fields(table: CdmTable) -> Option<EventFields> {
    let (start, end, concept) = match table {
        CdmTable::VisitOccurrence => ("visit_start_date", Some("visit_end_date"), "visit_concept_id"),
        CdmTable::ConditionOccurrence => ("condition_start_date", Some("condition_end_date"), "condition_concept_id"),
        CdmTable::ProcedureOccurrence => ("procedure_date", Some("procedure_end_date"), "procedure_concept_id"),
        CdmTable::DrugExposure => ("drug_exposure_start_date", Some("drug_exposure_end_date"), "drug_concept_id"),
        CdmTable::Measurement => ("measurement_date", None, "measurement_concept_id"),
        CdmTable::Observation => ("observation_date", None, "observation_concept_id"),
        CdmTable::Person
        | CdmTable::ObservationPeriod
        | CdmTable::Death
        | CdmTable::Episode
        | CdmTable::EpisodeEvent => {
            return None;
        }
    };
    Some(EventFields { start, end, concept })
}

/// When each person was born at the earliest and died, in days since 1970-01-01.
pub(crate) struct Lives {
    born: HashMap<i64, i32>,
    died: HashMap<i64, i32>,
}

impl Lives {
    pub(crate) fn of(tables: &std::collections::BTreeMap<String, Table>) -> Result<Self, FrameError> {
        let mut lives = Self { born: HashMap::new(), died: HashMap::new() };
        if let Some(person) = tables.get(CdmTable::Person.name()) {
            let (persons, years) = (ids(person, "person_id")?, ids(person, "year_of_birth")?);
            for (person, year) in persons.into_iter().zip(years) {
                if let (Some(person), Some(year)) = (person, year) {
                    lives.born.insert(person, first_day_of(year));
                }
            }
        }
        if let Some(death) = tables.get(CdmTable::Death.name()) {
            for (person, day) in ids(death, "person_id")?.into_iter().zip(days(death, "death_date")?) {
                if let (Some(person), Some(day)) = (person, day) {
                    lives.died.insert(person, day);
                }
            }
        }
        Ok(lives)
    }

    /// Before the year of birth: impossible whatever the day of birth is.
    pub(crate) fn before_birth(&self, person: Option<i64>, day: Days) -> bool {
        matches!((person.and_then(|person| self.born.get(&person)), day), (Some(born), Some(day)) if day < *born)
    }

    /// More than 60 days after death: records of the last days are often closed later (the margin OHDSI's checks use).
    pub(crate) fn after_death(&self, person: Option<i64>, day: Days) -> bool {
        const MARGIN_DAYS: i32 = 60;
        matches!((person.and_then(|person| self.died.get(&person)), day), (Some(died), Some(day)) if day > died + MARGIN_DAYS)
    }
}

/// Days since 1970-01-01 of the first of January.
fn first_day_of(year: i64) -> i32 {
    let before = year - 1;
    let days = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162;
    i32::try_from(days).unwrap_or(if days < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_begin_where_the_calendar_says() {
        assert_eq!((first_day_of(1970), first_day_of(1971), first_day_of(2001)), (0, 365, 11_323));
        assert_eq!(first_day_of(1969), -365);
    }
}
