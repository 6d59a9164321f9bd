//! Checks of a site, as files: conditions over the fields of one table, without SQL.
//!
//! A folder of checks holds TOML files, and CSV files with plausible ranges by concept and unit. Both compile to the same
//! fused pass as the default checks. A row is counted where every condition of `where` holds; it fails where a condition
//! of `require` does not hold. A missing value is neither: it selects nothing and breaks nothing, but for `present`.
//!
//! ```
//! let checks = acequia_cleanse::parse_checks("heart.toml", r#"
//! [[check]]
//! id = "heart-rate"
//! table = "measurement"
//! field = "value_as_number"
//! description = "Heart rates below 20 or above 300 per minute."
//! category = "plausibility"
//! threshold = 1.0                       # per cent of the counted rows
//! where = [{ field = "measurement_concept_id", in = [3027018] }]
//! require = [{ field = "value_as_number", min = 20, max = 300 }]
//! "#)?;
//! assert_eq!(checks[0].id, "heart-rate");
//! # Ok::<(), acequia_cleanse::CleanseError>(())
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use acequia_omop::{CdmTable, Field, FieldType};
use acequia_types::parse_day;
use arrow::buffer::BooleanBuffer;
use serde::Deserialize;

use crate::CleanseError;
use crate::column::{Column, bits};
use crate::definition::{Category, Check, Context, Kind, Level};

/// A compiled check of a site.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) select: Vec<Condition>,
    pub(crate) require: Vec<Condition>,
    /// Propose to empty the field where a row fails.
    pub(crate) clear: bool,
}

impl Rule {
    /// Fields whose values are needed.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> + '_ {
        self.select.iter().chain(&self.require).flat_map(|condition| {
            let other = match condition.test {
                Test::NotBefore(other) | Test::NotAfter(other) => Some(other),
                _ => None,
            };
            std::iter::once(condition.field).chain(other)
        })
    }

    /// Rows that are counted, and those of them that fail.
    pub(crate) fn judge<'a>(
        &self,
        rows: usize,
        today: i32,
        column: impl Fn(&str) -> &'a Column,
    ) -> (BooleanBuffer, BooleanBuffer) {
        let mut counted = BooleanBuffer::new_set(rows);
        for condition in &self.select {
            counted = &counted & &condition.holds(rows, today, &column);
        }
        let mut failing = BooleanBuffer::new_unset(rows);
        for condition in &self.require {
            failing = &failing | &condition.broken(rows, today, &column);
        }
        failing = &failing & &counted;
        (counted, failing)
    }
}

