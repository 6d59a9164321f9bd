//! OAI-PMH 2.0: records are data sets and models in their newest served version, with Dublin Core and DataCite; each kind
//! is a set. One of which no version is served any more stays as a deleted record, so that harvesters drop what they hold
//! of it; the datestamp of a record is that of the last publication or taking down.
//!
//! Answers are pages of at most [`PAGE`] records. A resumption token holds all that the next page needs (a format, two
//! dates, a set and the name of the last record), so that the node keeps no state for harvesters.

use std::sync::Arc;

use acequia_gate::Artefact;
use acequia_types::{Timestamp, parse_timestamp};

use super::xml::{element, escaped};
use super::{Description, datacite};
use crate::Shelf;
use crate::catalogue::{Repository, artefact_of, plural};
use crate::facts::Facts;
use crate::http::{Fields, host_name};

/// Records on a page.
const PAGE: usize = 50;

/// Metadata prefix, schema, namespace.
const FORMATS: [(&str, &str, &str); 2] = [
    ("oai_dc", "http://www.openarchives.org/OAI/2.0/oai_dc.xsd", "http://www.openarchives.org/OAI/2.0/oai_dc/"),
    ("datacite", "http://schema.datacite.org/meta/kernel-4/metadata.xsd", "http://datacite.org/schema/kernel-4"),
];

/// Sets: what a record is of, and what the set is called. Its `setSpec` is the word that addresses begin with.
const SETS: [(Artefact, &str); 2] = [(Artefact::Dataset, "Data sets"), (Artefact::Model, "Models")];

/// An error of the protocol: its code and words.
type Wrong = (&'static str, &'static str);

const BAD_TOKEN: Wrong = ("badResumptionToken", "The token is not one of this node, or its list is over.");
const NO_RECORDS: Wrong = ("noRecordsMatch", "No data set or model of that set changed in that time.");
const DATES: Wrong =
    ("badArgument", "from and until must be days or seconds in UTC, both of one kind, from not after until.");

/// Stands in the place of an e-mail address, which the protocol demands, where the operator states none. No mail ever goes
/// to a name under `invalid` (RFC 2606, section 2).
const NOT_STATED: &str = "not-stated@operator.invalid";

/// What the node says of itself.
pub(crate) struct Identity<'a> {
    pub(crate) address: &'a str,
    pub(crate) name: &'a str,
    /// An e-mail address of the operator, when one is stated.
    pub(crate) admin_email: Option<&'a str>,
    pub(crate) now: Timestamp,
}

/// What a request wants, after checking.
pub(crate) enum Wanted<'s> {
    Identify,
    Formats,
    Sets,
    Record { of: &'s Repository, format: &'static str },
    List { page: Vec<&'s Repository>, headers_only: bool, format: &'static str, token: Option<Token> },
    Wrong(Wrong),
}

/// What a list goes on with.
pub(crate) struct Token {
    /// Text of the token; empty on the last page of several.
    text: String,
    total: usize,
    cursor: usize,
}

fn identifier(address: &str, repository: &Repository) -> String {
    format!("oai:{}:{}", host_name(address), name(repository))
}

/// Data sets have had their bare names as identifiers, which persist, before models were records.
fn name(repository: &Repository) -> String {
    let (artefact, name) = (repository.newest().artefact(), &repository.newest().manifest().dataset);
    match artefact {
        Artefact::Dataset => name.to_string(),
        Artefact::Model => format!("{}/{name}", plural(artefact)),
    }
}

fn named<'s>(shelf: &'s Shelf, name: &str) -> Option<&'s Repository> {
    let (kind, name) = match name.split_once('/') {
        Some((kind, name)) if name.contains('/') => (artefact_of(kind).filter(|kind| *kind == Artefact::Model)?, name),
        _ => (Artefact::Dataset, name),
    };
    let (namespace, name) = name.split_once('/')?;
    shelf.repository(kind, namespace, name)
}

/// Data sets come before models, each in the order of their names.
fn place(name: &str) -> (usize, &str) {
    (name.matches('/').count(), name)
}

/// What is or was served, of one set or of all.
fn ever<'s>(shelf: &'s Shelf, set: &str) -> impl Iterator<Item = &'s Repository> {
    SETS.map(|(kind, _)| Some(kind).filter(|kind| set.is_empty() || plural(*kind) == set))
        .into_iter()
        .flatten()
        .flat_map(|kind| shelf.repositories_ever(kind))
}

