//! The independent verifier of values: whether released columns hold what the policy's transformations leave, and no exact
//! value where it asks for a higher level, from the text of the rows and the policy alone. Shares no code with the
//! transformations.

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use chrono::Datelike;
use hashbrown::HashSet;

use crate::DeidentifyError;
use crate::hierarchy::Hierarchy;
use crate::policy::{HierarchySpec, Policy, Role};
use crate::transform::Bound;

/// What a column must satisfy.
enum Rule {
    /// No age over 90.
    Ages,
    /// No birth before the last one of people who are 90, as year and day.
    Births { year: i32, day: String },
    /// No number beyond, and each end shared by so many rows.
    Limits { low: Option<f64>, high: Option<f64>, ends: (bool, bool), rows: u64, found: Vec<f64> },
    /// Every value in so many rows.
    Rare { rows: u64, found: BTreeMap<String, u64> },
    /// No exact value that becomes something else at the lowest level allowed. Labels that were looked at are kept.
    Level { hierarchy: Box<Hierarchy>, minimum: usize, seen: HashSet<Box<str>> },
    /// One value in every class.
    OneOfClass { found: BTreeMap<Vec<Option<String>>, Option<String>> },
}

/// Columns with their rules, fed row by row.
pub(crate) struct ValueChecks {
    /// Name and place of each column with its rule.
    columns: Vec<(String, usize, Rule)>,
    /// Columns that were microaggregated together: their names, places, smallest group, and the rows of each combination.
    groups: Vec<Group>,
    quasi_identifiers: Vec<usize>,
    broken: Option<(String, &'static str)>,
}

struct Group {
    names: Vec<String>,
    places: Vec<usize>,
    rows: u64,
    found: BTreeMap<Vec<Option<String>>, u64>,
}

/// A number, or the first number of a band like `85-89` or `>=90`.
fn lowest(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return Some(number);
    }
    let digits = text.trim_start_matches(['<', '>', '=']);
    let end = digits.char_indices().skip(1).find(|(_, letter)| !letter.is_ascii_digit() && *letter != '.');
    digits[..end.map_or(digits.len(), |(at, _)| at)].parse().ok()
}

impl ValueChecks {
    /// Nothing when the policy says nothing of values.
    ///
    /// # Errors
    /// [`DeidentifyError::Hierarchy`].
    pub(crate) fn new(
        policy: &Policy,
        headers: &[String],
        hierarchy_files: Option<&BTreeMap<String, Vec<u8>>>,
    ) -> Result<Option<Self>, DeidentifyError> {
        let none = BTreeMap::new();
        let place = |name: &str| headers.iter().position(|header| header == name);
        let smallest = policy.class_size();
        let mut columns = Vec::new();
        for (name, column) in &policy.columns {
            let Some(at) = place(name) else { continue };
            if let Some(spec) = column.hierarchy.as_ref().filter(|_| column.minimum_level > 0) {
                let hierarchy = Box::new(Hierarchy::build(name, spec, hierarchy_files.unwrap_or(&none))?);
                let rule = Rule::Level { hierarchy, minimum: column.minimum_level, seen: HashSet::new() };
                columns.push((name.clone(), at, rule));
            }
            let Some(transform) = &column.transform else { continue };
            let quasi = column.role == Role::QuasiIdentifier;
            let rule = if transform.ages_pooled {
                Some(Rule::Ages)
            } else if let Some(day) = transform.births_as_of {
                let year = day.year() - 90;
                // The last day of February of a year that has one day fewer.
                let day = day.with_year(year).or_else(|| day.pred_opt().and_then(|day| day.with_year(year)));
                day.map(|day| Rule::Births { year, day: day.format("%Y-%m-%d").to_string() })
            } else if transform.top.is_some() || transform.bottom.is_some() {
                let fixed = |bound: Option<Bound>| match bound {
                    Some(Bound::At(bound)) => Some(bound),
                    _ => None,
                };
                let ends = (transform.bottom.is_some(), transform.top.is_some());
                let (low, high) = (fixed(transform.bottom), fixed(transform.top));
                // Bands of a quasi-identifier are no numbers, and classes are large enough as it is.
                let exact = !quasi || !matches!(column.hierarchy, Some(HierarchySpec::Intervals { .. }));
                Some(Rule::Limits { low, high, ends, rows: if exact { smallest } else { 0 }, found: Vec::new() })
            } else if let Some(rare) = transform.rare.as_ref().filter(|_| !quasi) {
                Some(Rule::Rare { rows: rare.fewer_than.unwrap_or(smallest), found: BTreeMap::new() })
            } else if transform.class.is_some() && !quasi {
                Some(Rule::OneOfClass { found: BTreeMap::new() })
            } else {
                None
            };
            columns.extend(rule.map(|rule| (name.clone(), at, rule)));
        }
        let groups: Vec<Group> = policy
            .microaggregate
            .iter()
            .filter_map(|step| {
                let quasi = step.columns.iter().any(|name| policy.columns[name].role == Role::QuasiIdentifier);
                let places = step.columns.iter().map(|name| place(name)).collect::<Option<Vec<usize>>>()?;
                let rows = step.k.unwrap_or(smallest);
                // Quasi-identifiers may be generalised further; that they are in large classes is counted elsewhere.
                (!quasi).then(|| Group { names: step.columns.clone(), places, rows, found: BTreeMap::new() })
            })
            .collect();
        if columns.is_empty() && groups.is_empty() {
            return Ok(None);
        }
        let quasi_identifiers = policy.of_role(Role::QuasiIdentifier).filter_map(|(name, _)| place(name)).collect();
        Ok(Some(Self { columns, groups, quasi_identifiers, broken: None }))
    }

