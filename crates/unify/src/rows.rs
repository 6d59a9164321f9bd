//! From one record to rows.

use std::collections::HashMap;

use acequia_omop::{
    CdmTable, Cell, Code, Coding, Fate, Held, Item, Kind, PartialDate, SourceEvent, SourceRecord, SourceValue, Unmapped,
};
use acequia_types::{Day, DonorId, IntakeId, SourceId};

use crate::codes::Target;
use crate::ids::source_key_digest;
use crate::{PersonSource, Unifier, UnifyError};

/// Concept of a disease episode, and the disease it is about.
const DISEASE_EPISODE: i64 = 2_000_000_017;
const BREAST_CANCER: i64 = 4_112_853;

/// The record's own identity, written once.
struct Origin<'a> {
    intake: &'a IntakeId,
    source: &'a SourceId,
    items: &'a [Item],
    person_id: i64,
}

impl Origin<'_> {
    fn row(&self, item: usize) -> u64 {
        self.items.get(item).map_or(0, |item| item.row)
    }
}

/// One row that an event becomes.
#[derive(Clone, Copy)]
struct Row {
    table: CdmTable,
    /// Number of what its codes mean.
    meaning: u32,
    source_concept_id: i64,
    concept_id: i64,
    /// A value that the code itself states.
    value: Option<i64>,
}

fn codes(codings: &[Coding]) -> Vec<Code<'_>> {
    codings.iter().map(|coding| Code { system: &coding.system, code: &coding.code }).collect()
}

/// What kind of event its format said it is, as far as the choice among several codes depends on it.
fn kind_of(table: CdmTable) -> Kind {
    match table {
        CdmTable::ConditionOccurrence => Kind::Condition,
        CdmTable::ProcedureOccurrence => Kind::Procedure,
        CdmTable::DrugExposure => Kind::Drug,
        CdmTable::Measurement => Kind::Measurement,
        _ => Kind::Observation,
    }
}

