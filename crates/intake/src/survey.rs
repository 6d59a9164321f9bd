//! Counting what a file says without keeping it, and taking out what was wrong, to be mended and given again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use acequia_omop::{Code, Event, Excluded, Fate, Held, ItemHead, Kind, Party, Person, Sink, Unmapped};
use acequia_types::Problem;

use crate::formats::{self, Aside};
use crate::{Format, IntakeError, Limits, Mapping, Source, told_by_content, unpack};

/// How many problems are kept one by one; all are counted.
const LISTED: usize = 200;

/// Counts units of input by kind and fate, events by table, problems by code. Memory grows with persons and visits only.
///
/// Whether a code has a concept is for unification to say, so what is fine so far counts as `ready`.
///
/// ```
/// use acequia_intake::{Limits, Survey, read_into};
/// let message = b"MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5.1\rPID|1||7||DOE||1950\rOBX|1|NM|2345-7^Glucose^LN||high\r";
/// let mut survey = Survey::default();
/// read_into(&mut std::io::Cursor::new(message), None, &Limits::default(), &mut survey)?;
/// assert_eq!(survey.items()["PID"]["ready"], 1);
/// assert_eq!(survey.listed[0].to_string(), "row 3, column OBX-5: not a number (IN101)");
/// # Ok::<(), acequia_intake::IntakeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Survey {
    /// Kind of item, fate, how many: few, so they are looked through, the last one first.
    items: Vec<(String, &'static str, u64)>,
    last_item: usize,
    /// Table that the format suggests → events.
    pub events: BTreeMap<&'static str, u64>,
    /// Persons told.
    pub persons: u64,
    /// Code → how often.
    pub problems: BTreeMap<String, u64>,
    /// The first problems, in order.
    pub listed: Vec<Problem>,
    /// Rows of rejected items, by the file of an archive as places name it (empty where there is none).
    pub rejected: BTreeMap<String, BTreeSet<u64>>,
    /// Persons by the hash of their key: whether the birth is known.
    birth_known: HashMap<u64, bool>,
    /// Visits with a date, by the hash of their key.
    dated_visits: BTreeSet<u64>,
    /// The person of the last event, and whether her birth is known: events of one person follow each other.
    last_person: (String, Option<bool>),
    item: Current,
}

#[derive(Debug, Default)]
struct Current {
    row: u64,
    kind: String,
    file: String,
    ready: bool,
    held: Option<Held>,
}

