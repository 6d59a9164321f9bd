//! `README.md` of a model: the front matter that Hub clients read, and the sections of Mitchell et al., "Model Cards for Model
//! Reporting", 2019. Every number is the model's or a record's.

use std::fmt::Write;

use acequia_learn::{Estimate, Evidence, Model, Record};
use serde_json::Value;

use super::document::{STATEMENT, levels, task};
use super::plan::{ModelPlan, Source};
use crate::card::{agent, bibtex, list, md, paragraphs, put, put_license, put_list, stated, yaml};
use crate::croissant::license_address;

/// Measures that stand in `model-index`, with their names in the Hub's words where it has one.
pub(super) const INDEXED: [(&str, &str, &str); 6] = [
    ("harrell_c", "c_index", "Harrell's C"),
    ("auc", "roc_auc", "AUC"),
    ("auc_at_horizon", "roc_auc", "AUC at the horizon"),
    ("calibration_slope", "calibration_slope", "Calibration slope"),
    ("observed_over_expected", "observed_over_expected", "Observed / expected"),
    ("brier", "brier_score", "Brier score"),
];

/// Writes the card. Ends with one line feed.
pub(super) fn card(model: &Model, records: &[(String, &Record)], plan: &ModelPlan, document: &Value) -> String {
    let mut out = front_matter(model, records, plan);
    let body = [
        opening(model, plan),
        intended_use(plan),
        predictors(plan, document),
        evidence(records),
        training(model, plan),
        privacy(model),
        usage(model, plan),
        considerations(plan),
        citing(plan),
    ];
    for part in body {
        out.push('\n');
        out.push_str(part.trim_end());
        out.push('\n');
    }
    out
}

fn front_matter(model: &Model, records: &[(String, &Record)], plan: &ModelPlan) -> String {
    let mut out = String::from("---\n");
    put_license(&mut out, &plan.license, &plan.home);
    let languages = plan.languages.iter().map(|tag| tag.split('-').next().unwrap_or(tag).to_lowercase());
    put_list(&mut out, "language", languages);
    put(&mut out, format_args!("library_name: onnx"));
    put(&mut out, format_args!("pipeline_tag: {}", task(model)));
    let given = plan.keywords.iter().map(|word| word.to_lowercase());
    let own = ["health", "not-a-medical-device"].map(str::to_owned);
    let mut tags: Vec<String> = given.chain(own).chain([model.kind().to_lowercase().replace(' ', "-")]).collect();
    tags.sort();
    tags.dedup();
    put_list(&mut out, "tags", tags.into_iter());
    let datasets: Vec<String> =
        plan.learned_from.iter().filter_map(|source| source.name.as_ref().map(ToString::to_string)).collect();
    if !datasets.is_empty() {
        put_list(&mut out, "datasets", datasets.into_iter());
    }
    let measured = |name: &str| {
        let sites = records.iter().flat_map(|(_, record)| &record.sites);
        sites.into_iter().any(|site| site.estimates.iter().any(|one| one.name == name))
    };
    let mut metrics: Vec<String> =
        INDEXED.iter().filter(|(name, ..)| measured(name)).map(|(_, metric, _)| (*metric).to_owned()).collect();
    metrics.dedup();
    if !metrics.is_empty() {
        put_list(&mut out, "metrics", metrics.into_iter());
    }
    put(&mut out, format_args!("model-index:\n- name: {}\n  results:", yaml(plan.model.name())));
    for (_, record) in records {
        for site in &record.sites {
            let found: Vec<(&str, &str, &Estimate)> = INDEXED
                .iter()
                .filter_map(|(name, metric, title)| {
                    Some((*metric, *title, site.estimates.iter().find(|one| one.name == *name)?))
                })
                .collect();
            if found.is_empty() {
                continue;
            }
            put(
                &mut out,
                format_args!(
                    "  - task:\n      type: {}\n    dataset:\n      type: {}\n      name: {}\n    metrics:",
                    task(model),
                    yaml(&site.site),
                    yaml(&site.site)
                ),
            );
            for (metric, title, one) in found {
                put(
                    &mut out,
                    format_args!("    - type: {metric}\n      name: {}\n      value: {}", yaml(title), one.value),
                );
            }
        }
    }
    if records.is_empty() {
        // A list that is empty is written so.
        out.truncate(out.trim_end().len());
        out.push_str(" []\n");
    }
    out.push_str("---\n");
    out
}

