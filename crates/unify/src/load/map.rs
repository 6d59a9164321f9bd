//! From events to rows: a [`Sink`] that fills the tables of one part of the input.

use std::collections::BTreeMap;

use acequia_omop::{
    CdmTable, Code, Coding, Event, Excluded, Fate, Held, ItemCounts, ItemHead, Kind, Party, Pass, Person, Precision,
    Sink, Unmapped, Value, When,
};
use acequia_types::Problem;

use super::columns::{Cell, Tables};
use super::derive::Spell;
use super::index::{self, DetailRow, Index, Origin, PartyKind, PartyRow, PersonRef, PersonRow, VisitRef};
use super::known::Known;
use super::lineage::{Lineage, Note};
use super::state::Entry;
use crate::IdKey;
use crate::codes::{Memo, Target};
use crate::hash::{DigestSet, Seed};

/// Most problems of one part that are kept with their place; all are counted.
const LISTED: usize = 200;

/// `domain_concept_id`s and relationships of `fact_relationship` (OMOP domains 21 measurement and 36 specimen;
/// 32668 and 32669 are used so by the OMOP form of MIMIC-IV).
pub(super) const MEASUREMENT_DOMAIN: i64 = 21;
const SPECIMEN_DOMAIN: i64 = 36;
const HAS_SPECIMEN: i64 = 32_668;
const SPECIMEN_OF: i64 = 32_669;

/// Kinds of parties.
const PROVIDER: u8 = b'p';
const CARE_SITE: u8 = b'c';
const LOCATION: u8 = b'l';

/// What every part of a load shares.
pub(super) struct Shared<'l> {
    pub(super) key: &'l IdKey,
    pub(super) seed: Seed,
    pub(super) index: &'l Index,
    pub(super) known: &'l Known,
    pub(super) generation: u32,
    pub(super) passed: &'l PassedOver,
}

/// An item that an attempt found not to count, or not as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passed {
    /// A later state of it is in the same load.
    Replaced,
    /// It is held or rejected after some of its events were taken.
    Without(Fate),
}

/// Where such items are: the part of the input in a pass, and how many items begin before them there.
pub(super) type PassedOver = BTreeMap<(Pass, usize), BTreeMap<u32, Passed>>;

/// Names of kinds of items, by number; the same kind may have another number in another part.
#[derive(Debug, Default, Clone)]
pub(super) struct Kinds(Vec<String>);

impl Kinds {
    pub(super) fn number(&mut self, kind: &str) -> u8 {
        if let Some(at) = self.0.iter().position(|known| known == kind) {
            return u8::try_from(at).unwrap_or(u8::MAX);
        }
        self.0.push(kind.to_owned());
        u8::try_from(self.0.len() - 1).unwrap_or(u8::MAX)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    pub(super) fn name(&self, number: u8) -> &str {
        self.0.get(usize::from(number)).map_or("", String::as_str)
    }
}

/// Counts of one part.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    pub(super) counts: ItemCounts,
    pub(super) by_kind: BTreeMap<String, (ItemCounts, u64)>,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) problems: BTreeMap<String, u64>,
    pub(super) unchanged: u64,
    pub(super) replaced: u64,
    pub(super) imputed_dates: u64,
    pub(super) dates_of_visits: u64,
    pub(super) converted_units: u64,
    pub(super) corrected_units: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.counts = self.counts.plus(other.counts);
        for (kind, (counts, rows)) in other.by_kind {
            let known = self.by_kind.entry(kind).or_default();
            *known = (known.0.plus(counts), known.1 + rows);
        }
        for (into, from) in [(&mut self.reasons, other.reasons), (&mut self.problems, other.problems)] {
            for (word, count) in from {
                *into.entry(word).or_default() += count;
            }
        }
        self.unchanged += other.unchanged;
        self.replaced += other.replaced;
        self.imputed_dates += other.imputed_dates;
        self.dates_of_visits += other.dates_of_visits;
        self.converted_units += other.converted_units;
        self.corrected_units += other.corrected_units;
    }
}

/// The item being told.
#[derive(Debug, Default)]
struct Current {
    origin: Origin,
    key: Vec<u8>,
    row: u32,
    ordinal: u32,
    rows: u32,
    held: Option<Held>,
    unmapped: bool,
    repeats: bool,
    person: i64,
    days: Option<(i32, i32)>,
    /// Rows that the item had, if an earlier load had it.
    known: Option<u32>,
    /// It states who or where, or what others refer to.
    stands: bool,
    defines: bool,
    passed: Option<Passed>,
}

