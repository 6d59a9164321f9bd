//! What a version is, in the forms that catalogues, harvesters and citation tools read.
//!
//! Nothing here is typed by anybody: every form is computed from the documents that the version itself holds, which
//! are the manifest, the data dictionary and the Croissant description.

pub(crate) mod cite;
pub(crate) mod datacite;
pub(crate) mod dcat;
pub(crate) mod drs;
pub(crate) mod graph;
pub(crate) mod oai;
pub(crate) mod ro_crate;
pub(crate) mod schema_org;
pub(crate) mod signposting;
pub(crate) mod xml;

use acequia_custody::Tier;
use acequia_gate::{Artefact, ReleasedFile};
use serde_json::Value;

use crate::catalogue::Repository;
use crate::facts::{Facts, Kind, list, text};
use crate::pages::{license_address, version_path};
use crate::{PublishedVersion, admission};

/// Regulation (EU) 2025/327 on the European Health Data Space.
pub(crate) const EHDS: &str = "http://data.europa.eu/eli/reg/2025/327/oj";

/// One form in which a version is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Croissant,
    DcatTurtle,
    DcatJsonLd,
    SchemaOrg,
    SchemaOrgOfModel,
    DataCite,
    DataCiteXml,
    RoCrate,
    Linkset,
    Csl,
    Bibtex,
    CitationFile,
}

/// A form with what it is called, under which name a version offers it, and as which media type.
pub(crate) struct Offered {
    pub(crate) form: Form,
    pub(crate) title: &'static str,
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// The profile that a document of this form follows.
    pub(crate) profile: Option<&'static str>,
}

const fn offered(
    form: Form,
    title: &'static str,
    name: &'static str,
    media_type: &'static str,
    profile: Option<&'static str>,
) -> Offered {
    Offered { form, title, name, media_type, profile }
}

/// Every form, in the order in which they are offered. Their names are kept free of the version's own files.
pub(crate) const FORMS: [Offered; 12] = [
    offered(
        Form::Croissant,
        "Croissant 1.1 with RAI",
        "croissant.jsonld",
        "application/ld+json",
        Some("http://mlcommons.org/croissant/1.1"),
    ),
    offered(
        Form::DcatTurtle,
        "DCAT-AP 3.0.1 and HealthDCAT-AP, Turtle",
        "dcat.ttl",
        "text/turtle",
        Some("http://data.europa.eu/r5r/"),
    ),
    offered(
        Form::DcatJsonLd,
        "DCAT-AP 3.0.1 and HealthDCAT-AP, JSON-LD",
        "dcat.jsonld",
        "application/ld+json",
        Some("http://data.europa.eu/r5r/"),
    ),
    offered(Form::SchemaOrg, "schema.org", "schema.jsonld", "application/ld+json", Some("https://schema.org/Dataset")),
    offered(
        Form::SchemaOrgOfModel,
        "schema.org",
        "schema.jsonld",
        "application/ld+json",
        Some("https://schema.org/SoftwareApplication"),
    ),
    offered(
        Form::DataCite,
        "DataCite 4, JSON",
        "datacite.json",
        "application/vnd.datacite.datacite+json",
        Some("http://datacite.org/schema/kernel-4"),
    ),
    offered(
        Form::DataCiteXml,
        "DataCite 4, XML",
        "datacite.xml",
        "application/vnd.datacite.datacite+xml",
        Some("http://datacite.org/schema/kernel-4"),
    ),
    offered(
        Form::RoCrate,
        "RO-Crate 1.1",
        "ro-crate-metadata.json",
        "application/ld+json",
        Some("https://w3id.org/ro/crate/1.1"),
    ),
    offered(Form::Linkset, "Signposting link set", "linkset.json", "application/linkset+json", None),
    offered(Form::Csl, "Citation, CSL-JSON", "citation.json", "application/vnd.citationstyles.csl+json", None),
    offered(Form::Bibtex, "Citation, BibTeX", "citation.bib", "application/x-bibtex", None),
    offered(Form::CitationFile, "Citation File Format", "CITATION.cff", "application/yaml", None),
];

