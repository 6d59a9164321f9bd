//! DCAT-AP 3.0.1, with HealthDCAT-AP Release 8 for open data (access rights PUBLIC).
//!
//! What HealthDCAT-AP demands beyond DCAT-AP and nobody can compute, such as the health data access body, comes from the
//! version's documents; a version that does not state it is described in DCAT-AP only.

use acequia_custody::Tier;

use super::graph::{Graph, Says};
use super::{Agent, Description, EHDS};
use crate::catalogue::is_large;
use crate::facts::{number, text};
use crate::http::content_type;

const AUTHORITY: &str = "http://publications.europa.eu/resource/authority";

/// A version as a graph of its own.
pub(crate) fn version(described: Description<'_>) -> Graph {
    let mut graph = Graph::default();
    add(&mut graph, described);
    graph
}

/// One page of the feed of a catalogue.
pub(crate) struct Feed<'a> {
    pub(crate) address: &'a str,
    pub(crate) operator: Agent<'a>,
    /// `ttl` or `jsonld`, which is part of the addresses of the pages.
    pub(crate) extension: &'a str,
    /// One-based.
    pub(crate) page: usize,
    pub(crate) pages: usize,
    /// Data sets on all pages.
    pub(crate) total: usize,
}

/// The catalogue with the data sets of one page, paged as Hydra's partial collections are.
pub(crate) fn feed(feed: &Feed<'_>, described: &[Description<'_>]) -> Graph {
    let mut graph = Graph::default();
    let catalogue = format!("{}/catalogue", feed.address);
    graph.is_a(&catalogue, "dcat:Catalog");
    graph.add(&catalogue, "dct:title", Says::Local("Open health data of this node", Some("en")));
    let words = "Open, de-identified and synthetic health data sets from an altruistic data trustee.";
    graph.add(&catalogue, "dct:description", Says::Local(words, Some("en")));
    // The law that the profile for health data is made for, where a record follows it.
    let is_health = described.iter().any(|one| missing(*one).is_empty());
    if is_health {
        graph.add(&catalogue, "dcatap:applicableLegislation", Says::Iri(EHDS));
    }
    graph.add(&catalogue, "dct:language", Says::Iri(&format!("{AUTHORITY}/language/ENG")));
    graph.add(&catalogue, "foaf:homepage", Says::Iri(&format!("{}/", feed.address)));
    graph.add(&catalogue, "dct:publisher", Says::Iri(&format!("{catalogue}#publisher")));
    graph.add(&catalogue, "dcat:service", Says::Iri(&format!("{catalogue}#api")));
    for one in described {
        graph.add(&catalogue, "dcat:dataset", Says::Iri(&one.iri()));
    }
    agent(&mut graph, &format!("{catalogue}#publisher"), feed.operator);
    let service = format!("{catalogue}#api");
    graph.is_a(&service, "dcat:DataService");
    graph.add(&service, "dct:title", Says::Local("Hub-compatible interface", Some("en")));
    if is_health {
        graph.add(&service, "dcatap:applicableLegislation", Says::Iri(EHDS));
    }
    graph.add(&service, "dcat:endpointURL", Says::Iri(&format!("{}/api/datasets", feed.address)));
    graph.add(&service, "dcat:endpointDescription", Says::Iri(&format!("{}/api/openapi.json", feed.address)));
    graph.is_a(&format!("{}/", feed.address), "foaf:Document");

    let page = |page: usize| format!("{catalogue}.{}?page={page}", feed.extension);
    let view = page(feed.page);
    graph.is_a(&view, "hydra:PartialCollectionView");
    graph.add(&view, "hydra:totalItems", Says::Typed(&feed.total.to_string(), "xsd:integer"));
    graph.add(&view, "hydra:first", Says::Iri(&page(1)));
    graph.add(&view, "hydra:last", Says::Iri(&page(feed.pages)));
    if feed.page > 1 {
        graph.add(&view, "hydra:previous", Says::Iri(&page(feed.page - 1)));
    }
    if feed.page < feed.pages {
        graph.add(&view, "hydra:next", Says::Iri(&page(feed.page + 1)));
    }
    for one in described {
        add(&mut graph, *one);
    }
    graph
}

