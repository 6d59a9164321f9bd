//! `diversity.json`: who is in the data compared with a reference population, and who is not.
//!
//! The measures, the suppression and the layout are those of `acequia-diversity`; here rows about to be published become
//! its people, and a plan its question.

use std::collections::{BTreeMap, BTreeSet};

use acequia_diversity::{
    AskedPerson, Cell, Column, Consent, Interval, People, Question, Reference, ReferenceCell, Report, consent_groups,
    interval, overlapping, report, spread, statement,
};
use acequia_frame::{FrameError, Table};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::dictionary::Dictionary;
use crate::{ConsentPlan, Dimension, Plan, ReleaseError};

pub(crate) use acequia_diversity::SCHEMA;

/// Layout `acequia-diversity/1`.
pub(crate) type Diversity = Report;

/// Compares the union of the splits with the plan's reference.
pub(crate) fn diversity(splits: &[&Table], dictionary: &Dictionary, plan: &Plan) -> Result<Diversity, ReleaseError> {
    let asked = &plan.diversity;
    let rows = splits.iter().map(|table| table.rows()).sum();
    let mut names: Vec<&str> = asked.dimensions.iter().map(|dimension| dimension.column.as_str()).collect();
    names.extend(asked.intersections.iter().flatten().map(String::as_str));
    names.extend(asked.coverage.iter().map(String::as_str));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let dimension = asked.dimensions.iter().find(|dimension| dimension.column == name);
        let entry = dictionary.columns.iter().find(|entry| entry.name == name);
        let title = match (dimension.map_or("", |dimension| dimension.title.as_str()), entry) {
            ("", Some(entry)) => entry.title.as_str(),
            (title, _) => title,
        };
        let texts = published(splits, name, dimension.map_or(&[], |dimension| dimension.reference.as_slice()))?;
        let mut column = Column::new(name, title, texts.iter().map(Option::as_deref));
        column.labels = entry.map(|entry| entry.values.clone()).unwrap_or_default();
        columns.push(column);
    }
    let mut people = People::of_columns(rows, columns).covering(&asked.coverage);
    for entry in &dictionary.columns {
        people = people.with_missing(&entry.name, missing(splits, &entry.name)?);
    }
    for name in &asked.events {
        let counts = numbers(splits, name)?;
        // What is above 0 happened; a missing value did not.
        people = people.with_events(name, counts.iter().map(|n| if *n > 0.0 { *n as u32 } else { 0 }).collect());
    }
    if let Some(name) = &asked.follow_up {
        let unit = plan.column(name).and_then(|column| column.unit.as_deref()).unwrap_or("a");
        let per_year = YEARS.iter().find(|(known, _)| *known == unit).map_or(1.0, |(_, per_year)| *per_year);
        people = people.with_follow_up(numbers(splits, name)?.into_iter().map(|n| n / per_year).collect());
    }
    let question = Question {
        purpose: asked.purpose.clone(),
        references: asked
            .dimensions
            .iter()
            .filter(|dimension| !dimension.reference.is_empty())
            .map(|dimension| Reference {
                dimensions: vec![dimension.column.clone()],
                cells: dimension.reference.iter().map(|cell| (vec![cell.label.clone()], cell.share)).collect(),
                ..Reference::default()
            })
            .collect(),
        population: Some((asked.population.clone(), asked.source.clone())),
        dimensions: Some(asked.dimensions.iter().map(|dimension| dimension.column.clone()).collect()),
        intersections: asked.intersections.clone(),
        not_recorded: plan.not_recorded.clone(),
        previous: plan.previous_diversity.clone(),
        ..Question::new(plan.minimum_cell)
    };
    let report = report(&people, &question).map_err(|_| ReleaseError::SelfCheck {
        check: "the diversity report finds the columns of the plan".to_owned(),
    })?;
    Ok(Report { consent: consent(&plan.consent, plan.minimum_cell), ..report })
}

/// UCUM units of time, and how many there are in a year.
pub(crate) const YEARS: [(&str, f64); 4] = [("a", 1.0), ("mo", 12.0), ("wk", 52.1775), ("d", 365.25)];