/// The forms in which a version of this kind is described. Croissant, DCAT-AP and schema.org's `Dataset` are about rows.
pub(crate) fn forms(artefact: Artefact) -> impl Iterator<Item = &'static Offered> {
    FORMS.iter().filter(move |offered| match offered.form {
        Form::Croissant | Form::DcatTurtle | Form::DcatJsonLd | Form::SchemaOrg => artefact == Artefact::Dataset,
        Form::SchemaOrgOfModel => artefact == Artefact::Model,
        _ => true,
    })
}

/// A person or organisation as the documents name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agent<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: Option<&'a str>,
    pub(crate) contact: Option<&'a str>,
    pub(crate) is_person: bool,
}

/// What a model learned from, as its card states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub(crate) title: &'a str,
    /// Where it is described.
    pub(crate) iri: Option<&'a str>,
    /// `namespace/name` and version of a published one.
    pub(crate) published: Option<(&'a str, &'a str)>,
    /// SHA-256 of its manifest.
    pub(crate) manifest: Option<&'a str>,
    /// SPDX id.
    pub(crate) license: Option<&'a str>,
}

/// A version with all that its documents say, and the address under which it is described.
#[derive(Clone, Copy)]
pub(crate) struct Description<'a> {
    pub(crate) dataset: &'a Repository,
    pub(crate) version: &'a PublishedVersion,
    pub(crate) facts: &'a Facts,
    /// `http(s)://host[:port]` of this node.
    pub(crate) address: &'a str,
}

impl<'a> Description<'a> {
    /// Address of the version's page, which is also its name.
    pub(crate) fn iri(&self) -> String {
        version_iri(self.address, self.version)
    }

    /// Address of the data set's or model's page, whichever version is the newest.
    pub(crate) fn dataset_iri(&self) -> String {
        format!("{}{}", self.address, self.version.repository_path())
    }

    /// Whether it is a model.
    pub(crate) fn is_model(&self) -> bool {
        self.version.artefact() == Artefact::Model
    }

    /// Address of one form of the description.
    pub(crate) fn form_iri(&self, name: &str) -> String {
        format!("{}/{name}", self.iri())
    }

    /// Address of a file's bytes, which never change under it.
    pub(crate) fn file_iri(&self, file: &ReleasedFile) -> String {
        file_iri(self.address, self.version, file)
    }