/// What HealthDCAT-AP demands and the version does not state. Empty when it is described in full.
pub(crate) fn missing(described: Description<'_>) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if described.references("healthdcatap:healthCategory").is_empty() {
        missing.push("health.categories");
    }
    if described.health_agent("healthdcatap:hdab").is_none_or(|agent| agent.contact.is_none()) {
        missing.push("health.access_body");
    }
    if described.publisher().contact.is_none() {
        missing.push("publisher.contact");
    }
    if described.columns().is_empty() {
        missing.push("columns");
    }
    // The profile asks for more where access is restricted.
    if described.version.tier() != Tier::Open {
        missing.push("open access");
    }
    missing
}

fn add(graph: &mut Graph, described: Description<'_>) {
    let version = described.version;
    let manifest = version.manifest();
    let this = described.iri();
    let own = |name: &str| format!("{this}#{name}");
    let language = described.language();
    let day = manifest.released_on.to_string();
    graph.is_a(&this, "dcat:Dataset");
    graph.add(&this, "dct:title", Says::Local(&manifest.title, language));
    graph.add(&this, "dct:description", Says::Local(described.text(), language));
    graph.add(&this, "dct:identifier", Says::Text(&this));
    graph.add(&this, "dct:identifier", Says::Text(&format!("sha256:{}", version.digest())));
    graph.add(&this, "dcat:version", Says::Text(&manifest.version));
    graph.add(&this, "dct:issued", Says::Typed(&day, "xsd:date"));
    graph.add(&this, "dct:modified", Says::Typed(&day, "xsd:date"));
    let rights = if version.tier() == Tier::Open { "PUBLIC" } else { "RESTRICTED" };
    graph.add(&this, "dct:accessRights", Says::Iri(&format!("{AUTHORITY}/access-right/{rights}")));
    graph.add(&this, "dcat:theme", Says::Iri(&format!("{AUTHORITY}/data-theme/HEAL")));
    graph.add(&this, "dcat:landingPage", Says::Iri(&this));
    graph.add(&this, "dct:isVersionOf", Says::Iri(&described.dataset_iri()));
    if let Some(previous) = described.previous() {
        graph.add(&this, "dcat:previousVersion", Says::Iri(&Description { version: previous, ..described }.iri()));
    }
    for keyword in described.keywords() {
        graph.add(&this, "dcat:keyword", Says::Local(keyword, language));
    }
    for (iri, _) in described.conditions() {
        graph.add(&this, "dct:subject", Says::Iri(iri));
    }
    for tag in described.languages() {
        if let Some(code) = language_code(tag) {
            graph.add(&this, "dct:language", Says::Iri(&format!("{AUTHORITY}/language/{code}")));
        }
    }
    graph.add(&this, "dct:publisher", Says::Iri(&own("publisher")));
    for at in 0..described.creators().len() {
        graph.add(&this, "dct:creator", Says::Iri(&own(&format!("creator-{}", at + 1))));
    }
    let contact = described.publisher().contact;
    if contact.is_some() {
        graph.add(&this, "dcat:contactPoint", Says::Iri(&own("contact")));
    }
    if described.timeframe().is_some() {
        graph.add(&this, "dct:temporal", Says::Iri(&own("timeframe")));
    }
    if text(&described.facts.croissant, "/rai:dataCollection").is_some() {
        graph.add(&this, "dct:provenance", Says::Iri(&own("provenance")));
    }
    graph.add(&this, "prov:wasGeneratedBy", Says::Iri(&own("run")));
    for at in 0..manifest.inputs.len() {
        graph.add(&this, "dct:source", Says::Iri(&own(&format!("input-{}", at + 1))));
    }
    if described.use_term().is_some() {
        graph.add(&this, "odrl:hasPolicy", Says::Iri(&own("policy")));
    }
    for path in ["README.md", "dictionary.json", "risk.json", "diversity.json"] {
        if let Some(file) = version.files().get(path) {
            graph.add(&this, "foaf:page", Says::Iri(&described.file_iri(file)));
        }
    }
    let tables: Vec<_> = version.files().values().filter(|file| is_large(file)).collect();
    for file in &tables {
        graph.add(&this, "dcat:distribution", Says::Iri(&format!("{}#distribution", described.file_iri(file))));
    }
    let analytics = version.files().get("statistics.json");
    let is_health = missing(described).is_empty();
    if is_health {
        graph.add(&this, "dcatap:applicableLegislation", Says::Iri(EHDS));
        graph.add(
            &this,
            "dct:conformsTo",
            Says::Iri("https://healthdataeu.pages.code.europa.eu/healthdcat-ap/releases/release-8/"),
        );
        health(graph, described, &this);
    }

    agent(graph, &own("publisher"), described.publisher());
    for (at, creator) in described.creators().into_iter().enumerate() {
        agent(graph, &own(&format!("creator-{}", at + 1)), creator);
    }
    if let Some(contact) = contact {
        let kind = own("contact");
        graph.is_a(&kind, "vcard:Kind");
        graph.add(&kind, "vcard:fn", Says::Text(described.publisher().name));
        match contact.contains('@') {
            true => graph.add(&kind, "vcard:hasEmail", Says::Iri(&format!("mailto:{contact}"))),
            false => graph.add(&kind, "vcard:hasURL", Says::Iri(contact)),
        }
    }
    if let Some((from, to)) = described.timeframe() {
        let span = own("timeframe");
        graph.is_a(&span, "dct:PeriodOfTime");
        graph.add(&span, "dcat:startDate", date(from));
        graph.add(&span, "dcat:endDate", date(to));
    }
    if let Some(words) = text(&described.facts.croissant, "/rai:dataCollection") {
        graph.is_a(&own("provenance"), "dct:ProvenanceStatement");
        graph.add(&own("provenance"), "rdfs:label", Says::Local(words, language));
    }
    let run = own("run");
    graph.is_a(&run, "prov:Activity");
    graph.add(
        &run,
        "rdfs:label",
        Says::Text(&format!("{}, recipe sha256:{}, split seed {}", manifest.program, manifest.recipe, manifest.seed)),
    );
    for (at, input) in manifest.inputs.iter().enumerate() {
        let entity = own(&format!("input-{}", at + 1));
        graph.add(&run, "prov:used", Says::Iri(&entity));
        graph.is_a(&entity, "prov:Entity");
        graph.add(
            &entity,
            "rdfs:label",
            Says::Text(&format!("{} ({}, {} files)", input.source, input.format, input.files)),
        );
        graph.add(&entity, "dct:identifier", Says::Text(&format!("sha256:{}", input.digest)));
    }
    if let Some((term, _)) = described.use_term() {
        policy(graph, &own, term, described.asks_for_attribution());
    }
    for file in tables.into_iter().chain(analytics.filter(|_| is_health)) {
        distribution(graph, described, file, &this, is_health);
    }
    // The page that names the data set whichever version is the newest.
    let series = described.dataset_iri();
    graph.add(&series, "dcat:hasVersion", Says::Iri(&this));
}

