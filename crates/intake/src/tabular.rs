//! Reading a table through a mapping: one row is one person.

use std::collections::{BTreeSet, HashMap};

use acequia_omop::{
    DateError, Excluded, Fate, Item, PartialDate, Sex, SourceEvent, SourceFile, SourcePerson, SourceRecord, SourceValue,
};
use acequia_types::{Day, Place, Problem};
use chrono::{Datelike, Days};
use csv::StringRecord;

use crate::IntakeError;
use crate::MOST_ITEMS;
use crate::mapping::{Event, Mapping, NumberRange};

/// Words for "no value", besides an empty field.
const MISSING: [&str; 3] = ["NA", "N/A", "null"];

/// Longest follow-up that is believed, in days (150 years).
const LONGEST_DAYS: f64 = 54_750.0;

struct Row<'a> {
    record: &'a StringRecord,
    columns: &'a HashMap<String, usize>,
    place: Place,
}

impl Row<'_> {
    fn cell(&self, column: &str) -> Option<&str> {
        let cell = self.record.get(*self.columns.get(column)?)?.trim();
        (!cell.is_empty() && !MISSING.contains(&cell)).then_some(cell)
    }

    fn problem(&self, code: &str, column: &str, what: impl Into<String>, hint: &str) -> Problem {
        Problem::new(code, what, self.place.column(column), hint)
    }

    fn required(&self, column: &str) -> Result<&str, Problem> {
        let hint = "fill the field in, or leave the row out of the export";
        self.cell(column).ok_or_else(|| self.problem("IN105", column, "a value is required", hint))
    }

    fn number(&self, column: &str, range: NumberRange) -> Result<Option<f64>, Problem> {
        let Some(cell) = self.cell(column) else { return Ok(None) };
        let number: f64 = cell.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            self.problem("IN101", column, "not a number", "write numbers with a decimal point and without unit")
        })?;
        let hint = "correct the value at the source, or widen the range in the mapping if it is right";
        if number < range.min {
            let what = format!("the number is below the smallest allowed, {}", range.min);
            return Err(self.problem("IN102", column, what, hint));
        }
        if number > range.max {
            let what = format!("the number is above the largest allowed, {}", range.max);
            return Err(self.problem("IN102", column, what, hint));
        }
        Ok(Some(number))
    }

    fn whole_number(&self, column: &str, min: f64, max: f64) -> Result<i64, Problem> {
        self.required(column)?;
        let number = self.number(column, NumberRange { min, max })?.unwrap_or(min);
        if number.fract() != 0.0 {
            return Err(self.problem("IN101", column, "not a whole number", "round to whole units at the source"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
        Ok(number as i64)
    }

    fn date(&self, column: &str) -> Result<PartialDate, Problem> {
        PartialDate::parse(self.required(column)?).map_err(|error| match error {
            DateError::Calendar => self.problem("IN103", column, error.to_string(), "correct the date at the source"),
            DateError::Form => self.problem("IN104", column, error.to_string(), "write dates as YYYY-MM-DD"),
        })
    }

    fn after(&self, index: Day, column: &str) -> Result<Day, Problem> {
        let days = self.whole_number(column, 0.0, LONGEST_DAYS)?;
        let day = u64::try_from(days).ok().and_then(|days| index.checked_add_days(Days::new(days)));
        day.ok_or_else(|| self.problem("IN103", column, DateError::Calendar.to_string(), "correct the number of days"))
    }

    fn word<'w>(&self, column: &str, known: impl Iterator<Item = &'w str>) -> Result<Option<&'w str>, Problem> {
        let Some(cell) = self.cell(column) else { return Ok(None) };
        let mut known = known;
        known.find(|word| *word == cell).map(Some).ok_or_else(|| {
            let what = "the value is none of those the mapping lists";
            self.problem("IN106", column, what, "add the value to the mapping, or correct it at the source")
        })
    }

    /// Whether something happened. An empty cell is neither yes nor no, unless the mapping lists `""`.
    fn happened(&self, column: &str, yes: &BTreeSet<String>, no: &BTreeSet<String>) -> Result<bool, Problem> {
        let known = || yes.iter().chain(no).map(String::as_str);
        match self.word(column, known())? {
            Some(word) => Ok(yes.contains(word)),
            None if known().any(str::is_empty) => Ok(yes.contains("")),
            None => {
                let hint = "fill the cell, or list \"\" under present_when or absent_when in the mapping";
                Err(self.problem("IN105", column, "the cell is empty, so nobody can tell whether it happened", hint))
            }
        }
    }
}

