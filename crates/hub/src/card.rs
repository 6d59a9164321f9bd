//! The front matter of a card: the small part of YAML that cards use.
//!
//! Block mappings and sequences, flow sequences of scalars, quoted and plain scalars. What lies outside this is left
//! out of the answer rather than guessed; the card itself is served unchanged.

use serde_json::{Map, Value};

/// Reads the YAML between the first two `---` lines of `card`. Nothing there gives an empty object.
pub fn front_matter(card: &str) -> Map<String, Value> {
    let text = card.strip_prefix("---").and_then(|rest| rest.split_once("\n---")).map_or("", |(front, _)| front);
    let lines: Vec<Line<'_>> = text.lines().filter_map(Line::of).collect();
    let mut at = 0;
    match block(&lines, &mut at, 0, 0) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Blocks nested deeper than this are left out.
const DEEPEST: usize = 16;

struct Line<'a> {
    indent: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        let text = text.trim_end();
        (!text.is_empty() && !text.starts_with('#')).then_some(Self { indent, text })
    }
}

/// The mapping, sequence or scalar that starts at line `at` with at least `indent` spaces.
fn block(lines: &[Line<'_>], at: &mut usize, indent: usize, depth: usize) -> Value {
    let Some(first) = lines.get(*at).filter(|line| line.indent >= indent && depth < DEEPEST) else {
        return Value::Null;
    };
    let level = first.indent;
    if is_item(first.text) { sequence(lines, at, level, depth) } else { mapping(lines, at, level, depth) }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

fn sequence(lines: &[Line<'_>], at: &mut usize, level: usize, depth: usize) -> Value {
    let mut items = Vec::new();
    while let Some(line) = lines.get(*at).filter(|line| line.indent == level && is_item(line.text)) {
        let rest = line.text[1..].trim_start();
        let inner = level + line.text.len() - rest.len();
        if rest.is_empty() {
            *at += 1;
            items.push(block(lines, at, level + 1, depth + 1));
        } else if entry(rest).is_some() {
            // `- key: value`: the mapping's first line stands behind the dash, the others under it.
            let end = (*at + 1..lines.len()).find(|&i| lines[i].indent <= level).unwrap_or(lines.len());
            let first = Line { indent: inner, text: rest };
            let more = lines[*at + 1..end].iter().map(|l| Line { indent: l.indent, text: l.text });
            let own: Vec<Line<'_>> = std::iter::once(first).chain(more).collect();
            let mut inside = 0;
            items.push(mapping(&own, &mut inside, inner, depth + 1));
            *at = end;
        } else {
            items.push(scalar(rest));
            *at += 1;
        }
    }
    Value::Array(items)
}

fn mapping(lines: &[Line<'_>], at: &mut usize, level: usize, depth: usize) -> Value {
    let mut map = Map::new();
    while let Some(line) = lines.get(*at).filter(|line| line.indent >= level) {
        *at += 1;
        let Some((key, rest)) = entry(line.text).filter(|_| line.indent == level) else { continue };
        let next = lines.get(*at);
        let value = if !rest.is_empty() {
            scalar(rest)
        } else if next.is_some_and(|next| next.indent > level) {
            block(lines, at, level + 1, depth + 1)
        } else if next.is_some_and(|next| next.indent == level && is_item(next.text)) {
            sequence(lines, at, level, depth + 1)
        } else {
            Value::Null
        };
        map.insert(key, value);
    }
    Value::Object(map)
}

/// Splits `key: rest`; the key may be quoted.
fn entry(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        let (key, rest) = rest.split_once('"')?;
        return Some((serde_json::from_str(&format!("\"{key}\"")).ok()?, rest.strip_prefix(':')?.trim()));
    }
    let colon = text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1))?;
    let key = &text[..colon];
    let plain = !key.is_empty() && !key.contains(['"', '\'', '[', '{', '#']);
    plain.then(|| (key.to_owned(), text[colon + 1..].trim()))
}

fn scalar(text: &str) -> Value {
    if text.starts_with('"') {
        // The program's own cards quote as JSON does, which is YAML too.
        return serde_json::from_str(text).unwrap_or(Value::Null);
    }
    if let Some(inside) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Value::from(inside.replace("''", "'"));
    }
    if let Some(inside) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inside.split(',').map(str::trim).filter(|item| !item.is_empty()).map(scalar).collect();
    }
    let text = text.split_once(" #").map_or(text, |(before, _)| before.trim_end());
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => {
            let number = text.parse::<i64>().map(Value::from).ok();
            let real = || (text.contains('.')).then(|| text.parse::<f64>().ok()).flatten().map(Value::from);
            number.or_else(real).unwrap_or_else(|| Value::from(text))
        }
    }
}

/// Texts of a field that holds one or several.
pub fn texts(card: &Map<String, Value>, key: &str) -> Vec<String> {
    match card.get(key) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// The tags that listings are filtered by: those of the card, and its licence, languages and so on as `kind:value`.
pub fn tags(card: &Map<String, Value>) -> Vec<String> {
    let list = |key: &str| texts(card, key);
    let mut tags = Vec::new();
    for key in ["task_categories", "language", "license", "size_categories"] {
        tags.extend(list(key).into_iter().map(|value| format!("{key}:{value}")));
    }
    tags.extend(list("datasets").into_iter().map(|name| format!("dataset:{name}")));
    tags.extend(["pipeline_tag", "library_name"].into_iter().flat_map(list));
    tags.extend(list("tags"));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_card_as_releases_write_it() {
        let card = "---\nlicense: cc-by-4.0\npretty_name: \"Breast: \\\"x\\\"\"\nlanguage:\n- en\ntags:\n  - health\n  - 'it''s'\nsize_categories: [1K<n<10K]\n\
                    configs:\n- config_name: default\n  default: true\n  data_files:\n  - split: train\n    path: data/a.parquet\n  - split: test\n    path: data/b.parquet\n\
                    dataset_info:\n  features:\n  - name: age\n    dtype: string\n  splits:\n  - name: train\n    num_examples: 12\n  share: 0.5\n---\n# Title\nkey: no\n";
        let expected = json!({
            "license": "cc-by-4.0", "pretty_name": "Breast: \"x\"", "language": ["en"], "tags": ["health", "it's"],
            "size_categories": ["1K<n<10K"],
            "configs": [{"config_name": "default", "default": true, "data_files": [
                {"split": "train", "path": "data/a.parquet"}, {"split": "test", "path": "data/b.parquet"}]}],
            "dataset_info": {"features": [{"name": "age", "dtype": "string"}],
                "splits": [{"name": "train", "num_examples": 12}], "share": 0.5},
        });
        assert_eq!(Value::Object(front_matter(card)), expected);
        assert_eq!(
            tags(&front_matter(card)),
            ["language:en", "license:cc-by-4.0", "size_categories:1K<n<10K", "health", "it's"]
        );
    }

    #[test]
    fn no_front_matter_is_an_empty_one() {
        for card in ["", "# Title", "---\n", "---\nkey: 1\n"] {
            assert!(front_matter(card).is_empty(), "{card}");
        }
    }

    proptest! {
        #[test]
        fn any_card_is_read(lines in prop::collection::vec(" {0,6}(- )?[a-z]{0,3}:? ?[\"'\\[\\]a-z#é-]{0,4}", 0..40)) {
            let _ = front_matter(&format!("---\n{}\n---\n", lines.join("\n")));
        }
    }
}