/// What everybody may do, and what nobody may: ODRL 2.2, as the version's Croissant document has it.
fn policy(graph: &mut Graph, own: &impl Fn(&str) -> String, term: &str, attribution: bool) {
    let policy = own("policy");
    graph.is_a(&policy, "odrl:Offer");
    graph.add(&policy, "odrl:permission", Says::Iri(&own("permission")));
    graph.add(&policy, "odrl:prohibition", Says::Iri(&own("prohibition")));
    graph.is_a(&own("permission"), "odrl:Permission");
    graph.add(&own("permission"), "odrl:action", Says::Name("odrl:use"));
    graph.add(&own("permission"), "odrl:constraint", Says::Iri(&own("purpose")));
    if attribution {
        graph.add(&own("permission"), "odrl:duty", Says::Iri(&own("duty")));
        graph.is_a(&own("duty"), "odrl:Duty");
        graph.add(&own("duty"), "odrl:action", Says::Name("odrl:attribute"));
    }
    graph.is_a(&own("purpose"), "odrl:Constraint");
    graph.add(&own("purpose"), "odrl:leftOperand", Says::Name("odrl:purpose"));
    graph.add(&own("purpose"), "odrl:operator", Says::Name("odrl:isA"));
    graph.add(&own("purpose"), "odrl:rightOperand", Says::Iri(term));
    graph.is_a(&own("prohibition"), "odrl:Prohibition");
    graph.add(&own("prohibition"), "odrl:action", Says::Iri("https://w3id.org/dpv/risk#Reidentification"));
}

