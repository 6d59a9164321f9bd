//! What rows are compared with: persons, visits, concepts and other keys, read once before the pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use acequia_omop::{CdmTable, FieldType};
use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;

use crate::CleanseError;
use crate::column::civil;
use crate::tables::{Rows, Tables, Wanted};

/// No position.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Positions of keys: an array where the keys lie close together, a hash table elsewhere.
///
/// Memory: 4 to 16 bytes per key for the array, about 18 for the table.
pub(crate) enum Keys {
    Dense { first: i64, positions: Vec<u32> },
    Hashed(HashMap<i64, u32>),
}

impl Keys {
    /// The first of equal keys counts.
    pub(crate) fn new(keys: &[i64]) -> Self {
        let (first, last) = keys.iter().fold((i64::MAX, i64::MIN), |(low, high), key| (low.min(*key), high.max(*key)));
        let span = last.checked_sub(first).and_then(|span| usize::try_from(span).ok());
        if let Some(span) = span.filter(|span| *span < keys.len().saturating_mul(4) + 1024) {
            let mut positions = vec![NOWHERE; span + 1];
            for (at, key) in keys.iter().enumerate().rev() {
                positions[usize::try_from(key - first).unwrap_or(0)] = u32::try_from(at).unwrap_or(NOWHERE - 1);
            }
            return Self::Dense { first, positions };
        }
        let mut positions = HashMap::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            positions.entry(*key).or_insert(u32::try_from(at).unwrap_or(NOWHERE - 1));
        }
        Self::Hashed(positions)
    }

    pub(crate) fn position(&self, key: i64) -> u32 {
        match self {
            Self::Dense { first, positions } => usize::try_from(key.wrapping_sub(*first))
                .ok()
                .filter(|_| key >= *first)
                .and_then(|at| positions.get(at).copied())
                .unwrap_or(NOWHERE),
            Self::Hashed(positions) => positions.get(&key).copied().unwrap_or(NOWHERE),
        }
    }

    /// Positions of a column of keys; rows without a key, and unknown ones, are [`NOWHERE`].
    pub(crate) fn positions(&self, keys: &[i64], valid: Option<&BooleanBuffer>) -> Vec<u32> {
        let mut last = (0, self.position(0));
        let mut find = |key: i64| {
            if key != last.0 {
                last = (key, self.position(key));
            }
            last.1
        };
        match valid {
            None => keys.iter().map(|key| find(*key)).collect(),
            Some(valid) => {
                keys.iter().enumerate().map(|(row, key)| if valid.value(row) { find(*key) } else { NOWHERE }).collect()
            }
        }
    }
}

/// Everybody who is in `person` or in `death`.
pub(crate) struct People {
    pub(crate) keys: Keys,
    /// Person ids by position; those of `person` first, in its order.
    pub(crate) ids: Vec<i64>,
    /// How many positions are rows of `person`.
    pub(crate) persons: usize,
    /// Rows of `person`; more than `persons` if an id repeats.
    pub(crate) rows: u64,
    /// First possible day of life; `i32::MIN` if unknown.
    pub(crate) born: Vec<i32>,
    /// The same with June for an unknown month.
    pub(crate) born_midyear: Vec<i32>,
    pub(crate) sex: Vec<i64>,
    /// Day of death; `i32::MAX` for who is not in `death`.
    pub(crate) died: Vec<i32>,
    pub(crate) is_dead: Vec<bool>,
}

/// Visits by position.
pub(crate) struct Visits {
    pub(crate) keys: Keys,
    /// `i32::MIN` if unknown.
    pub(crate) start: Vec<i32>,
    /// `i32::MAX` if unknown.
    pub(crate) end: Vec<i32>,
}

/// What is known of a concept, in one word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConceptFacts {
    pub(crate) domain: u16,
    pub(crate) class: u16,
    pub(crate) standard_and_valid: bool,
}

/// The concepts of the folder's vocabulary, by id.
#[derive(Default)]
pub(crate) struct Concepts {
    facts: Vec<(i64, ConceptFacts)>,
    domains: Names,
    classes: Names,
}

#[derive(Default)]
struct Names {
    names: BTreeMap<String, u16>,
}

impl Names {
    fn number(&mut self, name: &str) -> u16 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let next = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.insert(name.to_owned(), next);
        next
    }
}

impl Concepts {
    pub(crate) fn get(&self, concept_id: i64) -> Option<ConceptFacts> {
        let at = self.facts.binary_search_by_key(&concept_id, |(id, _)| *id).ok()?;
        Some(self.facts[at].1)
    }

    /// Numbers of domains; a name no concept has gets none.
    pub(crate) fn domains(&self, names: &[String]) -> BTreeSet<u16> {
        names.iter().filter_map(|name| self.domains.names.get(name).copied()).collect()
    }

    pub(crate) fn class(&self, name: &str) -> Option<u16> {
        self.classes.names.get(name).copied()
    }
}

/// Keys of a table that others refer to.
pub(crate) enum Targets {
    Ids(Keys),
    Texts(HashSet<String>),
}

