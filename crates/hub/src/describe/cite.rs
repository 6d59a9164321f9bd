//! How to cite a version: CSL-JSON, BibTeX and the Citation File Format 1.2.0.

use serde_json::{Value, json};

use super::{Agent, Description};

/// CSL-JSON 1.0.2.
pub(crate) fn csl(described: Description<'_>) -> Value {
    let manifest = described.version.manifest();
    let day = manifest.released_on.to_string();
    let parts: Vec<i64> = day.split('-').filter_map(|part| part.parse().ok()).collect();
    let author = |agent: Agent<'_>| json!({ "literal": agent.name });
    json!({
        "id": key(described),
        "type": if described.is_model() { "software" } else { "dataset" },
        "title": manifest.title,
        "author": described.creators().into_iter().map(author).collect::<Vec<_>>(),
        "issued": { "date-parts": [parts] },
        "publisher": described.publisher().name,
        "version": manifest.version,
        "URL": described.iri(),
        "number": format!("sha256:{}", described.version.digest()),
        "abstract": manifest.summary,
    })
}

/// BibTeX, of the same parts as the other forms.
pub(crate) fn bibtex(described: Description<'_>) -> String {
    let kind = if described.is_model() { "software" } else { "dataset" };
    let manifest = described.version.manifest();
    let authors: Vec<String> = described.creators().iter().map(|agent| format!("{{{}}}", tex(agent.name))).collect();
    format!(
        "@{kind}{{{},\n  title = {{{}}},\n  author = {{{}}},\n  year = {{{}}},\n  publisher = {{{}}},\n  version = {{{}}},\n  url = {{{}}}\n}}\n",
        key(described),
        tex(&manifest.title),
        authors.join(" and "),
        &manifest.released_on.to_string()[..4],
        tex(described.publisher().name),
        tex(&manifest.version),
        described.iri()
    )
}

/// Text that TeX reads as it stands. Braces and backslashes would end a field; they are left out.
fn tex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '{' | '}' | '\\' => {}
            '&' | '%' | '$' | '#' | '_' => out.extend(['\\', c]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `CITATION.cff`. JSON strings are YAML strings.
pub(crate) fn citation_file(described: Description<'_>) -> String {
    let manifest = described.version.manifest();
    let quoted = |text: &str| Value::from(text).to_string();
    let (what, kind) = if described.is_model() { ("model", "software") } else { ("data set", "dataset") };
    let mut out = format!("cff-version: 1.2.0\nmessage: \"Cite this version of the {what}.\"\ntype: {kind}\n");
    out.push_str(&format!("title: {}\nversion: {}\n", quoted(&manifest.title), quoted(&manifest.version)));
    out.push_str(&format!("date-released: {}\nlicense: {}\n", manifest.released_on, quoted(&manifest.license)));
    out.push_str(&format!("url: {}\nabstract: {}\n", quoted(&described.iri()), quoted(&manifest.summary)));
    out.push_str(&format!(
        "identifiers:\n- type: other\n  value: {}\n  description: Digest of manifest.json\n",
        quoted(&format!("sha256:{}", described.version.digest()))
    ));
    if !described.keywords().is_empty() {
        out.push_str("keywords:\n");
        described.keywords().iter().for_each(|word| out.push_str(&format!("- {}\n", quoted(word))));
    }
    out.push_str("authors:\n");
    described.creators().iter().for_each(|agent| out.push_str(&format!("- name: {}\n", quoted(agent.name))));
    out
}

fn key(described: Description<'_>) -> String {
    let manifest = described.version.manifest();
    format!("{}-{}", manifest.dataset.to_string().replace('/', "-"), manifest.version)
}
