//! Reading FHIR R4 (HL7 FHIR R4, `hl7.org/fhir/R4`): bundles of any type, NDJSON of resources or of bundles, single
//! resources, International Patient Summaries.
//!
//! Each resource is one item. It is parsed once, into a struct of the elements that OMOP needs, and told to a [`Sink`] in
//! the [`Pass`] of its type. References (`urn:uuid:…`, `Patient/1`, absolute URLs, a bundle's `fullUrl`s) become keys.

mod kinds;
mod resource;
mod tell;

use std::collections::HashMap;

use acequia_omop::{Collector, Excluded, Fate, ItemHead, Pass, Passes, Sink, SourceFile};
use acequia_types::{Place, Problem};
use bumpalo::Bump;

use crate::json::{Bad, Json, Result};
use crate::{IntakeError, MOST_ITEMS};
use kinds::{Kind, Treatment};
use resource::{Resource, each, members, string};
use tell::Teller;

/// One entry of a bundle.
#[derive(Debug, Clone, Copy, Default)]
struct Entry<'a> {
    full_url: &'a str,
    resource: &'a str,
    method: &'a str,
}

/// The fullUrls of a bundle, and the keys of the resources they name.
type FullUrls<'a> = HashMap<&'a str, &'a str>;

fn json_error(text: &str, bad: Bad) -> IntakeError {
    let before = &text.as_bytes()[..bad.at.min(text.len())];
    let row = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if bad.ended {
        IntakeError::Truncated { row }
    } else {
        IntakeError::Json { row, character: (bad.at - line_start) as u64 + 1 }
    }
}

/// A bundle as an owned [`SourceFile`]: each entry's resource is one item, its row the one-based entry number.
pub(crate) fn read_bundle(text: &str) -> std::result::Result<SourceFile, IntakeError> {
    collect(|pass, sink| tell_bundle(text, pass, sink).map(|_| ()))
}

/// NDJSON as an owned [`SourceFile`]: each line is one item; of a line that is a bundle, each entry.
pub(crate) fn read_ndjson(text: &str) -> std::result::Result<SourceFile, IntakeError> {
    collect(|pass, sink| {
        tell_lines(text, 1, pass, sink);
        Ok(())
    })
}

fn collect(
    mut tell: impl FnMut(Pass, &mut dyn Sink) -> std::result::Result<(), IntakeError>,
) -> std::result::Result<SourceFile, IntakeError> {
    let mut collector = Collector::default();
    for pass in Pass::ALL {
        tell(pass, &mut collector)?;
        if collector.items() > MOST_ITEMS {
            return Err(IntakeError::TooMany { most: MOST_ITEMS });
        }
    }
    let mut file = collector.finish();
    file.sort_items();
    Ok(file)
}

/// Tells a bundle, or a single resource, in one pass; items are numbered from 1 by entry.
///
/// # Errors
/// [`IntakeError`] when the text is not JSON, or is JSON but no FHIR bundle or resource.
pub(crate) fn tell_bundle(text: &str, pass: Pass, sink: &mut dyn Sink) -> std::result::Result<Passes, IntakeError> {
    let arena = Bump::new();
    let mut json = Json::new(text, &arena);
    json.skip().map_err(|bad| json_error(text, bad))?;
    if !json.is_done() {
        return Err(json_error(text, Bad { at: json.at(), ended: false }));
    }
    let text = text.trim();
    if kind_of(text, &arena).ok().flatten() != Some("Bundle") {
        return Err(IntakeError::NotABundle);
    }
    let entries = entries(text, &arena).map_err(|bad| json_error(text, bad))?.ok_or(IntakeError::NotABundle)?;
    let mut reader = Reader::new(&arena, pass, sink);
    reader.bundle(&entries, None);
    Ok(reader.passes)
}

/// Tells lines, each a resource or a bundle, in one pass. `first_row` is the one-based number of the first line.
///
/// A line that is not JSON is told as rejected, in the pass for persons; the others are not touched by it.
pub(crate) fn tell_lines(text: &str, first_row: u64, pass: Pass, sink: &mut dyn Sink) -> Passes {
    let mut arena = Bump::new();
    let mut passes = Passes::default();
    let mut row = first_row;
    let mut rest = text;
    // The arena is emptied now and then, so that a chunk with many escapes does not hold all of them.
    const LINES_PER_ARENA: usize = 4_096;
    while !rest.is_empty() {
        let mut reader = Reader::new(&arena, pass, sink);
        for _ in 0..LINES_PER_ARENA {
            if rest.is_empty() {
                break;
            }
            let (line, after) = match memchr::memchr(b'\n', rest.as_bytes()) {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest, ""),
            };
            rest = after;
            let line = line.trim_ascii();
            if !line.is_empty() {
                reader.line(line, row);
            }
            row += 1;
        }
        passes = passes.with(reader.passes);
        arena.reset();
    }
    passes
}