impl Unifier<'_> {
    /// Adds one person with all events; tells the fate of every item the record refers to.
    pub(crate) fn record(
        &mut self,
        intake: &IntakeId,
        source: &SourceId,
        donor: &DonorId,
        record: &SourceRecord,
        items: &[Item],
    ) -> Result<Vec<(usize, Fate)>, UnifyError> {
        let person = &record.person;
        let event_items = record.events.iter().map(|event| event.item);
        let Some(birth) = person.birth else {
            let held = |item| (item, Fate::Held(Held::NoBirthDate));
            return Ok(std::iter::once(person.item).chain(event_items).map(held).collect());
        };
        let identity: [&[u8]; 3] = [source.as_str().as_bytes(), donor.as_str().as_bytes(), person.key.as_bytes()];
        let person_id = self.key.id(&[b"person", identity[0], identity[1], identity[2]]);
        let origin = Origin { intake, source, items, person_id };
        let first_seen = !self.persons.contains_key(&person_id);
        if first_seen {
            let source_key_digest = source_key_digest(&identity);
            self.persons.insert(person_id, PersonSource { source: source.to_string(), source_key_digest });
            self.person(&origin, record, birth)?;
        }
        self.lineage.push(CdmTable::Person, person_id, source, intake, origin.row(person.item), "");

        let mut visits = HashMap::new();
        let mut fates = vec![(person.item, Fate::Loaded)];
        let mut ordinal = HashMap::<usize, u32>::new();
        let mut episode_start: Option<(Day, usize)> = None;
        // Visits come first, so that every other event can refer to them.
        let is_visit = |event: &&SourceEvent| matches!(event.table, CdmTable::VisitOccurrence | CdmTable::VisitDetail);
        for event in record.events.iter().filter(is_visit).chain(record.events.iter().filter(|event| !is_visit(event)))
        {
            let ordinal = ordinal.entry(event.item).or_default();
            if is_visit(&event) {
                let id = self.event_id(&origin, event.item, ordinal);
                if let Some(key) = &event.own_key {
                    visits.insert(key.as_str(), id);
                }
                self.visit(&origin, event, id)?;
                fates.push((event.item, Fate::Loaded));
                continue;
            }
            if matches!(event.table, CdmTable::DeviceExposure | CdmTable::Note | CdmTable::Specimen) {
                // The course's tables have no place for these.
                fates.push((event.item, Fate::Unmapped(Unmapped::Kind)));
                continue;
            }
            let visit = event.visit.as_deref().and_then(|key| visits.get(key).copied());
            let rows = self.meaning(event);
            if rows.iter().any(|row| row.concept_id == BREAST_CANCER) {
                let start = event.start.first_day();
                if episode_start.is_none_or(|(earliest, _)| start < earliest) {
                    episode_start = Some((start, event.item));
                }
            }
            let mapped = rows.iter().all(|row| row.concept_id != 0);
            for row in rows {
                let id = self.event_id(&origin, event.item, ordinal);
                self.event(&origin, event, id, visit, row)?;
            }
            fates.push((event.item, if mapped { Fate::Loaded } else { Fate::Unmapped(Unmapped::Concept) }));
        }
        self.period(&origin, record)?;
        if let Some((item, died)) = person.death
            && self.deaths.insert(person_id)
        {
            self.death(&origin, item, died, person.type_concept_id)?;
        }
        if let Some((start, item)) = episode_start {
            self.episode(&origin, start, item, person.type_concept_id)?;
        }
        Ok(fates)
    }

    /// The id of an item's next row.
    fn event_id(&self, origin: &Origin<'_>, item: usize, ordinal: &mut u32) -> i64 {
        let row = origin.row(item).to_le_bytes();
        let (person_id, nth) = (origin.person_id.to_le_bytes(), ordinal.to_le_bytes());
        *ordinal += 1;
        self.key.id(&[b"event", &person_id, origin.intake.as_str().as_bytes(), &row, &nth])
    }

    /// The rows that an event becomes: one for each concept its codes map to, in the table of the concept's domain.
    fn meaning(&mut self, event: &SourceEvent) -> Vec<Row> {
        let number =
            self.memo.resolve(kind_of(event.table), event.concept_id, &codes(&event.codings), &event.source_value);
        let meaning = self.memo.meaning(number);
        let none = Target { concept_id: 0, table: None, value: None };
        let targets = if meaning.targets.is_empty() { std::slice::from_ref(&none) } else { &meaning.targets };
        let row = |target: &Target| Row {
            table: target.table.filter(|table| table.holds_events()).unwrap_or(event.table),
            meaning: number,
            source_concept_id: meaning.source_concept_id,
            // A concept that no vocabulary knows says nothing.
            concept_id: if meaning.why_not.is_some() { 0 } else { target.concept_id },
            value: target.value,
        };
        targets.iter().map(row).collect()
    }

    fn push(
        &mut self,
        table: CdmTable,
        origin: &Origin<'_>,
        item: usize,
        row_id: i64,
        note: &str,
        cells: &[(&str, Cell<'_>)],
    ) -> Result<(), UnifyError> {
        if let Some(builder) = self.builders.get_mut(&table) {
            builder.push(cells)?;
            if table != CdmTable::Person {
                self.lineage.push(table, row_id, origin.source, origin.intake, origin.row(item), note);
            }
        }
        Ok(())
    }

    /// The day a date stands for, counting those of which a part had to be assumed.
    fn day(&mut self, date: PartialDate) -> (Day, &'static str) {
        if date.exact().is_none() {
            self.report.imputed_dates += 1;
            return (date.first_day(), "first possible day of a partial date");
        }
        (date.first_day(), "")
    }

    fn person(&mut self, origin: &Origin<'_>, record: &SourceRecord, birth: PartialDate) -> Result<(), UnifyError> {
        let person = &record.person;
        let cells = [
            ("person_id", Cell::Id(origin.person_id)),
            ("gender_concept_id", Cell::Id(person.sex.concept_id())),
            ("year_of_birth", Cell::Id(i64::from(birth.year))),
            ("month_of_birth", birth.month.map(i64::from).into()),
            ("day_of_birth", birth.day.map(i64::from).into()),
            ("birth_datetime", birth.exact().into()),
            ("race_concept_id", Cell::Id(0)),
            ("ethnicity_concept_id", Cell::Id(0)),
        ];
        self.push(CdmTable::Person, origin, person.item, origin.person_id, "", &cells)
    }

    fn visit(&mut self, origin: &Origin<'_>, event: &SourceEvent, id: i64) -> Result<(), UnifyError> {
        let (start, note) = self.day(event.start);
        let end = event.end.map_or(start, PartialDate::first_day);
        let cells = [
            ("visit_occurrence_id", Cell::Id(id)),
            ("person_id", Cell::Id(origin.person_id)),
            ("visit_concept_id", Cell::Id(event.visit_kind.map_or(0, acequia_omop::VisitKind::concept_id))),
            ("visit_start_date", Cell::Day(start)),
            ("visit_end_date", Cell::Day(end)),
            ("visit_type_concept_id", Cell::Id(event.type_concept_id)),
            ("visit_source_value", Cell::Text(&event.source_value)),
        ];
        self.push(CdmTable::VisitOccurrence, origin, event.item, id, note, &cells)
    }

    fn event(
        &mut self,
        origin: &Origin<'_>,
        event: &SourceEvent,
        id: i64,
        visit: Option<i64>,
        row: Row,
    ) -> Result<(), UnifyError> {
        let Row { table, concept_id, .. } = row;
        let (start, date_note) = self.day(event.start);
        let end = event.end.map(PartialDate::first_day);
        let mut note = date_note.to_owned();
        let mut cells = vec![("person_id", Cell::Id(origin.person_id)), ("visit_occurrence_id", visit.into())];
        let source_value = Cell::Text(&event.source_value);
        let source_concept = Cell::Id(row.source_concept_id);
        let type_concept = Cell::Id(event.type_concept_id);
        match table {
            CdmTable::ConditionOccurrence => cells.extend([
                ("condition_occurrence_id", Cell::Id(id)),
                ("condition_concept_id", Cell::Id(concept_id)),
                ("condition_start_date", Cell::Day(start)),
                ("condition_end_date", end.into()),
                ("condition_type_concept_id", type_concept),
                ("condition_source_value", source_value),
                ("condition_source_concept_id", source_concept),
            ]),
            CdmTable::ProcedureOccurrence => cells.extend([
                ("procedure_occurrence_id", Cell::Id(id)),
                ("procedure_concept_id", Cell::Id(concept_id)),
                ("procedure_date", Cell::Day(start)),
                ("procedure_end_date", end.into()),
                ("procedure_type_concept_id", type_concept),
                ("procedure_source_value", source_value),
                ("procedure_source_concept_id", source_concept),
            ]),
            CdmTable::DrugExposure => cells.extend([
                ("drug_exposure_id", Cell::Id(id)),
                ("drug_concept_id", Cell::Id(concept_id)),
                ("drug_exposure_start_date", Cell::Day(start)),
                ("drug_exposure_end_date", Cell::Day(end.unwrap_or(start))),
                ("drug_type_concept_id", type_concept),
                ("drug_source_value", source_value),
                ("drug_source_concept_id", source_concept),
            ]),
            _ => {
                let is_measurement = table == CdmTable::Measurement;
                let prefix = if is_measurement { Names::MEASUREMENT } else { Names::OBSERVATION };
                let (number, unit, converted) = self.number(event, row.meaning);
                if converted {
                    note = [note.as_str(), "unit converted"]
                        .iter()
                        .filter(|part| !part.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join("; ");
                }
                let value_concept = match &event.value {
                    Some(SourceValue::Concept(concept_id)) => Some(*concept_id),
                    Some(SourceValue::Codes(codings)) => Some(self.memo.concept(&codes(codings))),
                    _ => row.value,
                };
                let unit_concept = unit.and_then(|unit| self.memo.unit(unit));
                cells.extend([
                    (prefix.id, Cell::Id(id)),
                    (prefix.concept, Cell::Id(concept_id)),
                    (prefix.date, Cell::Day(start)),
                    (prefix.type_concept, type_concept),
                    (prefix.source_value, source_value),
                    (prefix.source_concept, source_concept),
                    ("value_as_number", number.into()),
                    ("value_as_concept_id", value_concept.into()),
                    ("unit_concept_id", unit_concept.into()),
                    ("unit_source_value", unit.filter(|unit| unit.len() <= 50).into()),
                ]);
                let table = if is_measurement { CdmTable::Measurement } else { CdmTable::Observation };
                return self.push(table, origin, event.item, id, &note, &cells);
            }
        }
        self.push(table, origin, event.item, id, &note, &cells)
    }

    /// Number and unit, in the unit Acequia keeps for the concept where the source's unit can be converted.
    fn number<'e>(&mut self, event: &'e SourceEvent, meaning: u32) -> (Option<f64>, Option<&'e str>, bool) {
        let Some(SourceValue::Number(number)) = event.value else { return (None, None, false) };
        let Some(from) = event.unit.as_deref() else { return (Some(number), None, false) };
        match self.memo.factor(meaning, from) {
            Some((factor, to)) => {
                let converted = from != to;
                self.report.converted_units += u64::from(converted);
                (Some(number * factor), Some(to), converted)
            }
            None => (Some(number), Some(from), false),
        }
    }

    /// The stated period, or from the first to the last event.
    fn period(&mut self, origin: &Origin<'_>, record: &SourceRecord) -> Result<(), UnifyError> {
        let days = || {
            let ends = record.events.iter().filter_map(|event| event.end);
            let died = record.person.death.map(|(_, died)| died);
            record.events.iter().map(|event| event.start).chain(ends).chain(died).map(PartialDate::first_day)
        };
        let stated = record.person.period;
        let (Some(start), Some(end)) =
            (stated.map(|(start, _)| start).or(days().min()), stated.map(|(_, end)| end).or(days().max()))
        else {
            return Ok(());
        };
        // Planned visits and open ends must not make a life longer than it was.
        let died = record.person.death.map(|(_, died)| died.first_day());
        let end = died.map_or(end, |died| end.min(died)).max(start);
        let id = self.key.id(&[b"period", &origin.person_id.to_le_bytes(), origin.intake.as_str().as_bytes()]);
        let cells = [
            ("observation_period_id", Cell::Id(id)),
            ("person_id", Cell::Id(origin.person_id)),
            ("observation_period_start_date", Cell::Day(start)),
            ("observation_period_end_date", Cell::Day(end)),
            ("period_type_concept_id", Cell::Id(record.person.type_concept_id)),
        ];
        let note = if stated.is_some() { "" } else { "from first to last event" };
        self.push(CdmTable::ObservationPeriod, origin, record.person.item, id, note, &cells)
    }

    fn death(
        &mut self,
        origin: &Origin<'_>,
        item: usize,
        died: PartialDate,
        type_concept_id: i64,
    ) -> Result<(), UnifyError> {
        let (day, note) = self.day(died);
        let cells = [
            ("person_id", Cell::Id(origin.person_id)),
            ("death_date", Cell::Day(day)),
            ("death_type_concept_id", Cell::Id(type_concept_id)),
        ];
        self.push(CdmTable::Death, origin, item, origin.person_id, note, &cells)
    }

    fn episode(
        &mut self,
        origin: &Origin<'_>,
        start: Day,
        item: usize,
        type_concept_id: i64,
    ) -> Result<(), UnifyError> {
        let id = self.key.id(&[b"episode", &origin.person_id.to_le_bytes(), origin.intake.as_str().as_bytes()]);
        let cells = [
            ("episode_id", Cell::Id(id)),
            ("person_id", Cell::Id(origin.person_id)),
            ("episode_concept_id", Cell::Id(DISEASE_EPISODE)),
            ("episode_start_date", Cell::Day(start)),
            ("episode_object_concept_id", Cell::Id(BREAST_CANCER)),
            ("episode_type_concept_id", Cell::Id(type_concept_id)),
        ];
        self.push(CdmTable::Episode, origin, item, id, "", &cells)
    }
}

/// Field names that differ between measurement and observation.
struct Names {
    id: &'static str,
    concept: &'static str,
    date: &'static str,
    type_concept: &'static str,
    source_value: &'static str,
    source_concept: &'static str,
}

impl Names {
    const MEASUREMENT: Self = Self {
        id: "measurement_id",
        concept: "measurement_concept_id",
        date: "measurement_date",
        type_concept: "measurement_type_concept_id",
        source_value: "measurement_source_value",
        source_concept: "measurement_source_concept_id",
    };
    const OBSERVATION: Self = Self {
        id: "observation_id",
        concept: "observation_concept_id",
        date: "observation_date",
        type_concept: "observation_type_concept_id",
        source_value: "observation_source_value",
        source_concept: "observation_source_concept_id",
    };
}