/// Fills tables from events.
pub(super) struct Mapper<'l, 'v> {
    shared: &'l Shared<'l>,
    pub(super) memo: Memo<'v>,
    pub(super) tables: Tables,
    pub(super) lineage: Lineage,
    /// What this part adds to the index; looked up after the shared one.
    pub(super) found: Index,
    pub(super) persons: Vec<PersonRow>,
    /// Keys of persons of whom a known item no longer says what is needed.
    pub(super) withheld: DigestSet,
    pub(super) parties: Vec<PartyRow>,
    pub(super) details: Vec<DetailRow>,
    pub(super) spells: Vec<Spell>,
    pub(super) spans: BTreeMap<i64, (i32, i32)>,
    pub(super) entries: Vec<Entry>,
    pub(super) removed: Vec<i64>,
    pub(super) kinds: Kinds,
    pub(super) tally: Tally,
    pub(super) problems: Vec<Problem>,
    /// Items of this part that an attempt before found not to count.
    passed: Option<&'l BTreeMap<u32, Passed>>,
    /// Items that are held or rejected and have something in the tables nevertheless.
    pub(super) partly: Vec<(u32, Fate)>,
    begun: u32,
    item: Current,
    last_person: (String, Option<PersonRef>),
    last_visit: (String, Option<VisitRef>),
    last_kind: (String, u8),
    kind_counts: Vec<(ItemCounts, u64)>,
    text: Vec<u8>,
}

fn second(when: Option<When>) -> Cell<'static> {
    when.and_then(When::timestamp_s).map_or(Cell::Null, Cell::Second)
}

fn day(when: Option<When>) -> Cell<'static> {
    when.map_or(Cell::Null, |when| Cell::Day(when.day))
}

/// "Optional field: NULL unless a source value exists, then 0."
fn optional(concept_id: i64, stated: bool) -> Cell<'static> {
    if stated { Cell::Id(concept_id) } else { Cell::Null }
}