/// Everything rows are compared with.
pub(crate) struct Index {
    pub(crate) people: Option<People>,
    pub(crate) visits: Option<Visits>,
    pub(crate) concepts: Option<Concepts>,
    pub(crate) targets: BTreeMap<(CdmTable, String), Targets>,
    /// Concepts that are kinds of others, by the set of those others.
    pub(crate) kinds: BTreeMap<Vec<i64>, HashSet<i64>>,
}

/// What the checks need to know.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) people: bool,
    pub(crate) visits: bool,
    pub(crate) concepts: bool,
    pub(crate) targets: BTreeSet<(CdmTable, String)>,
    pub(crate) kinds: BTreeSet<Vec<i64>>,
}

/// Whether the table has the column.
pub(crate) fn has(tables: &dyn Tables, table: CdmTable, field: &str) -> bool {
    tables.columns(table).is_some_and(|columns| columns.iter().any(|name| name == field))
}

fn wanted(table: CdmTable, names: &[&str]) -> Vec<Wanted> {
    names
        .iter()
        .filter_map(|name| table.fields().iter().find(|field| field.name == *name))
        .map(|field| Wanted { field, values: true })
        .collect()
}

impl Index {
    pub(crate) fn build(tables: &dyn Tables, needs: &Needs) -> Result<Self, CleanseError> {
        let mut index =
            Self { people: None, visits: None, concepts: None, targets: BTreeMap::new(), kinds: BTreeMap::new() };
        if needs.people {
            index.people = people(tables)?;
        }
        if needs.visits && has(tables, CdmTable::VisitOccurrence, "visit_occurrence_id") {
            index.visits = Some(visits(tables)?);
        }
        if needs.concepts && has(tables, CdmTable::Concept, "concept_id") {
            index.concepts = Some(concepts(tables)?);
        }
        for (table, field) in &needs.targets {
            if has(tables, *table, field) {
                index.targets.insert((*table, field.clone()), targets(tables, *table, field)?);
            }
        }
        if !needs.kinds.is_empty() && has(tables, CdmTable::ConceptAncestor, "ancestor_concept_id") {
            index.kinds = kinds(tables, &needs.kinds)?;
        }
        Ok(index)
    }
}

fn people(tables: &dyn Tables) -> Result<Option<People>, CleanseError> {
    let (has_persons, has_deaths) =
        (has(tables, CdmTable::Person, "person_id"), has(tables, CdmTable::Death, "person_id"));
    let mut people = People {
        keys: Keys::Hashed(HashMap::new()),
        ids: Vec::new(),
        persons: 0,
        rows: 0,
        born: Vec::new(),
        born_midyear: Vec::new(),
        sex: Vec::new(),
        died: Vec::new(),
        is_dead: Vec::new(),
    };
    if !has_persons {
        return Ok(None);
    }
    let fields =
        ["person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth", "birth_datetime"];
    tables.scan(CdmTable::Person, &wanted(CdmTable::Person, &fields), &mut |rows: &Rows| {
        let [id, sex, year, month, day, birth] = rows.columns.as_slice() else { return Ok(()) };
        people.rows += rows.count as u64;
        for row in 0..rows.count {
            if !id.is_valid(row) {
                continue;
            }
            let int = |column: &crate::column::Column| {
                (column.is_valid(row)).then(|| column.ints().get(row).copied()).flatten()
            };
            let part = |column| int(column).and_then(|value| i32::try_from(value).ok());
            let stated = birth.is_valid(row).then(|| birth.days().get(row).copied()).flatten();
            let put_together =
                |month: Option<i32>, day: Option<i32>| civil(part(year)?, month.unwrap_or(1), day.unwrap_or(1));
            people.ids.push(id.ints()[row]);
            people.sex.push(int(sex).unwrap_or(i64::MIN));
            people.born.push(stated.or_else(|| put_together(part(month), part(day))).unwrap_or(i32::MIN));
            people.born_midyear.push(stated.or_else(|| put_together(Some(6), Some(1))).unwrap_or(i32::MIN));
        }
        Ok(())
    })?;
    people.persons = people.ids.len();
    people.keys = Keys::new(&people.ids);
    people.died = vec![i32::MAX; people.persons];
    people.is_dead = vec![false; people.persons];
    if has_deaths {
        // Who died without being a person has a place at the end.
        let mut strangers: BTreeMap<i64, i32> = BTreeMap::new();
        tables.scan(CdmTable::Death, &wanted(CdmTable::Death, &["person_id", "death_date"]), &mut |rows: &Rows| {
            let [id, date] = rows.columns.as_slice() else { return Ok(()) };
            for row in (0..rows.count).filter(|row| id.is_valid(*row)) {
                let day = date.is_valid(row).then(|| date.days().get(row).copied()).flatten().unwrap_or(i32::MAX);
                match people.keys.position(id.ints()[row]) {
                    NOWHERE => {
                        let known = strangers.entry(id.ints()[row]).or_insert(i32::MAX);
                        *known = day.min(*known);
                    }
                    at => {
                        let at = at as usize;
                        people.is_dead[at] = true;
                        people.died[at] = people.died[at].min(day);
                    }
                }
            }
            Ok(())
        })?;
        for (id, day) in strangers {
            people.ids.push(id);
            people.sex.push(i64::MIN);
            people.born.push(i32::MIN);
            people.born_midyear.push(i32::MIN);
            people.died.push(day);
            people.is_dead.push(true);
        }
        if people.ids.len() > people.persons {
            people.keys = Keys::new(&people.ids);
        }
    }
    Ok(Some(people))
}

