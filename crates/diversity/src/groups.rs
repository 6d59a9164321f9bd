//! What is missing, happened and was followed in each group, who refused, and where a model errs.

use std::collections::{BTreeMap, HashMap};

use crate::describe::round3;
use crate::interval::natural;
use crate::people::{People, title_of};
use crate::report::{
    AskedPerson, Consent, Events, FollowUp, Group, GroupConsent, GroupOutcomes, Groups, Missing, ModelError, Outcome,
    Placed, Prediction, System, rounded_mean, rounded_share,
};

/// Columns with more values form no groups: nobody reads them, and most would be hidden.
const GROUPS_MOST: usize = 30;

/// Places in the system of what is counted for groups.
pub(crate) struct Grouped {
    /// Of each column of `People::missing`: people without a value.
    missing: Vec<usize>,
    /// Of each kind of event: people with any.
    events: Vec<usize>,
    everybody: usize,
    /// Of each dimension with groups.
    dimensions: Vec<Dimension>,
    /// Row of each prediction that names a person of the data.
    predicted: Vec<(usize, usize)>,
}

struct Dimension {
    placed: usize,
    /// `[group][column]`.
    missing: Vec<Vec<usize>>,
    /// `[group][kind]`.
    events: Vec<Vec<usize>>,
    /// `[group]`.
    predicted: Vec<Option<usize>>,
}

