//! The fused pass: one scan of each table evaluates all its checks.
//!
//! The checks of a table are compiled into steps, one for each field and kind of work. A step looks at a batch once and
//! serves every check that needs the same look: a concept id is looked up once for its foreign key, domain, class,
//! validity, unit and sex checks. What fails is a bitmap; it is counted, and the first row ids are kept.
//!
//! Memory: what [`crate::index`] holds, one batch, eight bytes for each row of the table whose key is checked, and
//! sixteen for each distinct source value.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::time::Instant;

use acequia_omop::{CdmTable, FieldType};
use acequia_types::Day;
use arrow::array::{Array, StringArray};
use arrow::buffer::BooleanBuffer;
use chrono::Datelike;
use hashbrown::{DefaultHashBuilder, HashMap};

use crate::column::{Column, Texts, bits, both};
use crate::definition::{Bound, Check, Kind};
use crate::findings::{Finding, Findings, TableFacts};
use crate::index::{Concepts, Index, NOWHERE, Needs, People, Targets, Visits, has};
use crate::rule::Rule;
use crate::tables::{Rows, Tables, Wanted};
use crate::{CleanseError, epoch_days};

/// Days after death within which events are still recorded (the margin of OHDSI's checks).
const AFTER_DEATH_DAYS: i32 = 60;
/// Stands for a period without start or end.
const UNKNOWN_PERIOD: (i32, i32) = (i32::MAX, i32::MIN);
/// Days around a visit in which its events lie (the same).
const AROUND_VISIT_DAYS: i32 = 7;

/// How checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The day that counts as today.
    pub as_of: Day,
    /// Row ids kept for each check.
    pub row_ids: usize,
}

impl Settings {
    /// Keeps the first hundred row ids of each check.
    pub const fn as_of(as_of: Day) -> Self {
        Self { as_of, row_ids: 100 }
    }
}

/// Counts of one check.
#[derive(Default)]
struct Tally {
    counted: bool,
    rows: u64,
    failing: u64,
    ids: Vec<i64>,
    error: Option<String>,
    seconds: f64,
}

struct Tallies {
    all: Vec<Tally>,
    limit: usize,
}

impl Tallies {
    fn rows(&mut self, check: usize, rows: usize) {
        self.all[check].rows += rows as u64;
    }

    fn fail(&mut self, check: usize, failing: &BooleanBuffer, ids: &RowIds<'_>) {
        let count = failing.count_set_bits();
        if count == 0 {
            return;
        }
        let tally = &mut self.all[check];
        tally.failing += count as u64;
        let room = self.limit.saturating_sub(tally.ids.len());
        tally.ids.extend(failing.set_indices().take(room).map(|row| ids.get(row)));
    }

    fn fail_one(&mut self, check: usize, id: i64) {
        let tally = &mut self.all[check];
        tally.failing += 1;
        if tally.ids.len() < self.limit {
            tally.ids.push(id);
        }
    }
}

/// What names a row: its key, or its number in the file from one.
struct RowIds<'a> {
    key: Option<&'a Column>,
    before: u64,
}

impl RowIds<'_> {
    fn get(&self, row: usize) -> i64 {
        match self.key.filter(|key| key.is_valid(row)) {
            Some(key) => key.ints()[row],
            None => i64::try_from(self.before + row as u64 + 1).unwrap_or(i64::MAX),
        }
    }
}

/// Runs the checks over the tables.
pub(crate) fn run(tables: &dyn Tables, checks: &[Check], settings: Settings) -> Result<Findings, CleanseError> {
    let began = Instant::now();
    let index = Index::build(tables, &needs(tables, checks))?;
    let mut shared_seconds = began.elapsed().as_secs_f64();
    let mut tallies = Tallies { all: checks.iter().map(|_| Tally::default()).collect(), limit: settings.row_ids };
    let mut facts = BTreeMap::new();
    let mut seen = Seen::default();
    let mut of_table: BTreeMap<CdmTable, Vec<usize>> = BTreeMap::new();
    for (at, check) in checks.iter().enumerate() {
        of_table.entry(check.table).or_default().push(at);
    }
    for (table, own) in &of_table {
        let Some(columns) = tables.columns(*table) else {
            for at in own {
                if checks[*at].kind == Kind::TablePresent {
                    let tally = &mut tallies.all[*at];
                    (tally.counted, tally.rows, tally.failing) = (true, 1, 1);
                }
            }
            facts.insert(table.name().to_owned(), TableFacts::default());
            continue;
        };
        let began = Instant::now();
        let mut plan = Plan::compile(*table, columns, checks, own, &index, tables, &mut tallies, settings);
        let mut rows_so_far = 0_u64;
        let mut in_steps = 0.0;
        let wanted = plan.wanted.clone();
        tables.scan(*table, &wanted, &mut |rows: &Rows| {
            in_steps += plan.batch(rows, rows_so_far, &index, &mut tallies, &mut seen);
            rows_so_far += rows.count as u64;
            Ok(())
        })?;
        let missing: Vec<u64> = plan
            .steps
            .iter()
            .filter_map(|step| if let Work::Missing { nulls, .. } = step.work { Some(nulls) } else { None })
            .collect();
        let empty_fields = plan
            .wanted
            .iter()
            .zip(&missing)
            .filter(|(_, nulls)| **nulls == rows_so_far && rows_so_far > 0)
            .map(|(wanted, _)| wanted.field.name.clone())
            .collect();
        plan.finish(&mut tallies);
        shared_seconds += began.elapsed().as_secs_f64() - in_steps;
        let missing_fields = table.fields().iter().filter(|field| !columns.contains(&field.name));
        facts.insert(
            table.name().to_owned(),
            TableFacts {
                present: true,
                rows: rows_so_far,
                uneven_rows: tables.uneven(*table),
                missing_fields: missing_fields.map(|field| field.name.clone()).collect(),
                empty_fields,
            },
        );
    }
    across(tables, checks, &index, &seen, &facts, &mut tallies);
    let findings = checks.iter().zip(tallies.all).map(|(check, tally)| Finding {
        id: check.id.clone(),
        counted: tally.counted && tally.error.is_none(),
        rows: tally.rows,
        failing: tally.failing,
        row_ids: tally.ids,
        error: tally.error,
        seconds: tally.seconds,
    });
    Ok(Findings {
        schema: Findings::SCHEMA.to_owned(),
        as_of: settings.as_of.to_string(),
        tables: facts,
        findings: findings.collect(),
        shared_seconds,
    })
}