impl<'l, 'v> Mapper<'l, 'v> {
    /// Of a part of the input in a pass; `items` is a guess of how many it holds.
    pub(super) fn new(shared: &'l Shared<'l>, part: (Pass, usize), memo: Memo<'v>, items: usize) -> Self {
        Self {
            shared,
            passed: shared.passed.get(&part),
            partly: Vec::new(),
            begun: 0,
            memo,
            tables: Tables::with_room(items),
            lineage: Lineage::with_room(items),
            found: Index::default(),
            persons: Vec::new(),
            withheld: DigestSet::default(),
            parties: Vec::new(),
            details: Vec::new(),
            spells: Vec::new(),
            spans: BTreeMap::new(),
            entries: Vec::with_capacity(items),
            removed: Vec::new(),
            kinds: Kinds::default(),
            tally: Tally::default(),
            problems: Vec::new(),
            item: Current::default(),
            last_person: (String::new(), None),
            last_visit: (String::new(), None),
            last_kind: (String::new(), 0),
            kind_counts: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Puts the counts by kind, which were kept by number, under their names.
    pub(super) fn settle(&mut self) {
        for (number, counts) in std::mem::take(&mut self.kind_counts).into_iter().enumerate() {
            let name = self.kinds.name(u8::try_from(number).unwrap_or(u8::MAX)).to_owned();
            let known = self.tally.by_kind.entry(name).or_default();
            *known = (known.0.plus(counts.0), known.1 + counts.1);
        }
    }

    fn digest(&self, key: &str) -> u128 {
        self.shared.seed.of(key.as_bytes())
    }

    /// Keyed id of a row of the current item.
    fn row_id(&mut self, ordinal: u32) -> i64 {
        self.shared.key.row_id(&mut self.text, self.item.origin.kind_name(&self.kinds), &self.item.key, ordinal)
    }

    fn named_id(&mut self, kind: &str, key: &str) -> i64 {
        self.shared.key.row_id(&mut self.text, kind, key.as_bytes(), 0)
    }

    fn find_person(&mut self, key: &str) -> Option<PersonRef> {
        if key == self.last_person.0 && self.last_person.1.is_some() {
            return self.last_person.1;
        }
        let digest = self.digest(key);
        let known = self.shared.index.persons.get(&digest).or_else(|| self.found.persons.get(&digest)).copied();
        self.last_person.0.clear();
        self.last_person.0.push_str(key);
        self.last_person.1 = known;
        known
    }

    fn find_visit(&mut self, key: &str) -> Option<VisitRef> {
        if key.is_empty() {
            return None;
        }
        if key == self.last_visit.0 && self.last_visit.1.is_some() {
            return self.last_visit.1;
        }
        let digest = self.digest(key);
        let here = self.found.visits.own.get(&digest).copied();
        let known = here.or_else(|| self.shared.index.visits.get(digest)).filter(|visit| visit.visit != 0);
        self.last_visit.0.clear();
        self.last_visit.0.push_str(key);
        self.last_visit.1 = known;
        known
    }

    /// Kinds of parties have their own keys: `Organization/1` is not `Practitioner/1`.
    fn party_digest(&mut self, kind: u8, key: &str) -> u128 {
        self.text.clear();
        self.text.push(kind);
        self.text.extend_from_slice(key.as_bytes());
        self.shared.seed.of(&self.text)
    }

    fn find_party(&mut self, kind: u8, key: &str) -> Option<i64> {
        if key.is_empty() {
            return None;
        }
        let digest = self.party_digest(kind, key);
        self.found.parties.get(&digest).or_else(|| self.shared.index.parties.get(&digest)).copied()
    }

    /// What finds a party once all of them are known.
    fn party_named(&mut self, kind: u8, key: &str) -> Option<u128> {
        (!key.is_empty()).then(|| self.party_digest(kind, key))
    }

    fn trace(&mut self, table: CdmTable, row_id: i64, person: i64, when: Option<When>, note: Note) {
        self.item.rows += 1;
        self.lineage.push(table, row_id, person, &self.item.origin, when, note);
    }

    fn hold(&mut self, why: Held) {
        self.item.held.get_or_insert(why);
    }

    fn widen(&mut self, person: i64, from: i32, to: i32) {
        let span = self.spans.entry(person).or_insert((from, to));
        *span = (span.0.min(from), span.1.max(to));
        let days = self.item.days.get_or_insert((from, to));
        *days = (days.0.min(from), days.1.max(to));
        self.item.person = person;
    }

    fn emit(
        &mut self,
        event: &Event<'_>,
        codes: &[Code<'_>],
        person: i64,
        visit: Option<VisitRef>,
        start: When,
        note: Note,
    ) {
        let number = self.memo.resolve(event.kind, event.concept_id, codes, event.text);
        let meaning = self.memo.meaning(number);
        let why_not = meaning.why_not;
        let only = [Target { concept_id: 0, table: None, value: None }];
        let mut targets: Vec<Target> = meaning.targets.clone();
        if targets.is_empty() {
            targets.extend(only);
        }
        let mut value_of_finding = None;
        if !event.more.finding.is_empty() && meaning.substance {
            // "Allergy to substance" with the substance as its value.
            value_of_finding = targets.first().map(|target| target.concept_id);
            let concept_id = self.memo.concept(event.more.finding);
            targets = vec![Target { concept_id, table: Some(CdmTable::Observation), value: None }];
        }
        // Notes and specimens stay what they are; other kinds follow the domain.
        let fixed = matches!(event.kind, Kind::Note | Kind::Specimen | Kind::Episode);
        if why_not.is_some() && !(event.kind == Kind::Note || event.kind == Kind::Specimen) {
            self.item.unmapped = true;
        }
        for target in targets {
            let table = if fixed { event.kind.table() } else { target.table.unwrap_or(event.kind.table()) };
            let ordinal = self.item.ordinal;
            self.item.ordinal += 1;
            let id = self.row_id(ordinal);
            self.row(event, number, target, value_of_finding, table, id, person, visit, start, note);
            if ordinal == 0 && !event.key.is_empty() {
                let digest = self.digest(event.key);
                if event.kind == Kind::Drug {
                    self.found.drugs.insert(digest, id);
                }
                if event.kind == Kind::Specimen {
                    self.found.specimens.insert(digest, id);
                }
            }
        }
        let end = event.end.map_or(start.day, |end| end.day).max(start.day);
        self.widen(person, start.day, end);
    }

    #[expect(clippy::too_many_arguments, reason = "one row and all it is made of")]
    fn row(
        &mut self,
        event: &Event<'_>,
        number: u32,
        target: Target,
        value_of_finding: Option<i64>,
        table: CdmTable,
        id: i64,
        person: i64,
        visit: Option<VisitRef>,
        start: When,
        mut note: Note,
    ) {
        let more = &event.more;
        let provider = Cell::from(self.find_party(PROVIDER, event.provider));
        let visit_id = visit.map_or(Cell::Null, |visit| Cell::Id(visit.visit));
        let detail_id =
            visit.map_or(Cell::Null, |visit| if visit.detail == 0 { Cell::Null } else { Cell::Id(visit.detail) });
        let end = event.end;
        let (end_day, end_second) = (day(end), second(end));
        let start_second = second(Some(start));
        let site = self.memo_concept(more.site);
        let site_source = more.site.first().map_or(Cell::Null, |code| Cell::text(code.code, 50));
        let qualifier = self.memo_concept(more.qualifier);
        let qualifier_source = more.qualifier.first().map_or(Cell::Null, |code| Cell::text(code.code, 50));
        let stated = !event.codes.is_empty() || !event.codes_of.is_empty();
        let concept_id = target.concept_id;
        let type_concept = Cell::Id(event.type_concept_id);
        let (person_id, row_id) = (Cell::Id(person), Cell::Id(id));
        match table {
            CdmTable::ConditionOccurrence => {
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    end_day,
                    end_second,
                    type_concept,
                    optional(0, !more.status.is_empty()),
                    Cell::text(more.stop_reason, 20),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    Cell::text(more.status, 50),
                ]);
                if concept_id != 0 {
                    let last = end.map_or(start.day, |end| end.day).max(start.day);
                    self.spells.push(Spell::condition(person, concept_id, start.day, last, id));
                }
            }
            CdmTable::ProcedureOccurrence => {
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    end_day,
                    end_second,
                    type_concept,
                    optional(site, !more.site.is_empty()),
                    Cell::Null,
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    site_source,
                ]);
            }
            CdmTable::DrugExposure => {
                let supply = more.days_supply.and_then(|days| i32::try_from(days - 1).ok()).filter(|days| *days >= 0);
                let last = end.map_or_else(|| start.day.saturating_add(supply.unwrap_or(0)), |end| end.day);
                let last = last.max(start.day);
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    Cell::Day(last),
                    if end.is_some_and(|end| end.day == last) { end_second } else { Cell::Null },
                    end_day,
                    type_concept,
                    Cell::text(more.stop_reason, 20),
                    more.refills.into(),
                    more.quantity.into(),
                    more.days_supply.into(),
                    Cell::text(more.sig, 65_535),
                    optional(site, !more.site.is_empty()),
                    Cell::text(more.lot, 50),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    site_source,
                    Cell::text(more.quantity_unit, 50),
                ]);
                if concept_id != 0 {
                    self.spells.push(Spell::drug(person, concept_id, start.day, last, id));
                }
            }
            CdmTable::DeviceExposure => {
                let quantity_unit = self.memo.unit(more.quantity_unit);
                let quantity = more.quantity.filter(|number| number.fract() == 0.0 && number.abs() < 1e9);
                #[allow(clippy::cast_possible_truncation, reason = "a number of devices")]
                let quantity = quantity.map(|number| number as i64);
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    end_day,
                    end_second,
                    type_concept,
                    Cell::text(more.udi, 255),
                    Cell::Null,
                    quantity.into(),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    quantity_unit.into(),
                    Cell::text(more.quantity_unit, 50),
                    Cell::Null,
                ]);
            }
            CdmTable::Specimen => {
                let unit = self.memo.unit(more.quantity_unit);
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    type_concept,
                    Cell::Day(start.day),
                    start_second,
                    more.quantity.into(),
                    unit.into(),
                    optional(site, !more.site.is_empty()),
                    Cell::Null,
                    Cell::Null,
                    Cell::text(&meaning.source_value, 50),
                    Cell::text(more.quantity_unit, 50),
                    site_source,
                    Cell::Null,
                ]);
            }
            CdmTable::Note => {
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Day(start.day),
                    start_second,
                    type_concept,
                    Cell::Id(concept_id),
                    Cell::text(more.title, 250),
                    Cell::Text(more.note),
                    Cell::Id(0),
                    Cell::Id(0),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    Cell::Null,
                    Cell::Null,
                ]);
            }
            CdmTable::Measurement => {
                let (value, unit, unit_source, original) = self.number(event, number, &mut note);
                let (value_concept, value_source) = self.value(event, target, value_of_finding, original.as_deref());
                let operator =
                    if let Value::Number(_, comparator) = event.value { comparator.concept_id() } else { None };
                let rows = self.tables.of(table);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    Cell::Null,
                    type_concept,
                    operator.into(),
                    value.into(),
                    value_concept.into(),
                    unit.into(),
                    event.range.0.into(),
                    event.range.1.into(),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    Cell::text(unit_source, 50),
                    Cell::Null,
                    value_source.as_deref().map_or(Cell::Null, |text| Cell::text(text, 50)),
                    Cell::Null,
                    Cell::Null,
                ]);
                if !more.specimen.is_empty() {
                    let digest = self.digest(more.specimen);
                    let known = index::standing(&self.shared.index.specimens, digest)
                        .or_else(|| index::standing(&self.found.specimens, digest));
                    if let Some(specimen) = known {
                        let facts = self.tables.of(CdmTable::FactRelationship);
                        let (one, other) = (Cell::Id(MEASUREMENT_DOMAIN), Cell::Id(SPECIMEN_DOMAIN));
                        facts.push(&[one, row_id, other, Cell::Id(specimen), Cell::Id(HAS_SPECIMEN)]);
                        facts.push(&[other, Cell::Id(specimen), one, row_id, Cell::Id(SPECIMEN_OF)]);
                    }
                }
            }
            _ => {
                let (value, unit, unit_source, original) = self.number(event, number, &mut note);
                let (value_concept, value_source) = self.value(event, target, value_of_finding, original.as_deref());
                let parent = if event.parent.is_empty() { Cell::Null } else { Cell::Id(self.row_id(0)) };
                let rows = self.tables.of(CdmTable::Observation);
                let meaning = self.memo.meaning(number);
                rows.push(&[
                    row_id,
                    person_id,
                    Cell::Id(concept_id),
                    Cell::Day(start.day),
                    start_second,
                    type_concept,
                    value.into(),
                    if let Value::Text(text) = event.value { Cell::text(text, 60) } else { Cell::Null },
                    value_concept.into(),
                    optional(qualifier, !more.qualifier.is_empty()),
                    unit.into(),
                    provider,
                    visit_id,
                    detail_id,
                    Cell::text(&meaning.source_value, 50),
                    optional(meaning.source_concept_id, stated),
                    Cell::text(unit_source, 50),
                    qualifier_source,
                    value_source.as_deref().map_or(Cell::Null, |text| Cell::text(text, 50)),
                    parent,
                    Cell::Null,
                ]);
                return self.trace(CdmTable::Observation, id, person, Some(start), note);
            }
        }
        self.trace(table, id, person, Some(start), note);
    }

    /// What the item was found by, and no longer is, is gone.
    fn take_back(&mut self) {
        let (id, index) = (self.row_id(0), self.shared.index);
        let digest = self.shared.seed.of(&self.item.key);
        let visit = index.visits.get(digest).filter(|visit| visit.visit == id || visit.detail == id);
        if let Some(visit) = visit {
            self.found.visits.own.entry(digest).or_insert(VisitRef { visit: 0, ..visit });
        }
        for (map, found) in [(&index.drugs, &mut self.found.drugs), (&index.specimens, &mut self.found.specimens)] {
            if map.get(&digest) == Some(&id) {
                found.entry(digest).or_insert(0);
            }
        }
    }

    fn memo_concept(&mut self, codes: &[Code<'_>]) -> i64 {
        if codes.is_empty() { 0 } else { self.memo.concept(codes) }
    }

    /// Number, unit concept, unit as received, and the number as received where it was converted.
    fn number<'e>(
        &mut self,
        event: &Event<'e>,
        number: u32,
        note: &mut Note,
    ) -> (Option<f64>, Option<i64>, &'e str, Option<String>) {
        let Value::Number(value, _) = event.value else { return (None, None, "", None) };
        match self.memo.factor(number, event.unit) {
            Some((factor, to)) if to != event.unit => {
                self.tally.converted_units += 1;
                *note = note.and_converted();
                (Some(value * factor), self.memo.unit(to), event.unit, Some(format!("{value} {}", event.unit)))
            }
            _ => (Some(value), self.memo.unit(event.unit), event.unit, None),
        }
    }

    /// Value concept, and the value as received where it is no number.
    fn value(
        &mut self,
        event: &Event<'_>,
        target: Target,
        value_of_finding: Option<i64>,
        original: Option<&str>,
    ) -> (Option<i64>, Option<String>) {
        let (concept, source) = match event.value {
            Value::Codes(codes) => (Some(self.memo.concept(codes)), codes.first().map(|code| code.code.to_owned())),
            Value::Concept(concept_id) => (Some(concept_id), None),
            Value::Text(text) => (None, Some(text.to_owned())),
            Value::None | Value::Number(..) => (None, original.map(str::to_owned)),
        };
        (target.value.or(value_of_finding).or(concept), source)
    }

    fn visit_row(&mut self, event: &Event<'_>, person: i64, start: When) {
        let ordinal = self.item.ordinal;
        self.item.ordinal += 1;
        let id = self.row_id(ordinal);
        let digest = self.digest(event.key);
        let provider = self.find_party(PROVIDER, event.provider);
        let care_site = self.find_party(CARE_SITE, event.care_site);
        let end = event.end.filter(|end| end.day >= start.day);
        self.widen(person, start.day, end.map_or(start.day, |end| end.day));
        if event.kind == Kind::VisitDetail {
            let parent = self.digest(event.parent);
            let own = |text: &str| text.chars().take(50).collect();
            // The row is written when all visits are known.
            self.item.rows += 1;
            self.details.push(DetailRow {
                key: digest,
                parent,
                origin: self.item.origin,
                id,
                person,
                concept_id: event.visit_concept_id,
                start,
                end,
                type_concept_id: event.type_concept_id,
                provider,
                care_site,
                source_value: event.text.to_owned(),
                admitted_from: own(event.more.admitted_from),
                discharged_to: own(event.more.discharged_to),
            });
            return;
        }
        if !event.key.is_empty() {
            let visit = VisitRef { visit: id, detail: 0, person, start_day: start.day };
            self.found.visits.own.insert(digest, visit);
        }
        let rows = self.tables.of(CdmTable::VisitOccurrence);
        let more = &event.more;
        rows.push(&[
            Cell::Id(id),
            Cell::Id(person),
            Cell::Id(event.visit_concept_id),
            Cell::Day(start.day),
            second(Some(start)),
            Cell::Day(end.map_or(start.day, |end| end.day)),
            second(end),
            Cell::Id(event.type_concept_id),
            provider.into(),
            care_site.into(),
            Cell::text(event.text, 50),
            Cell::Null,
            optional(0, !more.admitted_from.is_empty()),
            Cell::text(more.admitted_from, 50),
            optional(0, !more.discharged_to.is_empty()),
            Cell::text(more.discharged_to, 50),
            Cell::Null,
        ]);
        self.trace(CdmTable::VisitOccurrence, id, person, Some(start), Note::None);
    }
}