pub(crate) fn group_columns(
    system: &mut System,
    everybody: usize,
    people: &People,
    placed: &[Placed<'_>],
    predictions: &[Prediction],
) -> Grouped {
    let two = |system: &mut System, total: usize, count: u64| {
        let (with, without) = (system.add(count), system.add(system.counts[total] - count));
        system.sum(total, vec![with, without]);
        (with, without)
    };
    let mut missing = Vec::new();
    for (name, lacking) in &people.missing {
        let own = placed.iter().find(|dimension| dimension.column.name == *name);
        let count = lacking.iter().filter(|lacks| **lacks).count() as u64;
        missing.push(match own.filter(|own| own.left_out.is_none() && system.counts[own.missing] == count) {
            Some(own) => (own.missing, own.known),
            None => two(system, everybody, count),
        });
    }
    let mut events = Vec::new();
    for (_, counts) in &people.events {
        events.push(two(system, everybody, counts.iter().filter(|n| **n > 0).count() as u64));
    }
    let predicted: Vec<(usize, usize)> = predictions
        .iter()
        .enumerate()
        .filter_map(|(at, prediction)| Some((*people.ids.get(&prediction.person)?, at)))
        .collect();
    let mut has_prediction = vec![false; people.rows];
    predicted.iter().for_each(|(row, _)| has_prediction[*row] = true);

    let mut dimensions = Vec::new();
    for (at, dimension) in placed.iter().enumerate() {
        let values = dimension.column.values.len();
        if values == 0 || values > GROUPS_MOST {
            continue;
        }
        let count_by = |flag: &dyn Fn(usize) -> bool| {
            let mut counts = vec![0; values + 1];
            for (row, code) in dimension.column.codes.iter().enumerate().filter(|(row, _)| flag(*row)) {
                let _ = row;
                counts[*code as usize] += 1;
            }
            counts.remove(0);
            counts
        };
        let mut own = Dimension {
            placed: at,
            missing: vec![Vec::new(); values],
            events: vec![Vec::new(); values],
            predicted: vec![None; values],
        };
        for ((_, lacking), (total, known_total)) in people.missing.iter().zip(&missing) {
            let counts: Vec<u64> = count_by(&|row| lacking[row]);
            let mut parts = (Vec::new(), Vec::new());
            for (group, count) in counts.iter().enumerate() {
                let (with, without) = two(system, dimension.values[group], *count);
                own.missing[group].push(with);
                parts.0.push(with);
                parts.1.push(without);
            }
            system.sum_with_rest(*total, parts.0);
            system.sum_with_rest(*known_total, parts.1);
        }
        for ((_, counts), (total, none_total)) in people.events.iter().zip(&events) {
            let counts: Vec<u64> = count_by(&|row| counts[row] > 0);
            let mut parts = (Vec::new(), Vec::new());
            for (group, count) in counts.iter().enumerate() {
                let (with, without) = two(system, dimension.values[group], *count);
                own.events[group].push(with);
                parts.0.push(with);
                parts.1.push(without);
            }
            system.sum_with_rest(*total, parts.0);
            system.sum_with_rest(*none_total, parts.1);
        }
        if !predicted.is_empty() {
            let counts: Vec<u64> = count_by(&|row| has_prediction[row]);
            for (group, count) in counts.iter().enumerate() {
                own.predicted[group] = Some(two(system, dimension.values[group], *count).0);
            }
        }
        dimensions.push(own);
    }
    Grouped {
        missing: missing.into_iter().map(|(missing, _)| missing).collect(),
        events: events.into_iter().map(|(with, _)| with).collect(),
        everybody,
        dimensions,
        predicted,
    }
}

impl Grouped {
    /// Places of the totals, which readers look at before any group.
    pub(crate) fn totals(&self) -> impl Iterator<Item = usize> {
        self.missing.iter().chain(&self.events).copied()
    }

    pub(crate) fn missingness(&self, people: &People, shown: &[Option<u64>]) -> Vec<Missing> {
        let line = |((column, _), at): (&(String, Vec<bool>), &usize)| Missing {
            column: column.clone(),
            count: shown[*at],
            share: rounded_share(shown[*at], shown[self.everybody]),
        };
        people.missing.iter().zip(&self.missing).map(line).collect()
    }

    pub(crate) fn events(&self, people: &People, shown: &[Option<u64>]) -> Vec<Events> {
        let line = |((kind, counts), at): (&(String, Vec<u32>), &usize)| Events {
            kind: kind.clone(),
            people: shown[*at],
            share: rounded_share(shown[*at], shown[self.everybody]),
            per_person: shown[*at]
                .and(shown[self.everybody])
                .and_then(|of| rounded_mean(counts.iter().map(|n| u64::from(*n)).sum(), Some(of))),
        };
        people.events.iter().zip(&self.events).map(line).collect()
    }

    pub(crate) fn by_group(
        &self,
        people: &People,
        placed: &[Placed<'_>],
        shown: &[Option<u64>],
        predictions: &[Prediction],
    ) -> Vec<Groups> {
        // Columns that everybody has are not repeated for each group.
        let lacked: Vec<usize> = (0..people.missing.len()).filter(|at| people.missing[*at].1.contains(&true)).collect();
        let binary = predictions.iter().all(|prediction| {
            (prediction.truth == 0.0 || prediction.truth == 1.0) && (0.0..=1.0).contains(&prediction.predicted)
        });
        let mut all = Vec::new();
        for dimension in &self.dimensions {
            let own = &placed[dimension.placed];
            let mut rows: Vec<Vec<usize>> = vec![Vec::new(); own.column.values.len() + 1];
            own.column.codes.iter().enumerate().for_each(|(row, code)| rows[*code as usize].push(row));
            let mut groups = Vec::new();
            for (group, value) in own.column.values.iter().enumerate() {
                let rows = &rows[group + 1];
                let size = shown[own.values[group]];
                let missing = lacked.iter().map(|at| {
                    let count = shown[dimension.missing[group][*at]];
                    Missing { column: people.missing[*at].0.clone(), count, share: rounded_share(count, size) }
                });
                let events = people.events.iter().zip(&dimension.events[group]).map(|((kind, counts), at)| Events {
                    kind: kind.clone(),
                    people: shown[*at],
                    share: rounded_share(shown[*at], size),
                    per_person: shown[*at]
                        .and(size)
                        .and_then(|of| rounded_mean(rows.iter().map(|row| u64::from(counts[*row])).sum(), Some(of))),
                });
                let years = people.follow_up_years.as_ref().filter(|_| size.is_some_and(|n| n > 0));
                let follow_up = years.and_then(|years| follow_up(rows.iter().map(|row| years[*row])));
                let predicted = dimension.predicted[group].and_then(|at| shown[at]).filter(|n| *n > 1);
                let model_error = predicted.zip(size).and_then(|(people, _)| {
                    let inside = |row: &usize| own.column.codes[*row] as usize == group + 1;
                    let errors = self.predicted.iter().filter(|(row, _)| inside(row)).map(|(_, at)| {
                        let distance = predictions[*at].predicted - predictions[*at].truth;
                        if binary { distance * distance } else { distance.abs() }
                    });
                    model_error(people, errors.collect(), binary)
                });
                groups.push(Group {
                    label: own.column.label(value).to_owned(),
                    value: value.clone(),
                    people: size,
                    missing: missing.collect(),
                    events: events.collect(),
                    follow_up,
                    model_error,
                });
            }
            all.push(Groups { name: own.column.name.clone(), title: own.column.title.clone(), groups });
        }
        let says = |groups: &Groups| {
            groups.groups.iter().any(|group| {
                !group.missing.is_empty()
                    || !group.events.is_empty()
                    || group.follow_up.is_some()
                    || group.model_error.is_some()
            })
        };
        all.retain(says);
        all
    }
}

fn follow_up(years: impl Iterator<Item = f64>) -> Option<FollowUp> {
    let mut known: Vec<f64> = years.filter(|years| years.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    let middle = known.get(known.len() / 2)?;
    let median = if known.len().is_multiple_of(2) { (known[known.len() / 2 - 1] + middle) / 2.0 } else { *middle };
    let tenth = |years: f64| (years * 10.0).round() / 10.0;
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    Some(FollowUp { mean_years: tenth(mean), median_years: tenth(median) })
}

fn model_error(people: u64, errors: Vec<f64>, binary: bool) -> Option<ModelError> {
    /// 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let n = errors.len() as f64;
    if errors.len() < 2 {
        return None;
    }
    let mean = errors.iter().sum::<f64>() / n;
    let variance = errors.iter().map(|error| (error - mean) * (error - mean)).sum::<f64>() / (n - 1.0);
    let half = Z * (variance / n).sqrt();
    Some(ModelError {
        people,
        measure: if binary { "brier-score" } else { "mean-absolute-error" }.to_owned(),
        error: round3(mean),
        low: round3((mean - half).max(0.0)),
        high: round3(mean + half),
    })
}

/// Outcomes in the order of a donor's way; others follow by name.
const OUTCOMES: [(&str, &str); 4] =
    [("included", "included"), ("refused", "refused"), ("withdrawn", "withdrew"), ("unknown", "did not answer")];

/// A group, how many of it were asked, and each outcome.
type PlacedGroup<'a> = (&'a str, usize, Vec<usize>);

/// Places in the system of who agreed, in all and by each column that is known of those who were asked.
pub(crate) struct PlacedConsent<'a> {
    /// Stable words of the outcomes.
    names: Vec<&'a str>,
    /// How many were asked.
    pub(crate) total: usize,
    outcomes: Vec<usize>,
    /// Column; its groups with how many were asked and each outcome.
    tables: Vec<(&'a str, Vec<PlacedGroup<'a>>)>,
    asked: u64,
}

impl<'a> PlacedConsent<'a> {
    /// Who was included is who is in the data, so those counts stand in one place and are hidden together.
    pub(crate) fn new(system: &mut System, everybody: usize, asked: &'a [AskedPerson], placed: &[Placed<'_>]) -> Self {
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        let mut by_column: BTreeMap<&str, HashMap<(&str, &str), u64>> = BTreeMap::new();
        for person in asked {
            *totals.entry(&person.outcome).or_default() += person.count;
            for (column, value) in &person.groups {
                *by_column.entry(column).or_default().entry((value, &person.outcome)).or_default() += person.count;
            }
        }
        let place = |name: &str| OUTCOMES.iter().position(|(known, _)| *known == name).unwrap_or(OUTCOMES.len());
        let mut names: Vec<&str> = totals.keys().copied().collect();
        names.sort_by_key(|name| (place(name), *name));
        let asked: u64 = totals.values().sum();
        let total = system.add(asked);
        let outcomes: Vec<usize> = names
            .iter()
            .map(|name| match totals[name] {
                count if *name == "included" && count == system.counts[everybody] => everybody,
                count => system.add(count),
            })
            .collect();
        system.sum(total, outcomes.clone());
        let mut tables = Vec::new();
        for (column, counts) in &by_column {
            let dimension = placed.iter().find(|dimension| dimension.column.name == *column);
            let in_data = |value: &str| {
                let at = dimension?.column.values.iter().position(|known| known == value)?;
                Some(dimension?.values[at])
            };
            let mut values: Vec<&str> = counts.keys().map(|(value, _)| *value).collect();
            values.sort_by(|a, b| natural(a, b));
            values.dedup();
            let mut rows = Vec::new();
            for value in &values {
                let mut cells = Vec::new();
                for name in &names {
                    let count = counts.get(&(*value, *name)).copied().unwrap_or(0);
                    let same = in_data(value).filter(|at| *name == "included" && system.counts[*at] == count);
                    cells.push(same.unwrap_or_else(|| system.add(count)));
                }
                let size = system.add(cells.iter().map(|at| system.counts[*at]).sum());
                system.sum(size, cells.clone());
                rows.push((*value, size, cells));
            }
            system.sum_with_rest(total, rows.iter().map(|(_, size, _)| *size).collect());
            for (at, outcome) in outcomes.iter().enumerate() {
                system.sum_with_rest(*outcome, rows.iter().map(|(.., cells)| cells[at]).collect());
            }
            tables.push((*column, rows));
        }
        Self { names, total, outcomes, tables, asked }
    }

    pub(crate) fn told(&self, shown: &[Option<u64>]) -> Consent {
        if self.names.is_empty() {
            return Consent {
                counted: "people".to_owned(),
                statement: "How many people refused is not stated.".to_owned(),
                ..Consent::default()
            };
        }
        let title =
            |name: &str| OUTCOMES.iter().find(|(known, _)| *known == name).map_or(name, |(_, title)| title).to_owned();
        let line = |cells: &[usize]| -> Vec<Outcome> {
            let one = |(name, at): (&&str, &usize)| Outcome {
                name: (*name).to_owned(),
                title: title(name),
                count: shown[*at],
            };
            self.names.iter().zip(cells).map(one).collect()
        };
        let rate = |cells: &[usize], size: usize, wanted: &str| {
            let at = self.names.iter().position(|name| *name == wanted)?;
            rounded_share(shown[cells[at]], shown[size])
        };
        let groups = |rows: &[(&str, usize, Vec<usize>)]| {
            rows.iter()
                .map(|(value, size, cells)| GroupOutcomes {
                    label: (*value).to_owned(),
                    asked: shown[*size],
                    outcomes: line(cells),
                    refusal_rate: rate(cells, *size, "refused"),
                    withdrawal_rate: rate(cells, *size, "withdrawn"),
                })
                .collect()
        };
        let by_group = self.tables.iter().map(|(column, rows)| GroupConsent {
            name: (*column).to_owned(),
            title: title_of(column),
            groups: groups(rows),
        });
        let outcomes = line(&self.outcomes);
        Consent {
            counted: "people".to_owned(),
            total: self.asked,
            statement: statement("people", self.asked, &outcomes),
            by_group: by_group.collect(),
            outcomes,
        }
    }
}

/// Counts who agreed, in all and by group. Small counts are hidden with all from which they would follow.
pub fn consent_groups(asked: &[AskedPerson], minimum: u64) -> Consent {
    let mut system = System::default();
    // Nobody's data are compared here.
    let nobody = system.add(u64::MAX);
    let placed = PlacedConsent::new(&mut system, nobody, asked, &[]);
    let shown = system.all_shown(&[nobody, placed.total], &[], minimum);
    placed.told(&shown)
}

/// The outcomes in words.
pub fn statement(counted: &str, total: u64, outcomes: &[Outcome]) -> String {
    let part = |outcome: &Outcome| match outcome.count {
        Some(count) => format!("{}: {count}", outcome.title),
        None => format!("{}: not shown", outcome.title),
    };
    let parts: Vec<String> = outcomes.iter().map(part).collect();
    let hidden = if outcomes.iter().any(|outcome| outcome.count.is_none()) {
        " Small counts are not shown, nor are counts from which they would follow."
    } else {
        ""
    };
    format!(
        "Of {total} {counted}: {}.{hidden} People who refuse or withdraw may differ from those who agree, and nothing about \
         them is in the data, so the difference cannot be measured from it.",
        parts.join("; ")
    )
}