    /// The version before, when there is one.
    pub(crate) fn previous(&self) -> Option<&'a PublishedVersion> {
        self.dataset.before(self.version).map(|before| &**before)
    }

    /// The whole description for people; paragraphs are separated by an empty line.
    pub(crate) fn text(&self) -> &'a str {
        text(&self.facts.croissant, "/description").unwrap_or(&self.version.manifest().summary)
    }

    pub(crate) fn license_iri(&self) -> String {
        let license = &self.version.manifest().license;
        // A licence of the trustee's own has no address but this page, which names it.
        license_address(license).unwrap_or_else(|| format!("{}#licence", self.iri()))
    }

    /// Who made it. Never empty: a version that names nobody is its namespace's.
    pub(crate) fn creators(&self) -> Vec<Agent<'a>> {
        let told = &self.facts.croissant["creator"];
        let all: Vec<Agent<'a>> = match told {
            Value::Array(many) => many.iter().filter_map(agent).collect(),
            one => agent(one).into_iter().collect(),
        };
        if all.is_empty() { vec![self.publisher()] } else { all }
    }

    pub(crate) fn publisher(&self) -> Agent<'a> {
        agent(&self.facts.croissant["publisher"]).unwrap_or(Agent {
            name: self.version.manifest().dataset.namespace(),
            url: None,
            contact: None,
            is_person: false,
        })
    }

    pub(crate) fn keywords(&self) -> Vec<&'a str> {
        list(&self.facts.croissant, "/keywords").iter().filter_map(Value::as_str).collect()
    }

    /// Languages as BCP 47 has them. Empty when none is stated: then nobody knows.
    pub(crate) fn languages(&self) -> Vec<&'a str> {
        list(&self.facts.croissant, "/inLanguage").iter().filter_map(Value::as_str).filter(|l| is_tag(l)).collect()
    }

    /// The language of its texts, when it is stated.
    pub(crate) fn language(&self) -> Option<&'a str> {
        self.languages().first().copied()
    }

    /// The term of the Data Use Ontology: its IRI and its label.
    pub(crate) fn use_term(&self) -> Option<(&'a str, &'a str)> {
        let terms = list(&self.facts.croissant, "/usageInfo").iter();
        terms.filter_map(|term| Some((text(term, "/url")?, text(term, "/name")?))).next()
    }

    /// What it may be used for, and who may read its rows where that is not everybody.
    pub(crate) fn access(&self, use_label: &str) -> String {
        match self.version.tier() {
            Tier::Open => use_label.to_owned(),
            tier => format!("{use_label}; rows: {}", admission::in_words(tier)),
        }
    }

    /// Whether its own offer asks users to name where the data come from.
    pub(crate) fn asks_for_attribution(&self) -> bool {
        let terms = list(&self.facts.croissant, "/usageInfo").iter();
        let mut duties = terms.filter_map(|term| text(term, "/odrl:permission/odrl:duty/odrl:action/@id"));
        duties.any(|duty| duty == "odrl:attribute")
    }

    /// Diseases and findings it is about: IRI and name.
    pub(crate) fn conditions(&self) -> Vec<(&'a str, &'a str)> {
        let all = list(&self.facts.croissant, "/about").iter();
        all.filter_map(|term| Some((text(term, "/@id")?, text(term, "/name")?))).collect()
    }

    /// First and last day or year of collection.
    pub(crate) fn timeframe(&self) -> Option<(&'a str, &'a str)> {
        let (from, to) = text(&self.facts.croissant, "/rai:dataCollectionTimeframe")?.split_once('/')?;
        let is_date = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        (is_date(from) && is_date(to)).then_some((from, to))
    }

    /// Columns as the data dictionary has them.
    pub(crate) fn columns(&self) -> &'a [Value] {
        list(&self.facts.dictionary, "/columns")
    }

    /// What a model learned from. A data set names none: what it was made of is sealed.
    pub(crate) fn sources(&self) -> Vec<Source<'a>> {
        let source = |source: &'a Value| {
            let said = |key: &str| text(source, key);
            Some(Source {
                title: said("/title").or_else(|| said("/name"))?,
                iri: said("/url"),
                published: said("/name").zip(said("/version")),
                manifest: said("/manifest"),
                license: said("/license"),
            })
        };
        list(&self.facts.croissant, "/stated/learned_from").iter().filter_map(source).collect()
    }

    /// Rows that are people.
    pub(crate) fn people(&self) -> Option<u64> {
        (self.facts.brief.kind == Kind::Real).then(|| self.version.people())
    }

    /// An agent that HealthDCAT-AP knows, by the name of its property.
    pub(crate) fn health_agent(&self, property: &str) -> Option<Agent<'a>> {
        agent(self.facts.croissant.get(property)?)
    }

    /// IRIs under a property of the Croissant document: one reference or several.
    pub(crate) fn references(&self, property: &str) -> Vec<&'a str> {
        let of = |value: &'a Value| text(value, "/@id");
        match self.facts.croissant.get(property) {
            Some(Value::Array(many)) => many.iter().filter_map(of).collect(),
            Some(one) => of(one).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

/// As [`Description::iri`].
fn version_iri(address: &str, version: &PublishedVersion) -> String {
    format!("{address}{}", version_path(version))
}

/// As [`Description::file_iri`].
pub(crate) fn file_iri(address: &str, version: &PublishedVersion, file: &ReleasedFile) -> String {
    format!("{address}{}", version.file_path(&file.path))
}

/// Whether it is a language tag in form.
fn is_tag(text: &str) -> bool {
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.split('-').all(part) && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn agent(value: &Value) -> Option<Agent<'_>> {
    Some(Agent {
        name: text(value, "/name")?,
        url: text(value, "/url"),
        contact: text(value, "/contactPoint/email").or_else(|| text(value, "/contactPoint/url")),
        is_person: text(value, "/@type").is_some_and(|kind| kind.ends_with("Person")),
    })
}