impl Origin {
    fn kind_name<'k>(&self, kinds: &'k Kinds) -> &'k str {
        kinds.name(self.kind)
    }
}

impl Sink for Mapper<'_, '_> {
    fn known(&mut self, content: &[u8]) -> bool {
        if self.shared.known.is_empty() {
            return false;
        }
        let known = self.shared.known.meet(self.shared.seed.of(content));
        if known {
            self.tally.unchanged += 1;
        }
        known
    }

    fn begin(&mut self, head: &ItemHead<'_>) {
        if head.kind != self.last_kind.0 {
            self.last_kind = (head.kind.to_owned(), self.kinds.number(head.kind));
        }
        let kind = self.last_kind.1;
        let content = self.shared.seed.of(head.content);
        let item = &mut self.item;
        item.key.clear();
        if head.key.is_empty() {
            // Without a key, the content stands for the item; without content, its place.
            item.key.push(0);
            item.key.extend_from_slice(&content.to_le_bytes());
            if head.content.is_empty() {
                item.key.extend_from_slice(&head.row.to_le_bytes());
            }
        } else {
            item.key.extend_from_slice(head.key.as_bytes());
        }
        self.text.clear();
        self.text.extend_from_slice(head.kind.as_bytes());
        self.text.push(0);
        self.text.extend_from_slice(&item.key);
        let digest = self.shared.seed.of(&self.text);
        item.origin = Origin { kind, item: digest, content };
        item.row = u32::try_from(head.row).unwrap_or(u32::MAX);
        (item.ordinal, item.rows, item.person) = (0, 0, 0);
        (item.held, item.unmapped, item.repeats, item.days) = (None, false, false, None);
        (item.stands, item.defines) = (false, false);
        item.known = self.shared.known.rows_of(digest);
        item.passed = self.passed.and_then(|passed| passed.get(&self.begun)).cloned();
        self.begun += 1;
    }

