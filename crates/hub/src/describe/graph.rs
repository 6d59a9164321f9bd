//! RDF triples, and writing them as Turtle 1.1 and JSON-LD 1.1.

use oxjsonld::JsonLdSerializer;
use oxrdf::{GraphName, Literal, NamedNode, NamedOrBlankNode, Term, Triple};
use oxttl::TurtleSerializer;

/// Prefixes of the names that [`Graph::add`] understands.
const PREFIXES: [(&str, &str); 21] = [
    ("adms", "http://www.w3.org/ns/adms#"),
    ("csvw", "http://www.w3.org/ns/csvw#"),
    ("cv", "http://data.europa.eu/m8g/"),
    ("dcat", "http://www.w3.org/ns/dcat#"),
    ("dcatap", "http://data.europa.eu/r5r/"),
    ("dct", "http://purl.org/dc/terms/"),
    ("dpv", "https://w3id.org/dpv#"),
    ("dqv", "http://www.w3.org/ns/dqv#"),
    ("foaf", "http://xmlns.com/foaf/0.1/"),
    ("geodcatap", "http://data.europa.eu/930/"),
    ("healthdcatap", "http://healthdataportal.eu/ns/health#"),
    ("hydra", "http://www.w3.org/ns/hydra/core#"),
    ("oa", "http://www.w3.org/ns/oa#"),
    ("odrl", "http://www.w3.org/ns/odrl/2/"),
    ("prov", "http://www.w3.org/ns/prov#"),
    ("rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"),
    ("rdfs", "http://www.w3.org/2000/01/rdf-schema#"),
    ("skos", "http://www.w3.org/2004/02/skos/core#"),
    ("spdx", "http://spdx.org/rdf/terms#"),
    ("vcard", "http://www.w3.org/2006/vcard/ns#"),
    ("xsd", "http://www.w3.org/2001/XMLSchema#"),
];

/// What a triple says of its subject.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says<'a> {
    /// A prefixed name, such as `dcat:Dataset`.
    Name(&'a str),
    /// A whole IRI. One that is none is left out: it may come from a version's own documents.
    Iri(&'a str),
    /// Plain text.
    Text(&'a str),
    /// Text in a language; plain when the language is not known.
    Local(&'a str, Option<&'a str>),
    /// A value of a datatype given as a prefixed name.
    Typed(&'a str, &'a str),
}

/// Triples in the order they were said; those of one subject stand together when they were said together.
#[derive(Debug, Default)]
pub(crate) struct Graph(Vec<Triple>);

fn named(name: &str) -> Option<NamedNode> {
    let (prefix, local) = name.split_once(':')?;
    let (_, iri) = PREFIXES.iter().find(|(known, _)| *known == prefix)?;
    NamedNode::new(format!("{iri}{local}")).ok()
}

impl Graph {
    /// Says something of the IRI `subject`. What is no valid IRI or language is left out.
    pub(crate) fn add(&mut self, subject: &str, predicate: &str, says: Says<'_>) {
        let object: Option<Term> = match says {
            Says::Name(name) => named(name).map(Term::from),
            Says::Iri(iri) => NamedNode::new(iri).ok().map(Term::from),
            Says::Text(text) => Some(Literal::new_simple_literal(text).into()),
            Says::Local(text, None) => Some(Literal::new_simple_literal(text).into()),
            Says::Local(text, Some(language)) => {
                Literal::new_language_tagged_literal(text, language).ok().map(Term::from)
            }
            Says::Typed(value, kind) => named(kind).map(|kind| Literal::new_typed_literal(value, kind).into()),
        };
        if let (Ok(subject), Some(predicate), Some(object)) = (NamedNode::new(subject), named(predicate), object) {
            self.0.push(Triple::new(NamedOrBlankNode::from(subject), predicate, object));
        }
    }

    /// The class of a subject.
    pub(crate) fn is_a(&mut self, subject: &str, class: &str) {
        self.add(subject, "rdf:type", Says::Name(class));
    }

    /// `text/turtle`.
    pub(crate) fn turtle(&self) -> Vec<u8> {
        let mut serializer = TurtleSerializer::new();
        for (prefix, iri) in PREFIXES {
            serializer = serializer.with_prefix(prefix, iri).unwrap_or_default();
        }
        let mut writer = serializer.for_writer(Vec::new());
        for triple in self.in_order() {
            // Writing to memory does not fail.
            let _ = writer.serialize_triple(triple);
        }
        // The serializer keeps prefixes in no order; the same graph must give the same bytes.
        let written = String::from_utf8(writer.finish().unwrap_or_default()).unwrap_or_default();
        let mut lines: Vec<&str> = written.split_inclusive('\n').collect();
        let prefixes = lines.iter().take_while(|line| line.starts_with("@prefix ")).count();
        lines[..prefixes].sort_unstable();
        lines.concat().into_bytes()
    }

    /// `application/ld+json`.
    pub(crate) fn json_ld(&self) -> Vec<u8> {
        let mut serializer = JsonLdSerializer::new();
        for (prefix, iri) in PREFIXES {
            serializer = serializer.with_prefix(prefix, iri).unwrap_or_default();
        }
        let mut writer = serializer.for_writer(Vec::new());
        for triple in self.in_order() {
            let _ = writer.serialize_quad(triple.clone().in_graph(GraphName::DefaultGraph).as_ref());
        }
        writer.finish().unwrap_or_default()
    }

    /// Subjects in the order of their first mention, each with all that was said of it.
    fn in_order(&self) -> Vec<&Triple> {
        let mut first = std::collections::HashMap::new();
        for (at, triple) in self.0.iter().enumerate() {
            first.entry(&triple.subject).or_insert(at);
        }
        let mut all: Vec<&Triple> = self.0.iter().collect();
        all.sort_by_key(|triple| first.get(&triple.subject).copied().unwrap_or_default());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_is_written_in_both_forms() {
        let mut graph = Graph::default();
        graph.is_a("https://a.example/x", "dcat:Dataset");
        graph.add("https://a.example/y", "dct:title", Says::Text("other"));
        graph.add("https://a.example/x", "dct:title", Says::Local("a \"b\"\n", Some("en")));
        graph.add("https://a.example/x", "dct:license", Says::Iri("no iri >"));
        let turtle = String::from_utf8(graph.turtle()).unwrap();
        assert!(turtle.contains("<https://a.example/x> a dcat:Dataset ;"), "{turtle}");
        assert!(turtle.contains(r#""a \"b\"\n"@en"#) && !turtle.contains("license"), "{turtle}");
        let json: serde_json::Value = serde_json::from_slice(&graph.json_ld()).unwrap();
        assert!(json.to_string().contains("http://www.w3.org/ns/dcat#Dataset"), "{json}");
    }

    proptest! {
        /// Texts of a version's documents never leave their quotes.
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let mut graph = Graph::default();
            graph.add("https://a.example/x", "dct:title", Says::Text(&text));
            let read: Vec<Triple> =
                oxttl::TurtleParser::new().for_slice(&graph.turtle()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(&read, &graph.0);
        }
    }
}
