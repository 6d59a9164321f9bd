//! `diversity.json`: what a report holds, and how it is put together.
//!
//! All counts of people form one system ([`suppress_sums`]): a count that is hidden in one table does not follow from
//! another. Shares and figures are rounded, and given only where the counts behind them may be known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use acequia_types::{Day, parse_day};
use serde::{Deserialize, Serialize};

use crate::DiversityError;
use crate::audit::table_moves;
use crate::describe::{Compared, describe, describe_with, overlapping, round2, round4, share, spread};
use crate::groups::{PlacedConsent, group_columns};
use crate::interval::{Interval, interval, natural};
use crate::measures::{Pair, stability_index};
use crate::people::{Column, LEFT_OUT, People};
use crate::reference::{Reference, ReferenceCell};
use crate::suppress::{Sum, suppress_line, suppress_sums};

/// Layout of the report.
pub const SCHEMA: &str = "acequia-diversity/1";

/// Layout `acequia-diversity/1`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What the data are to serve for; groups that matter depend on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// What the reference population is; empty when there is none.
    pub population: String,
    /// Where its figures come from.
    pub source: String,
    /// Counts from 1 to this minus 1 are hidden. Persons.
    pub minimum_cell: u64,
    /// People in the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<u64>,
    /// Day at which age counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_on: Option<String>,
    /// Columns, and combinations that the reference knows, compared with the reference.
    pub dimensions: Vec<Described>,
    /// Combinations of several columns.
    pub intersectional: Vec<Intersection>,
    /// Unknown values of each column.
    pub missingness: Vec<Missing>,
    /// Kinds of events and how many people have any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Events>,
    /// What is missing, happened and was followed in each group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_group: Vec<Groups>,
    /// Places, years, devices, conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<Coverage>,
    /// Who agreed.
    pub consent: Consent,
    /// What changed since the report before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Facts that a reader would look for, and why they are absent.
    pub not_recorded: Vec<NotRecorded>,
}

/// One distribution compared with the reference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Described {
    /// Column, or columns joined by `*`.
    pub name: String,
    /// What people read.
    pub title: String,
    /// People with a known value that was not left out; null when those without are few.
    pub rows: Option<u64>,
    /// People whose value de-identification left out (`*`), who are in no group; absent when there are none, or
    /// their number is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// Groups in the order people expect.
    pub cells: Vec<Cell>,
    /// Hill number of order 1: how many equally common cells would be as diverse.
    pub effective_number: Option<f64>,
    /// From 0 (as the reference) to 1 (nothing in common); null without reference.
    pub total_variation_distance: Option<f64>,
    /// Hill number of order 2 (inverse Simpson index): counts frequent cells more than rare ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inverse_simpson: Option<f64>,
    /// Symmetrised divergence from the reference; null when a cell is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population_stability_index: Option<f64>,
    /// Divergence from the reference in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kullback_leibler: Option<f64>,
    /// What it would cost to weight the people to the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    /// Cells whose share is below 0.8 or above 1.25 of the reference's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cells_outside: Option<u64>,
    /// Cells whose share is below 0.8 of the reference's, most people needed first. Only cells whose count is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Why parts of the comparison are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One cell; numbers are null when the count is hidden or the reference does not know the cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// What a person reads.
    pub label: String,
    /// The value in the data.
    pub value: String,
    /// People.
    pub count: Option<u64>,
    /// Share of people with a known value.
    pub share: Option<f64>,
    /// Share of the reference population.
    pub reference_share: Option<f64>,
    /// share / reference_share.
    pub ratio: Option<f64>,
    /// Wilson 95 % interval of the share: lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Post-stratification to the reference (Kish 1965).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighting {
    /// Times the variance of an unweighted mean.
    pub design_effect: f64,
    /// People that would tell as much without weights.
    pub effective_size: u64,
}

/// Who is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// What people read.
    pub label: String,
    /// The value in the data.
    pub value: String,
    /// share / reference_share.
    pub ratio: f64,
    /// People of this cell that would have to join for a ratio of 0.8, everybody else staying.
    pub people_needed: u64,
}