/// One condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    field: &'static Field,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Present(bool),
    Ids(BTreeSet<i64>, bool),
    Words(BTreeSet<String>, bool),
    Range { low: Option<f64>, high: Option<f64> },
    Days { low: Option<End>, high: Option<End> },
    NotBefore(&'static Field),
    NotAfter(&'static Field),
    Longest(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Day(i32),
    Today,
}

impl End {
    fn day(self, today: i32) -> i32 {
        match self {
            Self::Day(day) => day,
            Self::Today => today,
        }
    }
}

impl Condition {
    /// Rows where it holds.
    fn holds<'a>(&self, rows: usize, today: i32, column: &impl Fn(&str) -> &'a Column) -> BooleanBuffer {
        let own = column(&self.field.name);
        let known = |holds: BooleanBuffer, columns: &[&Column]| {
            columns.iter().filter_map(|column| column.valid.as_ref()).fold(holds, |holds, valid| &holds & valid)
        };
        let (ints, days, floats) = (own.ints(), own.days(), own.floats());
        let empty = |length: usize| length < rows;
        match &self.test {
            Test::Present(wanted) => match (&own.present, wanted) {
                (Some(present), true) => present.clone(),
                (Some(present), false) => !present,
                (None, wanted) => {
                    if *wanted {
                        BooleanBuffer::new_set(rows)
                    } else {
                        BooleanBuffer::new_unset(rows)
                    }
                }
            },
            Test::Ids(..) | Test::Range { .. } if self.field.field_type == FieldType::Integer && empty(ints.len()) => {
                BooleanBuffer::new_unset(rows)
            }
            Test::Ids(ids, wanted) => known(bits(rows, |row| ids.contains(&ints[row]) == *wanted), &[own]),
            Test::Words(words, wanted) => match own.texts() {
                Some(texts) => {
                    known(bits(rows, |row| own.is_valid(row) && words.contains(texts.get(row)) == *wanted), &[own])
                }
                None => BooleanBuffer::new_unset(rows),
            },
            Test::Longest(most) => match own.texts() {
                Some(texts) => {
                    known(bits(rows, |row| own.is_valid(row) && texts.get(row).chars().count() <= *most), &[own])
                }
                None => BooleanBuffer::new_unset(rows),
            },
            Test::Range { low, high } => {
                let within = |value: f64| low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high);
                #[expect(clippy::cast_precision_loss, reason = "bounds are decimal numbers; ids are compared by Ids")]
                let holds = match self.field.field_type {
                    FieldType::Integer => bits(rows, |row| within(ints[row] as f64)),
                    _ if empty(floats.len()) => BooleanBuffer::new_unset(rows),
                    _ => bits(rows, |row| within(floats[row])),
                };
                known(holds, &[own])
            }
            Test::Days { .. } | Test::NotBefore(_) | Test::NotAfter(_) if empty(days.len()) => {
                BooleanBuffer::new_unset(rows)
            }
            Test::Days { low, high } => {
                let low = low.map_or(i32::MIN, |end| end.day(today));
                let high = high.map_or(i32::MAX, |end| end.day(today));
                known(bits(rows, |row| (low..=high).contains(&days[row])), &[own])
            }
            Test::NotBefore(other) | Test::NotAfter(other) => {
                let other = column(&other.name);
                if empty(other.days().len()) {
                    return BooleanBuffer::new_unset(rows);
                }
                let later = matches!(self.test, Test::NotBefore(_));
                let holds =
                    bits(
                        rows,
                        |row| {
                            if later { days[row] >= other.days()[row] } else { days[row] <= other.days()[row] }
                        },
                    );
                known(holds, &[own, other])
            }
        }
    }

    /// Rows where it is known not to hold.
    fn broken<'a>(&self, rows: usize, today: i32, column: &impl Fn(&str) -> &'a Column) -> BooleanBuffer {
        let mut broken = !&self.holds(rows, today, column);
        if let Test::Present(_) = self.test {
            return broken;
        }
        let other = match self.test {
            Test::NotBefore(other) | Test::NotAfter(other) => Some(column(&other.name)),
            _ => None,
        };
        for column in std::iter::once(column(&self.field.name)).chain(other) {
            if let Some(valid) = &column.valid {
                broken = &broken & valid;
            }
        }
        broken
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    check: Vec<Spec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Spec {
    id: String,
    table: String,
    field: Option<String>,
    description: String,
    category: Category,
    context: Option<Context>,
    subcategory: Option<String>,
    severity: Option<String>,
    threshold: Option<f64>,
    meaning: Option<String>,
    remedy: Option<String>,
    #[serde(default)]
    r#where: Vec<ConditionSpec>,
    require: Vec<ConditionSpec>,
    #[serde(default)]
    clear: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConditionSpec {
    field: String,
    present: Option<bool>,
    r#in: Option<Vec<toml::Value>>,
    not_in: Option<Vec<toml::Value>>,
    min: Option<toml::Value>,
    max: Option<toml::Value>,
    not_before: Option<String>,
    not_after: Option<String>,
    longest: Option<usize>,
}

fn find(table: CdmTable, name: &str) -> Result<&'static Field, String> {
    table
        .fields()
        .iter()
        .find(|field| field.name == name)
        .ok_or_else(|| format!("table {} has no field {name:?}", table.name()))
}

impl ConditionSpec {
    fn compile(self, table: CdmTable) -> Result<Vec<Condition>, String> {
        let field = find(table, &self.field)?;
        let name = field.name.as_str();
        let mut tests = Vec::new();
        tests.extend(self.present.map(Test::Present));
        for (list, wanted) in [(self.r#in, true), (self.not_in, false)] {
            let Some(list) = list else { continue };
            tests.push(match field.field_type {
                FieldType::Integer => {
                    let ids = list.iter().map(toml::Value::as_integer).collect::<Option<_>>();
                    Test::Ids(ids.ok_or_else(|| format!("{name} is compared with whole numbers"))?, wanted)
                }
                FieldType::Varchar => {
                    let words = list.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>();
                    Test::Words(words.ok_or_else(|| format!("{name} is compared with texts"))?, wanted)
                }
                _ => return Err(format!("{name} is a number or a day: use min and max")),
            });
        }
        if self.min.is_some() || self.max.is_some() {
            tests.push(match field.field_type {
                FieldType::Integer | FieldType::Float => {
                    let number = |value: Option<toml::Value>| {
                        #[expect(clippy::cast_precision_loss, reason = "bounds of plausible values")]
                        value
                            .map(|value| value.as_float().or_else(|| value.as_integer().map(|value| value as f64)))
                            .map(|value| {
                                value
                                    .filter(|value| value.is_finite())
                                    .ok_or_else(|| format!("{name} lies between numbers"))
                            })
                            .transpose()
                    };
                    Test::Range { low: number(self.min)?, high: number(self.max)? }
                }
                FieldType::Date | FieldType::Datetime => {
                    let end = |value: Option<toml::Value>| {
                        let end = |value: toml::Value| match value.as_str() {
                            Some("today") => Ok(End::Today),
                            Some(text) => parse_day(text).map(|day| End::Day(crate::epoch_days(day))).ok_or(()),
                            None => Err(()),
                        };
                        value
                            .map(end)
                            .transpose()
                            .map_err(|()| format!("{name} lies between days: \"YYYY-MM-DD\" or \"today\""))
                    };
                    Test::Days { low: end(self.min)?, high: end(self.max)? }
                }
                FieldType::Varchar => return Err(format!("{name} is text and has no range")),
            });
        }
        let is_day = |field: &Field| matches!(field.field_type, FieldType::Date | FieldType::Datetime);
        for (other, make) in
            [(self.not_before, Test::NotBefore as fn(&'static Field) -> Test), (self.not_after, Test::NotAfter)]
        {
            let Some(other) = other else { continue };
            let other = find(table, &other)?;
            if !is_day(field) || !is_day(other) {
                return Err(format!("{name} and {} are not both days", other.name));
            }
            tests.push(make(other));
        }
        if let Some(longest) = self.longest {
            if field.field_type != FieldType::Varchar {
                return Err(format!("{name} is no text and has no length"));
            }
            tests.push(Test::Longest(longest));
        }
        if tests.is_empty() {
            return Err(format!("the condition on {name} says nothing"));
        }
        Ok(tests.into_iter().map(|test| Condition { field, test }).collect())
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 80
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

impl Spec {
    fn compile(self) -> Result<Check, String> {
        if !is_id(&self.id) {
            return Err("an id is up to 80 small letters, digits, hyphens, dots and underscores".to_owned());
        }
        let table = CdmTable::parse(&self.table).ok_or_else(|| format!("the model has no table {:?}", self.table))?;
        if let Some(field) = &self.field {
            find(table, field)?;
        }
        if self.clear && self.field.is_none() {
            return Err("clear needs the field to empty".to_owned());
        }
        if self.require.is_empty() {
            return Err("a check requires something".to_owned());
        }
        if self.threshold.is_some_and(|threshold| !(0.0..=100.0).contains(&threshold)) {
            return Err("a threshold is a share in per cent".to_owned());
        }
        let compile = |conditions: Vec<ConditionSpec>| -> Result<Vec<Condition>, String> {
            let conditions: Result<Vec<_>, _> =
                conditions.into_iter().map(|condition| condition.compile(table)).collect();
            Ok(conditions?.into_iter().flatten().collect())
        };
        let rule = Rule { select: compile(self.r#where)?, require: compile(self.require)?, clear: self.clear };
        Ok(Check {
            id: self.id,
            name: "user".to_owned(),
            level: Level::Field,
            context: self.context.unwrap_or(Context::Verification),
            category: self.category,
            subcategory: self.subcategory.unwrap_or_default(),
            severity: self.severity.unwrap_or_else(|| "characterization".to_owned()),
            table,
            field: self.field,
            concept_ids: Vec::new(),
            threshold: self.threshold,
            meaning: self.meaning.unwrap_or_else(|| self.description.clone()),
            remedy: self.remedy.unwrap_or_else(|| "See whoever wrote the check.".to_owned()),
            description: self.description,
            kind: Kind::Rule(Box::new(rule)),
        })
    }
}

/// Checks of a TOML file, or of a CSV file of ranges. `name` tells which, and stands in errors.
///
/// A CSV file has the columns `id`, `table` (`measurement` or `observation`), `concept_id`, `unit_concept_id` (may be
/// empty), `low`, `high` (either may be empty), `threshold` in per cent, `description`.
///
/// # Errors
/// [`CleanseError::CheckFile`] with the place and what is wrong there.
pub fn parse_checks(name: &str, text: &str) -> Result<Vec<Check>, CleanseError> {
    let wrong = |message: String| CleanseError::CheckFile { file: name.to_owned(), message };
    let specs = if name.to_lowercase().ends_with(".csv") {
        ranges(text).map_err(wrong)?
    } else {
        // The parser's message quotes the file, which holds no record.
        toml::from_str::<File>(text)
            .map_err(|error| wrong(error.message().to_owned() + &line_of(text, error.span())))?
            .check
    };
    let mut checks: Vec<Check> = Vec::with_capacity(specs.len());
    for (at, spec) in specs.into_iter().enumerate() {
        let check = spec.compile().map_err(|message| wrong(format!("check {}: {message}", at + 1)))?;
        if checks.iter().any(|known| known.id == check.id) {
            return Err(wrong(format!("check {}: the id is there twice", at + 1)));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let line = |span: std::ops::Range<usize>| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
    span.map_or(String::new(), |span| format!(" (line {})", line(span)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeRow {
    id: String,
    table: String,
    concept_id: i64,
    unit_concept_id: Option<i64>,
    low: Option<f64>,
    high: Option<f64>,
    threshold: Option<f64>,
    description: String,
}

fn ranges(text: &str) -> Result<Vec<Spec>, String> {
    let mut specs = Vec::new();
    for (at, row) in csv::Reader::from_reader(text.as_bytes()).deserialize::<RangeRow>().enumerate() {
        // Rows are counted with the header.
        let row =
            row.map_err(|_| format!("row {} does not have the columns of a range, or a number is none", at + 2))?;
        if row.low.is_none() && row.high.is_none() {
            return Err(format!("row {}: low or high is needed", at + 2));
        }
        let concept = match row.table.as_str() {
            "measurement" => "measurement_concept_id",
            "observation" => "observation_concept_id",
            _ => return Err(format!("row {}: ranges are for measurement and observation", at + 2)),
        };
        let among = |field: &str, id: i64| ConditionSpec {
            field: field.to_owned(),
            r#in: Some(vec![toml::Value::Integer(id)]),
            ..ConditionSpec::none()
        };
        let within = ConditionSpec {
            field: "value_as_number".to_owned(),
            min: row.low.map(toml::Value::Float),
            max: row.high.map(toml::Value::Float),
            ..ConditionSpec::none()
        };
        let numbered =
            ConditionSpec { field: "value_as_number".to_owned(), present: Some(true), ..ConditionSpec::none() };
        let mut select = vec![among(concept, row.concept_id), numbered];
        select.extend(row.unit_concept_id.map(|unit| among("unit_concept_id", unit)));
        specs.push(Spec {
            id: row.id,
            table: row.table,
            field: Some("value_as_number".to_owned()),
            description: row.description,
            category: Category::Plausibility,
            context: None,
            subcategory: Some("Atemporal".to_owned()),
            severity: None,
            threshold: row.threshold,
            meaning: Some("The number is outside the range stated for this test.".to_owned()),
            remedy: Some("Check unit, decimal point and typing errors at the source.".to_owned()),
            r#where: select,
            require: vec![within],
            clear: true,
        });
    }
    Ok(specs)
}

impl ConditionSpec {
    fn none() -> Self {
        Self {
            field: String::new(),
            present: None,
            r#in: None,
            not_in: None,
            min: None,
            max: None,
            not_before: None,
            not_after: None,
            longest: None,
        }
    }
}

/// Checks of every `.toml` and `.csv` file of a folder, in the order of their names.
///
/// # Errors
/// [`CleanseError::CheckFile`], [`CleanseError::Io`].
pub fn read_checks(folder: &Path) -> Result<Vec<Check>, CleanseError> {
    let failed = |error: std::io::Error| CleanseError::Io {
        what: "the folder of checks".to_owned(),
        doing: "read",
        kind: error.kind(),
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let mut checks: Vec<Check> = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.to_lowercase().ends_with(".toml") && !name.to_lowercase().ends_with(".csv") {
            continue;
        }
        for check in parse_checks(&name, &std::fs::read_to_string(&path).map_err(failed)?)? {
            let known = checks.iter().chain(crate::default_checks()).any(|known| known.id == check.id);
            if known {
                let message = format!("the id {} is taken by another check", check.id);
                return Err(CleanseError::CheckFile { file: name, message });
            }
            checks.push(check);
        }
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_checks("a.toml", text).unwrap_err().to_string()
    }

    const HEAD: &str = "[[check]]\nid = \"a\"\ndescription = \"d\"\ncategory = \"plausibility\"\n";

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        assert_eq!(refused("x = 1"), "checks a.toml: unknown field `x`, expected `check` (line 1)");
        let table = format!("{HEAD}table = \"persons\"\nrequire = []");
        assert_eq!(refused(&table), "checks a.toml: check 1: the model has no table \"persons\"");
        let field = format!("{HEAD}table = \"person\"\nrequire = [{{ field = \"age\", min = 0 }}]");
        assert_eq!(refused(&field), "checks a.toml: check 1: table person has no field \"age\"");
        let nothing = format!("{HEAD}table = \"person\"\nrequire = [{{ field = \"year_of_birth\" }}]");
        assert_eq!(refused(&nothing), "checks a.toml: check 1: the condition on year_of_birth says nothing");
        let days = format!("{HEAD}table = \"death\"\nrequire = [{{ field = \"death_date\", min = 3 }}]");
        assert!(refused(&days).contains("lies between days"));
        let csv = parse_checks(
            "a.csv",
            "id,table,concept_id,unit_concept_id,low,high,threshold,description\na,measurement,1,,,,,d\n",
        );
        assert_eq!(csv.unwrap_err().to_string(), "checks a.csv: row 2: low or high is needed");
    }
}
