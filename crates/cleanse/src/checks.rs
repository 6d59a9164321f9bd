//! The checks.

use std::collections::{BTreeMap, HashSet};

use acequia_frame::{FrameError, Table};
use acequia_omop::CdmTable;
use acequia_types::Day;
use arrow::array::Array;

use crate::view::{EventFields, Lives, days, event_fields, ids, numbers};
use crate::{Category, CheckResult, Status, Thresholds};

/// A plausible range of a concept's values.
pub(crate) struct Range {
    pub(crate) check_id: String,
    pub(crate) concept_id: i64,
    pub(crate) unit_concept_id: Option<i64>,
    pub(crate) low: f64,
    pub(crate) high: f64,
    what: String,
}

/// The ranges of `data/ranges.csv`.
pub(crate) fn ranges() -> Vec<Range> {
    let text = include_str!("../data/ranges.csv");
    let range = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Some(Range {
            check_id: format!("range.{}", fields.first()?),
            concept_id: fields.get(2)?.parse().ok()?,
            unit_concept_id: fields.get(3)?.parse().ok(),
            low: fields.get(4)?.parse().ok()?,
            high: fields.get(5)?.parse().ok()?,
            what: (*fields.get(6)?).to_owned(),
        })
    };
    text.lines().skip(1).filter_map(range).collect()
}

/// Days since 1970-01-01.
pub(crate) fn epoch_days(day: Day) -> i32 {
    i32::try_from(day.signed_duration_since(Day::default()).num_days()).unwrap_or(i32::MAX)
}

struct Checks<'a> {
    thresholds: &'a Thresholds,
    results: Vec<CheckResult>,
}

impl Checks<'_> {
    fn add(&mut self, id: String, category: Category, what: String, failing: impl Iterator<Item = bool>) {
        let (mut rows, mut failed) = (0, 0);
        for fails in failing {
            rows += 1;
            failed += u64::from(fails);
        }
        let threshold = self.thresholds.failing_share[category as usize];
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let status = match rows {
            0 => Status::NotApplicable,
            _ if failed as f64 > threshold * rows as f64 => Status::Fail,
            _ => Status::Pass,
        };
        self.results.push(CheckResult { id, category, what, rows, failing: failed, threshold, status });
    }
}

/// Runs every check on the tables that are there.
pub(crate) fn run(tables: &BTreeMap<String, Table>, thresholds: &Thresholds) -> Result<Vec<CheckResult>, FrameError> {
    let mut checks = Checks { thresholds, results: Vec::new() };
    let lives = Lives::of(tables)?;
    let keys = primary_keys(tables)?;
    for cdm in CdmTable::ALL {
        let Some(table) = tables.get(cdm.name()) else { continue };
        fields(&mut checks, *cdm, table, &keys)?;
        if let Some(event) = event_fields(*cdm) {
            events(&mut checks, *cdm, table, &event, &lives)?;
        }
    }
    if let Some(person) = tables.get(CdmTable::Person.name()) {
        persons(&mut checks, person, tables)?;
    }
    if let Some(measurement) = tables.get(CdmTable::Measurement.name()) {
        values(&mut checks, measurement)?;
    }
    if let Some(period) = tables.get(CdmTable::ObservationPeriod.name()) {
        let (starts, ends) =
            (days(period, "observation_period_start_date")?, days(period, "observation_period_end_date")?);
        let backwards = starts.iter().zip(&ends).map(|(start, end)| end < start);
        let what = "observation periods that end before they start".to_owned();
        checks.add("order.observation_period".to_owned(), Category::Plausibility, what, backwards);
    }
    Ok(checks.results)
}

fn primary_keys(tables: &BTreeMap<String, Table>) -> Result<BTreeMap<&'static str, HashSet<i64>>, FrameError> {
    let mut keys = BTreeMap::new();
    for cdm in CdmTable::ALL {
        if let (Some(table), Some(key)) = (tables.get(cdm.name()), cdm.key()) {
            keys.insert(cdm.name(), ids(table, key)?.into_iter().flatten().collect());
        }
    }
    Ok(keys)
}

