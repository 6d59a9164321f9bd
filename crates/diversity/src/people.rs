//! People as columns of numbered values, from a table with one row per person.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use acequia_frame::{FrameError, Table};
use acequia_types::{Day, parse_day};
use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::Datelike;

use crate::DiversityError;
use crate::interval::natural;
use crate::reference::sex_word;
use crate::report::{AskedPerson, NotRecorded, Prediction};

/// One fact about each person.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Distinct values in the order people expect.
    pub values: Vec<String>,
    /// Value to label, where they differ.
    pub labels: BTreeMap<String, String>,
    /// For each person the place of the value, counted from 1; 0 is not known, or left out.
    pub codes: Vec<u32>,
    /// People whose value de-identification left out. They form no group.
    pub left_out: Vec<bool>,
}

/// What stands where de-identification left a value out.
pub(crate) const LEFT_OUT: &str = "*";

impl Column {
    /// Numbers the texts; `None` is not known, `*` left out by de-identification.
    pub fn new<'a>(name: &str, title: &str, texts: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut codes: Vec<u32> = Vec::new();
        let mut left_out: Vec<bool> = Vec::new();
        for text in texts {
            left_out.push(text == Some(LEFT_OUT));
            let Some(text) = text.filter(|text| *text != LEFT_OUT) else {
                codes.push(0);
                continue;
            };
            let next = known.len() as u32 + 1;
            codes.push(match known.get(text) {
                Some(code) => *code,
                None => *known.entry(text.to_owned()).or_insert(next),
            });
        }
        let mut order: Vec<(String, u32)> = known.into_iter().collect();
        order.sort_by(|a, b| natural(&a.0, &b.0));
        let mut rank = vec![0; order.len() + 1];
        order.iter().zip(1..).for_each(|((_, code), place)| rank[*code as usize] = place);
        codes.iter_mut().for_each(|code| *code = rank[*code as usize]);
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            values: order.into_iter().map(|(text, _)| text).collect(),
            labels: BTreeMap::new(),
            codes,
            left_out,
        }
    }

    /// People of each value.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = vec![0; self.values.len() + 1];
        self.codes.iter().for_each(|code| counts[*code as usize] += 1);
        self.values.iter().cloned().zip(counts.into_iter().skip(1)).collect()
    }

    /// People whose value was left out.
    pub fn people_left_out(&self) -> u64 {
        self.left_out.iter().filter(|left_out| **left_out).count() as u64
    }

    /// What people read for a value.
    pub fn label<'a>(&'a self, value: &'a str) -> &'a str {
        self.labels.get(value).map_or(value, String::as_str)
    }
}

/// What is covered how often; a person may count for several values.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Covered {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Value to people.
    pub(crate) people: BTreeMap<String, u64>,
}

/// Everybody in the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct People {
    /// How many.
    pub(crate) rows: usize,
    /// Facts that groups are formed by.
    pub(crate) columns: Vec<Column>,
    /// Facts that only combinations are formed by.
    pub(crate) combined: Vec<Column>,
    /// Which people lack a value, by column.
    pub(crate) missing: Vec<(String, Vec<bool>)>,
    /// Identifier to row, for predictions.
    pub(crate) ids: HashMap<String, usize>,
    /// Events of each person, by kind.
    pub(crate) events: Vec<(String, Vec<u32>)>,
    /// Years that each person was followed; not a number where it is not known.
    pub(crate) follow_up_years: Option<Vec<f64>>,
    /// Coverage of what a person may have several of.
    pub(crate) covered: Vec<Covered>,
    /// Names of columns whose values are places, devices or languages.
    pub(crate) coverage: Vec<String>,
    pub(crate) not_recorded: Vec<NotRecorded>,
    pub(crate) on: Option<Day>,
}

/// How a table of people is read.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// Day at which age counts, for days of birth. Who died before is as old as at death.
    pub on: Option<Day>,
    /// Years in a band of age.
    pub age_years: u32,
    /// First year of the open band.
    pub open_from: u32,
    /// Column that identifies people; only predictions need it.
    pub id: Option<String>,
    /// Columns that groups are formed by, besides those that are known by name.
    pub dimensions: Vec<String>,
    /// Columns of coverage, besides those that are known by name.
    pub coverage: Vec<String>,
    /// Columns with the number of events of a person (0 and 1 for whether it happened).
    pub events: Vec<String>,
    /// Column with the years a person was followed.
    pub follow_up: Option<String>,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            on: None,
            age_years: 10,
            open_from: 90,
            id: None,
            dimensions: Vec::new(),
            coverage: Vec::new(),
            events: Vec::new(),
            follow_up: None,
        }
    }
}