/// Checks a request against what is on the shelf.
pub(crate) fn wanted<'s>(query: &Fields, shelf: &'s Shelf, address: &str) -> Wanted<'s> {
    match read(query, shelf, address) {
        Ok(wanted) => wanted,
        Err(wrong) => Wanted::Wrong(wrong),
    }
}

fn read<'s>(query: &Fields, shelf: &'s Shelf, address: &str) -> Result<Wanted<'s>, Wrong> {
    const REPEATED: Wrong = ("badArgument", "An argument is repeated.");
    let known = ["verb", "identifier", "metadataPrefix", "from", "until", "set", "resumptionToken"];
    if query.all("verb").count() > 1 {
        return Err(("badVerb", "The verb is repeated."));
    }
    if known.iter().any(|name| query.all(name).count() > 1) {
        return Err(REPEATED);
    }
    let only = |allowed: &[&str]| {
        let other = query.names().any(|name| name != "verb" && !allowed.contains(&name));
        if other { Err(("badArgument", "The request has an argument that the verb does not know.")) } else { Ok(()) }
    };
    let find = |name: &str| -> Result<&'s Repository, Wrong> {
        const UNKNOWN: Wrong = ("idDoesNotExist", "This node has no such data set or model.");
        let name = name.strip_prefix(&format!("oai:{}:", host_name(address))).ok_or(UNKNOWN)?;
        named(shelf, name).ok_or(UNKNOWN)
    };
    let format = |name: &str| {
        let found = FORMATS.iter().find(|(prefix, ..)| *prefix == name).map(|(prefix, ..)| *prefix);
        found.ok_or(("cannotDisseminateFormat", "There are oai_dc and datacite."))
    };
    match query.get("verb").unwrap_or_default() {
        "Identify" => only(&[]).map(|()| Wanted::Identify),
        "ListMetadataFormats" => {
            only(&["identifier"])?;
            query.get("identifier").map(find).transpose()?;
            Ok(Wanted::Formats)
        }
        "ListSets" => {
            only(&["resumptionToken"])?;
            if query.get("resumptionToken").is_some() { Err(BAD_TOKEN) } else { Ok(Wanted::Sets) }
        }
        "GetRecord" => {
            only(&["identifier", "metadataPrefix"])?;
            const NEEDED: Wrong = ("badArgument", "GetRecord needs identifier and metadataPrefix.");
            let (name, prefix) = (query.get("identifier").ok_or(NEEDED)?, query.get("metadataPrefix").ok_or(NEEDED)?);
            Ok(Wanted::Record { of: find(name)?, format: format(prefix)? })
        }
        verb @ ("ListRecords" | "ListIdentifiers") => {
            let headers_only = verb == "ListIdentifiers";
            if let Some(token) = query.get("resumptionToken") {
                only(&["resumptionToken"])?;
                let parts: Vec<&str> = token.split('!').collect();
                let [prefix, from, until, set, after] = parts[..] else { return Err(BAD_TOKEN) };
                if !(1..=2).contains(&place(after).0) {
                    return Err(BAD_TOKEN);
                }
                // Whatever is wrong with it, the harvester did not write it.
                let span = Span::of(from, until).map_err(|_| BAD_TOKEN)?;
                let format = format(prefix).map_err(|_| BAD_TOKEN)?;
                return list(shelf, headers_only, format, &span, (set, after)).map_err(|_| BAD_TOKEN);
            }
            only(&["metadataPrefix", "from", "until", "set"])?;
            let prefix = query.get("metadataPrefix").ok_or(("badArgument", "The verb needs metadataPrefix."))?;
            // An argument that is given empty is no date either.
            let dates = ["from", "until"].map(|name| query.get(name));
            if dates.contains(&Some("")) {
                return Err(DATES);
            }
            let [from, until] = dates.map(Option::unwrap_or_default);
            let (span, format) = (Span::of(from, until)?, format(prefix)?);
            let set = query.get("set");
            if set == Some("") {
                return Err(NO_RECORDS);
            }
            list(shelf, headers_only, format, &span, (set.unwrap_or_default(), ""))
        }
        _ => Err(("badVerb", "The verb is missing or is none of OAI-PMH 2.0.")),
    }
}

