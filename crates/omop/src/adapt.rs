//! Between the streaming form ([`Event`], [`Sink`]) and the owned form ([`SourceFile`]).

use std::collections::HashMap;

use acequia_types::Problem;

use crate::source::{Details, SourceEvent, SourceFile, SourcePerson, SourceRecord, SourceValue};
use crate::{
    Code, Coding, Comparator, Event, Fate, Held, Item, ItemHead, Kind, More, PartialDate, Party, Person, Sink, Value,
    VisitKind, When,
};

/// Collects what a reader tells into a [`SourceFile`]: for one donated file, which fits into memory.
///
/// Parties are left out: the owned form has persons and events only. An event without a date takes the day of its visit.
///
/// ```
/// use acequia_omop::{Code, Collector, Event, ItemHead, Kind, Person, Sex, Sink, When};
/// let day: When = acequia_types::parse_day("2020-05-01").unwrap().into();
/// let mut sink = Collector::default();
/// sink.begin(&ItemHead { row: 1, kind: "row", ..ItemHead::default() });
/// sink.person(&Person { birth: Some(day), sex: Sex::Female, ..Person::new("p1") });
/// let codes = [Code { system: "http://loinc.org", code: "39156-5" }];
/// sink.event(&Event { kind: Kind::Measurement, person: "p1", codes: &codes, start: Some(day), ..Event::default() });
/// sink.end(None);
/// assert_eq!(sink.finish().records[0].events.len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Collector {
    file: SourceFile,
    persons: HashMap<String, usize>,
    definitions: HashMap<String, Vec<Coding>>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    person: String,
    codes_of: String,
    start: Option<When>,
    event: SourceEvent,
}