/// The published value of each row. Numbers that were not made coarser fall into the reference's own bands.
fn published(splits: &[&Table], name: &str, reference: &[ReferenceCell]) -> Result<Vec<Option<String>>, ReleaseError> {
    let bands: Vec<(&str, Interval)> =
        reference.iter().filter_map(|cell| Some((cell.label.as_str(), interval(&cell.label)?))).collect();
    let mut texts = Vec::new();
    for table in splits {
        let array = table.column(name)?;
        let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
        if array.data_type().is_numeric() {
            for number in numbers(&[table], name)? {
                if number.is_nan() {
                    texts.push(None);
                    continue;
                }
                let exact = bands.iter().find(|(label, _)| label.parse() == Ok(number));
                let band = exact.or_else(|| bands.iter().find(|(_, band)| band.contains(number)));
                texts.push(Some(match band {
                    Some((label, _)) => (*label).to_owned(),
                    None if bands.is_empty() => number.to_string(),
                    None => "other".to_owned(),
                }));
            }
            continue;
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(failed)?;
        // Dates count by calendar year.
        let length = if array.data_type() == &DataType::Date32 { 4 } else { usize::MAX };
        for row in 0..array.len() {
            let text = array.is_valid(row).then(|| formatter.value(row).to_string());
            texts.push(text.map(|text| text.chars().take(length).collect()));
        }
    }
    Ok(texts)
}

/// Numbers of a column; what is none, or infinite, is not a number. Truth is 1.
fn numbers(splits: &[&Table], name: &str) -> Result<Vec<f64>, ReleaseError> {
    let mut all = Vec::new();
    for table in splits {
        let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
        let array = cast(&table.column(name)?, &DataType::Float64).map_err(failed)?;
        let known = |number: Option<f64>| number.filter(|number| number.is_finite()).unwrap_or(f64::NAN);
        all.extend(array.as_primitive::<Float64Type>().iter().map(known));
    }
    Ok(all)
}

/// Rows without a value: null, not a number, or infinite.
fn missing(splits: &[&Table], name: &str) -> Result<Vec<bool>, ReleaseError> {
    let mut all = Vec::new();
    for table in splits {
        let array = table.column(name)?;
        if array.data_type().is_numeric() {
            all.extend(numbers(&[table], name)?.into_iter().map(f64::is_nan));
        } else {
            all.extend((0..array.len()).map(|row| array.is_null(row)));
        }
    }
    Ok(all)
}

/// Who agreed, in the plan's words and order.
fn consent(plan: &ConsentPlan, minimum: u64) -> Consent {
    let asked = |outcome: &crate::ConsentOutcome, groups: BTreeMap<String, String>| AskedPerson {
        outcome: outcome.name.clone(),
        groups,
        count: outcome.count,
    };
    let by_group = plan.by_group.iter().flat_map(|group| {
        let groups = BTreeMap::from([(plan.grouped_by.clone(), group.label.clone())]);
        group.outcomes.iter().map(move |outcome| asked(outcome, groups.clone()))
    });
    let all: Vec<AskedPerson> = match plan.by_group.is_empty() {
        true => plan.outcomes.iter().map(|outcome| asked(outcome, BTreeMap::new())).collect(),
        false => by_group.collect(),
    };
    let mut consent = consent_groups(&all, minimum);
    consent.counted = if plan.counted.is_empty() { "donations".to_owned() } else { plan.counted.clone() };
    let place = |name: &str| plan.outcomes.iter().position(|outcome| outcome.name == name);
    let named = |outcomes: &mut Vec<acequia_diversity::Outcome>| {
        outcomes.sort_by_key(|outcome| place(&outcome.name).unwrap_or(usize::MAX));
        for outcome in outcomes {
            if let Some(at) = place(&outcome.name) {
                outcome.title.clone_from(&plan.outcomes[at].title);
            }
        }
    };
    named(&mut consent.outcomes);
    consent.by_group.iter_mut().flat_map(|groups| &mut groups.groups).for_each(|group| named(&mut group.outcomes));
    if !consent.outcomes.is_empty() {
        consent.statement = statement(&consent.counted, consent.total, &consent.outcomes);
    }
    consent
}

/// Dimensions of a finished report whose counts do not agree with the rows. For [`crate::verify`].
pub(crate) fn disagreements(report: &Diversity, splits: &[&Table]) -> Result<Vec<String>, ReleaseError> {
    let mut wrong = Vec::new();
    for described in &report.dimensions {
        let compared = described.cells.iter().filter(|cell| cell.reference_share.is_some());
        let reference: Vec<ReferenceCell> =
            compared.map(|cell| ReferenceCell { label: cell.value.clone(), share: 1.0 }).collect();
        let dimension = Dimension { column: described.name.clone(), title: String::new(), reference };
        let (counts, left_out) = counts(splits, &dimension)?;
        let told: u64 = counts.values().sum();
        // Programs of before counted left-out values as a group.
        let (stars, cells): (Vec<&Cell>, Vec<&Cell>) = described.cells.iter().partition(|cell| cell.value == "*");
        let among = if stars.is_empty() { told } else { told + left_out };
        let stated = described.left_out.into_iter().chain(stars.iter().filter_map(|cell| cell.count));
        let odd = !follow(&cells, &counts) || stated.into_iter().any(|n| n != left_out);
        if odd || described.rows.is_some_and(|rows| rows != among) {
            wrong.push(described.name.clone());
        }
    }
    Ok(wrong)
}

/// Whether cells add up to the recounted ones. Programs of before divided what is recounted as one open band.
fn follow(cells: &[&Cell], counts: &BTreeMap<String, u64>) -> bool {
    let inside = |cell: &str, whole: &str| match (interval(cell), interval(whole)) {
        (Some(cell), Some(whole)) => whole.from() <= cell.from() && cell.to() <= whole.to(),
        _ => false,
    };
    let mut found: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for cell in cells {
        let exact = counts.get_key_value(&cell.value).map(|(value, _)| value);
        match exact.or_else(|| counts.keys().find(|whole| inside(&cell.value, whole))) {
            Some(value) => {
                let sum = found.entry(value).or_insert(Some(0));
                *sum = sum.zip(cell.count).map(|(sum, count)| sum + count);
            }
            None if cell.count.is_some_and(|count| count > 0) => return false,
            None => {}
        }
    }
    counts.iter().all(|(value, count)| match found.get(value.as_str()) {
        Some(sum) => sum.is_none_or(|sum| sum == *count),
        None => *count == 0,
    })
}

/// Counts per value over all splits, and of values that were left out.
fn counts(splits: &[&Table], dimension: &Dimension) -> Result<(BTreeMap<String, u64>, u64), ReleaseError> {
    let texts = published(splits, &dimension.column, &dimension.reference)?;
    let column = Column::new(&dimension.column, "", texts.iter().map(Option::as_deref));
    let bands: Vec<(&str, Interval)> =
        dimension.reference.iter().filter_map(|cell| Some((cell.label.as_str(), interval(&cell.label)?))).collect();
    let counts = column.counts();
    let in_bands = if overlapping(column.values.iter()) { spread(counts.clone(), &bands) } else { None };
    Ok((in_bands.unwrap_or(counts), column.people_left_out()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acequia_diversity::Described;
    use arrow::array::{RecordBatch, StringArray};

    use super::*;

    #[test]
    fn reports_of_before_still_follow_from_their_rows() {
        let rows = [("<30", 20), ("30-34", 15), ("30-39", 30), (">=80", 64), ("*", 12)];
        let ages: Vec<&str> = rows.iter().flat_map(|(age, people)| std::iter::repeat_n(*age, *people)).collect();
        let batch = RecordBatch::try_from_iter([("age", Arc::new(StringArray::from(ages)) as _)]).unwrap();
        let table = Table::new("train", vec![batch]).unwrap();
        let found = |cells: &[(&str, Option<u64>)], rows: u64, left_out: Option<u64>| {
            let cell = |(value, count): &(&str, Option<u64>)| Cell {
                value: (*value).to_owned(),
                count: *count,
                reference_share: (*value != "*").then_some(0.1),
                ..Cell::default()
            };
            let cells = cells.iter().map(cell).collect();
            let name = "age".to_owned();
            let dimensions = vec![Described { name, cells, rows: Some(rows), left_out, ..Described::default() }];
            disagreements(&Report { dimensions, ..Report::default() }, &[&table]).unwrap()
        };
        let own = |last| [("<30", Some(20)), ("30-34", Some(30)), ("35-39", Some(15)), (">=80", last)];
        assert!(found(&own(Some(64)), 129, Some(12)).is_empty());
        assert!(found(&own(None), 129, Some(12)).is_empty());
        assert_eq!(found(&own(Some(63)), 129, Some(12)), ["age"]);
        assert_eq!(found(&own(Some(64)), 141, Some(12)), ["age"]);
        assert_eq!(found(&own(Some(64)), 129, Some(11)), ["age"]);
        // An open band divided, and left-out values as a group.
        let of_before = |last| {
            [
                ("20-24", 10),
                ("25-29", 10),
                ("30-34", 30),
                ("35-39", 15),
                ("80-84", 20),
                ("85-89", 20),
                ("90+", last),
                ("*", 12),
            ]
            .map(|(value, count)| (value, Some(count)))
        };
        assert!(found(&of_before(24), 141, None).is_empty());
        assert_eq!(found(&of_before(25), 141, None), ["age"]);
    }
}