/// Combinations of several columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intersection {
    /// Which columns.
    pub columns: Vec<String>,
    /// Product of the numbers of values that occur.
    pub possible: u64,
    /// Combinations that nobody has.
    pub empty: u64,
    /// Combinations that somebody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<u64>,
    /// Combinations with fewer people than the minimum cell, but not none.
    pub small: u64,
    /// People in small combinations; null when they are few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people_in_small: Option<u64>,
    /// Fewest people in a combination that reaches the minimum cell.
    pub smallest: Option<u64>,
}

/// Unknown values of one column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Which column.
    pub column: String,
    /// People without a value.
    pub count: Option<u64>,
    /// Their share.
    pub share: Option<f64>,
}

/// One kind of event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// Which kind.
    pub kind: String,
    /// People with at least one.
    pub people: Option<u64>,
    /// Their share.
    pub share: Option<f64>,
    /// Events per person; null when people are hidden.
    pub per_person: Option<f64>,
}

/// Groups by one column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// Column.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Groups in the order of the dimension's cells.
    pub groups: Vec<Group>,
}

/// What is known of one group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// What people read.
    pub label: String,
    /// The value in the data.
    pub value: String,
    /// People in it.
    pub people: Option<u64>,
    /// Unknown values of columns that anybody lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// Events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Events>,
    /// Follow-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<FollowUp>,
    /// How far a model's predictions are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_error: Option<ModelError>,
}

/// How long people were followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FollowUp {
    /// Mean, in years.
    pub mean_years: f64,
    /// Median, in years.
    pub median_years: f64,
}

/// A model's error in a group beside its size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelError {
    /// People with a prediction.
    pub people: u64,
    /// `brier-score` when every truth is 0 or 1 and every prediction a probability, else `mean-absolute-error`.
    pub measure: String,
    /// Mean over the group's people.
    pub error: f64,
    /// 95 % interval of the mean (normal).
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the data cover.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Stable word: `site`, `region`, `language`, `device`, `year`, `condition`.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Different values.
    pub values: u64,
    /// Values that at least 50 people have.
    pub with_50_people: u64,
    /// The most frequent values whose people may be counted openly.
    pub most: Vec<CoverageLine>,
}

/// One value of coverage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CoverageLine {
    /// What people read.
    pub label: String,
    /// People.
    pub people: u64,
}

/// Who agreed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consent {
    /// What is counted.
    pub counted: String,
    /// How many.
    pub total: u64,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// In words.
    pub statement: String,
    /// Outcomes in each group, where they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_group: Vec<GroupConsent>,
}

/// How many had one outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Stable word, such as `included`, `refused`, `withdrawn`.
    pub name: String,
    /// Words for people.
    pub title: String,
    /// How many.
    pub count: Option<u64>,
}

/// Outcomes by one column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupConsent {
    /// Column.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Groups.
    pub groups: Vec<GroupOutcomes>,
}

/// Outcomes of one group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupOutcomes {
    /// What people read.
    pub label: String,
    /// Asked.
    pub asked: Option<u64>,
    /// In the order of [`Consent::outcomes`].
    pub outcomes: Vec<Outcome>,
    /// Share that refused.
    pub refusal_rate: Option<f64>,
    /// Share that withdrew.
    pub withdrawal_rate: Option<f64>,
}

/// A fact about people that the data do not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotRecorded {
    /// Name, such as `ethnicity`.
    pub name: String,
    /// Why it is absent and what follows from that.
    pub reason: String,
}

/// The report before and this one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// People then.
    pub people_before: Option<u64>,
    /// People now.
    pub people_now: Option<u64>,
    /// Distance from the reference, then and now, and the stability index of the shares between the two.
    pub dimensions: Vec<ChangedDimension>,
    /// Counts shown in both that differ by 1 to the minimum cell minus 1: who has both reports learns of so few people.
    pub small_differences: u64,
}

/// Change of one dimension.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangedDimension {
    /// Which.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Then.
    pub distance_before: Option<f64>,
    /// Now.
    pub distance_now: Option<f64>,
    /// Between the two sets of shares; null when a cell is hidden or empty in either.
    pub population_stability_index: Option<f64>,
    /// Cells that are shown in both.
    pub cells: Vec<ChangedCell>,
}

/// Change of one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangedCell {
    /// What people read.
    pub label: String,
    /// Share then.
    pub share_before: f64,
    /// Share now.
    pub share_now: f64,
}

/// Somebody, or so many, who were asked for consent.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedPerson {
    /// Stable word: `included`, `refused`, `withdrawn`, ….
    pub outcome: String,
    /// Column to value.
    pub groups: BTreeMap<String, String>,
    /// How many people.
    pub count: u64,
}