impl TableSettings {
    /// The band of an age.
    pub(crate) fn band(&self, age: u32) -> String {
        self.band_of(age, self.age_years.max(1))
    }

    /// A band twice as wide, for combinations: in narrow ones nearly every combination would be small.
    pub(crate) fn wide_band(&self, age: u32) -> String {
        self.band_of(age, self.age_years.max(1) * 2)
    }

    /// Name of the column with wide bands.
    pub(crate) fn wide_name(&self) -> String {
        format!("age_{}_years", self.age_years.max(1) * 2)
    }

    fn band_of(&self, age: u32, years: u32) -> String {
        let (first, open_from) = (age / years * years, self.open_from / years * years);
        match first >= open_from {
            true => format!("{open_from}+"),
            false if years == 1 => first.to_string(),
            false => format!("{first}-{}", first + years - 1),
        }
    }
}

/// Attributes that STANDING Together asks for, as tables name them, and their titles.
pub(crate) const ATTRIBUTES: [(&str, &str); 13] = [
    ("age", "Age"),
    ("sex", "Sex"),
    ("gender", "Gender"),
    ("race", "Race"),
    ("ethnicity", "Ethnicity"),
    ("region", "Region"),
    ("country", "Country"),
    ("language", "Language"),
    ("education", "Education"),
    ("deprivation", "Deprivation"),
    ("income", "Income"),
    ("migration", "Migration"),
    ("disability", "Disability"),
];
/// Columns of coverage by name.
const COVERAGE: [&str; 9] =
    ["site", "hospital", "care_site", "region", "country", "language", "device", "scanner", "year"];
const AGE: [&str; 3] = ["age", "age_years", "age_at_baseline"];
const BIRTH: [&str; 6] = ["birth_date", "date_of_birth", "birthdate", "birthday", "dob", "year_of_birth"];
const DEATH: [&str; 3] = ["death_date", "date_of_death", "deathdate"];
const UNKNOWN: [&str; 8] = ["", "NA", "N/A", "null", "NULL", "unknown", "Unknown", "UNK"];

/// Whole years from one day to another; 0 when the second is earlier.
pub(crate) fn age_on(born: Day, day: Day) -> u32 {
    let early = (day.month(), day.day()) < (born.month(), born.day());
    u32::try_from(day.year() - born.year() - i32::from(early)).unwrap_or(0)
}