/// The `resourceType` of a JSON object; `None` when it has none that is a text.
fn kind_of<'a>(text: &'a str, arena: &'a Bump) -> Result<Option<&'a str>> {
    // Most servers write the type first.
    if let Some(rest) = text.strip_prefix("{\"resourceType\":\"")
        && let Some(end) = rest.as_bytes().iter().take(64).position(|byte| matches!(byte, b'"' | b'\\'))
        && rest.as_bytes()[end] == b'"'
    {
        return Ok(Some(&rest[..end]));
    }
    let mut json = Json::new(text, arena);
    if json.peek()? != b'{' {
        json.skip()?;
        return Ok(None);
    }
    json.object()?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        if key == "resourceType" {
            return string(&mut json).map(|kind| (!kind.is_empty()).then_some(kind));
        }
        json.skip()?;
    }
    Ok(None)
}

/// The entries of a bundle; `None` when `entry` is no array.
fn entries<'a>(text: &'a str, arena: &'a Bump) -> Result<Option<Vec<Entry<'a>>>> {
    let mut json = Json::new(text, arena);
    let (mut entries, mut found) = (Vec::new(), false);
    members(&mut json, |key, json| {
        if key != "entry" || json.peek()? != b'[' {
            return json.skip();
        }
        found = true;
        each(json, |json| {
            let mut entry = Entry::default();
            members(json, |key, json| {
                match key {
                    "fullUrl" => entry.full_url = string(json)?,
                    "resource" => entry.resource = json.skip_text()?,
                    "request" => members(json, |key, json| {
                        match key {
                            "method" => entry.method = string(json)?,
                            _ => json.skip()?,
                        }
                        Ok(())
                    })?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            entries.push(entry);
            Ok(())
        })
    })?;
    Ok(found.then_some(entries))
}

struct Reader<'s, 'a> {
    arena: &'a Bump,
    pass: Pass,
    sink: &'s mut dyn Sink,
    resource: Resource<'a>,
    passes: Passes,
}

impl<'s, 'a> Reader<'s, 'a> {
    fn new(arena: &'a Bump, pass: Pass, sink: &'s mut dyn Sink) -> Self {
        Self { arena, pass, sink, resource: Resource::default(), passes: Passes::default() }
    }

    /// One line of NDJSON.
    fn line(&mut self, line: &'a str, row: u64) {
        match kind_of(line, self.arena) {
            Ok(Some("Bundle")) => {
                match entries(line, self.arena) {
                    Ok(entries) => self.bundle(&entries.unwrap_or_default(), Some(row)),
                    Err(bad) => self.not_json(row, line, "Bundle", bad),
                }
                self.passes = Passes::all();
            }
            Ok(kind) => self.item(line, kind, &Entry::default(), row, None, None),
            Err(bad) => self.not_json(row, line, "unknown", bad),
        }
    }

    /// The entries of a bundle that stands in one line, or is a whole file.
    fn bundle(&mut self, entries: &[Entry<'a>], line: Option<u64>) {
        let mut urls = FullUrls::new();
        for entry in entries.iter().filter(|entry| !entry.full_url.is_empty()) {
            urls.insert(entry.full_url, own_key(id_of(entry.resource, self.arena), entry.full_url));
        }
        for (at, entry) in entries.iter().enumerate() {
            let nth = at as u64 + 1;
            let kind = kind_of(entry.resource, self.arena).ok().flatten();
            let within = line.map(|_| nth);
            self.item(entry.resource, kind, entry, line.unwrap_or(nth), Some(&urls), within);
        }
        self.passes = Passes::all();
    }

    fn not_json(&mut self, row: u64, line: &str, kind: &str, bad: Bad) {
        self.passes = self.passes.with(Passes::only(Pass::Persons));
        if self.pass != Pass::Persons {
            return;
        }
        self.sink.begin(&ItemHead { row, kind, key: "", content: line.as_bytes() });
        let what = if bad.ended {
            "the JSON ends too early".to_owned()
        } else {
            format!("the JSON is not well-formed at character {}", bad.at + 1)
        };
        let hint = "export the line again, or mend it at the stated place; the other lines are not touched by it";
        self.sink.problem(Problem::new("IN110", what, Place::row(row), hint));
        self.sink.end(Some(Fate::Rejected("IN110".to_owned())));
    }

    fn item(
        &mut self,
        text: &'a str,
        kind: Option<&'a str>,
        entry: &Entry<'a>,
        row: u64,
        urls: Option<&FullUrls<'a>>,
        within: Option<u64>,
    ) {
        let known = kind.map_or(Kind::NONE, kinds::kind);
        let pass = known.pass();
        self.passes = self.passes.with(Passes::only(pass));
        if pass != self.pass {
            return;
        }
        let content = self.content(text, entry);
        if self.sink.known(content) {
            return;
        }
        // A resource type is a code of the standard; anything else might be a text of the file.
        let plain = |kind: &&str| kind.len() <= 40 && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
        let name = kind.filter(plain).unwrap_or("unknown");
        let place = Place::row(row);
        let place = within.map_or(place.clone(), |nth| place.column(&format!("Bundle.entry[{nth}]")));
        let mut json = Json::new(text, self.arena);
        let Some(kind) = kind else {
            self.sink.begin(&ItemHead { row, kind: name, key: "", content });
            if matches!(entry.method, "DELETE" | "GET" | "HEAD") {
                return self.sink.end(Some(Fate::Excluded(Excluded::Administrative)));
            }
            let hint = "every line, and every entry of a bundle, holds a FHIR resource with its resourceType";
            let place = within.map_or_else(|| place.column("resourceType"), |_| place.clone());
            self.sink.problem(Problem::new("IN108", "the entry has no resourceType", place, hint));
            return self.sink.end(Some(Fate::Rejected("IN108".to_owned())));
        };
        let head = |key: &'a str| ItemHead { row, kind: name, key, content };
        let fate = match known.treatment() {
            Treatment::Leave(fate) => {
                // Only its form and its id matter.
                let mut id = "";
                let read = members(&mut json, |key, json| match key {
                    "id" => string(json).map(|text| id = text),
                    _ => json.skip(),
                });
                if let Err(bad) = read.and_then(|()| end_of(&mut json)) {
                    return self.rejected(&head(""), &place, bad);
                }
                self.sink.begin(&head(own_key(id, entry.full_url)));
                fate
            }
            Treatment::Tell => {
                if let Err(bad) = self.resource.read(&mut json).and_then(|()| end_of(&mut json)) {
                    return self.rejected(&head(""), &place, bad);
                }
                let key = own_key(self.resource.id, entry.full_url);
                self.sink.begin(&head(key));
                let teller = Teller { kind, key, resource: &self.resource, urls, place: &place };
                match teller.tell(self.sink) {
                    Ok(fate) => return self.sink.end(fate),
                    Err(problem) => {
                        let fate = Fate::Rejected(problem.code.clone());
                        self.sink.problem(problem);
                        fate
                    }
                }
            }
        };
        self.sink.end(Some(fate));
    }

    /// The bytes of a resource; before them its fullUrl where that stands for its id: the same words about two persons are two
    /// contents.
    fn content(&self, text: &'a str, entry: &Entry<'a>) -> &'a [u8] {
        if entry.full_url.is_empty() || !id_of(text, self.arena).is_empty() {
            return text.as_bytes();
        }
        self.arena.alloc_str(&[entry.full_url, text].join("\n")).as_bytes()
    }

    fn rejected(&mut self, head: &ItemHead<'_>, place: &Place, bad: Bad) {
        self.sink.begin(head);
        let what = if bad.ended {
            "the JSON ends too early".to_owned()
        } else {
            format!("the JSON is not well-formed at character {}", bad.at + 1)
        };
        let hint = "export the resource again, or mend it at the stated place; the others are not touched by it";
        self.sink.problem(Problem::new("IN110", what, place.clone(), hint));
        self.sink.end(Some(Fate::Rejected("IN110".to_owned())));
    }
}

fn end_of(json: &mut Json<'_>) -> Result<()> {
    if json.is_done() { Ok(()) } else { Err(Bad { at: json.at(), ended: false }) }
}

/// `id` of a resource, read without the rest.
fn id_of<'a>(text: &'a str, arena: &'a Bump) -> &'a str {
    let (mut json, mut id) = (Json::new(text, arena), "");
    // What is not JSON is told when the entry itself is read.
    let _ = members(&mut json, |key, json| match key {
        "id" => string(json).map(|text| id = text),
        _ => json.skip(),
    });
    id
}

/// The key of a resource: its id, or the tail of its fullUrl.
fn own_key<'a>(id: &'a str, full_url: &'a str) -> &'a str {
    if id.is_empty() { tail(full_url) } else { id }
}

/// `urn:uuid:X` → `X`, `https://host/Patient/X` → `X`, `Patient/X/_history/2` → `X`.
fn tail(reference: &str) -> &str {
    if let Some(uuid) = reference.strip_prefix("urn:uuid:") {
        return uuid;
    }
    versionless(reference).rsplit('/').next().unwrap_or_default()
}

/// A reference without `/_history/…`.
fn versionless(reference: &str) -> &str {
    // Ids are long and underscores rare: one look at single bytes is cheaper than a search for the word.
    if memchr::memchr(b'_', reference.as_bytes()).is_none() {
        return reference;
    }
    reference.split_once("/_history/").map_or(reference, |(whole, _)| whole)
}

/// The pass that FHIR lines are expected to need, by their first line: in a bulk export, all lines of a file have one type
/// (HL7 Bulk Data Access, "File requests"). `None` for bundles and for what is not known.
pub fn expected_pass(head: &[u8]) -> Option<Pass> {
    let line = std::str::from_utf8(&head[..memchr::memchr(b'\n', head)?]).ok()?;
    let arena = Bump::new();
    match kind_of(line.trim_ascii(), &arena).ok()?? {
        "Bundle" => None,
        kind => Some(kinds::kind(kind).pass()),
    }
}

#[cfg(test)]
mod tests {
    use acequia_omop::{Held, ItemCounts, Unmapped};

    use super::*;

    const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
      {"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1950-02-03","name":[{"family":"Secretname"}]}},
      {"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},"subject":{"reference":"urn:uuid:p"},"period":{"start":"2010-01-01T10:00:00Z"}}},
      {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/p"},"encounter":{"reference":"urn:uuid:e"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"254837009"}]},"clinicalStatus":{"coding":[{"code":"recurrence"}]},"onsetDateTime":"2012-05"}},
      {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:p"},"code":{"coding":[{"system":"http://loinc.org","code":"33728-7"}]},"effectiveDateTime":"2010-02-30","valueQuantity":{"value":2.5,"code":"cm"}}},
      {"resource":{"resourceType":"Observation","status":"entered-in-error","subject":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Procedure","status":"not-done","subject":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Flag","patient":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Device","patient":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:other"},"code":{"coding":[{"system":"s","code":"c"}]},"effectiveDateTime":"2010-02-01"}}
    ]}"#;

    #[test]
    fn each_resource_meets_its_fate() {
        let file = read_bundle(BUNDLE).unwrap();
        let fates: Vec<_> = file.items.iter().map(|item| item.fate.clone()).collect();
        assert_eq!(
            fates,
            [
                None,
                None,
                None,
                Some(Fate::Rejected("IN103".to_owned())),
                Some(Fate::Excluded(Excluded::EnteredInError)),
                Some(Fate::Excluded(Excluded::DidNotHappen)),
                Some(Fate::Unmapped(Unmapped::Kind)),
                Some(Fate::Held(Held::NoDate)),
                Some(Fate::Held(Held::OtherPerson)),
            ]
        );
        let events = &file.records[0].events;
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].codings[0].code, "breast-cancer-recurrence");
        assert_eq!(events[1].visit, events[0].own_key);
        let problem = file.problems[0].to_string();
        assert_eq!(problem, "row 4, column Observation.effectiveDateTime: no such day in the calendar (IN103)");
        assert!(!ItemCounts::of(&file.items).add_up(), "what is left open is for unify to decide");
    }

    #[test]
    fn truncation_is_told_from_bad_syntax() {
        assert!(matches!(read_bundle(&BUNDLE[..900]), Err(IntakeError::Truncated { .. })));
        assert!(matches!(read_bundle(&BUNDLE.replacen(':', ";", 3)), Err(IntakeError::Json { row: 1, .. })));
        assert_eq!(read_bundle("{}"), Err(IntakeError::NotABundle));
    }

    #[test]
    fn one_broken_line_does_not_touch_the_others() {
        let text = "{\"resourceType\":\"Patient\",\"id\":\"p\",\"birthDate\":\"1950\"}\n{\"resourceType\":\"Claim\",\"id\":\n\n[1]\nx\n";
        let file = read_ndjson(text).unwrap();
        let rows: Vec<_> = file.items.iter().map(|item| (item.row, item.fate.clone())).collect();
        let rejected = |code: &str| Some(Fate::Rejected(code.to_owned()));
        assert_eq!(rows, [(1, None), (2, rejected("IN110")), (4, rejected("IN108")), (5, rejected("IN110"))]);
        assert_eq!(file.problems[0].to_string(), "row 2: the JSON ends too early (IN110)");
    }

    #[test]
    fn references_become_keys() {
        assert_eq!(tail("urn:uuid:x-1"), "x-1");
        assert_eq!(tail("https://host/fhir/Patient/1"), "1");
        assert_eq!(tail("Patient/1/_history/2"), "1");
    }
}