    /// Looks at a row; `field` gives the text of a column by its place.
    pub(crate) fn row<'v>(&mut self, field: impl Fn(usize) -> Option<&'v str>) {
        let own = |text: Option<&str>| text.map(str::to_owned);
        for (name, at, rule) in &mut self.columns {
            let value = field(*at);
            let Some(text) = value else {
                if let Rule::OneOfClass { found } = rule {
                    let key = self.quasi_identifiers.iter().map(|at| own(field(*at))).collect();
                    if found.entry(key).or_insert(None).is_some() {
                        self.broken = Some((name.clone(), "holds several values in an equivalence class"));
                    }
                }
                continue;
            };
            let problem = match rule {
                Rule::Ages => lowest(text).filter(|age| *age > 90.0).map(|_| "holds an age over 90"),
                Rule::Births { year, day } => {
                    let born: Option<i32> = text.get(..4).and_then(|year| year.parse().ok());
                    let exact = text.len() >= 10 && text.get(..10).is_some_and(|born| born < day.as_str());
                    let early = born.is_some_and(|born| born < *year) || (exact && born == Some(*year));
                    early.then_some("holds a birth of somebody over 90")
                }
                Rule::Limits { low, high, rows, found, .. } => match text.trim().parse::<f64>() {
                    Ok(number) => {
                        if *rows > 0 {
                            found.push(number);
                        }
                        let beyond = low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high);
                        beyond.then_some("holds a number beyond its limits")
                    }
                    Err(_) => None,
                },
                Rule::Level { hierarchy, minimum, seen } => {
                    if seen.contains(text) {
                        continue;
                    }
                    seen.insert(text.into());
                    // What is no value of the hierarchy is a label of it.
                    let is_exact = hierarchy.label(text, 0).is_some();
                    let higher = hierarchy.label(text, *minimum).is_some_and(|label| label == text);
                    (is_exact && !higher && !hierarchy.names(text, *minimum))
                        .then_some("holds a value below its lowest level")
                }
                Rule::Rare { found, .. } => {
                    match found.get_mut(text) {
                        Some(rows) => *rows += 1,
                        None => drop(found.insert(text.to_owned(), 1)),
                    }
                    None
                }
                Rule::OneOfClass { found } => {
                    let key = self.quasi_identifiers.iter().map(|at| own(field(*at))).collect();
                    let known = found.entry(key).or_insert_with(|| own(value));
                    (known.as_deref() != value).then_some("holds several values in an equivalence class")
                }
            };
            if let Some(problem) = problem {
                self.broken = Some((name.clone(), problem));
            }
        }
        for group in &mut self.groups {
            let values: Vec<Option<String>> = group.places.iter().map(|at| own(field(*at))).collect();
            if values.iter().any(Option::is_some) {
                *group.found.entry(values).or_default() += 1;
            }
        }
    }

    /// Whether all rules held.
    ///
    /// # Errors
    /// [`DeidentifyError::Untransformed`] when one did not.
    pub(crate) fn finish(self) -> Result<(), DeidentifyError> {
        let broken = |column: String, problem| Err(DeidentifyError::Untransformed { column, problem });
        if let Some((column, problem)) = self.broken {
            return broken(column, problem);
        }
        for (name, _, rule) in self.columns {
            match rule {
                Rule::Limits { ends, rows, mut found, .. } if rows > 0 && !found.is_empty() => {
                    found.sort_by(f64::total_cmp);
                    let (least, most) = (found[0], found[found.len() - 1]);
                    let required = usize::try_from(rows).unwrap_or(usize::MAX).min(found.len());
                    let low = found.iter().take_while(|number| **number <= least).count();
                    let high = found.iter().rev().take_while(|number| **number >= most).count();
                    if (ends.0 && low < required) || (ends.1 && high < required) {
                        return broken(name, "ends at a number that too few rows share");
                    }
                }
                Rule::Rare { rows, found } => {
                    let all: u64 = found.values().sum();
                    let rarest = found.values().min().copied().unwrap_or(rows);
                    if rarest < rows.min(all) {
                        return broken(name, "holds a rare value");
                    }
                }
                _ => {}
            }
        }
        for group in self.groups {
            let rarest = group.found.values().min().copied().unwrap_or(group.rows);
            if rarest < group.rows {
                return broken(group.names.join(", "), "holds values together that too few rows share");
            }
        }
        Ok(())
    }

    /// Looks at a whole table.
    ///
    /// # Errors
    /// As [`ValueChecks::finish`].
    pub(crate) fn of_table(
        policy: &Policy,
        table: &Table,
        hierarchy_files: Option<&BTreeMap<String, Vec<u8>>>,
    ) -> Result<(), DeidentifyError> {
        let headers: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        let Some(mut checks) = Self::new(policy, &headers, hierarchy_files)? else { return Ok(()) };
        let mut wanted: BTreeSet<usize> = checks.quasi_identifiers.iter().copied().collect();
        wanted.extend(checks.columns.iter().map(|(_, at, _)| *at));
        wanted.extend(checks.groups.iter().flat_map(|group| group.places.iter().copied()));
        let names: Vec<&str> = wanted.iter().map(|at| headers[*at].as_str()).collect();
        let rows = crate::verify::strings(table, &names)?;
        let place: BTreeMap<usize, usize> = wanted.into_iter().enumerate().map(|(nth, at)| (at, nth)).collect();
        for row in &rows {
            checks.row(|at| place.get(&at).and_then(|nth| row[*nth].as_deref()));
        }
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(columns: &str, rows: &[[Option<&str>; 2]]) -> Result<(), String> {
        let text = format!(
            "k = 2\nmaximum_risk = 1.0\n{columns}\nq = {{ role = \"quasi-identifier\", hierarchy = \"suppress\" }}\n"
        );
        let policy: Policy = toml::from_str(&text).unwrap();
        policy.check().unwrap();
        let mut checks = ValueChecks::new(&policy, &["q".to_owned(), "c".to_owned()], None).unwrap().unwrap();
        rows.iter().for_each(|row| checks.row(|at| row[at]));
        checks.finish().map_err(|error| error.to_string())
    }

    fn column(transform: &str, values: &[&str]) -> bool {
        let rows: Vec<[Option<&str>; 2]> =
            values.iter().map(|value| [Some("x"), Some(*value).filter(|value| !value.is_empty())]).collect();
        check(&format!("[columns]\nc = {{ role = \"insensitive\", transform = {{ {transform} }} }}"), &rows).is_ok()
    }

    #[test]
    fn what_was_not_transformed_is_found() {
        assert!(column("ages_pooled = true", &["89", "90", "90", ""]) && !column("ages_pooled = true", &["91"]));
        let births = "births_as_of = \"2026-03-01\"";
        assert!(column(births, &["1936-03-01", "1936", "1990"]));
        assert!(!column(births, &["1936-02-29"]) && !column(births, &["1935"]));
        assert!(column("top = 5", &["1", "5", "5.0"]) && !column("top = 5", &["6", "6"]));
        assert!(!column("top = 5", &["1", "5"]), "one row stands at the end");
        assert!(column("bottom = 1, top = 5", &["3"]), "one row is all there is");
        assert!(column("rare = {}", &["a", "a", "b", "b"]) && !column("rare = {}", &["a", "a", "b"]));
        assert!(column("class = \"mean\"", &["1", "1"]) && !column("class = \"mean\"", &["1", "2"]));
        assert!(!column("class = \"mean\"", &["1", ""]) && !column("class = \"mean\"", &["", "1"]));
        let level = |hierarchy: &str, values: &[&str]| {
            let rows: Vec<[Option<&str>; 2]> = values.iter().map(|value| [Some("x"), Some(*value)]).collect();
            let column =
                format!("[columns]\nc = {{ role = \"quasi-identifier\", minimum_level = 1, hierarchy = {hierarchy} }}");
            check(&column, &rows).is_ok()
        };
        let bands = "{ intervals = { levels = [5, 10], lower = 20, upper = 60 } }";
        assert!(level(bands, &["20-24", "20-29", "<20", ">=60", "*"]) && !level(bands, &["24"]));
        assert!(level("{ prefixes = [3, 1] }", &["791*", "7*", "*"]) && !level("{ prefixes = [3, 1] }", &["79104"]));
        assert!(level("{ icd = \"icd-10\" }", &["C50", "chapter II"]) && !level("{ icd = \"icd-10\" }", &["C50.4"]));
        assert!(level("{ tree = { low = [\"1\"] } }", &["low", "*"]) && !level("{ tree = { low = [\"1\"] } }", &["1"]));
        let groups = "[[microaggregate]]\ncolumns = [\"c\"]\n[columns]\nc = { role = \"insensitive\" }";
        assert!(check(groups, &[[None, Some("1")], [None, Some("1")], [None, None]]).is_ok());
        assert_eq!(
            check(groups, &[[None, Some("1")]]).unwrap_err(),
            "the independent recount found that column c holds values together that too few rows share"
        );
    }
}