pub(crate) fn title_of(name: &str) -> String {
    if let Some((_, title)) = ATTRIBUTES.iter().find(|(known, _)| *known == name) {
        return (*title).to_owned();
    }
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

impl People {
    /// How many people there are.
    pub fn rows(&self) -> u64 {
        self.rows as u64
    }

    /// Refuses data of which every count would be hidden.
    ///
    /// # Errors
    /// [`DiversityError::TooFew`].
    pub fn enough(&self, minimum: u64) -> Result<(), DiversityError> {
        let minimum = minimum.max(1);
        if self.rows() < minimum { Err(DiversityError::TooFew { minimum }) } else { Ok(()) }
    }

    /// Names of the columns that groups are formed by.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The columns that are combined unless others are asked for: age in wide bands, sex, race and ethnicity, as far as
    /// they are known.
    pub fn usual_combination(&self) -> Vec<String> {
        let person = ["age", "sex", "race", "ethnicity"];
        let known = self.columns().filter(|name| person.contains(name));
        known.map(|name| self.combining(name)).collect()
    }

    /// The column that stands for another in combinations.
    pub fn combining(&self, name: &str) -> String {
        let wide = self.combined.first().filter(|_| name == "age");
        wide.map_or_else(|| name.to_owned(), |column| column.name.clone())
    }

    /// People of columns that are known already, such as those of a version about to be published.
    pub fn of_columns(rows: usize, columns: Vec<Column>) -> Self {
        Self { rows, columns, ..Self::default() }
    }

    /// Names the columns whose values are places, devices, languages or years.
    #[must_use]
    pub fn covering(mut self, columns: &[String]) -> Self {
        self.coverage = columns.to_vec();
        self
    }

    /// Adds a column that only counts for missing values.
    #[must_use]
    pub fn with_missing(mut self, name: &str, missing: Vec<bool>) -> Self {
        self.missing.push((name.to_owned(), missing));
        self
    }

    /// Adds events: how many each person had.
    #[must_use]
    pub fn with_events(mut self, name: &str, counts: Vec<u32>) -> Self {
        self.events.push((name.to_owned(), counts));
        self
    }

    /// Adds the years each person was followed; not a number where it is not known.
    #[must_use]
    pub fn with_follow_up(mut self, years: Vec<f64>) -> Self {
        self.follow_up_years = Some(years);
        self
    }

    /// Reads a table of people: Parquet, or text with commas, semicolons, tabs or bars, plain or gzip.
    ///
    /// # Errors
    /// [`DiversityError`] naming the row or column that cannot be used.
    pub fn read(path: &Path, settings: &TableSettings) -> Result<Self, DiversityError> {
        let unreadable = |error: std::io::Error| DiversityError::Io {
            what: "the table of people".to_owned(),
            doing: "read",
            kind: error.kind(),
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let start = file.fill_buf().map_err(unreadable)?;
        if start.starts_with(b"PAR1") {
            return Self::from_parquet(File::open(path).map_err(unreadable)?, settings);
        }
        match start.starts_with(&[0x1f, 0x8b]) {
            true => Self::from_csv(flate2::bufread::MultiGzDecoder::new(file), settings),
            false => Self::from_csv(file, settings),
        }
    }

    /// Reads a table of people from text.
    ///
    /// # Errors
    /// [`DiversityError::Table`], [`DiversityError::NoColumn`], [`DiversityError::NoDay`].
    pub fn from_csv(text: impl Read, settings: &TableSettings) -> Result<Self, DiversityError> {
        let mut reader = csv_reader(text, "the table of people")?;
        let headers = header(&mut reader, "the table of people")?;
        let mut builder = Builder::new(&headers, settings)?;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| bad_row("the table of people", &error))? {
            builder.take(&|at| record.get(at))?;
        }
        Ok(builder.finish())
    }

    fn from_parquet(file: File, settings: &TableSettings) -> Result<Self, DiversityError> {
        let (schema, batches) = Table::parquet_batches("people", file)?;
        let headers: Vec<String> = schema.fields().iter().map(|field| field.name().to_lowercase()).collect();
        let mut builder = Builder::new(&headers, settings)?;
        let failed = |source| FrameError::Arrow { table: "people".to_owned(), source };
        for batch in batches {
            let batch = batch?;
            let options = FormatOptions::default();
            let columns: Vec<&ArrayRef> = batch.columns().iter().collect();
            let formatters = columns
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed))
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                let texts: Vec<Option<String>> = columns
                    .iter()
                    .zip(&formatters)
                    .map(|(column, formatter)| column.is_valid(row).then(|| formatter.value(row).to_string()))
                    .collect();
                builder.take(&|at| texts.get(at)?.as_deref())?;
            }
        }
        Ok(builder.finish())
    }
}

/// A reader of text with a header, whatever separates the fields.
pub(crate) fn csv_reader(text: impl Read, table: &str) -> Result<csv::Reader<impl Read>, DiversityError> {
    let mut text = BufReader::with_capacity(1 << 16, text);
    let unreadable =
        |error: std::io::Error| DiversityError::Io { what: table.to_owned(), doing: "read", kind: error.kind() };
    if text.fill_buf().map_err(unreadable)?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    let first = text.fill_buf().map_err(unreadable)?;
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    let delimiter = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',');
    Ok(csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text))
}

/// Names of the columns in lower case.
pub(crate) fn header(reader: &mut csv::Reader<impl Read>, table: &str) -> Result<Vec<String>, DiversityError> {
    let headers = reader.headers().map_err(|error| bad_row(table, &error))?;
    let names: Vec<String> = headers.iter().map(|name| name.trim().to_lowercase()).collect();
    let repeated = names.iter().enumerate().any(|(at, name)| names[..at].contains(name));
    if repeated || names.iter().all(String::is_empty) {
        let problem = "the header is empty or names a column twice".to_owned();
        return Err(DiversityError::Table { table: table.to_owned(), problem });
    }
    Ok(names)
}