fn distribution(
    graph: &mut Graph,
    described: Description<'_>,
    file: &acequia_gate::ReleasedFile,
    this: &str,
    is_health: bool,
) {
    let address = described.file_iri(file);
    let (node, checksum) = (format!("{address}#distribution"), format!("{address}#checksum"));
    graph.is_a(&node, "dcat:Distribution");
    graph.add(&node, "dct:title", Says::Text(&file.path));
    graph.add(&node, "dcat:accessURL", Says::Iri(this));
    graph.add(&node, "dcat:downloadURL", Says::Iri(&address));
    if is_health {
        // HealthDCAT-AP demands both.
        graph.add(&node, "dcatap:applicableLegislation", Says::Iri(EHDS));
        graph.add(&node, "dcatap:availability", Says::Iri(&format!("{AUTHORITY}/planned-availability/STABLE")));
    }
    graph.add(&node, "dct:license", Says::Iri(&described.license_iri()));
    let media = content_type(&file.path).split(';').next().unwrap_or_default();
    graph.add(&node, "dcat:mediaType", Says::Iri(&format!("https://www.iana.org/assignments/media-types/{media}")));
    graph.add(&node, "dcat:byteSize", Says::Typed(&file.bytes.to_string(), "xsd:nonNegativeInteger"));
    graph.add(&node, "spdx:checksum", Says::Iri(&checksum));
    graph.is_a(&checksum, "spdx:Checksum");
    graph.add(&checksum, "spdx:algorithm", Says::Name("spdx:checksumAlgorithm_sha256"));
    graph.add(&checksum, "spdx:checksumValue", Says::Typed(&file.sha256.to_string(), "xsd:hexBinary"));
}

/// The part of HealthDCAT-AP.
fn health(graph: &mut Graph, described: Description<'_>, this: &str) {
    let told = &described.facts.croissant;
    let language = described.language();
    let own = |name: &str| format!("{this}#{name}");
    for (property, predicate) in [
        ("healthdcatap:healthCategory", "healthdcatap:healthCategory"),
        ("healthdcatap:healthTheme", "healthdcatap:healthTheme"),
        ("healthdcatap:hasCodingSystem", "healthdcatap:hasCodingSystem"),
        ("dpv:hasLegalBasis", "dpv:hasLegalBasis"),
        ("dpv:hasPurpose", "dpv:hasPurpose"),
    ] {
        for iri in described.references(property) {
            graph.add(this, predicate, Says::Iri(iri));
        }
    }
    if let Some(words) = text(told, "/healthdcatap:populationCoverage") {
        graph.add(this, "healthdcatap:populationCoverage", Says::Local(words, language));
    }
    let counts = [
        ("healthdcatap:minTypicalAge", number(told, "/healthdcatap:minTypicalAge").map(|age| age as u64)),
        ("healthdcatap:maxTypicalAge", number(told, "/healthdcatap:maxTypicalAge").map(|age| age as u64)),
        ("healthdcatap:numberOfRecords", Some(described.version.people())),
        ("healthdcatap:numberOfUniqueIndividuals", described.people()),
    ];
    for (predicate, count) in counts {
        if let Some(count) = count {
            graph.add(this, predicate, Says::Typed(&count.to_string(), "xsd:nonNegativeInteger"));
        }
    }
    graph.add(this, "healthdcatap:hasStructuredData", Says::Typed("true", "xsd:boolean"));
    graph.add(this, "healthdcatap:hasVariables", Says::Iri(&own("variables")));
    if let Some(file) = described.version.files().get("statistics.json") {
        graph.add(this, "healthdcatap:analytics", Says::Iri(&format!("{}#distribution", described.file_iri(file))));
    }
    if let Some(file) = described.version.files().get("diversity.json") {
        graph.add(this, "dqv:hasQualityAnnotation", Says::Iri(&own("quality")));
        graph.is_a(&own("quality"), "dqv:QualityAnnotation");
        graph.add(&own("quality"), "oa:hasBody", Says::Iri(&described.file_iri(file)));
    }
    for (property, predicate, name) in [
        ("healthdcatap:hdab", "healthdcatap:hdab", "access-body"),
        ("healthdcatap:custodian", "geodcatap:custodian", "custodian"),
    ] {
        if let Some(found) = described.health_agent(property).filter(|agent| agent.contact.is_some()) {
            graph.add(this, predicate, Says::Iri(&own(name)));
            agent(graph, &own(name), found);
        }
    }
    variables(graph, described, this);
}