/// What a model said about a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Identifier as in the table of people.
    pub person: String,
    /// What was so.
    pub truth: f64,
    /// What was predicted.
    pub predicted: f64,
}

/// What is asked of the data.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the data are to serve for.
    pub purpose: String,
    /// Counts from 1 to this minus 1 are hidden. Persons; below 2 hides none.
    pub minimum: u64,
    /// Reference populations.
    pub references: Vec<Reference>,
    /// Titles and source of the references, when they are not to be told from them.
    pub population: Option<(String, String)>,
    /// Columns that are described; none stands for all that form groups.
    pub dimensions: Option<Vec<String>>,
    /// Columns whose combinations are counted.
    pub intersections: Vec<Vec<String>>,
    /// Outcomes of consent.
    pub asked: Vec<AskedPerson>,
    /// Predictions of a model.
    pub predictions: Vec<Prediction>,
    /// Facts that are not there.
    pub not_recorded: Vec<NotRecorded>,
    /// The report before.
    pub previous: Option<Report>,
}

impl Question {
    /// Nothing but the least count that is shown.
    pub fn new(minimum: u64) -> Self {
        Self {
            purpose: String::new(),
            minimum,
            references: Vec::new(),
            population: None,
            dimensions: None,
            intersections: Vec::new(),
            asked: Vec::new(),
            predictions: Vec::new(),
            not_recorded: Vec::new(),
            previous: None,
        }
    }
}

impl Report {
    /// Reads a report back.
    ///
    /// # Errors
    /// [`DiversityError::Previous`].
    pub fn parse(json: &[u8]) -> Result<Self, DiversityError> {
        let report: Self = serde_json::from_slice(json).map_err(|_| DiversityError::Previous)?;
        if report.schema == SCHEMA { Ok(report) } else { Err(DiversityError::Previous) }
    }

    /// The day at which age counts.
    pub fn day(&self) -> Option<Day> {
        parse_day(self.age_on.as_deref()?)
    }
}

/// All counts of a report.
#[derive(Debug, Default)]
pub(crate) struct System {
    pub(crate) counts: Vec<u64>,
    sums: Vec<Sum>,
}

impl System {
    pub(crate) fn add(&mut self, count: u64) -> usize {
        self.counts.push(count);
        self.counts.len() - 1
    }

    pub(crate) fn sum(&mut self, total: usize, parts: Vec<usize>) {
        self.sums.push(Sum { total, parts });
    }

    /// The same where the parts leave people out, who are counted nowhere. A reader can take the parts from the total, so
    /// that rest is a count like others: hidden when it is small, known when it is not.
    pub(crate) fn sum_with_rest(&mut self, total: usize, mut parts: Vec<usize>) {
        let rest = self.counts[total].saturating_sub(parts.iter().map(|part| self.counts[*part]).sum());
        if rest > 0 {
            parts.push(self.add(rest));
        }
        self.sum(total, parts);
    }

    pub(crate) fn all_shown(&self, open: &[usize], wanted: &[usize], minimum: u64) -> Vec<Option<u64>> {
        let hidden = suppress_sums(&self.counts, &self.sums, open, wanted, minimum);
        self.counts.iter().zip(hidden).map(|(count, hidden)| (!hidden).then_some(*count)).collect()
    }
}

/// A dimension in the system.
pub(crate) struct Placed<'a> {
    pub(crate) column: &'a Column,
    pub(crate) compared: Compared,
    /// People with and without a value.
    pub(crate) known: usize,
    pub(crate) missing: usize,
    /// People whose value was left out, where there are any.
    pub(crate) left_out: Option<usize>,
    /// Of each cell of `compared`.
    pub(crate) cells: Vec<usize>,
    /// Of each value of the column.
    pub(crate) values: Vec<usize>,
}