/// The time that a selective harvest asks for: both texts as they were given (empty: not limited), first and last
/// second.
struct Span<'a> {
    texts: [&'a str; 2],
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl<'a> Span<'a> {
    fn of(from: &'a str, until: &'a str) -> Result<Self, Wrong> {
        const DAY: &str = "0000-00-00";
        let read = |text: &str| {
            let form = |pattern: &str| {
                let fits = |(b, p): (u8, u8)| if p == b'0' { b.is_ascii_digit() } else { b == p };
                text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
            };
            let read = parse_timestamp(text).filter(|_| form(DAY) || form("0000-00-00T00:00:00Z"));
            if text.is_empty() { Ok(None) } else { read.map(Some).ok_or(DATES) }
        };
        let (first, mut last) = (read(from)?, read(until)?);
        if until.len() == DAY.len() {
            last = last.map(|start| Timestamp::from_unix_s(start.unix_s() + 24 * 60 * 60 - 1));
        }
        let both = first.zip(last);
        if both.is_some_and(|(first, last)| from.len() != until.len() || first > last) {
            return Err(DATES);
        }
        Ok(Self { texts: [from, until], first, last })
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.first.is_none_or(|first| first <= at) && self.last.is_none_or(|last| at <= last)
    }
}

fn list<'s>(
    shelf: &'s Shelf,
    headers_only: bool,
    format: &'static str,
    span: &Span<'_>,
    (set, after): (&str, &str),
) -> Result<Wanted<'s>, Wrong> {
    let all: Vec<&Repository> = ever(shelf, set).filter(|repository| span.holds(repository.changed_at())).collect();
    if all.is_empty() {
        return Err(NO_RECORDS);
    }
    let start = all.partition_point(|repository| !after.is_empty() && place(&name(repository)) <= place(after));
    if start == all.len() {
        return Err(BAD_TOKEN);
    }
    let page: Vec<&Repository> = all[start..].iter().take(PAGE).copied().collect();
    let last = start + page.len() == all.len();
    let [from, until] = span.texts;
    let next = if last {
        String::new()
    } else {
        format!("{format}!{from}!{until}!{set}!{}", page.last().map_or_else(String::new, |last| name(last)))
    };
    let token = (start > 0 || !last).then_some(Token { text: next, total: all.len(), cursor: start });
    Ok(Wanted::List { page, headers_only, format, token })
}

/// The data sets and models whose documents an answer needs.
pub(crate) fn needed<'s>(wanted: &Wanted<'s>) -> Vec<&'s Repository> {
    match wanted {
        Wanted::Record { of, .. } if of.is_served() => vec![of],
        Wanted::List { page, headers_only: false, .. } => page.iter().filter(|one| one.is_served()).copied().collect(),
        _ => Vec::new(),
    }
}

/// The answer. `facts` are those of [`needed`], in the same order.
pub(crate) fn answer(
    wanted: &Wanted<'_>,
    facts: &[Arc<Facts>],
    query: &Fields,
    repository: &Identity<'_>,
    shelf: &Shelf,
) -> String {
    let address = repository.address;
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<OAI-PMH xmlns=\"http://www.openarchives.org/OAI/2.0/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"http://www.openarchives.org/OAI/2.0/ http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd\">\n",
    );
    out.push_str(&element("responseDate", "", &repository.now.to_string()));
    let mut attributes = String::new();
    // A request that is wrong in verb or arguments is not repeated (OAI-PMH 2.0, section 3.2).
    if !matches!(wanted, Wanted::Wrong(("badVerb" | "badArgument", _))) {
        for name in ["verb", "identifier", "metadataPrefix", "from", "until", "set", "resumptionToken"] {
            if let Some(value) = query.get(name) {
                attributes.push_str(&format!(" {name}=\"{}\"", escaped(value)));
            }
        }
    }
    out.push_str(&element("request", &attributes, &format!("{address}/oai")));
    match wanted {
        Wanted::Wrong((code, words)) => out.push_str(&element("error", &format!(" code=\"{code}\""), words)),
        Wanted::Identify => {
            let earliest = ever(shelf, "").map(Repository::changed_at).min();
            out.push_str("<Identify>\n");
            for (name, text) in [
                ("repositoryName", repository.name.to_owned()),
                ("baseURL", format!("{address}/oai")),
                ("protocolVersion", "2.0".to_owned()),
                ("adminEmail", repository.admin_email.unwrap_or(NOT_STATED).to_owned()),
                ("earliestDatestamp", earliest.unwrap_or(repository.now).to_string()),
                // The shelf keeps every version that was taken down.
                ("deletedRecord", "persistent".to_owned()),
                ("granularity", "YYYY-MM-DDThh:mm:ssZ".to_owned()),
            ] {
                out.push_str(&element(name, "", &text));
            }
            out.push_str("</Identify>\n");
        }
        Wanted::Formats => {
            out.push_str("<ListMetadataFormats>\n");
            for (prefix, schema, namespace) in FORMATS {
                out.push_str("<metadataFormat>\n");
                out.push_str(&element("metadataPrefix", "", prefix));
                out.push_str(&element("schema", "", schema));
                out.push_str(&element("metadataNamespace", "", namespace));
                out.push_str("</metadataFormat>\n");
            }
            out.push_str("</ListMetadataFormats>\n");
        }
        Wanted::Sets => {
            out.push_str("<ListSets>\n");
            for (artefact, words) in SETS {
                let (spec, words) = (element("setSpec", "", plural(artefact)), element("setName", "", words));
                out.push_str(&format!("<set>\n{spec}{words}</set>\n"));
            }
            out.push_str("</ListSets>\n");
        }
        Wanted::Record { of, format } => {
            out.push_str("<GetRecord>\n");
            out.push_str(&record(address, of, facts.first().map(|facts| &**facts), format));
            out.push_str("</GetRecord>\n");
        }
        Wanted::List { page, headers_only, format, token } => {
            let verb = if *headers_only { "ListIdentifiers" } else { "ListRecords" };
            out.push_str(&format!("<{verb}>\n"));
            match headers_only {
                true => page.iter().for_each(|one| out.push_str(&header(address, one))),
                false => {
                    let mut facts = facts.iter();
                    for one in page {
                        let own = if one.is_served() { facts.next().map(|facts| &**facts) } else { None };
                        out.push_str(&record(address, one, own, format));
                    }
                }
            }
            if let Some(token) = token {
                let attributes = format!(" completeListSize=\"{}\" cursor=\"{}\"", token.total, token.cursor);
                out.push_str(&element("resumptionToken", &attributes, &token.text));
            }
            out.push_str(&format!("</{verb}>\n"));
        }
    }
    out.push_str("</OAI-PMH>\n");
    out
}