fn needs(tables: &dyn Tables, checks: &[Check]) -> Needs {
    let mut needs = Needs::default();
    for check in checks.iter().filter(|check| tables.columns(check.table).is_some()) {
        match &check.kind {
            Kind::Refers { table: CdmTable::Concept, .. } | Kind::Domain(_) | Kind::Class(_) | Kind::Standard => {
                needs.concepts = true;
            }
            Kind::Refers { table: CdmTable::VisitOccurrence, .. } | Kind::WithinVisit => needs.visits = true,
            Kind::Refers { table: CdmTable::Person, .. }
            | Kind::PersonCompleteness
            | Kind::EraCompleteness
            | Kind::AfterBirth
            | Kind::BeforeDeath
            | Kind::DuringLife
            | Kind::NotBeforeMidyear
            | Kind::Gender { .. } => needs.people = true,
            Kind::Refers { table, field } => {
                needs.targets.insert((*table, field.clone()));
            }
            Kind::GenderOfKinds { .. } => {
                needs.people = true;
                needs.kinds.insert(check.concept_ids.clone());
            }
            _ => {}
        }
    }
    needs
}

/// Which persons were seen in which table.
#[derive(Default)]
struct Seen {
    /// By position in [`People`].
    persons: BTreeMap<CdmTable, Vec<bool>>,
    /// Ids that are in neither `person` nor `death`, for the tables eras are derived from and into.
    others: BTreeMap<CdmTable, BTreeSet<i64>>,
}

/// A step of the pass over one table.
struct Step {
    checks: Vec<usize>,
    work: Work,
}

enum Work {
    Missing {
        column: usize,
        checks: Vec<usize>,
        nulls: u64,
    },
    Whole {
        column: usize,
        check: usize,
    },
    Unique {
        column: usize,
        check: usize,
        keys: Vec<i64>,
        texts: Vec<(u64, i64)>,
        hasher: DefaultHashBuilder,
    },
    Concepts(Box<ConceptStep>),
    /// Position in `people`, in `visits`, or in a target of the index.
    Refers {
        column: usize,
        check: usize,
        to: To,
    },
    SourceMapped(Box<SourceStep>),
    Range {
        column: usize,
        low: Option<(usize, Bound)>,
        high: Option<(usize, Bound)>,
    },
    Order {
        column: usize,
        other: usize,
        check: usize,
        not_before: bool,
    },
    Life {
        column: usize,
        checks: Vec<(usize, Lived)>,
    },
    Visit {
        column: usize,
        check: usize,
    },
    Periods {
        check: usize,
        columns: [usize; 3],
        periods: Vec<(i64, i32, i32)>,
    },
    Rule {
        check: usize,
        rule: Rule,
        columns: BTreeMap<String, usize>,
    },
}

enum To {
    Person,
    Visit,
    Target((CdmTable, String)),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lived {
    AfterBirth,
    AfterMidyear,
    BeforeDeath,
    DuringLife,
}

struct ConceptStep {
    column: usize,
    refers: Option<usize>,
    domain: Option<(usize, BTreeSet<u16>)>,
    class: Option<(usize, Option<u16>)>,
    standard: Option<usize>,
    /// Each with the column of the source value.
    mapped: Vec<(usize, Option<usize>)>,
    special: HashMap<i64, Vec<(usize, Special)>>,
    kinds: Vec<(usize, i64, HashSet<i64>)>,
    /// What was found out about a concept: bits of [`Flag`], and from bit 8 on its place in `lists` plus one.
    known: HashMap<i64, u32>,
    lists: Vec<Vec<(usize, Special)>>,
    /// Columns of `value_as_number` and `unit_concept_id`.
    number_and_unit: Option<(usize, usize)>,
    flags: Vec<u32>,
}

#[derive(Clone)]
enum Special {
    Sex(i64),
    Units(Vec<i64>),
}

struct Flag;

impl Flag {
    const MISSING: u32 = 1;
    const DOMAIN: u32 = 2;
    const CLASS: u32 = 4;
    const NOT_STANDARD: u32 = 8;
    const ZERO: u32 = 16;
}

struct SourceStep {
    column: usize,
    concept: usize,
    check: usize,
    hasher: DefaultHashBuilder,
    /// Place of each distinct value, by hash.
    places: HashMap<u64, u32>,
    unmapped: Vec<bool>,
    missing: bool,
    missing_unmapped: bool,
    /// The dictionary of the last batch and the places of its texts.
    dictionary: Option<(StringArray, Vec<u32>)>,
}

/// The pass over one table.
struct Plan {
    wanted: Vec<Wanted>,
    key: Option<usize>,
    person: Option<usize>,
    visit: Option<usize>,
    table: CdmTable,
    keeps_persons: bool,
    keeps_others: bool,
    needs_lives: bool,
    needs_visits: bool,
    steps: Vec<Step>,
    today: i32,
    year: i64,
}

/// What is the same for all steps of a batch.
struct Shared<'a> {
    rows: &'a Rows,
    ids: RowIds<'a>,
    /// Positions of the persons of the rows.
    people: Option<Vec<u32>>,
    /// Column that names the visit of the row, and the positions of the visits.
    visit: Option<usize>,
    visits: Option<Vec<u32>>,
    lives: Option<Lives>,
}

/// By row: first possible day of life, the same with June, last day plus margin, whether dead.
struct Lives {
    born: Vec<i32>,
    born_midyear: Vec<i32>,
    latest: Vec<i32>,
    dead: BooleanBuffer,
}