fn owned(codes: &[Code<'_>]) -> Vec<Coding> {
    codes.iter().map(|code| Coding { system: code.system.to_owned(), code: code.code.to_owned() }).collect()
}

fn key(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Sink for Collector {
    fn begin(&mut self, item: &ItemHead<'_>) {
        self.file.items.push(Item { row: item.row, kind: item.kind.to_owned(), fate: None });
    }

    fn person(&mut self, person: &Person<'_>) {
        let item = self.file.items.len().saturating_sub(1);
        self.persons.entry(person.key.to_owned()).or_insert(self.file.records.len());
        let period = person.period.map(|(from, to)| (from.calendar_day(), to.calendar_day()));
        let person = SourcePerson {
            item,
            key: person.key.to_owned(),
            sex: person.sex,
            birth: person.birth.map(When::partial),
            period,
            death: person.death.map(|died| (item, died.partial())),
            type_concept_id: person.type_concept_id,
        };
        self.file.records.push(SourceRecord { person, events: Vec::new() });
    }

    fn event(&mut self, event: &Event<'_>) {
        let item = self.file.items.len().saturating_sub(1);
        let more = &event.more;
        let comparator = if let Value::Number(_, comparator) = event.value { comparator } else { Comparator::Equal };
        let visit = matches!(event.kind, Kind::Visit | Kind::VisitDetail);
        let source_value = event.codes.first().map_or(event.text, |code| code.code);
        let details = Details {
            at: (event.start, event.end),
            comparator,
            range: event.range,
            visit_concept_id: event.visit_concept_id,
            parent: event.parent.to_owned(),
            provider: event.provider.to_owned(),
            care_site: event.care_site.to_owned(),
            finding: owned(more.finding),
            repeats: more.repeats.to_owned(),
            specimen: more.specimen.to_owned(),
            status: more.status.to_owned(),
            site: owned(more.site),
            qualifier: owned(more.qualifier),
            quantity: more.quantity,
            quantity_unit: more.quantity_unit.to_owned(),
            days_supply: more.days_supply,
            refills: more.refills,
            sig: more.sig.to_owned(),
            lot: more.lot.to_owned(),
            udi: more.udi.to_owned(),
            note: more.note.to_owned(),
            title: more.title.to_owned(),
            stop_reason: more.stop_reason.to_owned(),
            admitted_from: more.admitted_from.to_owned(),
            discharged_to: more.discharged_to.to_owned(),
        };
        let source_event = SourceEvent {
            item,
            table: event.kind.table(),
            codings: owned(event.codes),
            concept_id: event.concept_id,
            source_value: source_value.to_owned(),
            start: event.start.map_or(PartialDate { year: 1970, month: None, day: None }, When::partial),
            end: event.end.map(When::partial),
            value: match event.value {
                Value::None => None,
                Value::Number(number, _) => Some(SourceValue::Number(number)),
                Value::Codes(codes) => Some(SourceValue::Codes(owned(codes))),
                Value::Concept(concept_id) => Some(SourceValue::Concept(concept_id)),
                Value::Text(text) => Some(SourceValue::Text(text.to_owned())),
            },
            unit: key(event.unit),
            type_concept_id: event.type_concept_id,
            visit: key(event.visit),
            own_key: key(event.key),
            visit_kind: visit.then(|| VisitKind::of_concept(event.visit_concept_id)),
            details,
        };
        self.pending.push(Pending {
            person: event.person.to_owned(),
            codes_of: event.codes_of.to_owned(),
            start: event.start,
            event: source_event,
        });
    }

    fn party(&mut self, _party: &Party<'_>) {}

    fn define(&mut self, key: &str, codes: &[Code<'_>]) {
        self.definitions.insert(key.to_owned(), owned(codes));
    }

    fn problem(&mut self, problem: Problem) {
        self.file.problems.push(problem);
    }

    fn end(&mut self, fate: Option<Fate>) {
        if let (Some(item), Some(fate)) = (self.file.items.last_mut(), fate) {
            item.fate = Some(fate);
        }
    }
}

impl Collector {
    /// Items so far.
    pub fn items(&self) -> usize {
        self.file.items.len()
    }

    /// Everything collected; events of persons the file does not have are held.
    pub fn finish(mut self) -> SourceFile {
        let mut visits: HashMap<(usize, String), When> = HashMap::new();
        for pending in &self.pending {
            if let (Kind::Visit | Kind::VisitDetail, Some(start), Some(key), Some(person)) = (
                Kind::of(pending.event.table).unwrap_or_default(),
                pending.start,
                &pending.event.own_key,
                self.persons.get(&pending.person),
            ) {
                visits.insert((*person, key.clone()), start);
            }
        }
        let drugs: std::collections::HashSet<String> = self
            .pending
            .iter()
            .filter(|pending| pending.event.table == crate::CdmTable::DrugExposure)
            .filter_map(|pending| pending.event.own_key.clone())
            .collect();
        for Pending { person, codes_of, start, mut event } in std::mem::take(&mut self.pending) {
            if drugs.contains(&event.details.repeats) {
                if let Some(item) = self.file.items.get_mut(event.item) {
                    item.fate = Some(Fate::Excluded(crate::Excluded::ToldElsewhere));
                }
                continue;
            }
            let item = event.item;
            let mut hold = |why| {
                if let Some(item) = self.file.items.get_mut(item) {
                    item.fate = Some(Fate::Held(why));
                }
            };
            let Some(at) = self.persons.get(&person).copied() else {
                hold(Held::OtherPerson);
                continue;
            };
            let of_visit = || event.visit.as_ref().and_then(|key| visits.get(&(at, key.clone())).copied());
            let Some(start) = start.or_else(of_visit) else {
                hold(Held::NoDate);
                continue;
            };
            event.start = start.partial();
            event.details.at.0.get_or_insert(start);
            if event.codings.is_empty()
                && let Some(codings) = self.definitions.get(&codes_of)
            {
                event.codings.clone_from(codings);
                event.source_value = codings.first().map(|coding| coding.code.clone()).unwrap_or_default();
            }
            self.file.records[at].events.push(event);
        }
        self.file
    }
}

impl VisitKind {
    /// The kind nearest to an OMOP visit concept.
    pub const fn of_concept(concept_id: i64) -> Self {
        match concept_id {
            9201 => Self::Inpatient,
            9202 | 581_476 | 722_455 => Self::Outpatient,
            9203 => Self::Emergency,
            _ => Self::Unknown,
        }
    }
}

impl<'a> Person<'a> {
    /// A person of whom only the key is known.
    pub const fn new(key: &'a str) -> Self {
        Self {
            key,
            sex: crate::Sex::Unknown,
            sex_source: "",
            birth: None,
            race: Code { system: "", code: "" },
            ethnicity: Code { system: "", code: "" },
            death: None,
            period: None,
            location: "",
            provider: "",
            care_site: "",
            type_concept_id: 32_817,
        }
    }
}

fn borrowed(codings: &[Coding]) -> Vec<Code<'_>> {
    codings.iter().map(|coding| Code { system: &coding.system, code: &coding.code }).collect()
}

impl SourceFile {
    /// Tells the file to a sink, item by item: first the items that state persons, then those of visits, then the rest,
    /// so that each finds what it refers to.
    pub fn tell(&self, sink: &mut dyn Sink) {
        #[derive(Default)]
        struct Told<'f> {
            person: Option<&'f SourceRecord>,
            events: Vec<(&'f str, &'f SourceEvent)>,
        }
        let mut told: Vec<Told<'_>> = Vec::new();
        told.resize_with(self.items.len(), Told::default);
        for record in &self.records {
            if let Some(told) = told.get_mut(record.person.item) {
                told.person = Some(record);
            }
            for event in &record.events {
                if let Some(told) = told.get_mut(event.item) {
                    told.events.push((&record.person.key, event));
                }
            }
        }
        for problem in &self.problems {
            sink.problem(problem.clone());
        }
        let pass = |told: &Told<'_>| {
            let visit = |(_, event): &(&str, &SourceEvent)| event.visit_kind.is_some();
            match (told.person.is_some(), told.events.iter().any(visit)) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            }
        };
        let mut order: Vec<usize> = (0..told.len()).collect();
        order.sort_by_key(|at| pass(&told[*at]));
        for at in order {
            let (item, told) = (&self.items[at], &told[at]);
            sink.begin(&ItemHead { row: item.row, kind: &item.kind, ..ItemHead::default() });
            if let Some(record) = told.person {
                let person = &record.person;
                sink.person(&Person {
                    sex: person.sex,
                    birth: person.birth.map(When::from),
                    death: person.death.map(|(_, died)| died.into()),
                    period: person.period.map(|(from, to)| (from.into(), to.into())),
                    type_concept_id: person.type_concept_id,
                    ..Person::new(&person.key)
                });
            }
            for (person, event) in &told.events {
                tell_event(person, event, sink);
            }
            sink.end(item.fate.clone());
        }
    }
}