/// The line in which a quoted field begins that never ends. The CSV reader would take everything after it for one cell
/// (RFC 4180 §2.5–2.7; a quote inside an unquoted field is text).
fn open_quote(text: &str, delimiter: u8) -> Option<u64> {
    let (mut line, mut begun) = (1, None);
    let (mut at_start, mut after_quote) = (true, false);
    for byte in text.bytes() {
        match (byte, begun) {
            (b'"', Some(_)) => after_quote = !after_quote,
            (_, Some(_)) if !after_quote => {}
            (b'"', None) if at_start => (begun, after_quote) = (Some(line), false),
            _ => {
                (begun, after_quote) = (None, false);
                at_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
            }
        }
        line += u64::from(byte == b'\n');
    }
    begun.filter(|_| !after_quote)
}

/// Reads the table. A row with anything wrong is rejected whole, with every problem found in it.
pub(crate) fn read(text: &str, mapping: &Mapping) -> Result<SourceFile, IntakeError> {
    let delimiter = u8::try_from(mapping.source.delimiter).unwrap_or(b',');
    if let Some(row) = open_quote(text, delimiter) {
        return Err(IntakeError::OpenQuote { row });
    }
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|_| IntakeError::Header)?.clone();
    let mut columns = HashMap::new();
    for (at, name) in header.iter().enumerate() {
        let name = name.trim();
        if name.is_empty() || columns.insert(name.to_owned(), at).is_some() {
            return Err(IntakeError::Header);
        }
    }
    let used = mapping.columns();
    if let Some(column) = used.iter().find(|column| !columns.contains_key(**column)) {
        return Err(IntakeError::MissingColumn { column: (*column).to_owned() });
    }
    let unknown = |name: &str| !used.contains(name) && !mapping.ignore.contains_key(name);
    if let Some(at) = header.iter().position(|name| unknown(name.trim())) {
        return Err(IntakeError::UnmappedColumn { number: at + 1 });
    }

    let mut file = SourceFile::default();
    let mut keys = BTreeSet::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|_| IntakeError::Header)? {
        if file.items.len() == MOST_ITEMS {
            return Err(IntakeError::TooMany { most: MOST_ITEMS });
        }
        let line = record.position().map_or(0, csv::Position::line);
        let item = file.items.len();
        let mut fate = None;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            fate = Some(Fate::Excluded(Excluded::Administrative));
        } else {
            let row = Row { record: &record, columns: &columns, place: Place::row(line) };
            match person(&row, header.len(), mapping, item, &mut keys) {
                Ok(record) => file.records.push(record),
                Err(problems) => {
                    fate = problems.first().map(|problem| Fate::Rejected(problem.code.clone()));
                    file.problems.extend(problems);
                }
            }
        }
        file.items.push(Item { row: line, kind: "row".to_owned(), fate });
    }
    Ok(file)
}