impl Lives {
    fn of(people: &People, positions: &[u32]) -> Self {
        let with = |values: &[i32], unknown: i32| -> Vec<i32> {
            positions.iter().map(|at| values.get(*at as usize).copied().unwrap_or(unknown)).collect()
        };
        let mut latest = with(&people.died, i32::MAX);
        latest.iter_mut().for_each(|day| *day = day.saturating_add(AFTER_DEATH_DAYS));
        Self {
            born: with(&people.born, i32::MIN),
            born_midyear: with(&people.born_midyear, i32::MIN),
            latest,
            dead: bits(positions.len(), |row| people.is_dead.get(positions[row] as usize).copied().unwrap_or(false)),
        }
    }
}

/// The rows where the test holds and there is a value.
fn mask(rows: usize, valid: Option<&BooleanBuffer>, test: impl Fn(usize) -> bool) -> BooleanBuffer {
    let mask = bits(rows, test);
    match valid {
        Some(valid) => &mask & valid,
        None => mask,
    }
}

fn count(rows: usize, mask: Option<&BooleanBuffer>) -> usize {
    mask.map_or(rows, BooleanBuffer::count_set_bits)
}

impl Plan {
    #[expect(clippy::too_many_arguments, reason = "what a plan is made of")]
    fn compile(
        table: CdmTable,
        columns: &[String],
        checks: &[Check],
        own: &[usize],
        index: &Index,
        tables: &dyn Tables,
        tallies: &mut Tallies,
        settings: Settings,
    ) -> Self {
        let mut wanted: Vec<Wanted> = table
            .fields()
            .iter()
            .filter(|field| columns.contains(&field.name))
            .map(|field| Wanted { field, values: !matches!(field.field_type, FieldType::Varchar | FieldType::Float) })
            .collect();
        let place = |name: &str| wanted.iter().position(|wanted| wanted.field.name == name);
        let integer = |name: &str| place(name).filter(|at| wanted[*at].field.field_type == FieldType::Integer);
        let mut plan = Self {
            wanted: Vec::new(),
            key: table.key().and_then(integer),
            person: integer("person_id"),
            visit: integer("visit_occurrence_id").filter(|_| table != CdmTable::VisitOccurrence),
            table,
            keeps_persons: false,
            keeps_others: matches!(table, CdmTable::ConditionOccurrence | CdmTable::ConditionEra),
            needs_lives: false,
            needs_visits: false,
            steps: Vec::new(),
            today: epoch_days(settings.as_of),
            year: i64::from(settings.as_of.year()),
        };
        let mut by_field: BTreeMap<usize, Vec<usize>> = (0..wanted.len()).map(|at| (at, Vec::new())).collect();
        let mut rules = Vec::new();
        let mut values_of = BTreeSet::new();
        for at in own {
            let check = &checks[*at];
            let tally = &mut tallies.all[*at];
            tally.counted = true;
            match (&check.kind, &check.field) {
                (Kind::TablePresent, _) => tally.rows = 1,
                (Kind::PersonCompleteness, _) => plan.keeps_persons = true,
                (Kind::EraCompleteness, _) => {}
                (Kind::PeriodOverlap, _) => {
                    let columns = ["person_id", "observation_period_start_date", "observation_period_end_date"];
                    let columns: Option<Vec<usize>> = columns.iter().map(|name| place(name)).collect();
                    match columns.as_deref() {
                        Some([person, start, end]) => {
                            let work =
                                Work::Periods { check: *at, columns: [*person, *start, *end], periods: Vec::new() };
                            plan.steps.push(Step { checks: vec![*at], work });
                        }
                        _ => tally.error = Some("needs person, start and end".to_owned()),
                    }
                }
                (Kind::Rule(rule), _) => {
                    let places: Result<BTreeMap<String, usize>, String> = rule
                        .fields()
                        .map(|field| {
                            let at = place(&field.name).ok_or_else(|| format!("needs field {}", field.name))?;
                            Ok((field.name.clone(), at))
                        })
                        .collect();
                    match places {
                        Ok(columns) => {
                            values_of.extend(columns.values().copied());
                            rules.push(Step {
                                checks: vec![*at],
                                work: Work::Rule { check: *at, rule: rule.as_ref().clone(), columns },
                            });
                        }
                        Err(error) => tally.error = Some(error),
                    }
                }
                (Kind::FieldPresent, Some(field)) => {
                    tally.rows = 1;
                    tally.failing = u64::from(place(field).is_none());
                }
                (_, Some(field)) => match place(field) {
                    Some(column) => by_field.entry(column).or_default().push(*at),
                    None => tally.counted = false,
                },
                (_, None) => tally.counted = false,
            }
        }
        for (column, own) in by_field {
            let mut compiler = FieldCompiler {
                plan: &mut plan,
                index,
                tables,
                tallies,
                checks,
                place: &place,
                values_of: &mut values_of,
            };
            compiler.field(column, &own, wanted[column].field.field_type);
        }
        plan.steps.extend(rules);
        for at in values_of {
            wanted[at].values = true;
        }
        plan.wanted = wanted;
        plan
    }