fn visits(tables: &dyn Tables) -> Result<Visits, CleanseError> {
    let (mut ids, mut start, mut end) = (Vec::new(), Vec::new(), Vec::new());
    let fields = ["visit_occurrence_id", "visit_start_date", "visit_end_date"];
    tables.scan(CdmTable::VisitOccurrence, &wanted(CdmTable::VisitOccurrence, &fields), &mut |rows: &Rows| {
        let [id, from, to] = rows.columns.as_slice() else { return Ok(()) };
        for row in (0..rows.count).filter(|row| id.is_valid(*row)) {
            ids.push(id.ints()[row]);
            start.push(if from.is_valid(row) { from.days().get(row).copied().unwrap_or(i32::MIN) } else { i32::MIN });
            end.push(if to.is_valid(row) { to.days().get(row).copied().unwrap_or(i32::MAX) } else { i32::MAX });
        }
        Ok(())
    })?;
    Ok(Visits { keys: Keys::new(&ids), start, end })
}

fn concepts(tables: &dyn Tables) -> Result<Concepts, CleanseError> {
    let mut concepts = Concepts::default();
    let fields = ["concept_id", "domain_id", "concept_class_id", "standard_concept", "invalid_reason"];
    tables.scan(CdmTable::Concept, &wanted(CdmTable::Concept, &fields), &mut |rows: &Rows| {
        let [id, domain, class, standard, invalid] = rows.columns.as_slice() else { return Ok(()) };
        for row in (0..rows.count).filter(|row| id.is_valid(*row)) {
            let text = |column: &'_ crate::column::Column| -> Option<String> {
                let texts = column.texts().filter(|_| column.is_valid(row))?;
                Some(texts.get(row).to_owned())
            };
            let facts = ConceptFacts {
                domain: text(domain).map_or(u16::MAX, |name| concepts.domains.number(&name)),
                class: text(class).map_or(u16::MAX, |name| concepts.classes.number(&name)),
                standard_and_valid: text(standard).as_deref() == Some("S")
                    && !invalid.present.as_ref().is_none_or(|present| present.value(row)),
            };
            concepts.facts.push((id.ints()[row], facts));
        }
        Ok(())
    })?;
    concepts.facts.sort_by_key(|(id, _)| *id);
    Ok(concepts)
}

fn targets(tables: &dyn Tables, table: CdmTable, field: &str) -> Result<Targets, CleanseError> {
    let wanted = wanted(table, &[field]);
    if wanted.first().is_some_and(|wanted| wanted.field.field_type == FieldType::Integer) {
        let mut ids = Vec::new();
        tables.scan(table, &wanted, &mut |rows: &Rows| {
            let Some(id) = rows.columns.first() else { return Ok(()) };
            ids.extend((0..rows.count).filter(|row| id.is_valid(*row)).map(|row| id.ints()[row]));
            Ok(())
        })?;
        return Ok(Targets::Ids(Keys::new(&ids)));
    }
    let mut texts = HashSet::new();
    tables.scan(table, &wanted, &mut |rows: &Rows| {
        let Some((column, values)) = rows.columns.first().and_then(|column| Some((column, column.texts()?))) else {
            return Ok(());
        };
        texts.extend((0..rows.count).filter(|row| column.is_valid(*row)).map(|row| values.get(row).to_owned()));
        Ok(())
    })?;
    Ok(Targets::Texts(texts))
}

fn kinds(tables: &dyn Tables, sets: &BTreeSet<Vec<i64>>) -> Result<BTreeMap<Vec<i64>, HashSet<i64>>, CleanseError> {
    let mut of: HashMap<i64, Vec<&Vec<i64>>> = HashMap::new();
    for set in sets {
        for ancestor in set {
            of.entry(*ancestor).or_default().push(set);
        }
    }
    let mut kinds: BTreeMap<Vec<i64>, HashSet<i64>> = sets.iter().map(|set| (set.clone(), HashSet::new())).collect();
    let fields = wanted(CdmTable::ConceptAncestor, &["ancestor_concept_id", "descendant_concept_id"]);
    tables.scan(CdmTable::ConceptAncestor, &fields, &mut |rows: &Rows| {
        let [ancestor, descendant] = rows.columns.as_slice() else { return Ok(()) };
        for row in (0..rows.count).filter(|row| ancestor.is_valid(*row) && descendant.is_valid(*row)) {
            for set in of.get(&ancestor.ints()[row]).into_iter().flatten() {
                if let Some(kinds) = kinds.get_mut(*set) {
                    kinds.insert(descendant.ints()[row]);
                }
            }
        }
        Ok(())
    })?;
    Ok(kinds)
}