fn tell_event(person: &str, event: &SourceEvent, sink: &mut dyn Sink) {
    let (codes, details) = (borrowed(&event.codings), &event.details);
    let (site, qualifier) = (borrowed(&details.site), borrowed(&details.qualifier));
    let finding = borrowed(&details.finding);
    let value_codes = if let Some(SourceValue::Codes(codings)) = &event.value { borrowed(codings) } else { Vec::new() };
    let visit_concept_id = match (details.visit_concept_id, event.visit_kind) {
        (0, Some(kind)) => kind.concept_id(),
        (concept_id, _) => concept_id,
    };
    sink.event(&Event {
        kind: Kind::of(event.table).unwrap_or_default(),
        person,
        key: event.own_key.as_deref().unwrap_or_default(),
        codes: &codes,
        codes_of: "",
        concept_id: event.concept_id,
        text: &event.source_value,
        start: Some(details.at.0.unwrap_or_else(|| event.start.into())),
        end: details.at.1.or_else(|| event.end.map(When::from)),
        value: match &event.value {
            None => Value::None,
            Some(SourceValue::Number(number)) => Value::Number(*number, details.comparator),
            Some(SourceValue::Codes(_)) => Value::Codes(&value_codes),
            Some(SourceValue::Concept(concept_id)) => Value::Concept(*concept_id),
            Some(SourceValue::Text(text)) => Value::Text(text),
        },
        unit: event.unit.as_deref().unwrap_or_default(),
        range: details.range,
        type_concept_id: event.type_concept_id,
        visit: event.visit.as_deref().unwrap_or_default(),
        parent: &details.parent,
        provider: &details.provider,
        care_site: &details.care_site,
        visit_concept_id,
        more: More {
            finding: &finding,
            repeats: &details.repeats,
            specimen: &details.specimen,
            status: &details.status,
            site: &site,
            qualifier: &qualifier,
            quantity: details.quantity,
            quantity_unit: &details.quantity_unit,
            days_supply: details.days_supply,
            refills: details.refills,
            sig: &details.sig,
            lot: &details.lot,
            udi: &details.udi,
            note: &details.note,
            title: &details.title,
            stop_reason: &details.stop_reason,
            admitted_from: &details.admitted_from,
            discharged_to: &details.discharged_to,
        },
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, Sex};

    fn told(file: &SourceFile) -> SourceFile {
        let mut again = Collector::default();
        file.tell(&mut again);
        again.finish()
    }

    #[test]
    fn what_is_collected_can_be_told_again() {
        let day: When = acequia_types::parse_day("2020-05-01").unwrap().into();
        let moment = When { second: 3_600, offset_minutes: Some(-240), precision: Precision::Second, ..day };
        let mut sink = Collector::default();
        sink.begin(&ItemHead { row: 1, kind: "Patient", key: "p1", content: b"" });
        sink.person(&Person { sex: Sex::Female, birth: Some(day), ..Person::new("p1") });
        sink.end(None);
        sink.begin(&ItemHead { row: 2, kind: "Encounter", ..ItemHead::default() });
        let visit = Event { kind: Kind::Visit, person: "p1", key: "v", visit_concept_id: 9201, ..Event::default() };
        sink.event(&Event { start: Some(moment), ..visit });
        sink.end(None);
        sink.begin(&ItemHead { row: 3, kind: "Condition", ..ItemHead::default() });
        let codes = [Code { system: "s", code: "c" }];
        let condition = Event { kind: Kind::Condition, person: "p1", codes: &codes, visit: "v", ..Event::default() };
        sink.event(&condition);
        sink.end(None);
        sink.begin(&ItemHead { row: 4, kind: "Condition", ..ItemHead::default() });
        sink.event(&Event { person: "p2", start: Some(day), ..condition });
        sink.end(None);
        let file = sink.finish();
        assert_eq!(file.records[0].events.len(), 2);
        assert_eq!(file.records[0].events[1].start.exact(), acequia_types::parse_day("2020-05-01"));
        assert_eq!(file.items[3].fate, Some(Fate::Held(Held::OtherPerson)));
        assert_eq!(told(&file), told(&told(&file)), "telling is stable");
        assert_eq!(told(&file).records, file.records);
    }
}