fn person(
    row: &Row<'_>,
    width: usize,
    mapping: &Mapping,
    item: usize,
    keys: &mut BTreeSet<String>,
) -> Result<SourceRecord, Vec<Problem>> {
    if row.record.len() != width {
        let what = format!("the row has {} fields, the header has {width}", row.record.len());
        let hint = "check for stray delimiters and missing quotes";
        return Err(vec![Problem::new("IN107", what, row.place.clone(), hint)]);
    }
    let mut problems = Vec::new();
    let mut keep = |problem: Problem| problems.push(problem);

    let key = row.required(&mapping.person.key).map(str::to_owned).map_err(&mut keep).ok();
    let sex = sex(row, mapping).map_err(&mut keep).ok();
    let index = index(row, mapping).map_err(&mut keep).ok();
    // Problems in other columns are worth telling even when the index day is unknown, so a stand-in day goes on.
    let day = index.unwrap_or_default();
    let birth = birth(row, mapping, day).map_err(&mut keep).ok();

    let mut last = day;
    for column in &mapping.period.end_days {
        match row.after(day, column) {
            Ok(end) => last = last.max(end),
            Err(problem) => keep(problem),
        }
    }
    let mut death = None;
    if let Some(stated) = &mapping.death {
        match row.happened(&stated.column, &stated.present_when, &stated.absent_when) {
            Ok(true) => match row.after(day, &stated.after_days) {
                Ok(end) => death = Some((item, PartialDate::from(end))),
                Err(problem) => keep(problem),
            },
            Ok(false) => {}
            Err(problem) => keep(problem),
        }
    }
    let mut events = Vec::new();
    for stated in &mapping.events {
        match event(row, mapping, stated, day, item) {
            Ok(Some(event)) => {
                last = last.max(event.start.first_day());
                events.push(event);
            }
            Ok(None) => {}
            Err(problem) => keep(problem),
        }
    }
    if let Some(key) = &key
        && !keys.insert(key.clone())
    {
        let hint = "give each person one row, or make the keys unique";
        keep(row.problem("IN109", &mapping.person.key, "another row has the same key", hint));
    }
    match (key, sex, birth) {
        (Some(key), Some(sex), Some(birth)) if problems.is_empty() => {
            let type_concept_id = mapping.source.type_concept_id;
            let period = Some((day, last));
            let person = SourcePerson { item, key, sex, birth: Some(birth), period, death, type_concept_id };
            Ok(SourceRecord { person, events })
        }
        _ => {
            // The same column may serve several events; one telling is enough.
            problems.dedup();
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

fn sex(row: &Row<'_>, mapping: &Mapping) -> Result<Sex, Problem> {
    let person = &mapping.person;
    let Some(column) = &person.sex_column else { return Ok(person.sex.map_or(Sex::Unknown, Sex::from)) };
    let word = row.word(column, person.sex_values.keys().map(String::as_str))?;
    Ok(word.and_then(|word| person.sex_values.get(word)).map_or(Sex::Unknown, |word| Sex::from(*word)))
}

fn index(row: &Row<'_>, mapping: &Mapping) -> Result<Day, Problem> {
    if let Some(column) = &mapping.index.date_column {
        return row.date(column).map(PartialDate::first_day);
    }
    if let Some(column) = &mapping.index.year_column {
        let year = row.whole_number(column, 1900.0, 2200.0)?;
        return Ok(i32::try_from(year).ok().and_then(|year| Day::from_ymd_opt(year, 1, 1)).unwrap_or_default());
    }
    Ok(mapping.index.date.unwrap_or_default())
}

fn birth(row: &Row<'_>, mapping: &Mapping, index: Day) -> Result<PartialDate, Problem> {
    if let Some(column) = &mapping.person.birth_date {
        return row.date(column);
    }
    let column = mapping.person.age_years.as_deref().unwrap_or_default();
    let age = row.whole_number(column, 0.0, 120.0)?;
    Ok(PartialDate { year: index.year() - i32::try_from(age).unwrap_or(0), month: None, day: None })
}

fn event(
    row: &Row<'_>,
    mapping: &Mapping,
    event: &Event,
    index: Day,
    item: usize,
) -> Result<Option<SourceEvent>, Problem> {
    let mut value = None;
    if let Some(column) = &event.column {
        if let Some(range) = event.number {
            let Some(number) = row.number(column, range)? else { return Ok(None) };
            value = Some(SourceValue::Number(number));
        } else if !event.values.is_empty() {
            let Some(word) = row.word(column, event.values.keys().map(String::as_str))? else { return Ok(None) };
            value = event.values.get(word).map(|concept_id| SourceValue::Concept(*concept_id));
        } else if !row.happened(column, &event.present_when, &event.absent_when)? {
            return Ok(None);
        }
    }
    let start = event.after_days.as_ref().map_or(Ok(index), |column| row.after(index, column))?;
    let Some(table) = event.cdm_table() else { return Ok(None) };
    Ok(Some(SourceEvent {
        item,
        table,
        codings: Vec::new(),
        concept_id: Some(event.concept_id),
        source_value: event.column.clone().unwrap_or_else(|| "by design of the source".to_owned()),
        start: start.into(),
        end: None,
        value,
        unit: event.unit.clone(),
        type_concept_id: mapping.source.type_concept_id,
        visit: None,
        own_key: None,
        visit_kind: None,
        details: acequia_omop::Details::default(),
    }))
}