/// Answers the question.
///
/// # Errors
/// [`DiversityError::NoColumn`].
pub fn report(people: &People, question: &Question) -> Result<Report, DiversityError> {
    let minimum = question.minimum;
    let mut system = System::default();
    let everybody = system.add(people.rows());
    let chosen: Vec<&Column> = match &question.dimensions {
        None => people.columns.iter().collect(),
        Some(names) => names.iter().map(|name| column(people, name)).collect::<Result<_, _>>()?,
    };
    let placed: Vec<Placed<'_>> =
        chosen.into_iter().map(|column| place(&mut system, everybody, column, &question.references)).collect();
    let joints: Vec<Joint> =
        question.references.iter().filter_map(|reference| joint(&mut system, people, &placed, reference)).collect();
    let grouped = group_columns(&mut system, everybody, people, &placed, &question.predictions);
    let consent = PlacedConsent::new(&mut system, everybody, &question.asked, &placed);
    // Readers look at one column first; cells of two columns together give way to it.
    let mut of_one: Vec<usize> = placed
        .iter()
        .flat_map(|one| [one.known, one.missing].into_iter().chain(one.left_out).chain(one.cells.iter().copied()))
        .collect();
    of_one.extend(grouped.totals());
    let shown = system.all_shown(&[everybody, consent.total], &of_one, minimum);

    let mut dimensions = Vec::new();
    for joint in &joints {
        let own: Vec<Option<u64>> = joint.cells.iter().map(|at| shown[*at]).collect();
        let hidden: Vec<bool> = own.iter().map(Option::is_none).collect();
        let margin = |at: &Option<usize>| at.filter(|at| shown[*at].is_some());
        let margins: Vec<Vec<Option<usize>>> =
            joint.margins.iter().map(|margins| margins.iter().map(margin).collect()).collect();
        dimensions.push(describe_with(&joint.compared, &own, shown[joint.known], &table_moves(&hidden, &margins)));
    }
    for dimension in &placed {
        let own: Vec<Option<u64>> = dimension.cells.iter().map(|at| shown[*at]).collect();
        let mut described = describe(&dimension.compared, &own, shown[dimension.known]);
        if let Some(at) = dimension.left_out {
            described.left_out = shown[at];
            let some = "some people's values are left out (*)".to_owned();
            let told = shown[at].map_or(some, |n| format!("{n} people's values are left out (*)"));
            let notes = [Some(format!("{told}, so they are in no group")), described.note.take()];
            described.note = Some(notes.into_iter().flatten().collect::<Vec<_>>().join("; "));
        }
        dimensions.push(described);
    }
    let mut intersectional = Vec::new();
    for columns in &question.intersections {
        intersectional.push(intersect(people, columns, minimum)?);
    }
    let population = question.population.clone().unwrap_or_else(|| described(&question.references));
    let mut not_recorded = question.not_recorded.clone();
    let known: BTreeSet<String> = not_recorded.iter().map(|fact| fact.name.clone()).collect();
    not_recorded.extend(people.not_recorded.iter().filter(|fact| !known.contains(&fact.name)).cloned());
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        purpose: question.purpose.clone(),
        population: population.0,
        source: population.1,
        minimum_cell: minimum,
        people: shown[everybody],
        age_on: people.on.map(|day| day.to_string()),
        dimensions,
        intersectional,
        missingness: grouped.missingness(people, &shown),
        events: grouped.events(people, &shown),
        by_group: grouped.by_group(people, &placed, &shown, &question.predictions),
        coverage: coverage(people, &placed, &shown, minimum),
        consent: consent.told(&shown),
        change: None,
        not_recorded,
    };
    report.change = question.previous.as_ref().map(|previous| change(previous, &report));
    Ok(report)
}

fn column<'a>(people: &'a People, name: &str) -> Result<&'a Column, DiversityError> {
    let found = people.columns.iter().chain(&people.combined).find(|column| column.name == name.trim());
    found.ok_or_else(|| DiversityError::NoColumn { column: name.to_owned() })
}

/// Words for several references.
fn described(references: &[Reference]) -> (String, String) {
    let join = |texts: Vec<&str>| {
        let mut seen: Vec<&str> = Vec::new();
        texts.into_iter().filter(|text| !text.is_empty()).for_each(|text| {
            if !seen.contains(&text) {
                seen.push(text);
            }
        });
        seen.join("; ")
    };
    (
        join(references.iter().map(|reference| reference.population.as_str()).collect()),
        join(references.iter().map(|reference| reference.source.as_str()).collect()),
    )
}