    /// Works on one batch; returns the seconds its steps took.
    fn batch(&mut self, rows: &Rows, before: u64, index: &Index, tallies: &mut Tallies, seen: &mut Seen) -> f64 {
        let key = self.key.map(|at| &rows.columns[at]);
        let mut shared =
            Shared { rows, ids: RowIds { key, before }, people: None, visit: self.visit, visits: None, lives: None };
        if let (Some(at), Some(people)) = (self.person, &index.people) {
            let column = &rows.columns[at];
            let positions = people.keys.positions(column.ints(), column.valid.as_ref());
            if self.keeps_persons || self.keeps_others {
                let marks = seen.persons.entry(self.table).or_insert_with(|| vec![false; people.ids.len()]);
                let mut last = NOWHERE;
                for at in &positions {
                    if *at != last {
                        last = *at;
                        if let Some(mark) = marks.get_mut(*at as usize) {
                            *mark = true;
                        }
                    }
                }
            }
            if self.keeps_others {
                let others = seen.others.entry(self.table).or_default();
                let stranger = |row: &usize| positions[*row] == NOWHERE && column.is_valid(*row);
                others.extend((0..rows.count).filter(stranger).map(|row| column.ints()[row]));
            }
            if self.needs_lives {
                shared.lives = Some(Lives::of(people, &positions));
            }
            shared.people = Some(positions);
        }
        if let (true, Some(at), Some(visits)) = (self.needs_visits, self.visit, &index.visits) {
            let column = &rows.columns[at];
            shared.visits = Some(visits.keys.positions(column.ints(), column.valid.as_ref()));
        }
        let (today, year) = (self.today, self.year);
        let mut began = Instant::now();
        let mut in_steps = 0.0;
        for step in &mut self.steps {
            step.work.batch(&shared, index, tallies, today, year);
            let now = Instant::now();
            let seconds = now.duration_since(began).as_secs_f64();
            began = now;
            in_steps += seconds;
            #[expect(clippy::cast_precision_loss, reason = "a few checks")]
            let each = seconds / step.checks.len().max(1) as f64;
            for check in &step.checks {
                tallies.all[*check].seconds += each;
            }
        }
        in_steps
    }