    fn person(&mut self, person: &Person<'_>) {
        if self.item.passed == Some(Passed::Replaced) {
            return;
        }
        let digest = self.digest(person.key);
        let id = self.named_id("person", person.key);
        let birth = person.birth.filter(|_| self.item.passed.is_none());
        let held = birth.is_none();
        self.last_person.1 = None;
        let known = self.found.persons.entry(digest).or_insert(PersonRef { id, held });
        known.held &= held;
        self.item.person = id;
        if self.item.known.is_some() {
            self.removed.push(id);
            if held {
                self.withheld.insert(digest);
            }
        }
        let Some(birth) = birth else { return self.hold(Held::NoBirthDate) };
        self.item.rows += 1 + u32::from(person.death.is_some());
        let concept =
            |memo: &mut Memo<'_>, code: Code<'_>| if code.code.is_empty() { 0 } else { memo.concept(&[code]) };
        let race = (concept(&mut self.memo, person.race), person.race.code.to_owned());
        let ethnicity = (concept(&mut self.memo, person.ethnicity), person.ethnicity.code.to_owned());
        if let Some((from, to)) = person.period {
            self.widen(id, from.day, to.day.max(from.day));
        }
        let location = self.party_named(LOCATION, person.location);
        let provider = self.party_named(PROVIDER, person.provider);
        let care_site = self.party_named(CARE_SITE, person.care_site);
        self.persons.push(PersonRow {
            id,
            origin: self.item.origin,
            sex: person.sex.concept_id(),
            sex_source: person.sex_source.to_owned(),
            birth,
            race,
            ethnicity,
            death: person.death,
            location,
            provider,
            care_site,
            type_concept_id: person.type_concept_id,
        });
    }