fn opening(model: &Model, plan: &ModelPlan) -> String {
    let mut out = format!(
        "# {}\n\n**{}**\n\n> {STATEMENT}\n\n{}\n\n",
        md(&plan.title),
        md(&plan.summary),
        paragraphs(&plan.description)
    );
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in [
        ("Model", format!("`{}`", plan.model)),
        ("Version", format!("{}, {}", plan.version, plan.released_on)),
        ("Kind", md(model.kind())),
        ("Digest", format!("`{}`", model.digest())),
        ("Licence", format!("[{}](<{}>)", md(&plan.license), license_address(&plan.license, &plan.home))),
        ("Made by", plan.creators.iter().map(agent).collect::<Vec<_>>().join(", ")),
        ("Published by", agent(&plan.publisher)),
        ("Use", format!("{} (`{}`)", md(&plan.use_term.label), plan.use_term.id)),
    ] {
        put(&mut out, format_args!("| {name} | {value} |"));
    }
    out
}

fn intended_use(plan: &ModelPlan) -> String {
    let own = &plan.intended_use;
    format!(
        "## Intended use\n\n- **What for:** {}\n- **Who uses it:** {}\n- **About whom:** {}\n- **Where in care:** {}\n\nWhat it predicts: {}\n\nNot for:\n\n{}",
        stated(&own.purpose),
        stated(&own.users),
        stated(&own.population),
        stated(&own.setting),
        stated(&plan.outcome),
        list(&own.out_of_scope)
    )
}

fn predictors(plan: &ModelPlan, document: &Value) -> String {
    let mut out = String::from("## Predictors\n\n| column | what | unit or values |\n|---|---|---|\n");
    for (column, told) in &plan.predictors {
        let values: Vec<String> = told.values.iter().map(|(code, label)| format!("{code}: {label}")).collect();
        let unit = told.unit.clone().unwrap_or_else(|| values.join("; "));
        put(&mut out, format_args!("| `{column}` | {}: {} | {} |", md(&told.title), md(&told.description), md(&unit)));
    }
    let listed = document["model"]["predictors"].as_array().map_or(&[][..], Vec::as_slice);
    if listed.iter().any(|one| one.get("coefficient").is_some()) {
        out.push_str("\n| variable | from | coefficient | standard error |\n|---|---|---:|---:|\n");
        for one in listed {
            let text = |key: &str| md(one[key].as_str().unwrap_or_default());
            let steps: Vec<&str> = one["steps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let from = if steps.is_empty() {
                text("column")
            } else {
                format!("{}, {}", text("column"), md(&steps.join(", ")))
            };
            let number = |key: &str| one[key].as_f64().map_or(String::new(), |number| format!("{number:.5}"));
            put(
                &mut out,
                format_args!(
                    "| {} | {from} | {} | {} |",
                    text("name"),
                    number("coefficient"),
                    number("standard_error")
                ),
            );
        }
    }
    out
}

fn evidence(records: &[(String, &Record)]) -> String {
    let mut out = String::from("## What it is worth\n\n");
    if !records.iter().any(|(_, record)| record.evidence >= Evidence::L2) {
        out.push_str("Nobody has measured this model on people it did not learn from. Do not use its predictions.\n\n");
    }
    for (path, record) in records {
        put(&mut out, format_args!("{}\n", md(&record.evidence_words)));
        out.push_str("| site | rows | events | measure | value | 95 % interval |\n|---|---:|---:|---|---:|---|\n");
        for site in &record.sites {
            for (name, _, title) in INDEXED {
                let Some(one) = site.estimates.iter().find(|one| one.name == name) else { continue };
                let range = one.interval.map_or(String::new(), |(low, high)| format!("{low:.4} to {high:.4}"));
                put(
                    &mut out,
                    format_args!(
                        "| {} | {} | {} | {title} | {:.4} | {range} |",
                        md(&site.site),
                        site.rows,
                        site.events,
                        one.value
                    ),
                );
            }
        }
        put(
            &mut out,
            format_args!(
                "\nAll measures, calibration, decision curve and subgroups: `{path}.json`, and `{path}.html` to print.\n"
            ),
        );
    }
    out
}