/// Conformance and completeness, field by field.
fn fields(
    checks: &mut Checks<'_>,
    cdm: CdmTable,
    table: &Table,
    keys: &BTreeMap<&'static str, HashSet<i64>>,
) -> Result<(), FrameError> {
    let name = cdm.name();
    for field in cdm.fields() {
        let at = format!("{name}.{}", field.name);
        let Ok(column) = table.column(&field.name) else {
            let what = format!("field {at} is missing");
            checks.add(format!("present.{at}"), Category::Conformance, what, std::iter::once(true));
            continue;
        };
        let typed = *column.data_type() == field.field_type.arrow();
        checks.add(format!("type.{at}"), Category::Conformance, format!("type of {at}"), std::iter::once(!typed));
        if field.required {
            let missing = (0..column.len()).map(|row| column.is_null(row));
            checks.add(format!("required.{at}"), Category::Conformance, format!("rows without {at}"), missing);
        }
        if cdm.key() == Some(field.name.as_str()) {
            let mut seen = HashSet::new();
            let repeated = ids(table, &field.name)?.into_iter().map(|id| !seen.insert(id)).collect::<Vec<_>>();
            checks.add(
                format!("key.{at}"),
                Category::Conformance,
                format!("rows that repeat {at}"),
                repeated.into_iter(),
            );
        }
        if let Some(known) = field.references.as_deref().and_then(|target| keys.get(target)) {
            let dangling = ids(table, &field.name)?.into_iter().flatten().map(|id| !known.contains(&id));
            checks.add(
                format!("reference.{at}"),
                Category::Conformance,
                format!("rows whose {at} refers to nothing"),
                dangling,
            );
        }
    }
    Ok(())
}

/// Completeness of concepts and plausibility of dates.
fn events(
    checks: &mut Checks<'_>,
    cdm: CdmTable,
    table: &Table,
    event: &EventFields,
    lives: &Lives,
) -> Result<(), FrameError> {
    let name = cdm.name();
    let (persons, starts) = (ids(table, "person_id")?, days(table, event.start)?);
    let unmapped = ids(table, event.concept)?.into_iter().map(|concept| concept == Some(0));
    let what = format!("rows of {name} without a concept");
    checks.add(format!("mapped.{name}"), Category::Completeness, what, unmapped);
    let early = persons.iter().zip(&starts).map(|(person, day)| lives.before_birth(*person, *day));
    checks.add(format!("after-birth.{name}"), Category::Plausibility, format!("rows of {name} before birth"), early);
    let late = persons.iter().zip(&starts).map(|(person, day)| lives.after_death(*person, *day));
    checks.add(format!("before-death.{name}"), Category::Plausibility, format!("rows of {name} after death"), late);
    let today = epoch_days(checks.thresholds.as_of);
    let future = starts.iter().map(|day| day.is_some_and(|day| day > today));
    checks.add(format!("past.{name}"), Category::Plausibility, format!("rows of {name} in the future"), future);
    if let Some(end) = event.end {
        let ends = days(table, end)?;
        let backwards = starts.iter().zip(&ends).map(|(start, end)| end.is_some() && end < start);
        checks.add(
            format!("order.{name}"),
            Category::Plausibility,
            format!("rows of {name} that end before they start"),
            backwards,
        );
    }
    Ok(())
}

fn persons(checks: &mut Checks<'_>, person: &Table, tables: &BTreeMap<String, Table>) -> Result<(), FrameError> {
    use chrono::Datelike;
    let years = ids(person, "year_of_birth")?;
    let this_year = i64::from(checks.thresholds.as_of.year());
    let odd = years.iter().map(|year| year.is_none_or(|year| !(1850..=this_year).contains(&year)));
    checks.add(
        "range.year-of-birth".to_owned(),
        Category::Plausibility,
        "years of birth before 1850 or in the future".to_owned(),
        odd,
    );
    let unknown = ids(person, "gender_concept_id")?.into_iter().map(|concept| concept == Some(0));
    checks.add("mapped.gender".to_owned(), Category::Completeness, "persons without sex".to_owned(), unknown);
    for cdm in [CdmTable::ObservationPeriod, CdmTable::ConditionOccurrence] {
        let Some(table) = tables.get(cdm.name()) else { continue };
        let with: HashSet<i64> = ids(table, "person_id")?.into_iter().flatten().collect();
        let without = ids(person, "person_id")?.into_iter().flatten().map(|id| !with.contains(&id)).collect::<Vec<_>>();
        let what = format!("persons without {}", cdm.name());
        checks.add(format!("covered.{}", cdm.name()), Category::Completeness, what, without.into_iter());
    }
    Ok(())
}

fn values(checks: &mut Checks<'_>, measurement: &Table) -> Result<(), FrameError> {
    let concepts = ids(measurement, "measurement_concept_id")?;
    let units = ids(measurement, "unit_concept_id")?;
    let numbers = numbers(measurement, "value_as_number")?;
    for range in ranges() {
        let own = || {
            concepts.iter().zip(&units).zip(&numbers).filter(|((concept, _), _)| **concept == Some(range.concept_id))
        };
        let outside = own().filter_map(|(_, number)| *number).map(|number| !(range.low..=range.high).contains(&number));
        let what = format!("{} outside {} to {}", range.what, range.low, range.high);
        checks.add(range.check_id.clone(), Category::Plausibility, what, outside);
        if let Some(unit) = range.unit_concept_id {
            let other = own().filter(|(_, number)| number.is_some()).map(|((_, found), _)| *found != Some(unit));
            let id = range.check_id.replacen("range", "unit", 1);
            checks.add(id, Category::Conformance, format!("{} in another unit", range.what), other);
        }
    }
    Ok(())
}