/// Where a row is broken; the parser's own message would repeat what stands there.
pub(crate) fn bad_row(table: &str, error: &csv::Error) -> DiversityError {
    let row = error.position().map_or(0, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { .. } => "it has more or fewer fields than the header",
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8",
        _ => "it cannot be read",
    };
    DiversityError::Table { table: table.to_owned(), problem: format!("line {row}: {problem}") }
}

/// Where ages come from.
enum AgeFrom {
    Years(usize),
    Birth { born: usize, died: Option<usize> },
    Nowhere,
}

enum Age {
    Years(u32),
    Band(String),
}

struct Builder<'a> {
    settings: &'a TableSettings,
    headers: Vec<String>,
    age: AgeFrom,
    id: Option<usize>,
    /// Dimension and its column.
    dimensions: Vec<(String, usize)>,
    events: Vec<(usize, Vec<u32>)>,
    follow_up: Option<(usize, Vec<f64>)>,
    ages: Vec<Option<String>>,
    wide_ages: Vec<Option<String>>,
    texts: Vec<Vec<Option<String>>>,
    missing: Vec<Vec<bool>>,
    ids: HashMap<String, usize>,
    rows: usize,
}

impl<'a> Builder<'a> {
    fn new(headers: &[String], settings: &'a TableSettings) -> Result<Self, DiversityError> {
        let find = |names: &[&str]| names.iter().find_map(|name| headers.iter().position(|header| header == name));
        let asked = |name: &String| {
            let found = headers.iter().position(|header| *header == name.trim().to_lowercase());
            found.ok_or_else(|| DiversityError::NoColumn { column: name.clone() })
        };
        let age = match (find(&AGE), find(&BIRTH)) {
            (Some(at), _) => AgeFrom::Years(at),
            (None, Some(born)) if settings.on.is_some() => AgeFrom::Birth { born, died: find(&DEATH) },
            (None, Some(_)) => return Err(DiversityError::NoDay),
            (None, None) => AgeFrom::Nowhere,
        };
        let own_age = matches!(age, AgeFrom::Years(_)).then(|| find(&AGE)).flatten();
        let mut dimensions: Vec<(String, usize)> = Vec::new();
        let known = ATTRIBUTES.iter().filter_map(|(name, _)| Some(((*name).to_owned(), find(&[name])?)));
        let mut wanted: Vec<(String, usize)> = known.collect();
        wanted.extend(COVERAGE.iter().filter_map(|name| Some(((*name).to_owned(), find(&[name])?))));
        for name in settings.dimensions.iter().chain(&settings.coverage) {
            wanted.push((name.trim().to_lowercase(), asked(name)?));
        }
        for (name, at) in wanted {
            if Some(at) != own_age && !dimensions.iter().any(|(known, _)| *known == name) {
                // Most tables call sex gender; what is known about either stands under the reference's word.
                let name = if name == "gender" && find(&["sex"]).is_none() { "sex".to_owned() } else { name };
                dimensions.push((name, at));
            }
        }
        let events =
            settings.events.iter().map(|name| Ok((asked(name)?, Vec::new()))).collect::<Result<_, DiversityError>>()?;
        let follow_up = settings.follow_up.as_ref().map(asked).transpose()?.map(|at| (at, Vec::new()));
        Ok(Self {
            settings,
            id: settings.id.as_ref().map(asked).transpose()?,
            age,
            texts: vec![Vec::new(); dimensions.len()],
            dimensions,
            events,
            follow_up,
            ages: Vec::new(),
            wide_ages: Vec::new(),
            missing: vec![Vec::new(); headers.len()],
            headers: headers.to_vec(),
            ids: HashMap::new(),
            rows: 0,
        })
    }