/// The data dictionary as a CSVW table group: every split has the same columns.
fn variables(graph: &mut Graph, described: Description<'_>, this: &str) {
    let (group, table) = (format!("{this}#variables"), format!("{this}#table"));
    let language = described.language();
    let title = &described.version.manifest().title;
    graph.is_a(&group, "csvw:TableGroup");
    graph.add(&group, "dct:title", Says::Local(title, language));
    graph.add(&group, "csvw:table", Says::Iri(&table));
    graph.is_a(&table, "csvw:Table");
    graph.add(&table, "dct:title", Says::Local(title, language));
    let tables = described.version.files().values().filter(|file| is_large(file));
    if let Some(file) = tables.min_by_key(|file| (!file.path.contains("train"), &file.path)) {
        graph.add(&table, "csvw:url", Says::Iri(&described.file_iri(file)));
    }
    for (at, column) in described.columns().iter().enumerate() {
        let Some(name) = text(column, "/name") else { continue };
        let node = format!("{this}#column-{}", at + 1);
        graph.add(&table, "csvw:column", Says::Iri(&node));
        graph.is_a(&node, "csvw:Column");
        graph.add(&node, "csvw:name", Says::Text(name));
        graph.add(&node, "csvw:title", Says::Local(text(column, "/title").unwrap_or(name), language));
        graph.add(&node, "dct:description", Says::Local(&in_words(column, name), language));
        graph.add(&node, "csvw:datatype", Says::Text(datatype(text(column, "/type").unwrap_or("string"))));
        let elsewhere = column.get("equivalent").and_then(|all| all.get(0)).and_then(serde_json::Value::as_str);
        if let Some(iri) = elsewhere.filter(|iri| iri.starts_with("http")) {
            graph.add(&node, "csvw:propertyUrl", Says::Iri(iri));
        }
    }
}

/// Description, unit, codes and what de-identification did to a column.
fn in_words(column: &serde_json::Value, name: &str) -> String {
    let mut words = text(column, "/description").or_else(|| text(column, "/title")).unwrap_or(name).to_owned();
    if let Some(unit) = text(column, "/unit") {
        words.push_str(&format!(" Unit: {unit} (UCUM)."));
    }
    if let Some(how) = text(column, "/generalisation") {
        words.push_str(&format!(" De-identification: {how}."));
    }
    if let Some(codes) = column.get("values").and_then(serde_json::Value::as_object).filter(|codes| !codes.is_empty()) {
        let codes: Vec<String> =
            codes.iter().map(|(code, label)| format!("{code} = {}", label.as_str().unwrap_or_default())).collect();
        words.push_str(&format!(" Codes: {}.", codes.join("; ")));
    }
    words
}

/// A datatype of CSVW ("Metadata Vocabulary for Tabular Data", section 5.11.1).
fn datatype(kind: &str) -> &'static str {
    match kind {
        "bool" => "boolean",
        "date32" => "date",
        "float32" => "float",
        "float64" => "double",
        kind if kind.starts_with("int") || kind.starts_with("uint") => "integer",
        _ => "string",
    }
}

fn agent(graph: &mut Graph, node: &str, agent: Agent<'_>) {
    graph.is_a(node, "foaf:Agent");
    graph.add(node, "foaf:name", Says::Text(agent.name));
    if let Some(url) = agent.url {
        graph.add(node, "foaf:homepage", Says::Iri(url));
    }
    let Some(contact) = agent.contact else { return };
    let point = format!("{node}-contact");
    graph.add(node, "cv:contactPoint", Says::Iri(&point));
    graph.is_a(&point, "cv:ContactPoint");
    match contact.contains('@') {
        true => graph.add(&point, "cv:email", Says::Text(contact)),
        false => graph.add(&point, "cv:contactPage", Says::Iri(contact)),
    }
}

fn date(text: &str) -> Says<'_> {
    let kind = match text.len() {
        4 => "xsd:gYear",
        7 => "xsd:gYearMonth",
        _ => "xsd:date",
    };
    Says::Typed(text, kind)
}

/// The code of a language in the Publications Office's list, for the languages of the Union and its neighbours.
fn language_code(tag: &str) -> Option<&'static str> {
    let short = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    const CODES: [(&str, &str); 27] = [
        ("bg", "BUL"),
        ("cs", "CES"),
        ("da", "DAN"),
        ("de", "DEU"),
        ("el", "ELL"),
        ("en", "ENG"),
        ("es", "SPA"),
        ("et", "EST"),
        ("fi", "FIN"),
        ("fr", "FRA"),
        ("ga", "GLE"),
        ("hr", "HRV"),
        ("hu", "HUN"),
        ("it", "ITA"),
        ("lt", "LIT"),
        ("lv", "LAV"),
        ("mt", "MLT"),
        ("nl", "NLD"),
        ("no", "NOR"),
        ("pl", "POL"),
        ("pt", "POR"),
        ("ro", "RON"),
        ("sk", "SLK"),
        ("sl", "SLV"),
        ("sv", "SWE"),
        ("tr", "TUR"),
        ("uk", "UKR"),
    ];
    CODES.iter().find(|(known, _)| *known == short).map(|(_, code)| *code)
}