fn header(address: &str, repository: &Repository) -> String {
    let status = if repository.is_served() { "" } else { " status=\"deleted\"" };
    let identifier = element("identifier", "", &identifier(address, repository));
    let stamp = element("datestamp", "", &repository.changed_at().to_string());
    let set = element("setSpec", "", plural(repository.newest().artefact()));
    format!("<header{status}>\n{identifier}{stamp}{set}</header>\n")
}

/// A record; a deleted one has no facts and is its header only (OAI-PMH 2.0, section 2.5.1).
fn record(address: &str, repository: &Repository, facts: Option<&Facts>, format: &str) -> String {
    let header = header(address, repository);
    let Some(facts) = facts else { return format!("<record>\n{header}</record>\n") };
    let described = Description { dataset: repository, version: repository.newest(), facts, address };
    let metadata = if format == "datacite" { datacite::resource(described) } else { dublin_core(described) };
    format!("<record>\n{header}<metadata>\n{metadata}</metadata>\n</record>\n")
}

fn dublin_core(described: Description<'_>) -> String {
    let manifest = described.version.manifest();
    let mut out = String::from(
        "<oai_dc:dc xmlns:oai_dc=\"http://www.openarchives.org/OAI/2.0/oai_dc/\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xsi:schemaLocation=\"http://www.openarchives.org/OAI/2.0/oai_dc/ http://www.openarchives.org/OAI/2.0/oai_dc.xsd\">\n",
    );
    out.push_str(&element("dc:title", "", &manifest.title));
    described.creators().iter().for_each(|agent| out.push_str(&element("dc:creator", "", agent.name)));
    described.keywords().iter().for_each(|keyword| out.push_str(&element("dc:subject", "", keyword)));
    out.push_str(&element("dc:description", "", described.text()));
    out.push_str(&element("dc:publisher", "", described.publisher().name));
    out.push_str(&element("dc:date", "", &manifest.released_on.to_string()));
    // Of the types of DCMI a model is software; DataCite has one of its own.
    out.push_str(&element("dc:type", "", if described.is_model() { "Software" } else { "Dataset" }));
    out.push_str(&element("dc:identifier", "", &described.iri()));
    out.push_str(&element("dc:identifier", "", &format!("sha256:{}", described.version.digest())));
    described
        .sources()
        .iter()
        .for_each(|source| out.push_str(&element("dc:source", "", source.iri.unwrap_or(source.title))));
    described.languages().iter().for_each(|language| out.push_str(&element("dc:language", "", language)));
    out.push_str(&element("dc:rights", "", &described.license_iri()));
    out.push_str("</oai_dc:dc>\n");
    out
}