    fn take<'r>(&mut self, field: &dyn Fn(usize) -> Option<&'r str>) -> Result<(), DiversityError> {
        self.rows += 1;
        let row = self.rows;
        let wrong = |column: &str, what: &str| DiversityError::Table {
            table: "the table of people".to_owned(),
            problem: format!("row {row}, column {column}: {what}"),
        };
        let known = |at: usize| field(at).map(str::trim).filter(|text| !UNKNOWN.contains(text));
        for (at, missing) in self.missing.iter_mut().enumerate() {
            missing.push(known(at).is_none());
        }
        let day = |at: usize| -> Result<Option<Day>, DiversityError> {
            let Some(text) = known(at) else { return Ok(None) };
            let year = (text.len() == 4).then(|| parse_day(&format!("{text}-07-01"))).flatten();
            let day = year.or_else(|| parse_day(text.get(..10)?));
            day.map(Some).ok_or_else(|| wrong(&self.headers[at], "it is no day such as YYYY-MM-DD"))
        };
        let age = match self.age {
            AgeFrom::Nowhere => None,
            AgeFrom::Years(at) => match known(at) {
                None => None,
                Some(text) => match text.parse::<f64>() {
                    Ok(years) if (0.0..150.0).contains(&years) => Some(Age::Years(years as u32)),
                    Ok(_) => return Err(wrong(&self.headers[at], "it is no age from 0 to 149")),
                    // Ages that were made coarser stay in their bands.
                    Err(_) => Some(Age::Band(text.to_owned())),
                },
            },
            AgeFrom::Birth { born, died } => match (day(born)?, self.settings.on) {
                (Some(born), Some(on)) => {
                    let died = died.map(day).transpose()?.flatten().filter(|died| *died < on);
                    Some(Age::Years(age_on(born, died.unwrap_or(on))))
                }
                _ => None,
            },
        };
        let (age, wide) = match age {
            Some(Age::Years(years)) => (Some(self.settings.band(years)), Some(self.settings.wide_band(years))),
            Some(Age::Band(band)) => (Some(band.clone()), Some(band)),
            None => (None, None),
        };
        self.ages.push(age);
        self.wide_ages.push(wide);
        for ((name, at), texts) in self.dimensions.iter().zip(&mut self.texts) {
            let text = known(*at).map(|text| if name == "sex" { sex_word(text) } else { text });
            texts.push(text.map(str::to_owned));
        }
        for (at, counts) in &mut self.events {
            let count = match known(*at) {
                None | Some("false") => 0,
                Some("true") => 1,
                Some(text) => text
                    .parse::<f64>()
                    .ok()
                    .filter(|n| (0.0..4e9).contains(n))
                    .map(|n| n as u32)
                    .ok_or_else(|| wrong(&self.headers[*at], "it is no number of events"))?,
            };
            counts.push(count);
        }
        if let Some((at, years)) = &mut self.follow_up {
            let own = known(*at).map_or(Some(f64::NAN), |text| text.parse().ok());
            years.push(own.ok_or_else(|| wrong(&self.headers[*at], "it is no number of years"))?);
        }
        if let Some(id) = self.id.and_then(known)
            && self.ids.insert(id.to_owned(), row - 1).is_some()
        {
            return Err(wrong(&self.headers[self.id.unwrap_or(0)], "the person is there twice"));
        }
        Ok(())
    }

    fn finish(self) -> People {
        let (mut columns, mut combined) = (Vec::new(), Vec::new());
        if !matches!(self.age, AgeFrom::Nowhere) {
            let wide = self.wide_ages.iter().map(Option::as_deref);
            combined.push(Column::new(&self.settings.wide_name(), "Age", wide));
            columns.push(Column::new("age", "Age", self.ages.iter().map(Option::as_deref)));
        }
        for ((name, _), texts) in self.dimensions.iter().zip(&self.texts) {
            columns.push(Column::new(name, &title_of(name), texts.iter().map(Option::as_deref)));
        }
        let has = |name: &str| columns.iter().any(|column| column.name == name);
        let absent = |(name, _): &&(&str, &str)| !has(name) && *name != "gender";
        let not_recorded = ATTRIBUTES.iter().filter(absent).map(|(name, _)| NotRecorded {
            name: (*name).to_owned(),
            reason: "the table has no such column".to_owned(),
        });
        let mut coverage: Vec<String> = self.settings.coverage.iter().map(|name| name.trim().to_lowercase()).collect();
        coverage.extend(COVERAGE.iter().filter(|name| has(name)).map(|name| (*name).to_owned()));
        coverage.sort();
        coverage.dedup();
        let counted: Vec<usize> = self.id.into_iter().collect();
        let named = |at: usize| self.headers[at].clone();
        People {
            rows: self.rows,
            not_recorded: not_recorded.collect(),
            missing: self
                .missing
                .into_iter()
                .enumerate()
                .filter(|(at, _)| !counted.contains(at))
                .map(|(at, missing)| (self.headers[at].clone(), missing))
                .collect(),
            ids: self.ids,
            events: self.events.into_iter().map(|(at, counts)| (named(at), counts)).collect(),
            follow_up_years: self.follow_up.map(|(_, years)| years),
            covered: Vec::new(),
            coverage,
            on: self.settings.on,
            columns,
            combined,
        }
    }
}