fn hash(text: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

impl Survey {
    /// Kind of item → fate → how many.
    pub fn items(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut items: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (kind, fate, count) in &self.items {
            *items.entry(kind.clone()).or_default().entry((*fate).to_owned()).or_default() += count;
        }
        items
    }

    /// Units of input.
    pub fn total(&self) -> u64 {
        self.items.iter().map(|(.., count)| count).sum()
    }

    /// Units with a fate, `ready`, `excluded`, `held`, `unmapped` or `rejected`, whatever the reason.
    pub fn with_fate(&self, fate: &str) -> u64 {
        let of = |(_, name, count): &(String, &str, u64)| if name.split(':').next() == Some(fate) { *count } else { 0 };
        self.items.iter().map(of).sum()
    }
}

impl Sink for Survey {
    fn begin(&mut self, item: &ItemHead<'_>) {
        self.item.row = item.row;
        self.item.kind.clear();
        self.item.kind.push_str(item.kind);
        self.item.file.clear();
        (self.item.ready, self.item.held) = (false, None);
    }

    fn person(&mut self, person: &Person<'_>) {
        self.persons += 1;
        let known = person.birth.is_some();
        *self.birth_known.entry(hash(person.key)).or_default() |= known;
        self.last_person = Default::default();
        if known { self.item.ready = true } else { self.item.held = Some(Held::NoBirthDate) }
    }

    fn event(&mut self, event: &Event<'_>) {
        *self.events.entry(event.kind.table().name()).or_default() += 1;
        if matches!(event.kind, Kind::Visit | Kind::VisitDetail) && event.start.is_some() && !event.key.is_empty() {
            self.dated_visits.insert(hash(event.key));
        }
        let dated =
            event.start.is_some() || (!event.visit.is_empty() && self.dated_visits.contains(&hash(event.visit)));
        if self.last_person.0 != event.person || event.person.is_empty() {
            self.last_person.0.clear();
            self.last_person.0.push_str(event.person);
            self.last_person.1 = self.birth_known.get(&hash(event.person)).copied();
        }
        match self.last_person.1 {
            None => self.item.held = Some(Held::OtherPerson),
            Some(false) => self.item.held = Some(Held::NoBirthDate),
            Some(true) if !dated => self.item.held = Some(Held::NoDate),
            Some(true) => self.item.ready = true,
        }
    }

    fn party(&mut self, _: &Party<'_>) {
        self.item.ready = true;
    }

    fn define(&mut self, _: &str, _: &[Code<'_>]) {
        self.item.ready = true;
    }

    fn problem(&mut self, problem: Problem) {
        if let Some(file) = &problem.place.intake {
            self.item.file.clone_from(file);
        }
        *self.problems.entry(problem.code.clone()).or_default() += 1;
        if self.listed.len() < LISTED {
            self.listed.push(problem);
        }
    }

    fn end(&mut self, fate: Option<Fate>) {
        let item = &mut self.item;
        let word = match &fate {
            Some(fate) => fate_word(fate),
            None if item.ready => "ready",
            None => item.held.map_or("ready", |held| fate_word(&Fate::Held(held))),
        };
        if matches!(fate, Some(Fate::Rejected(_))) {
            let file = std::mem::take(&mut item.file);
            self.rejected.entry(file).or_default().insert(item.row);
        }
        let is = |(kind, own, _): &(String, &'static str, u64)| *kind == item.kind && *own == word;
        if !self.items.get(self.last_item).is_some_and(is) {
            let found = self.items.iter().position(is);
            self.last_item = found.unwrap_or(self.items.len());
            if found.is_none() {
                self.items.push((item.kind.clone(), word, 0));
            }
        }
        if let Some((.., count)) = self.items.get_mut(self.last_item) {
            *count += 1;
        }
    }
}

const fn fate_word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Loaded => "ready",
        Fate::Excluded(Excluded::EnteredInError) => "excluded: entered in error",
        Fate::Excluded(Excluded::DidNotHappen) => "excluded: did not happen",
        Fate::Excluded(Excluded::Administrative) => "excluded: administrative",
        Fate::Excluded(Excluded::Duplicate) => "excluded: duplicate",
        Fate::Excluded(Excluded::Plan) => "excluded: a plan",
        Fate::Excluded(Excluded::Financial) => "excluded: financial",
        Fate::Excluded(Excluded::ToldElsewhere) => "excluded: told elsewhere",
        Fate::Excluded(Excluded::NoInformation) => "excluded: no information",
        Fate::Held(Held::NoBirthDate) => "held: no birth date",
        Fate::Held(Held::NoDate) => "held: no date",
        Fate::Held(Held::OtherPerson) => "held: of another person",
        Fate::Held(Held::NoText) => "held: its text lies elsewhere",
        Fate::Unmapped(Unmapped::Kind) => "unmapped: no table for its kind",
        Fate::Unmapped(Unmapped::Concept) => "unmapped: no concept",
        Fate::Rejected(_) => "rejected",
    }
}

/// Makes the place for bad records of a format; the text names the file of an archive.
pub type MakeFile<'f> = dyn FnMut(Format, &str) -> std::io::Result<Box<dyn Write>> + 'f;

/// Copies what was rejected into files of the same format, one for each file of an archive, so that it can be mended and
/// given again: whole messages, lines, rows under their header, records. Where the format's smallest whole is the file,
/// the file is copied. `open` is handed the format and makes the place to write to.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read, or the copy not be written.
pub fn set_aside(
    source: &mut dyn Source,
    mapping: Option<&Mapping>,
    limits: &Limits,
    rejected: &BTreeMap<String, BTreeSet<u64>>,
    open: &mut MakeFile<'_>,
) -> Result<(), IntakeError> {
    unpack::members(source, limits, &mut |mut member| {
        let label = crate::label(member.number, member.of);
        let (Some(rows), Ok(format)) = (rejected.get(&label), told_by_content(&member.head, mapping)) else {
            return Ok(());
        };
        let unwritten = |error: std::io::Error| unpack::broken(&error);
        let mut out = open(format, &label).map_err(unwritten)?;
        let delimiter = mapping.map_or(b',', Mapping::delimiter);
        let mut stream = member.stream();
        match formats::info(format).aside {
            Aside::Messages => formats::hl7v2_aside(&mut stream, rows, &mut out),
            Aside::Lines => formats::lines_aside(&mut stream, rows, &mut out),
            Aside::Rows => formats::rows_aside(&mut stream, rows, delimiter, &mut out),
            Aside::Records => return formats::records_aside(&mut stream, rows, &mut out),
            Aside::Whole => std::io::copy(&mut stream, &mut out).map(drop),
        }
        .and_then(|()| out.flush())
        .map_err(unwritten)
    })
}