fn place<'a>(system: &mut System, everybody: usize, column: &'a Column, references: &[Reference]) -> Placed<'a> {
    let cells: Vec<ReferenceCell> = references
        .iter()
        .find_map(|reference| {
            let at = reference.dimensions.iter().position(|name| *name == column.name)?;
            Some(reference.margin(at))
        })
        .unwrap_or_default();
    let own = column.counts();
    let bands: Vec<(&str, Interval)> =
        cells.iter().filter_map(|cell| Some((cell.label.as_str(), interval(&cell.label)?))).collect();
    let mixed = overlapping(column.values.iter());
    let emptied = own.is_empty() && column.people_left_out() > 0;
    let counts = match mixed {
        true => spread(own.clone(), &bands),
        false => (!emptied).then(|| own.clone()),
    };
    // Without counts nothing can be put beside the reference.
    let (counts, beside) = counts.map_or_else(|| (own.clone(), &[] as &[ReferenceCell]), |counts| (counts, &cells));
    let mut compared = Compared::new(&column.name, &column.title, counts, beside);
    compared.labels.clone_from(&column.labels);
    compared.has_reference = !cells.is_empty();
    (compared.mixed, compared.emptied) = (mixed, emptied);

    let people: u64 = own.values().sum();
    let out = column.people_left_out();
    let (known, missing) = (system.add(people), system.add(system.counts[everybody] - people - out));
    let left_out = (out > 0).then(|| system.add(out));
    system.sum(everybody, [known, missing].into_iter().chain(left_out).collect());
    let places: Vec<usize> = compared.cells.iter().map(|(_, count)| system.add(*count)).collect();
    system.sum(known, places.clone());
    let values = if mixed {
        // Published groups differ from the reference's bands.
        let values: Vec<usize> = column.values.iter().map(|value| system.add(own[value])).collect();
        system.sum(known, values.clone());
        for (cell, parts) in whole_values(&compared, column) {
            system.sum(places[cell], parts.into_iter().map(|at| values[at]).collect());
        }
        values
    } else {
        let at: HashMap<&str, usize> =
            compared.cells.iter().map(|(value, _)| value.as_str()).zip(places.iter().copied()).collect();
        column.values.iter().map(|value| at[value.as_str()]).collect()
    };
    Placed { column, compared, known, missing, left_out, cells: places, values }
}

/// Cells that hold the people of some values and nobody else, with these values: such a count follows from theirs.
fn whole_values(compared: &Compared, column: &Column) -> Vec<(usize, Vec<usize>)> {
    let inside = |value: &str, cell: &str| match (interval(value), interval(cell)) {
        (Some(value), Some(cell)) => {
            let apart = value.to() <= cell.from() || cell.to() <= value.from();
            (!apart).then_some(cell.from() <= value.from() && value.to() <= cell.to())
        }
        _ => (value == cell).then_some(true),
    };
    let mut found = Vec::new();
    for (at, (cell, _)) in compared.cells.iter().enumerate() {
        let met: Vec<(usize, bool)> =
            column.values.iter().enumerate().filter_map(|(value, text)| Some((value, inside(text, cell)?))).collect();
        if !met.is_empty() && met.iter().all(|(_, whole)| *whole) {
            found.push((at, met.into_iter().map(|(value, _)| value).collect()));
        }
    }
    found
}

/// Several columns together, as a reference divides them.
struct Joint {
    compared: Compared,
    known: usize,
    cells: Vec<usize>,
    /// Places of the margins of each cell.
    margins: Vec<Vec<Option<usize>>>,
}