/// A column by one of its names.
fn one_of(headers: &[String], names: &[&str], table: &str) -> Result<usize, DiversityError> {
    let found = names.iter().find_map(|name| headers.iter().position(|header| header == name));
    found.ok_or_else(|| DiversityError::Table {
        table: table.to_owned(),
        problem: format!("it needs a column named {}", names.join(" or ")),
    })
}

impl AskedPerson {
    /// Reads who was asked for consent: a column `outcome` (`included`, `refused`, `withdrawn`, …), perhaps `count`, and
    /// any columns that groups are formed by. Ages stand in bands.
    ///
    /// ```
    /// # use acequia_diversity::AskedPerson;
    /// let asked = AskedPerson::read("outcome,sex,count\nincluded,F,80\nrefused,F,20\n".as_bytes())?;
    /// assert_eq!((asked[1].outcome.as_str(), asked[1].groups["sex"].as_str(), asked[1].count), ("refused", "female", 20));
    /// # Ok::<(), acequia_diversity::DiversityError>(())
    /// ```
    ///
    /// # Errors
    /// [`DiversityError::Table`] with the line.
    pub fn read(text: impl Read) -> Result<Vec<Self>, DiversityError> {
        const TABLE: &str = "the table of consents";
        let mut reader = csv_reader(text, TABLE)?;
        let headers = header(&mut reader, TABLE)?;
        let outcome = one_of(&headers, &["outcome"], TABLE)?;
        let count = headers.iter().position(|name| name == "count");
        let mut all = Vec::new();
        for (record, line) in reader.records().zip(2..) {
            let record = record.map_err(|error| bad_row(TABLE, &error))?;
            let wrong =
                |what: &str| DiversityError::Table { table: TABLE.to_owned(), problem: format!("line {line}: {what}") };
            let word = record[outcome].trim();
            if word.is_empty() || word.len() > 40 || !word.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                return Err(wrong("the outcome is no word such as included, refused or withdrawn"));
            }
            let mut groups = BTreeMap::new();
            for (at, name) in headers.iter().enumerate().filter(|(at, _)| *at != outcome && Some(*at) != count) {
                let value = record[at].trim();
                if !UNKNOWN.contains(&value) {
                    groups.insert(name.clone(), if name == "sex" { sex_word(value) } else { value }.to_owned());
                }
            }
            let count = count.map_or(Ok(1), |at| record[at].trim().parse());
            all.push(Self {
                outcome: word.to_owned(),
                groups,
                count: count.map_err(|_| wrong("the count is no whole number"))?,
            });
        }
        Ok(all)
    }
}

impl Prediction {
    /// Reads what a model said: columns `person_id`, `truth` and `predicted`, each a number but the first.
    ///
    /// # Errors
    /// [`DiversityError::Table`] with the line.
    pub fn read(text: impl Read) -> Result<Vec<Self>, DiversityError> {
        const TABLE: &str = "the table of predictions";
        let mut reader = csv_reader(text, TABLE)?;
        let headers = header(&mut reader, TABLE)?;
        let person = one_of(&headers, &["person_id", "id", "person"], TABLE)?;
        let truth = one_of(&headers, &["truth", "observed", "label"], TABLE)?;
        let predicted = one_of(&headers, &["predicted", "prediction", "score"], TABLE)?;
        let mut all = Vec::new();
        for (record, line) in reader.records().zip(2..) {
            let record = record.map_err(|error| bad_row(TABLE, &error))?;
            let number = |at: usize| {
                let number: Option<f64> = record[at].trim().parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| DiversityError::Table {
                    table: TABLE.to_owned(),
                    problem: format!("line {line}, column {}: it is no number", headers[at]),
                })
            };
            all.push(Self {
                person: record[person].trim().to_owned(),
                truth: number(truth)?,
                predicted: number(predicted)?,
            });
        }
        let mut seen: Vec<&str> = all.iter().map(|prediction| prediction.person.as_str()).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            let problem = "a person has two predictions".to_owned();
            return Err(DiversityError::Table { table: TABLE.to_owned(), problem });
        }
        Ok(all)
    }
}