    fn finish(self, tallies: &mut Tallies) {
        for step in self.steps {
            match step.work {
                Work::Unique { check, mut keys, mut texts, .. } => {
                    // Loads number their rows upwards, so sorting is rarely needed.
                    if !keys.is_sorted() {
                        keys.sort_unstable();
                    }
                    for group in keys.chunk_by(|a, b| a == b).filter(|group| group.len() > 1) {
                        let tally = &mut tallies.all[check];
                        tally.failing += group.len() as u64;
                        if tally.ids.len() < tallies.limit {
                            tally.ids.push(group[0]);
                        }
                    }
                    texts.sort_unstable();
                    let mut repeated: Vec<i64> = texts
                        .chunk_by(|a, b| a.0 == b.0)
                        .filter(|group| group.len() > 1)
                        .flat_map(|group| group.iter().map(|(_, row)| *row))
                        .collect();
                    repeated.sort_unstable();
                    for row in repeated {
                        tallies.fail_one(check, row);
                    }
                }
                Work::SourceMapped(step) => {
                    let tally = &mut tallies.all[step.check];
                    tally.rows = step.unmapped.len() as u64 + u64::from(step.missing);
                }
                Work::Periods { check, mut periods, .. } => {
                    periods.sort_unstable();
                    for of_person in periods.chunk_by(|a, b| a.0 == b.0) {
                        tallies.rows(check, 1);
                        let touching = touch(of_person);
                        if touching {
                            tallies.fail_one(check, of_person[0].0);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

struct FieldCompiler<'a, P: Fn(&str) -> Option<usize>> {
    plan: &'a mut Plan,
    index: &'a Index,
    tables: &'a dyn Tables,
    tallies: &'a mut Tallies,
    checks: &'a [Check],
    place: &'a P,
    values_of: &'a mut BTreeSet<usize>,
}

impl<P: Fn(&str) -> Option<usize>> FieldCompiler<'_, P> {
    fn error(&mut self, check: usize, needs: impl Into<String>) {
        self.tallies.all[check].error = Some(needs.into());
    }

    fn push(&mut self, checks: Vec<usize>, work: Work) {
        self.plan.steps.push(Step { checks, work });
    }

    fn field(&mut self, column: usize, own: &[usize], field_type: FieldType) {
        let is =
            |test: fn(&Kind) -> bool| own.iter().copied().filter(|at| test(&self.checks[*at].kind)).collect::<Vec<_>>();
        let not_null = is(|kind| matches!(kind, Kind::NotNull));
        // Always there: it tells whether a field is empty.
        self.push(not_null.clone(), Work::Missing { column, checks: not_null, nulls: 0 });
        let mut concept = ConceptStep {
            column,
            refers: None,
            domain: None,
            class: None,
            standard: None,
            mapped: Vec::new(),
            special: HashMap::new(),
            kinds: Vec::new(),
            known: HashMap::new(),
            lists: Vec::new(),
            number_and_unit: None,
            flags: Vec::new(),
        };
        let (mut of_concept, mut low, mut high, mut lived) = (Vec::new(), None, None, Vec::new());
        for at in own.iter().copied() {
            let check = &self.checks[at];
            match &check.kind {
                Kind::WholeNumber => self.push(vec![at], Work::Whole { column, check: at }),
                Kind::Unique => {
                    self.values_of.insert(column);
                    let hasher = DefaultHashBuilder::default();
                    self.push(
                        vec![at],
                        Work::Unique { column, check: at, keys: Vec::new(), texts: Vec::new(), hasher },
                    );
                }
                Kind::Refers { table: CdmTable::Concept, .. } | Kind::Domain(_) | Kind::Class(_) | Kind::Standard
                    if self.index.concepts.is_none() =>
                {
                    self.error(at, "needs table concept");
                }
                Kind::Refers { table: CdmTable::Concept, .. } => {
                    concept.refers = Some(at);
                    of_concept.push(at);
                }
                Kind::Domain(names) => {
                    let known = self.index.concepts.as_ref().map(|concepts| concepts.domains(names));
                    concept.domain = Some((at, known.unwrap_or_default()));
                    of_concept.push(at);
                }
                Kind::Class(name) => {
                    let known = self.index.concepts.as_ref().and_then(|concepts| concepts.class(name));
                    concept.class = Some((at, known));
                    of_concept.push(at);
                }
                Kind::Standard => {
                    concept.standard = Some(at);
                    of_concept.push(at);
                }
                Kind::Mapped { source_value } => {
                    let source = source_value.as_deref().and_then(|name| (self.place)(name));
                    concept.mapped.push((at, source));
                    of_concept.push(at);
                }
                Kind::Gender { .. } | Kind::GenderOfKinds { .. }
                    if self.index.people.is_none() || self.plan.person.is_none() =>
                {
                    self.error(at, "needs table person");
                }
                Kind::Gender { right } => {
                    for id in &check.concept_ids {
                        concept.special.entry(*id).or_default().push((at, Special::Sex(*right)));
                    }
                    of_concept.push(at);
                }
                Kind::GenderOfKinds { right } => match self.index.kinds.get(&check.concept_ids) {
                    Some(kinds) => {
                        concept.kinds.push((at, *right, kinds.clone()));
                        of_concept.push(at);
                    }
                    None => self.error(at, "needs table concept_ancestor"),
                },
                Kind::Units(units) => match ((self.place)("value_as_number"), (self.place)("unit_concept_id")) {
                    (Some(number), Some(unit)) => {
                        concept.number_and_unit = Some((number, unit));
                        for id in &check.concept_ids {
                            concept.special.entry(*id).or_default().push((at, Special::Units(units.clone())));
                        }
                        of_concept.push(at);
                    }
                    _ => self.error(at, "needs fields value_as_number and unit_concept_id"),
                },
                Kind::Refers { table: CdmTable::Person, .. } if self.index.people.is_some() => {
                    self.push(vec![at], Work::Refers { column, check: at, to: To::Person });
                }
                Kind::Refers { table: CdmTable::VisitOccurrence, .. } if self.index.visits.is_some() => {
                    self.plan.needs_visits = true;
                    self.push(vec![at], Work::Refers { column, check: at, to: To::Visit });
                }
                Kind::Refers { table, field } => {
                    let target = (*table, field.clone());
                    if self.index.targets.contains_key(&target) {
                        if field_type == FieldType::Varchar {
                            self.values_of.insert(column);
                        }
                        self.push(vec![at], Work::Refers { column, check: at, to: To::Target(target) });
                    } else {
                        self.error(at, format!("needs table {}", table.name()));
                    }
                }
                Kind::SourceMapped { concept } => match (self.place)(concept) {
                    Some(concept) => {
                        self.values_of.insert(column);
                        let step = SourceStep {
                            column,
                            concept,
                            check: at,
                            hasher: DefaultHashBuilder::default(),
                            places: HashMap::new(),
                            unmapped: Vec::new(),
                            missing: false,
                            missing_unmapped: false,
                            dictionary: None,
                        };
                        self.push(vec![at], Work::SourceMapped(Box::new(step)));
                    }
                    None => self.error(at, format!("needs field {concept}")),
                },
                Kind::Low(bound) => low = Some((at, *bound)),
                Kind::High(bound) => high = Some((at, *bound)),
                Kind::NotBefore(other) | Kind::NotAfter(other) => match (self.place)(other) {
                    Some(other) => {
                        let not_before = matches!(check.kind, Kind::NotBefore(_));
                        self.push(vec![at], Work::Order { column, other, check: at, not_before });
                    }
                    None => self.error(at, format!("needs field {other}")),
                },
                Kind::AfterBirth | Kind::NotBeforeMidyear | Kind::BeforeDeath | Kind::DuringLife => {
                    let dies = matches!(check.kind, Kind::BeforeDeath | Kind::DuringLife);
                    if self.index.people.is_none() || self.plan.person.is_none() {
                        self.error(at, "needs table person");
                    } else if dies && !has(self.tables, CdmTable::Death, "person_id") {
                        self.error(at, "needs table death");
                    } else {
                        self.plan.needs_lives = true;
                        lived.push((
                            at,
                            match check.kind {
                                Kind::AfterBirth => Lived::AfterBirth,
                                Kind::NotBeforeMidyear => Lived::AfterMidyear,
                                Kind::BeforeDeath => Lived::BeforeDeath,
                                _ => Lived::DuringLife,
                            },
                        ));
                    }
                }
                Kind::WithinVisit => {
                    if self.index.visits.is_some() && self.plan.visit.is_some() {
                        self.plan.needs_visits = true;
                        self.push(vec![at], Work::Visit { column, check: at });
                    } else {
                        self.error(at, "needs table visit_occurrence");
                    }
                }
                Kind::TablePresent
                | Kind::PersonCompleteness
                | Kind::EraCompleteness
                | Kind::PeriodOverlap
                | Kind::FieldPresent
                | Kind::NotNull
                | Kind::Rule(_) => {}
            }
        }
        if !of_concept.is_empty() {
            self.push(of_concept, Work::Concepts(Box::new(concept)));
        }
        if low.is_some() || high.is_some() {
            self.values_of.insert(column);
            let checks = low.iter().chain(&high).map(|(at, _)| *at).collect();
            self.push(checks, Work::Range { column, low, high });
        }
        if !lived.is_empty() {
            self.push(lived.iter().map(|(at, _)| *at).collect(), Work::Life { column, checks: lived });
        }
    }
}

impl Work {
    fn batch(&mut self, shared: &Shared<'_>, index: &Index, tallies: &mut Tallies, today: i32, year: i64) {
        let rows = shared.rows.count;
        let columns = &shared.rows.columns;
        match self {
            Self::Missing { column, checks, nulls } => {
                let column = &columns[*column];
                let missing = rows - column.present_count();
                *nulls += missing as u64;
                for check in checks {
                    tallies.rows(*check, rows);
                    if let (true, Some(present)) = (missing > 0, &column.present) {
                        tallies.fail(*check, &!present, &shared.ids);
                    }
                }
            }
            Self::Whole { column, check } => {
                tallies.rows(*check, rows);
                if let Some(unreadable) = &columns[*column].unreadable {
                    tallies.fail(*check, unreadable, &shared.ids);
                }
            }
            Self::Unique { column, check, keys, texts, hasher } => {
                tallies.rows(*check, rows);
                let column = &columns[*column];
                match column.texts() {
                    None if column.valid.is_none() => keys.extend_from_slice(column.ints()),
                    None => keys
                        .extend((0..rows).filter(|row| column.is_valid(*row)).filter_map(|row| column.ints().get(row))),
                    Some(values) => {
                        let named = (0..rows).filter(|row| column.is_valid(*row));
                        texts.extend(named.map(|row| (hasher.hash_one(values.get(row)), shared.ids.get(row))));
                    }
                }
            }
            Self::Concepts(step) => step.batch(shared, index, tallies),
            Self::Refers { column, check, to } => {
                tallies.rows(*check, rows);
                let at = *column;
                let column = &columns[at];
                let valid = column.valid.as_ref();
                let failing = match (to, &index.people, &index.visits) {
                    (To::Person, Some(people), _) => {
                        let found;
                        let positions = match &shared.people {
                            Some(positions) => positions,
                            None => {
                                found = people.keys.positions(column.ints(), valid);
                                &found
                            }
                        };
                        mask(rows, valid, |row| positions[row] as usize >= people.persons)
                    }
                    (To::Visit, _, Some(visits)) => {
                        let found;
                        let positions = match &shared.visits {
                            // The visit of the row; another field that names a visit is looked up.
                            Some(positions) if shared.is_visit(at) => positions,
                            _ => {
                                found = visits.keys.positions(column.ints(), valid);
                                &found
                            }
                        };
                        mask(rows, valid, |row| positions[row] == NOWHERE)
                    }
                    (To::Target(target), ..) => match index.targets.get(target) {
                        Some(Targets::Ids(keys)) => {
                            let positions = keys.positions(column.ints(), valid);
                            mask(rows, valid, |row| positions[row] == NOWHERE)
                        }
                        Some(Targets::Texts(known)) => match column.texts() {
                            Some(texts) => {
                                mask(rows, valid, |row| column.is_valid(row) && !known.contains(texts.get(row)))
                            }
                            None => mask(rows, valid, |_| false),
                        },
                        None => return,
                    },
                    _ => return,
                };
                tallies.fail(*check, &failing, &shared.ids);
            }
            Self::SourceMapped(step) => step.batch(shared, tallies),
            Self::Range { column, low, high } => {
                let column = &columns[*column];
                let (valid, known) = (column.valid.as_ref(), column.valid_count());
                for (check, _) in low.iter().chain(high.iter()) {
                    tallies.rows(*check, known);
                }
                if known == 0 {
                    return;
                }
                let (ints, days, floats) = (column.ints(), column.days(), column.floats());
                for (bound, above) in [(&low, false), (&high, true)] {
                    let Some((check, bound)) = bound else { continue };
                    let failing = if !days.is_empty() {
                        let bound = match bound {
                            Bound::Day(day) => *day,
                            _ => today + 1,
                        };
                        if above {
                            mask(rows, valid, |row| days[row] > bound)
                        } else {
                            mask(rows, valid, |row| days[row] < bound)
                        }
                    } else {
                        #[expect(clippy::cast_precision_loss, reason = "a year")]
                        let bound = match bound {
                            Bound::Number(number) => *number,
                            _ => (year + 1) as f64,
                        };
                        #[expect(clippy::cast_precision_loss, reason = "counts, years and days, far below 2^53")]
                        let value = |row: usize| if ints.is_empty() { floats[row] } else { ints[row] as f64 };
                        if above {
                            mask(rows, valid, |row| value(row) > bound)
                        } else {
                            mask(rows, valid, |row| value(row) < bound)
                        }
                    };
                    tallies.fail(*check, &failing, &shared.ids);
                }
            }
            Self::Order { column, other, check, not_before } => {
                let (column, other) = (&columns[*column], &columns[*other]);
                let known = both(column.valid.as_ref(), other.valid.as_ref());
                let counted = count(rows, known.as_ref());
                tallies.rows(*check, if *not_before { rows } else { counted });
                let (own, others) = (column.days(), other.days());
                if counted > 0 && own.len() == rows && others.len() == rows {
                    let failing = if *not_before {
                        mask(rows, known.as_ref(), |row| own[row] < others[row])
                    } else {
                        mask(rows, known.as_ref(), |row| own[row] > others[row])
                    };
                    tallies.fail(*check, &failing, &shared.ids);
                }
            }
            Self::Life { column, checks } => {
                let Some(lives) = &shared.lives else { return };
                let column = &columns[*column];
                let (valid, days) = (column.valid.as_ref(), column.days());
                let too_late = std::cell::OnceCell::new();
                for (check, lived) in checks {
                    let counted = match lived {
                        Lived::AfterBirth => column.valid_count(),
                        Lived::AfterMidyear => rows,
                        Lived::BeforeDeath => count(rows, both(Some(&lives.dead), valid).as_ref()),
                        Lived::DuringLife => lives.dead.count_set_bits(),
                    };
                    tallies.rows(*check, counted);
                    if days.len() < rows {
                        continue;
                    }
                    match lived {
                        Lived::AfterBirth => {
                            tallies.fail(*check, &mask(rows, valid, |row| days[row] < lives.born[row]), &shared.ids);
                        }
                        Lived::AfterMidyear => {
                            tallies.fail(
                                *check,
                                &mask(rows, valid, |row| days[row] < lives.born_midyear[row]),
                                &shared.ids,
                            );
                        }
                        Lived::BeforeDeath | Lived::DuringLife if counted > 0 => {
                            let failing =
                                too_late.get_or_init(|| mask(rows, valid, |row| days[row] > lives.latest[row]));
                            tallies.fail(*check, failing, &shared.ids);
                        }
                        Lived::BeforeDeath | Lived::DuringLife => {}
                    }
                }
            }
            Self::Visit { column, check } => {
                let (Some(positions), Some(visits)) = (&shared.visits, &index.visits) else { return };
                tallies.rows(*check, positions.iter().filter(|at| **at != NOWHERE).count());
                let column = &columns[*column];
                let days = column.days();
                if days.len() == rows {
                    let failing = mask(rows, column.valid.as_ref(), |row| outside(visits, positions[row], days[row]));
                    tallies.fail(*check, &failing, &shared.ids);
                }
            }
            Self::Periods { columns: at, periods, .. } => {
                let [person, start, end] = at.map(|at| &columns[at]);
                let period = |row: usize| {
                    let known = start.is_valid(row) && end.is_valid(row);
                    let (from, to) = if known { (start.days()[row], end.days()[row]) } else { UNKNOWN_PERIOD };
                    (person.ints()[row], from, to)
                };
                periods.extend((0..rows).filter(|row| person.is_valid(*row)).map(period));
            }
            Self::Rule { check, rule, columns: places } => {
                let column = |name: &str| &columns[places.get(name).copied().unwrap_or(0)];
                let (counted, failing) = rule.judge(rows, today, column);
                tallies.rows(*check, counted.count_set_bits());
                tallies.fail(*check, &failing, &shared.ids);
            }
        }
    }
}

/// Whether two periods of a person overlap or follow each other without a gap. Periods are sorted by their start; one
/// without start or end touches none.
fn touch(periods: &[(i64, i32, i32)]) -> bool {
    let known = || periods.iter().filter(|(_, start, end)| (*start, *end) != UNKNOWN_PERIOD);
    let mut latest = None;
    for (_, start, end) in known().filter(|(_, start, end)| start <= end) {
        if latest.is_some_and(|latest: i32| *start <= latest.saturating_add(1)) {
            return true;
        }
        latest = latest.max(Some(*end));
    }
    // One that ends before it starts is compared with every other.
    known().enumerate().filter(|(_, (_, start, end))| end < start).any(|(at, (_, start, end))| {
        known().enumerate().any(|(other, (_, from, to))| {
            at != other && *from <= end.saturating_add(1) && *start <= to.saturating_add(1)
        })
    })
}

fn outside(visits: &Visits, at: u32, day: i32) -> bool {
    let at = at as usize;
    match (visits.start.get(at), visits.end.get(at)) {
        (Some(start), Some(end)) => {
            day < start.saturating_sub(AROUND_VISIT_DAYS) || day > end.saturating_add(AROUND_VISIT_DAYS)
        }
        _ => false,
    }
}

impl ConceptStep {
    /// What is to be said about a concept, found out once.
    fn flags_of(&mut self, id: i64, concepts: Option<&Concepts>) -> u32 {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let mut flags = if id == 0 { Flag::ZERO } else { 0 };
        if let Some(concepts) = concepts {
            match concepts.get(id) {
                None => flags |= Flag::MISSING,
                // Concept 0 stands for "none": it is of no domain, and that is no fault.
                Some(_) if id == 0 => {}
                Some(facts) => {
                    if let Some((_, domains)) = &self.domain
                        && facts.domain != u16::MAX
                        && !domains.contains(&facts.domain)
                    {
                        flags |= Flag::DOMAIN;
                    }
                    if let Some((_, class)) = &self.class
                        && facts.class != u16::MAX
                        && *class != Some(facts.class)
                    {
                        flags |= Flag::CLASS;
                    }
                    if !facts.standard_and_valid {
                        flags |= Flag::NOT_STANDARD;
                    }
                }
            }
        }
        let mut list = self.special.get(&id).cloned().unwrap_or_default();
        for (check, right, kinds) in &self.kinds {
            if kinds.contains(&id) {
                list.push((*check, Special::Sex(*right)));
            }
        }
        if !list.is_empty() {
            self.lists.push(list);
            flags |= u32::try_from(self.lists.len()).unwrap_or(0) << 8;
        }
        self.known.insert(id, flags);
        flags
    }

    fn batch(&mut self, shared: &Shared<'_>, index: &Index, tallies: &mut Tallies) {
        let rows = shared.rows.count;
        let columns = &shared.rows.columns;
        let column = &columns[self.column];
        let (ids, valid, known) = (column.ints(), column.valid.as_ref(), column.valid_count());
        for check in
            self.refers.iter().chain(self.domain.iter().map(|(at, _)| at)).chain(self.class.iter().map(|(at, _)| at))
        {
            tallies.rows(*check, rows);
        }
        if let Some(check) = self.standard {
            tallies.rows(check, known);
        }
        for (check, source) in &self.mapped {
            let Some(source) = source.map(|at| &columns[at]) else {
                tallies.rows(*check, known);
                continue;
            };
            // Missing beside a source value counts like 0.
            let Some(valid) = valid else {
                tallies.rows(*check, rows);
                continue;
            };
            let missing = !valid;
            let bare = source.present.as_ref().map_or_else(|| missing.clone(), |present| &missing & present);
            tallies.rows(*check, known + bare.count_set_bits());
            tallies.fail(*check, &bare, &shared.ids);
        }
        if known == 0 {
            return;
        }

        let concepts = index.concepts.as_ref();
        let mut flags = std::mem::take(&mut self.flags);
        flags.clear();
        flags.reserve(rows);
        let (mut last, mut all) = ((ids[0], self.flags_of(ids[0], concepts)), 0);
        for id in ids {
            if *id != last.0 {
                last = (*id, self.flags_of(*id, concepts));
            }
            flags.push(last.1);
            all |= last.1;
        }
        let fail = |flag: u32, check: usize, tallies: &mut Tallies| {
            if all & flag != 0 {
                tallies.fail(check, &mask(rows, valid, |row| flags[row] & flag != 0), &shared.ids);
            }
        };
        if let Some(check) = self.refers {
            fail(Flag::MISSING, check, tallies);
        }
        if let Some((check, _)) = self.domain {
            fail(Flag::DOMAIN, check, tallies);
        }
        if let Some((check, _)) = self.class {
            fail(Flag::CLASS, check, tallies);
        }
        if let Some(check) = self.standard {
            fail(Flag::NOT_STANDARD, check, tallies);
        }
        for (check, _) in &self.mapped {
            fail(Flag::ZERO, *check, tallies);
        }
        if all >> 8 != 0 {
            for (row, flags) in
                flags.iter().enumerate().filter(|(row, flags)| **flags >> 8 != 0 && column.is_valid(*row))
            {
                for (check, special) in &self.lists[(*flags >> 8) as usize - 1] {
                    self.special(*check, special, row, shared, index, tallies);
                }
            }
        }
        self.flags = flags;
    }

    fn special(
        &self,
        check: usize,
        special: &Special,
        row: usize,
        shared: &Shared<'_>,
        index: &Index,
        tallies: &mut Tallies,
    ) {
        match special {
            Special::Sex(right) => {
                tallies.rows(check, 1);
                let (Some(people), Some(positions)) = (&index.people, &shared.people) else { return };
                let sex = people.sex.get(positions[row] as usize).copied().unwrap_or(i64::MIN);
                if sex != i64::MIN && sex != *right {
                    tallies.fail_one(check, shared.ids.get(row));
                }
            }
            Special::Units(units) => {
                let Some((number, unit)) = self.number_and_unit else { return };
                let (number, unit) = (&shared.rows.columns[number], &shared.rows.columns[unit]);
                if !number.is_valid(row) {
                    return;
                }
                tallies.rows(check, 1);
                // -1 stands for no unit.
                let found = if unit.is_valid(row) { unit.ints()[row] } else { -1 };
                if !units.contains(&found) {
                    tallies.fail_one(check, shared.ids.get(row));
                }
            }
        }
    }
}

impl SourceStep {
    fn place(&mut self, text: &str) -> u32 {
        let next = u32::try_from(self.unmapped.len()).unwrap_or(u32::MAX - 1);
        let place = *self.places.entry(self.hasher.hash_one(text)).or_insert(next);
        if place == next {
            self.unmapped.push(false);
        }
        place
    }

    fn batch(&mut self, shared: &Shared<'_>, tallies: &mut Tallies) {
        let (column, concept) = (&shared.rows.columns[self.column], &shared.rows.columns[self.concept]);
        let rows = shared.rows.count;
        let zero = |row: usize| concept.is_valid(row) && concept.ints()[row] == 0;
        if column.present_count() < rows {
            self.missing = true;
            if !self.missing_unmapped {
                let unmapped = (0..rows).find(|row| !column.is_valid(*row) && zero(*row));
                if let Some(row) = unmapped {
                    self.missing_unmapped = true;
                    tallies.fail_one(self.check, shared.ids.get(row));
                }
            }
        }
        let Some(texts) = column.texts() else { return };
        let (mut dictionary, mut last) = (self.dictionary.take(), (0, NOWHERE));
        if let Texts::Numbered { texts, .. } = texts {
            let same = dictionary.as_ref().is_some_and(|(known, _)| {
                known.len() == texts.len() && std::ptr::eq(known.values().as_ptr(), texts.values().as_ptr())
            });
            if !same {
                dictionary = Some((texts.clone(), vec![NOWHERE; texts.len()]));
            }
        }
        for row in (0..rows).filter(|row| column.is_valid(*row)) {
            let place = match (texts, &mut dictionary) {
                (Texts::Numbered { keys, texts }, Some((_, places))) => {
                    let key = usize::try_from(keys[row]).unwrap_or(0);
                    if places[key] == NOWHERE {
                        places[key] = self.place(texts.value(key));
                    }
                    places[key]
                }
                _ => self.place(texts.get(row)),
            };
            // Runs of the same value and concept are common.
            let state = (place, u32::from(zero(row)));
            if state == last {
                continue;
            }
            last = state;
            if state.1 == 1 && !self.unmapped[place as usize] {
                self.unmapped[place as usize] = true;
                tallies.fail_one(self.check, shared.ids.get(row));
            }
        }
        self.dictionary = dictionary;
    }
}

impl Shared<'_> {
    /// Whether the column names the visit of the row.
    fn is_visit(&self, column: usize) -> bool {
        self.visit == Some(column)
    }
}

/// Checks that compare what several tables hold.
fn across(
    tables: &dyn Tables,
    checks: &[Check],
    index: &Index,
    seen: &Seen,
    facts: &BTreeMap<String, TableFacts>,
    tallies: &mut Tallies,
) {
    for (at, check) in checks.iter().enumerate().filter(|(_, check)| tables.columns(check.table).is_some()) {
        match check.kind {
            Kind::PersonCompleteness => {
                let Some(people) = &index.people else {
                    tallies.all[at].error = Some("needs table person".to_owned());
                    continue;
                };
                if !has(tables, check.table, "person_id") {
                    tallies.all[at].error = Some("needs field person_id".to_owned());
                    continue;
                }
                let marks = seen.persons.get(&check.table);
                tallies.all[at].rows = people.rows;
                for (place, id) in people.ids.iter().take(people.persons).enumerate() {
                    // A person who is there twice is seen through the first row.
                    let place =
                        if people.rows == people.persons as u64 { place } else { people.keys.position(*id) as usize };
                    if !marks.is_some_and(|marks| marks[place]) {
                        tallies.fail_one(at, *id);
                    }
                }
            }
            Kind::EraCompleteness => {
                let conditions = CdmTable::ConditionOccurrence;
                let known = facts.get(conditions.name()).is_some_and(|facts| facts.present);
                let Some(people) = index.people.as_ref().filter(|_| known && has(tables, check.table, "person_id"))
                else {
                    tallies.all[at].error = Some("needs tables person and condition_occurrence".to_owned());
                    continue;
                };
                let nobody = Vec::new();
                let (with, eras) = (
                    seen.persons.get(&conditions).unwrap_or(&nobody),
                    seen.persons.get(&CdmTable::ConditionEra).unwrap_or(&nobody),
                );
                let no_others = BTreeSet::new();
                let (others, eras_of_others) = (
                    seen.others.get(&conditions).unwrap_or(&no_others),
                    seen.others.get(&CdmTable::ConditionEra).unwrap_or(&no_others),
                );
                tallies.all[at].rows = with.iter().filter(|mark| **mark).count() as u64 + others.len() as u64;
                let without = with
                    .iter()
                    .enumerate()
                    .filter(|(place, mark)| **mark && !eras.get(*place).is_some_and(|mark| *mark));
                for (place, _) in without {
                    tallies.fail_one(at, people.ids[place]);
                }
                for id in others.difference(eras_of_others) {
                    tallies.fail_one(at, *id);
                }
            }
            _ => {}
        }
    }
}
