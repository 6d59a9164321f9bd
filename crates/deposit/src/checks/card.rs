//! Whether a card says what a catalogue shows.

use acequia_gate::Artefact;
use acequia_hub::wire::{front_matter, texts};
use serde_json::{Map, Value};

/// What a card lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// What makes the front matter unreadable.
    pub(crate) errors: Vec<String>,
    /// What it must say before it is handed in.
    pub(crate) missing: Vec<String>,
    /// What it had better say.
    pub(crate) better: Vec<String>,
}

/// Licences that data and models are given under, as SPDX ids (spdx.org/licenses, 3.27) in lower case.
const LICENCES: [&str; 46] = [
    "0bsd",
    "afl-3.0",
    "agpl-3.0",
    "agpl-3.0-only",
    "agpl-3.0-or-later",
    "apache-2.0",
    "artistic-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsl-1.0",
    "c-uda-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-pddc",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "ecl-2.0",
    "epl-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "gpl-2.0-only",
    "gpl-2.0-or-later",
    "gpl-3.0-only",
    "gpl-3.0-or-later",
    "isc",
    "lgpl-3.0-only",
    "lgpl-3.0-or-later",
    "mit",
    "mpl-2.0",
    "odbl-1.0",
    "odc-by-1.0",
    "pddl-1.0",
    "unlicense",
];

/// What the front matter must state, and what it says about.
const OF_DATASET: [(&str, &str); 2] = [("pretty_name", "the title"), ("task_categories", "what the data set is for")];
const OF_MODEL: [(&str, &str); 3] =
    [("pipeline_tag", "what the model does"), ("library_name", "what runs it"), ("datasets", "what it learned from")];
const BETTER_OF_DATASET: [&str; 3] = ["tags", "size_categories", "language"];
const BETTER_OF_MODEL: [&str; 2] = ["tags", "metrics"];

fn states(front: &Map<String, Value>, key: &str) -> bool {
    texts(front, key).iter().any(|text| !text.trim().is_empty())
}

/// Looks at a card.
pub(crate) fn check_card(artefact: Artefact, card: &str) -> Checked {
    let mut checked = Checked::default();
    let Some((front, body)) = card.strip_prefix("---").and_then(|rest| rest.split_once("\n---")) else {
        checked.missing.push("has no front matter: YAML between two lines of `---`".to_owned());
        return checked;
    };
    let body = body.trim_start_matches('-');
    let stated = front_matter(card);
    if stated.is_empty() && front.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        checked.errors.push("has a front matter that is no YAML with keys".to_owned());
        return checked;
    }
    if let Some(at) =
        front.lines().position(|line| line.starts_with('\t') || line.trim_start_matches(' ').starts_with('\t'))
    {
        checked
            .errors
            .push(format!("has a tab at the beginning of row {} of the front matter, which YAML forbids", at + 1));
    }
    match texts(&stated, "license").as_slice() {
        [] => checked.missing.push("states no `license`".to_owned()),
        licences => {
            let known = |id: &String| LICENCES.contains(&id.to_ascii_lowercase().as_str());
            if !licences.iter().all(known) {
                checked
                    .missing
                    .push("states a `license` that is no SPDX id of an open licence, such as cc-by-4.0".to_owned());
            }
        }
    }
    let (must, better): (&[(&str, &str)], &[&str]) = match artefact {
        Artefact::Dataset => (&OF_DATASET, &BETTER_OF_DATASET),
        Artefact::Model => (&OF_MODEL, &BETTER_OF_MODEL),
    };
    for (key, about) in must.iter().filter(|(key, _)| !states(&stated, key)) {
        checked.missing.push(format!("states no `{key}`: {about}"));
    }
    for key in better.iter().filter(|key| !states(&stated, key)) {
        checked.better.push(format!("states no `{key}`"));
    }
    let says = body.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    if says.map(|line| line.trim().len()).sum::<usize>() < LEAST_BODY_BYTES {
        let told =
            format!("says too little below the front matter: what this is, in {LEAST_BODY_BYTES} letters at least");
        checked.missing.push(told);
    }
    checked
}

/// A card with fewer bytes of text than a sentence has says nothing.
const LEAST_BODY_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "---\nlicense: cc-by-4.0\npretty_name: Survival\ntask_categories:\n- tabular-classification\n---\n# Survival\n\nWomen with breast cancer, by stage and treatment.\n";

    #[test]
    fn what_is_missing_is_named() {
        let checked = check_card(Artefact::Dataset, GOOD);
        assert_eq!((checked.errors, checked.missing), (vec![], vec![]));
        assert_eq!(checked.better, ["states no `tags`", "states no `size_categories`", "states no `language`"]);
        let missing = |card: &str| check_card(Artefact::Dataset, card).missing.join("; ");
        assert!(missing(&GOOD.replace("cc-by-4.0", "other")).contains("SPDX"));
        assert!(missing(&GOOD.replace("license", "licence")).contains("no `license`"));
        assert!(missing(&GOOD.replace("pretty_name: Survival\n", "")).contains("pretty_name"));
        assert!(
            missing(&GOOD.replace("Women with breast cancer, by stage and treatment.", "")).contains("says too little")
        );
        assert!(missing("# Only text").contains("front matter"));
        let model = check_card(Artefact::Model, GOOD).missing.join("; ");
        assert!(["pipeline_tag", "library_name", "datasets"].iter().all(|key| model.contains(key)), "{model}");
    }

    #[test]
    fn yaml_that_is_none_is_an_error() {
        assert_eq!(check_card(Artefact::Dataset, "---\nnothing\n---\ntext").errors.len(), 1);
        assert_eq!(check_card(Artefact::Dataset, &GOOD.replace("pretty_name", "\tpretty_name")).errors.len(), 1);
    }
}