fn joint(system: &mut System, people: &People, placed: &[Placed<'_>], reference: &Reference) -> Option<Joint> {
    if reference.dimensions.len() < 2 {
        return None;
    }
    let own: Vec<&Placed<'_>> = reference
        .dimensions
        .iter()
        .map(|name| placed.iter().find(|dimension| dimension.column.name == *name && !dimension.compared.mixed))
        .collect::<Option<_>>()?;
    let mut counts: BTreeMap<Vec<&str>, u64> = BTreeMap::new();
    reference.cells.iter().for_each(|(words, _)| {
        counts.insert(words.iter().map(String::as_str).collect(), 0);
    });
    for row in 0..people.rows {
        let mut words = Vec::with_capacity(own.len());
        for dimension in &own {
            let code = dimension.column.codes[row] as usize;
            words.extend(code.checked_sub(1).map(|at| dimension.column.values[at].as_str()));
        }
        if words.len() == own.len() {
            *counts.entry(words).or_default() += 1;
        }
    }
    let total: f64 = reference.cells.iter().map(|(_, people)| people).sum();
    let shares: HashMap<Vec<&str>, f64> = reference
        .cells
        .iter()
        .map(|(words, people)| (words.iter().map(String::as_str).collect(), people / total))
        .collect();
    let mut cells: Vec<(Vec<&str>, u64)> = counts.into_iter().collect();
    cells.sort_by(|a, b| {
        let words = a.0.iter().zip(&b.0).map(|(a, b)| natural(a, b));
        words.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    let places: Vec<usize> = cells.iter().map(|(_, count)| system.add(*count)).collect();
    let known = system.add(cells.iter().map(|(_, count)| count).sum());
    // Who lacks a value of any column is in no cell.
    system.sum_with_rest(0, vec![known]);
    system.sum(known, places.clone());
    let mut margins: Vec<Vec<Option<usize>>> = vec![Vec::new(); cells.len()];
    for (at, dimension) in own.iter().enumerate() {
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for ((words, _), (place, margins)) in cells.iter().zip(places.iter().zip(&mut margins)) {
            let found = dimension.compared.cells.iter().position(|(value, _)| value == words[at]);
            let margin = found.map(|found| dimension.cells[found]);
            margins.push(margin);
            margin.into_iter().for_each(|margin| parts.entry(margin).or_default().push(*place));
        }
        parts.into_iter().for_each(|(margin, parts)| system.sum_with_rest(margin, parts));
    }
    let label = |words: &[&str]| {
        let labels = words.iter().zip(&own).map(|(word, dimension)| dimension.column.label(word).to_owned());
        labels.collect::<Vec<_>>().join(", ")
    };
    let joined = |words: &[&str]| words.join(" * ");
    let titles = own.iter().enumerate().map(|(at, dimension)| match at {
        0 => dimension.column.title.clone(),
        _ => dimension.column.title.to_lowercase(),
    });
    Some(Joint {
        compared: Compared {
            name: reference.dimensions.join(" * "),
            title: titles.collect::<Vec<_>>().join(" and "),
            labels: cells.iter().map(|(words, _)| (joined(words), label(words))).collect(),
            reference: cells.iter().map(|(words, _)| shares.get(words).copied()).collect(),
            cells: cells.iter().map(|(words, count)| (joined(words), *count)).collect(),
            has_reference: true,
            mixed: false,
            emptied: false,
        },
        known,
        cells: places,
        margins,
    })
}

fn intersect(people: &People, columns: &[String], minimum: u64) -> Result<Intersection, DiversityError> {
    let own: Vec<&Column> = columns.iter().map(|name| column(people, name)).collect::<Result<_, _>>()?;
    let mut counts: HashMap<Vec<u32>, u64> = HashMap::new();
    // Whose value was left out is in no combination.
    for row in (0..people.rows).filter(|row| !own.iter().any(|column| column.left_out[*row])) {
        *counts.entry(own.iter().map(|column| column.codes[row]).collect()).or_default() += 1;
    }
    let mut possible: u64 = 1;
    for column in &own {
        let lacking = column.codes.iter().zip(&column.left_out).any(|(code, left_out)| *code == 0 && !left_out);
        possible = possible.saturating_mul(column.values.len() as u64 + u64::from(lacking));
    }
    let small: Vec<u64> = counts.values().copied().filter(|n| *n < minimum).collect();
    let people_in_small: u64 = small.iter().sum();
    // One small combination alone would be counted by this.
    let told = small.is_empty() || (small.len() > 1 && people_in_small >= minimum);
    Ok(Intersection {
        columns: columns.to_vec(),
        possible,
        empty: possible.saturating_sub(counts.len() as u64),
        occupied: Some(counts.len() as u64),
        small: small.len() as u64,
        people_in_small: told.then_some(people_in_small),
        smallest: counts.values().copied().filter(|n| *n >= minimum).min(),
    })
}

/// Values that this many people have count as covered.
const COVERED: u64 = 50;
/// Values that are listed.
const LISTED: usize = 20;

fn coverage(people: &People, placed: &[Placed<'_>], shown: &[Option<u64>], minimum: u64) -> Vec<Coverage> {
    let list = |name: &str, title: &str, counts: Vec<(String, u64, bool)>| {
        let mut open: Vec<CoverageLine> = counts
            .iter()
            .filter(|(_, people, shown)| *shown && *people > 0)
            .map(|(label, people, _)| CoverageLine { label: label.clone(), people: *people })
            .collect();
        if name != "year" {
            open.sort_by(|a, b| b.people.cmp(&a.people).then_with(|| natural(&a.label, &b.label)));
            open.truncate(LISTED);
        }
        Coverage {
            name: name.to_owned(),
            title: title.to_owned(),
            values: counts.iter().filter(|(_, people, _)| *people > 0).count() as u64,
            with_50_people: counts.iter().filter(|(_, people, _)| *people >= COVERED.max(minimum)).count() as u64,
            most: open,
        }
    };
    let mut all = Vec::new();
    for column in people.columns.iter().filter(|column| people.coverage.contains(&column.name)) {
        let Some(dimension) = placed.iter().find(|dimension| dimension.column.name == column.name) else {
            let counts = column.counts();
            let total = [counts.values().sum::<u64>(), people.rows()];
            // Who has no value is part of the same sum.
            let mut line: Vec<u64> = counts.values().copied().collect();
            line.push(total[1] - total[0]);
            let open = suppress_line(&line, minimum);
            let lines = counts.into_iter().zip(open);
            let lines = lines.map(|((value, people), open)| (column.label(&value).to_owned(), people, open.is_some()));
            all.push(list(&column.name, &column.title, lines.collect()));
            continue;
        };
        let counts = dimension.column.values.iter().zip(&dimension.values).map(|(value, at)| {
            let count = dimension
                .column
                .codes
                .iter()
                .filter(|code| **code > 0 && dimension.column.values[**code as usize - 1] == *value);
            (dimension.column.label(value).to_owned(), count.count() as u64, shown[*at].is_some())
        });
        all.push(list(&dimension.column.name, &dimension.column.title, counts.collect()));
    }
    for covered in &people.covered {
        let counts: Vec<u64> = covered.people.values().copied().collect();
        // People may count for several values, so no total is known; the line is treated as if it were.
        let open = suppress_line(&counts, minimum);
        let lines = covered.people.iter().zip(open);
        let mut lines: Vec<(String, u64, bool)> =
            lines.map(|((label, people), open)| (label.clone(), *people, open.is_some())).collect();
        lines.sort_by(|a, b| natural(&a.0, &b.0));
        all.push(list(&covered.name, &covered.title, lines));
    }
    all
}

/// What two reports say about the same cells.
pub fn change(before: &Report, now: &Report) -> Change {
    let mut dimensions = Vec::new();
    let mut small_differences = 0;
    for own in &now.dimensions {
        let Some(earlier) = before.dimensions.iter().find(|earlier| earlier.name == own.name) else { continue };
        // Earlier programs counted left-out values as a group, and shares among all.
        let star = earlier.cells.iter().find(|cell| cell.value == LEFT_OUT);
        let told = star.map_or(Some(1.0), |star| Some(1.0 - star.share?)).filter(|told| *told > 0.0);
        let mut cells = Vec::new();
        let mut pairs = Some(Vec::new());
        for cell in &own.cells {
            let then = earlier.cells.iter().find(|then| then.value == cell.value);
            match then.and_then(|then| Some((then.count?, round4(then.share? / told?)))).zip(cell.count.zip(cell.share))
            {
                Some(((count_before, share_before), (count_now, share_now))) => {
                    let differ = count_before.abs_diff(count_now);
                    small_differences += u64::from(differ > 0 && differ < now.minimum_cell);
                    cells.push(ChangedCell { label: cell.label.clone(), share_before, share_now });
                    if let Some(pairs) = &mut pairs {
                        pairs.push(Pair { count: count_now, reference: share_before });
                    }
                }
                None => pairs = None,
            }
        }
        dimensions.push(ChangedDimension {
            name: own.name.clone(),
            title: own.title.clone(),
            distance_before: earlier.total_variation_distance,
            distance_now: own.total_variation_distance,
            population_stability_index: pairs.and_then(|pairs| stability_index(&pairs)).map(crate::describe::round3),
            cells,
        });
    }
    Change { people_before: before.people, people_now: now.people, dimensions, small_differences }
}

/// Share of people, rounded; for groups.
pub(crate) fn rounded_share(n: Option<u64>, of: Option<u64>) -> Option<f64> {
    share(n?, of?).map(round4)
}

pub(crate) fn rounded_mean(sum: u64, of: Option<u64>) -> Option<f64> {
    share(sum, of?).map(round2)
}