    fn withhold(&mut self, person: &str) {
        // Of whom nothing was said yet, nothing is to be taken back.
        if self.item.known.is_some() && self.item.passed != Some(Passed::Replaced) {
            self.item.held = None;
            let nothing = Person { birth: None, ..Person::new(person) };
            self.person(&nothing);
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        // An item is taken whole or not at all.
        if self.item.passed.is_some() || self.item.held.is_some() {
            return;
        }
        let person = match self.find_person(event.person) {
            None => return self.hold(Held::OtherPerson),
            Some(PersonRef { held: true, .. }) => return self.hold(Held::NoBirthDate),
            Some(person) => person.id,
        };
        self.item.person = person;
        let visit = self.find_visit(event.visit).filter(|visit| visit.person == person);
        let mut note = Note::None;
        let start = match (event.start, visit) {
            (Some(start), _) => start,
            (None, Some(visit)) => {
                note = Note::DayOfVisit;
                self.tally.dates_of_visits += 1;
                When { day: visit.start_day, ..When::default() }
            }
            (None, None) => return self.hold(Held::NoDate),
        };
        if matches!(start.precision, Precision::Year | Precision::Month) {
            self.tally.imputed_dates += 1;
        }
        if !event.more.repeats.is_empty() {
            let digest = self.digest(event.more.repeats);
            if index::standing(&self.shared.index.drugs, digest).is_some()
                || index::standing(&self.found.drugs, digest).is_some()
            {
                self.item.repeats = true;
                return;
            }
        }
        if matches!(event.kind, Kind::Visit | Kind::VisitDetail) {
            return self.visit_row(event, person, start);
        }
        if event.codes.is_empty() && !event.codes_of.is_empty() {
            let digest = self.digest(event.codes_of);
            let index = self.shared.index;
            let defined: Option<Vec<Coding>> =
                index.definitions.get(&digest).or_else(|| self.found.definitions.get(&digest)).cloned();
            let defined = defined.unwrap_or_default();
            let codes: Vec<Code<'_>> =
                defined.iter().map(|coding| Code { system: &coding.system, code: &coding.code }).collect();
            return self.emit(event, &codes, person, visit, start, note);
        }
        self.emit(event, event.codes, person, visit, start, note);
    }

    fn party(&mut self, party: &Party<'_>) {
        if self.item.passed.is_some() {
            return;
        }
        let origin = self.item.origin;
        let own = |text: &str, longest| text.chars().take(longest).collect();
        let (id, what, kind, key) = match *party {
            Party::Location { key, state, zip, country } => {
                // The same coarse address is one row, whoever lives there.
                let whole = format!("{state}\u{0}{zip}\u{0}{country}");
                let id = self.named_id("location", &whole);
                let what = PartyKind::Location { state: own(state, 2), zip: own(zip, 9), country: own(country, 80) };
                (id, what, LOCATION, key)
            }
            Party::CareSite { key, name, place, location } => {
                let location = self.find_party(LOCATION, location);
                let concept = if place.code.is_empty() { 0 } else { self.memo.concept(&[place]) };
                let (name, place_source) = (own(name, 255), own(place.code, 50));
                let what = PartyKind::CareSite { name, place: concept, place_source, location };
                (self.named_id("care_site", key), what, CARE_SITE, key)
            }
            Party::Provider { key, specialty, sex, care_site } => {
                let concept = self.memo_concept(specialty);
                let specialty_source = specialty.first().map_or(String::new(), |code| own(code.code, 50));
                let care_site = self.find_party(CARE_SITE, care_site);
                let what =
                    PartyKind::Provider { specialty: concept, specialty_source, sex: sex.concept_id(), care_site };
                (self.named_id("provider", key), what, PROVIDER, key)
            }
        };
        let digest = self.party_digest(kind, key);
        self.found.parties.insert(digest, id);
        self.item.stands = true;
        self.parties.push(PartyRow { id, origin, what });
    }

    fn define(&mut self, key: &str, codes: &[Code<'_>]) {
        if self.item.passed == Some(Passed::Replaced) {
            return;
        }
        let codings =
            codes.iter().map(|code| Coding { system: code.system.to_owned(), code: code.code.to_owned() }).collect();
        let digest = self.digest(key);
        self.found.definitions.insert(digest, codings);
        self.item.defines = true;
    }

    fn problem(&mut self, problem: Problem) {
        if self.item.passed == Some(Passed::Replaced) {
            return;
        }
        *self.tally.problems.entry(problem.code.clone()).or_default() += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }

    #[allow(clippy::unnecessary_lazy_evaluations, reason = "the fate is worked out only where the reader gave none")]
    fn end(&mut self, fate: Option<Fate>) {
        let passed = self.item.passed.take();
        let replaced = passed == Some(Passed::Replaced);
        let item = &self.item;
        let told = match passed {
            Some(Passed::Replaced) => Some(Fate::Excluded(Excluded::Duplicate)),
            Some(Passed::Without(why)) => Some(why),
            None => fate,
        };
        let fate = told.unwrap_or_else(|| {
            if let Some(why) = item.held {
                Fate::Held(why)
            } else if item.unmapped {
                Fate::Unmapped(Unmapped::Concept)
            } else if item.rows > 0 || item.stands || item.defines {
                Fate::Loaded
            } else if item.repeats {
                Fate::Excluded(Excluded::ToldElsewhere)
            } else {
                Fate::Excluded(Excluded::NoInformation)
            }
        });
        let mut one = ItemCounts { total: 1, ..ItemCounts::default() };
        let (count, reason) = match &fate {
            Fate::Loaded => (&mut one.loaded, None),
            Fate::Excluded(why) => (&mut one.excluded, Some(format!("excluded: {}", why.as_str()))),
            Fate::Held(why) => (&mut one.held, Some(format!("held: {}", why.as_str()))),
            Fate::Unmapped(Unmapped::Kind) => {
                (&mut one.unmapped, Some(format!("unmapped: no table for {}", self.last_kind.0)))
            }
            Fate::Unmapped(why) => (&mut one.unmapped, Some(format!("unmapped: {}", why.as_str()))),
            Fate::Rejected(code) => (&mut one.rejected, Some(format!("rejected: {code}"))),
        };
        *count = 1;
        if let Some(reason) = reason {
            *self.tally.reasons.entry(reason).or_default() += 1;
        }
        self.tally.counts = self.tally.counts.plus(one);
        let at = usize::from(item.origin.kind);
        if self.kind_counts.len() <= at {
            self.kind_counts.resize(at + 1, Default::default());
        }
        self.kind_counts[at].0 = self.kind_counts[at].0.plus(one);
        self.kind_counts[at].1 += u64::from(item.rows);
        if replaced {
            return;
        }
        // What is held or rejected is tried again next time: its content does not count as known.
        let settled = !matches!(fate, Fate::Held(_) | Fate::Rejected(_));
        if !settled && (item.rows > 0 || item.stands || item.days.is_some()) {
            self.partly.push((self.begun - 1, fate));
        }
        let (first_day, last_day) = item.days.filter(|_| settled).unwrap_or((i32::MAX, i32::MIN));
        self.entries.push(Entry {
            item: item.origin.item,
            content: if settled { item.origin.content } else { 0 },
            person: item.person,
            first_day,
            last_day,
            rows: if settled { item.ordinal } else { Entry::NOTHING },
            generation: self.shared.generation,
        });
        if let Some(rows) = item.known {
            if rows > 0 {
                self.take_back();
            }
            // The same item with another content: its rows of before make place.
            self.tally.replaced += 1;
            for ordinal in 0..rows {
                let id = self.row_id(ordinal);
                self.removed.push(id);
            }
        }
    }
}