fn training(model: &Model, plan: &ModelPlan) -> String {
    let mut out = format!(
        "## What it learned from\n\n{}, at {}. Run plan `{}`.\n\n",
        model.learned_words(),
        md(&model.sites.join(", ")),
        model.plan
    );
    if plan.learned_from.is_empty() {
        out.push_str("- Not stated.\n");
    }
    for source in &plan.learned_from {
        put(&mut out, format_args!("- {}", named(source)));
    }
    out
}

fn named(source: &Source) -> String {
    let mut out = md(&source.title);
    if let Some(name) = &source.name {
        // Writing to a String cannot fail.
        let _ = write!(out, " (`{name}` {})", source.version.as_deref().unwrap_or_default());
    }
    if let Some(license) = &source.license {
        let _ = write!(out, ", {}", md(license));
    }
    if let Some(url) = &source.url {
        let _ = write!(out, ", <{url}>");
    }
    out
}

fn privacy(model: &Model) -> String {
    let words = model.membership.as_ref().map_or(String::new(), acequia_learn::Membership::words);
    let guarantee = model.differential_privacy.map_or(String::new(), |guarantee| format!("{}\n\n", guarantee.words()));
    format!("## Does it tell whose rows it learned from?\n\n{guarantee}{}\n", paragraphs(&words))
}

fn usage(model: &Model, plan: &ModelPlan) -> String {
    let (mut inputs, mut texts) = (String::new(), String::new());
    for (column, told) in &plan.predictors {
        let example = told.values.keys().next().map_or("0.0".to_owned(), |code| yaml(code));
        let asks = |one: &&acequia_learn::ModelVariable| one.variable.source() == column;
        let is_text = model
            .variables
            .iter()
            .filter(asks)
            .any(|one| one.variable.steps.first().is_some_and(acequia_learn::Step::takes_text));
        let kind = if is_text { "str" } else { "float" };
        let _ = writeln!(inputs, "    \"{column}\": np.array([[{example}]], dtype={kind}),");
        if is_text {
            let _ = match levels(model, column) {
                Some(levels) => {
                    let levels: Vec<String> = levels.iter().map(|level| format!("`{level}`")).collect();
                    writeln!(texts, "- `{column}`: {}. Any other text has no prediction (NaN).", levels.join(", "))
                }
                None => writeln!(
                    texts,
                    "- `{column}`: a text that the model does not know counts as none of those that it knows. Check what you have before."
                ),
            };
        }
    }
    format!(
        "## How to predict with it\n\n```python\n# pip install onnxruntime huggingface_hub numpy\nimport numpy as np, onnxruntime\nfrom huggingface_hub import hf_hub_download\n\npath = hf_hub_download(\"{}\", \"model.onnx\", revision=\"v{}\")\nmodel = onnxruntime.InferenceSession(path)\npredicted = model.run(None, {{\n{inputs}}})\n```\n\nTexts are given without spaces around them, and as they stand here:\n\n{texts}\nWhich days the columns of `risk` are for stands in `card.json` under `horizons_days`.\n",
        plan.model, plan.version
    )
}

fn considerations(plan: &ModelPlan) -> String {
    format!(
        "## Limits and duties\n\n{}\nEthics: {}\n\nMaintenance: {}\n\nContact: {}\n",
        list(&plan.limits),
        stated(&plan.ethics),
        stated(&plan.maintenance),
        stated(&plan.contact)
    )
}

fn citing(plan: &ModelPlan) -> String {
    let cited = bibtex(
        "misc",
        (&plan.model, &plan.version, &plan.title),
        &plan.creators,
        &plan.publisher,
        plan.released_on,
        &plan.home,
    );
    format!(
        "## How to cite it\n\n```bibtex\n{cited}\n```\n\n{}",
        if plan.citations.is_empty() { String::new() } else { list(&plan.citations) }
    )
}
