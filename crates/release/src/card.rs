//! `README.md`: the data set card, with the front matter that Hub clients read and the seven sections of Gebru et al.,
//! "Datasheets for Datasets", CACM 64(12), 2021. Every number is taken from the rows or the receipt.

use std::collections::BTreeMap;
use std::fmt::Write;

use acequia_custody::{Conditions, DuoTerm, Tier};
use acequia_gate::ReleasedFile;
use acequia_types::{DatasetName, Day};
use serde_json::Value;

use crate::croissant::license_address;
use crate::dictionary::Dictionary;
use crate::diversity::Diversity;
use crate::receipt::Receipt;
use crate::split::SPLITS;
use crate::{Agent, PeoplePlan, Plan};
use acequia_diversity::{suppress, suppress_line};

/// What the card tells, gathered from the other files of the version.
pub(crate) struct Facts<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) dictionary: &'a Dictionary,
    pub(crate) receipt: Receipt<'a>,
    pub(crate) diversity: &'a Diversity,
    /// Values of the stratification column with their rows per split.
    pub(crate) strata: &'a [(String, [u64; 3])],
    /// Largest difference between a value's share in one split and in all rows.
    pub(crate) deviation: f64,
    /// The Parquet files in the order of the splits.
    pub(crate) parquet: &'a [ReleasedFile],
    /// Rows per split.
    pub(crate) rows: [u64; 3],
    /// Columns with values that de-identification left out, and in how many rows; `None` is hidden, as in the statistics.
    pub(crate) left_out: &'a BTreeMap<&'a str, Option<u64>>,
    /// Bytes in memory per split.
    pub(crate) arrow_bytes: [u64; 3],
    /// Equivalence classes, counted from the rows: number and smallest size.
    pub(crate) classes: (u64, u64),
}

/// Licences that the Hub knows by their lower-case SPDX id.
const HUB_LICENSES: &[&str] = &[
    "apache-2.0",
    "mit",
    "cc",
    "cc0-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "odbl",
    "odc-by",
    "pddl",
    "etalab-2.0",
    "gpl-3.0",
    "lgpl-3.0",
    "unlicense",
];

/// What no data set is for, whatever its recipe says.
pub(crate) const NO_NAMING: &str = "Finding out who a row is about, or linking rows to named people.";

/// Writes the card. Ends with one line feed.
pub(crate) fn card(facts: &Facts<'_>) -> String {
    let mut out = front_matter(facts);
    let body = [
        opening(facts),
        motivation(facts),
        composition(facts),
        collection(facts),
        processing(facts),
        uses(facts),
        distribution(facts),
        maintenance(facts),
    ];
    for part in body {
        out.push('\n');
        out.push_str(part.trim_end());
        out.push('\n');
    }
    out
}

fn front_matter(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let mut out = String::from("---\n");
    put_license(&mut out, &plan.license, &plan.home);
    put(&mut out, format_args!("pretty_name: {}", yaml(&plan.title)));
    let languages = plan.languages.iter().map(|tag| tag.split('-').next().unwrap_or(tag).to_lowercase());
    put_list(&mut out, "language", languages);
    let given = plan.keywords.iter().map(|word| word.to_lowercase());
    let mut tags: Vec<String> = given.chain(["health", "de-identified", "croissant"].map(str::to_owned)).collect();
    tags.sort();
    tags.dedup();
    put_list(&mut out, "tags", tags.into_iter());
    put_list(&mut out, "task_categories", ["tabular-classification".to_owned()].into_iter());
    put_list(&mut out, "size_categories", [size_category(facts.rows.iter().sum())].into_iter());
    out.push_str("configs:\n- config_name: default\n  default: true\n  data_files:\n");
    for (split, file) in SPLITS.iter().zip(facts.parquet) {
        put(&mut out, format_args!("  - split: {split}\n    path: {}", file.path));
    }
    out.push_str("dataset_info:\n  features:\n");
    for entry in &facts.dictionary.columns {
        put(&mut out, format_args!("  - name: {}\n    dtype: {}", yaml(&entry.name), entry.kind));
    }
    out.push_str("  splits:\n");
    for ((split, rows), bytes) in SPLITS.iter().zip(facts.rows).zip(facts.arrow_bytes) {
        put(&mut out, format_args!("  - name: {split}\n    num_bytes: {bytes}\n    num_examples: {rows}"));
    }
    let download: u64 = facts.parquet.iter().map(|file| file.bytes).sum();
    let memory: u64 = facts.arrow_bytes.iter().sum();
    put(&mut out, format_args!("  download_size: {download}\n  dataset_size: {memory}\n---"));
    out
}

fn opening(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let rows: u64 = facts.rows.iter().sum();
    let mut out =
        format!("# {}\n\n**{}**\n\n{}\n\n", md(&plan.title), md(&plan.summary), paragraphs(&plan.description));
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in [
        ("Data set", format!("`{}`", plan.dataset)),
        ("Version", format!("{}, released {}", plan.version, plan.released_on)),
        ("People", format!("{rows}, one row each")),
        ("Columns", facts.dictionary.columns.len().to_string()),
        ("Licence", format!("[{}](<{}>)", md(&plan.license), license_address(&plan.license, &plan.home))),
        ("Permitted use", format!("{} ({})", md(&plan.use_term.id), md(&plan.use_term.label))),
        ("Publisher", agent(&plan.publisher)),
        ("Home", format!("<{}>", plan.home)),
    ] {
        put(&mut out, format_args!("| {name} | {} |", value.replace('\n', " ")));
    }
    put(
        &mut out,
        format_args!(
            "\n```python\nfrom datasets import load_dataset\n\ndata = load_dataset(\"{}\", revision=\"v{}\")\n```",
            plan.dataset, plan.version
        ),
    );
    out
}

fn motivation(facts: &Facts<'_>) -> String {
    let told = &facts.plan.collection;
    let mut out = String::from("## Motivation\n\n");
    put(&mut out, format_args!("{}\n", stated(&told.motivation)));
    let creators: Vec<String> = facts.plan.creators.iter().map(agent).collect();
    put(&mut out, format_args!("- **Made by:** {}", creators.join("; ")));
    put(&mut out, format_args!("- **Paid for by:** {}", stated(&told.funding)));
    out
}

fn composition(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let mut out = String::from("## Composition\n\nOne row is one person.\n\n### Splits\n\n");
    out.push_str(&splits_table(facts));
    put(
        &mut out,
        format_args!(
            "\nNo person is in two splits: the program refuses to publish if one assignment number occurs twice. Rows are \
             divided so that every value of `{}` has the same share in each split, to within one row per value; the \
             largest difference between a split and the whole is {:.2} percentage points. Inside a split rows are sorted \
             by content, so their order carries no information. A person may be in another split of another version: \
             train and test within one version.\n",
            plan.split.stratify_by,
            100.0 * facts.deviation
        ),
    );
    out.push_str("### Columns\n\n| Column | Type | Unit | Meaning | De-identification |\n|---|---|---|---|---|\n");
    for entry in &facts.dictionary.columns {
        let mut meaning = format!("**{}.** {}", md(&entry.title), md(&entry.description));
        if !entry.values.is_empty() {
            let codes: Vec<String> =
                entry.values.iter().map(|(code, label)| format!("{} = {}", md(code), md(label))).collect();
            let _ = write!(meaning, " Codes: {}.", codes.join("; "));
        }
        let unit = entry.unit.as_deref().map_or(String::new(), md);
        // What the cohort did to a value before stands in its description.
        let words = entry
            .generalisation
            .as_deref()
            .map_or_else(|| format!("{}, not changed by de-identification", md(&entry.role)), md);
        put(
            &mut out,
            format_args!(
                "| `{}` | {} | {} | {} | {} |",
                entry.name,
                entry.kind,
                unit,
                meaning.replace('\n', " "),
                words
            ),
        );
    }
    out.push_str(
        "\n`dictionary.json` holds the same for programs, with the URIs of LOINC, SNOMED CT and OMOP concepts.\n",
    );
    out.push_str("\n### Missing values\n\n");
    put(&mut out, format_args!("{}\n", stated(&plan.collection.missing_data)));
    out.push_str(&missing_values(facts));
    out.push_str("\n### Who is in the data\n\n");
    out.push_str(&diversity(facts));
    out.push_str("\n### Sensitive facts\n\n");
    out.push_str(&list(&plan.collection.sensitive));
    out
}

/// What is not known in the source, apart from what de-identification left out.
fn missing_values(facts: &Facts<'_>) -> String {
    let rows: u64 = facts.rows.iter().sum();
    let missing: Vec<_> = facts.diversity.missingness.iter().filter(|missing| missing.count != Some(0)).collect();
    let mut out = String::new();
    if facts.left_out.is_empty() {
        if missing.is_empty() {
            out.push_str("- No column has a missing value.\n");
        }
    } else {
        out.push_str(
            "`*` stands where de-identification left a value out, because too few people who are alike would have shared it. \
             What the source does not hold may be among them. `*` is no category: read it as missing.\n\n",
        );
    }
    if missing.is_empty() && facts.left_out.is_empty() {
        return out;
    }
    out.push_str("| Column | Empty: not known in the source | `*`: left out by de-identification |\n|---|---|---|\n");
    let shown = |count: Option<u64>| match count {
        Some(count) => format!("{count} ({:.1} %)", percent(count, rows)),
        None => "not shown".to_owned(),
    };
    for entry in &facts.dictionary.columns {
        let empty = missing.iter().find(|missing| missing.column == entry.name);
        let left_out = facts.left_out.get(entry.name.as_str());
        if empty.is_none() && left_out.is_none() {
            continue;
        }
        let left_out = left_out.map_or(Some(0), |count| *count);
        let empty = empty.map_or(Some(0), |missing| missing.count);
        put(&mut out, format_args!("| `{}` | {} | {} |", entry.name, shown(empty), shown(left_out)));
    }
    out
}

fn splits_table(facts: &Facts<'_>) -> String {
    let total: u64 = facts.rows.iter().sum();
    let column = facts.plan.split.stratify_by.as_str();
    let entry = facts.dictionary.columns.iter().find(|entry| entry.name == column);
    let shown =
        suppress(&facts.strata.iter().map(|(_, rows)| rows.to_vec()).collect::<Vec<_>>(), facts.plan.minimum_cell);
    // More values than fit across a page are left to statistics.json.
    let strata = if facts.strata.len() <= 6 { facts.strata } else { &[] };
    let mut out = String::from("| Split | Rows | Share |");
    for (value, _) in strata {
        let label = entry.and_then(|entry| entry.values.get(value)).unwrap_or(value);
        let _ = write!(out, " `{column}`: {} |", md(label));
    }
    out.push_str("\n|---|---|---|");
    out.push_str(&"---|".repeat(strata.len()));
    out.push('\n');
    for (at, (split, rows)) in SPLITS.iter().zip(facts.rows).enumerate() {
        let _ = write!(out, "| {split} | {rows} | {:.1} % |", percent(rows, total));
        for cells in shown.iter().take(strata.len()) {
            match cells[at] {
                Some(n) => {
                    let _ = write!(out, " {n} ({:.1} %) |", percent(n, rows));
                }
                None => out.push_str(" not shown |"),
            }
        }
        out.push('\n');
    }
    out
}

/// Largest difference between a value's share in one split and its share in all rows.
pub(crate) fn largest_deviation(strata: &[(String, [u64; 3])]) -> f64 {
    let mut rows = [0_u64; 3];
    for (_, counts) in strata {
        rows.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
    }
    let total: u64 = rows.iter().sum();
    let ratio = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
    let differences = strata.iter().flat_map(|(_, counts)| {
        let whole = ratio(counts.iter().sum(), total);
        counts.iter().zip(rows).map(move |(&n, of)| (ratio(n, of) - whole).abs())
    });
    differences.fold(0.0, f64::max)
}

fn diversity(facts: &Facts<'_>) -> String {
    let report = facts.diversity;
    let mut out = String::new();
    if !report.population.is_empty() {
        put(&mut out, format_args!("Compared with: {}. Source: {}\n", md(&report.population), stated(&report.source)));
    }
    for described in &report.dimensions {
        put(&mut out, format_args!("**{}** (`{}`)\n", md(&described.title), described.name));
        if !described.cells.is_empty() {
            out.push_str("| Value | People | Share | Share in the reference |\n|---|---|---|---|\n");
        }
        let share =
            |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        for cell in &described.cells {
            let count = cell.count.map_or_else(|| "not shown".to_owned(), |n| n.to_string());
            let reference = share(cell.reference_share);
            put(&mut out, format_args!("| {} | {count} | {} | {reference} |", md(&cell.label), share(cell.share)));
        }
        out.push('\n');
        if let Some(number) = described.effective_number {
            put(&mut out, format_args!("As diverse as {number:.2} equally common values."));
        }
        if let Some(distance) = described.total_variation_distance {
            put(
                &mut out,
                format_args!("Distance from the reference: {distance:.3} (0 = the same, 1 = nothing in common)."),
            );
        }
        for gap in described.gaps.iter().take(5) {
            put(
                &mut out,
                format_args!("Missing: {}, {} more for 0.8 times the reference.", md(&gap.label), gap.people_needed),
            );
        }
        if let Some(note) = &described.note {
            put(&mut out, format_args!("Note: {}.", md(note)));
        }
        out.push('\n');
    }
    for group in &report.intersectional {
        let names: Vec<String> = group.columns.iter().map(|name| format!("`{name}`")).collect();
        put(
            &mut out,
            format_args!(
                "Combinations of {}: {} possible, {} that nobody has, {} with fewer than {} people.\n",
                names.join(" and "),
                group.possible,
                group.empty,
                group.small,
                report.minimum_cell
            ),
        );
    }
    if !report.not_recorded.is_empty() {
        out.push_str("Not recorded, so nobody can check fairness along these lines:\n\n");
        for fact in &report.not_recorded {
            put(&mut out, format_args!("- **{}**: {}", md(&fact.name), md(&fact.reason)));
        }
        out.push('\n');
    }
    put(
        &mut out,
        format_args!(
            "`diversity.json` holds these numbers with 95 % intervals. Counts from 1 to {} are not printed, nor are counts \
             from which they would follow.",
            report.minimum_cell - 1
        ),
    );
    out
}

fn collection(facts: &Facts<'_>) -> String {
    let told = &facts.plan.collection;
    let mut out = format!("## Collection\n\n{}\n\n", stated(&told.collection));
    for (name, text) in [
        ("Raw data", stated(&told.raw_data)),
        ("Time frame", stated(&told.timeframe)),
        ("Kind of collection", told.collection_types.iter().map(|kind| md(kind)).collect::<Vec<_>>().join("; ")),
        ("How the outcome was recorded", stated(&told.annotation)),
        ("Ethics and legal basis", stated(&told.ethics)),
    ] {
        put(&mut out, format_args!("- **{name}:** {}", if text.is_empty() { "not stated".to_owned() } else { text }));
    }
    out.push_str(&sources(facts));
    out.push_str("\n### Consent\n\n");
    put(&mut out, format_args!("{}\n", md(&facts.plan.use_term.plain)));
    out.push_str(&terms(&facts.plan.conditions()));
    put(&mut out, format_args!("{}\n", md(&facts.diversity.consent.statement)));
    put(&mut out, format_args!("**Withdrawing:** {}", stated(&told.withdrawal)));
    out
}

/// Where records came from, and how many people they tell of.
fn sources(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let people = plan.people.as_ref();
    let shown = people.map(|people| people_shown(people, plan.minimum_cell));
    let mut out = String::from("\n### Sources\n\n| Source | Format | Files |");
    out.push_str(if people.is_some() { " People |" } else { "" });
    out.push_str(" SHA-256 over the files' digests |\n|---|---|---|---|");
    out.push_str(if people.is_some() { "---|\n" } else { "\n" });
    for input in &plan.inputs {
        let people = shown.as_ref().map_or_else(String::new, |shown| match shown.get(input.source.as_str()) {
            Some(Some(people)) => format!(" {people} |"),
            Some(None) => " not shown |".to_owned(),
            None => " 0 |".to_owned(),
        });
        let (source, format) = (md(&input.source), md(&input.format));
        put(&mut out, format_args!("| {source} | {format} | {} |{people} `{}` |", input.files, input.digest));
    }
    let without = people.map_or(0, |people| people.records_without_birth_date);
    if without > 0 {
        let many = if without < plan.minimum_cell { "Some".to_owned() } else { without.to_string() };
        put(
            &mut out,
            format_args!(
                "\n{many} further records are of people whose date of birth no file holds. They are not among the people \
                 counted here, nor in the data."
            ),
        );
    }
    out
}

/// People by source; hidden where few of a source, or of those outside the cohort, would follow.
fn people_shown(people: &PeoplePlan, minimum: u64) -> BTreeMap<&str, Option<u64>> {
    let counts: Vec<u64> = people.by_source.values().copied().collect();
    let few_outside = (1..minimum).contains(&people.outside);
    let shown = suppress_line(&counts, minimum).into_iter().map(|count| count.filter(|_| !few_outside));
    people.by_source.keys().map(String::as_str).zip(shown).collect()
}

/// What whoever has the rows is held to; empty where they are open.
fn terms(all: &Conditions) -> String {
    let mut out = String::new();
    match all.tier() {
        Tier::Open => return out,
        Tier::Registered => put(&mut out, format_args!("The rows are for everybody who signs in and promises:\n")),
        Tier::Controlled => {
            put(&mut out, format_args!("The rows are for those whom the trustee decided for, and who promise:\n"))
        }
    }
    for term in &all.duo {
        let names = match term {
            DuoTerm::Disease => join(&all.diseases),
            DuoTerm::Institution => join(&all.institutions),
            DuoTerm::Project => join(&all.projects),
            DuoTerm::User => join(&all.users),
            DuoTerm::Geography => all.countries.iter().map(|country| country.as_str()).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        let names = if names.is_empty() { names } else { format!(" Named: {}.", md(&names)) };
        put(&mut out, format_args!("- {}{names} (`{}`)", term.promise(), term.id()));
    }
    out.push('\n');
    out
}

fn join(names: &std::collections::BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn processing(facts: &Facts<'_>) -> String {
    let told = &facts.plan.collection;
    let mut out = String::from("## Processing\n\n");
    out.push_str(&list(&told.preprocessing));
    put(&mut out, format_args!("\n**Filling of missing values:** {}\n", stated(&told.imputation)));
    out.push_str("### De-identification and remaining risk\n\n");
    out.push_str(&risk(facts));
    out
}

/// Only a node knows who was outside the cohort, and only a sample leaves rows undrawn.
const OPTIONAL: [&str; 3] = ["People in the sources", "Of these outside the cohort", "Rows not drawn into the sample"];

fn risk(facts: &Facts<'_>) -> String {
    let receipt = facts.receipt;
    let (classes, smallest) = facts.classes;
    let mut out = String::new();
    let facts_known: Vec<String> =
        receipt.quasi_identifiers().unwrap_or_default().into_iter().map(|name| format!("`{name}`")).collect();
    put(
        &mut out,
        format_args!(
            "Suppose somebody knows that you are in the data and knows all of these about you: {}. Then at least {smallest} \
             rows look like yours, and the chance of picking the right one is at most 1 in {smallest}. This is counted over \
             all splits together, which is how the data are published; groups inside one split are smaller, but nobody \
             outside can know which split a person is in.\n",
            if facts_known.is_empty() { "nothing that could point to you".to_owned() } else { facts_known.join(", ") }
        ),
    );
    out.push_str("| Measure | Value |\n|---|---|\n");
    let share = |pointer: &str| receipt.real(pointer).map(|value| format!("{:.2} %", 100.0 * value));
    let number = |pointer: &str| receipt.whole(pointer).map(|value| value.to_string());
    let everybody = facts.plan.people.as_ref().map(|people| {
        let few_outside = (1..facts.plan.minimum_cell).contains(&people.outside);
        let shown = |count: u64| if few_outside { "not shown".to_owned() } else { count.to_string() };
        (shown(people.by_source.values().sum()), shown(people.outside))
    });
    let (people, outside) = everybody.unzip();
    for (name, value) in [
        ("Attacker assumed", receipt.text("/attacker").map(md)),
        ("Rule: people who must look alike (k)", number("/policy/k")),
        ("Rule: highest risk allowed", share("/policy/maximum_risk")),
        ("Groups of people who look alike", Some(classes.to_string())),
        ("Smallest group", Some(smallest.to_string())),
        ("Average group", receipt.real("/classes/average").map(|value| format!("{value:.1}"))),
        ("Prosecutor risk, highest", share("/risk/prosecutor/maximum")),
        ("Prosecutor risk, average", share("/risk/prosecutor/average")),
        ("Prosecutor risk, share of people above the limit", share("/risk/prosecutor/at_risk_share")),
        ("Journalist risk, highest", share("/risk/journalist/maximum")),
        ("Marketer risk, average", share("/risk/marketer/average")),
        (OPTIONAL[0], people),
        (OPTIONAL[1], outside),
        ("Rows before, one for each person of the cohort", number("/rows/input")),
        ("Rows released", number("/rows/released")),
        ("Rows left out to protect people", number("/rows/suppressed")),
        ("Information lost (0 = none, 1 = all)", receipt.real("/loss/total").map(|value| format!("{value:.3}"))),
        (OPTIONAL[2], number("/rows/not_sampled")),
    ] {
        if value.is_none() && OPTIONAL.contains(&name) {
            continue;
        }
        put(&mut out, format_args!("| {name} | {} |", value.unwrap_or_else(|| "not stated".to_owned())));
    }
    let models: Vec<String> = receipt
        .list("/models")
        .iter()
        .filter_map(|model| {
            let name = model.get("name").and_then(Value::as_str)?;
            let held = model.get("held").and_then(Value::as_bool)?;
            let value = |key: &str| match model.get(key)? {
                Value::Number(number) => Some(rounded(number.as_f64()?, 4)),
                Value::String(text) => Some(md(text)),
                _ => None,
            };
            let measured = value("measured").unwrap_or_else(|| "not stated".to_owned());
            let outcome = if held { "holds" } else { "does not hold" };
            Some(match value("parameter") {
                Some(asked) => format!("- {}: {outcome} (asked: {asked}, measured: {measured})", md(name)),
                None if name.contains(" l-diversity of ") => format!("- {}: {measured} (measured only)", md(name)),
                // What was asked for stands in the name.
                None => format!("- {}: {outcome} (measured: {measured})", md(name)),
            })
        })
        .collect();
    if !models.is_empty() {
        put(&mut out, format_args!("\nPrivacy models:\n\n{}", models.join("\n")));
    }
    out.push_str(
        "\nThe risk is not zero. Somebody who knows more about you than the columns above, for instance a value of another \
         column, may narrow the group further. `risk.json` holds the whole measurement.\n",
    );
    out
}

fn uses(facts: &Facts<'_>) -> String {
    let told = &facts.plan.collection;
    let mut out = format!("## Uses\n\n**Meant for**\n\n{}\n**Not for**\n\n", list(&told.use_cases));
    out.push_str(&list(&[vec![NO_NAMING.to_owned()], told.misuse.clone()].concat()));
    put(&mut out, format_args!("\n**Known biases**\n\n{}", list(&told.biases)));
    put(&mut out, format_args!("**Limits**\n\n{}", list(&told.limitations)));
    put(&mut out, format_args!("**Effects on society:** {}", stated(&told.social_impact)));
    out
}

fn distribution(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let mut out = String::from("## Distribution\n\n### How to cite\n\n");
    put(&mut out, format_args!("```bibtex\n{}\n```\n", citation(plan)));
    if !plan.citations.is_empty() {
        out.push_str("Please cite the sources too:\n\n");
        out.push_str(&list(&plan.citations));
        out.push('\n');
    }
    out.push_str("### How to verify\n\n| File | Bytes | SHA-256 |\n|---|---|---|\n");
    for file in facts.parquet {
        put(&mut out, format_args!("| `{}` | {} | `{}` |", file.path, file.bytes, file.sha256));
    }
    put(
        &mut out,
        format_args!(
            "\n`manifest.json` lists every file with size, SHA-256 and Git object id, and what the version was made from: \
             recipe `{}`, split seed {}, program {}. `acequia verify` checks every file, counts the \
             groups of people who look alike again, and recomputes `statistics.json` from the rows. Without it: \
             `sha256sum` on each file gives the numbers above.\n",
            plan.recipe,
            plan.seed,
            md(&plan.program)
        ),
    );
    out.push_str("### Licence\n\n");
    put(
        &mut out,
        format_args!(
            "[{}](<{}>). Permitted use as a term of the Data Use Ontology: {} ({}).",
            md(&plan.license),
            license_address(&plan.license, &plan.home),
            md(&plan.use_term.id),
            md(&plan.use_term.label)
        ),
    );
    out
}

fn maintenance(facts: &Facts<'_>) -> String {
    let plan = facts.plan;
    let mut out = format!("## Maintenance\n\n{}\n\n", stated(&plan.collection.maintenance));
    put(&mut out, format_args!("- **Contact:** {}", contact(plan)));
    out.push_str("- A published version never changes. A correction or a withdrawal makes a new version.\n");
    if !plan.history.is_empty() {
        out.push_str("\n| Version | Day | What changed |\n|---|---|---|\n");
        for note in &plan.history {
            put(&mut out, format_args!("| {} | {} | {} |", md(&note.version), note.released_on, md(&note.note)));
        }
    }
    out
}

/// Whom to write to: the plan's words, and the publisher's address where they do not hold it.
fn contact(plan: &Plan) -> String {
    let told = plan.collection.contact.trim();
    let address = plan.publisher.contact.as_deref().filter(|address| !told.contains(address));
    let words = match (told, address) {
        ("", Some(_)) => md(&plan.publisher.name),
        _ => stated(told),
    };
    address.map_or_else(|| words.clone(), |address| format!("{}, <{address}>", words.trim_end_matches('.')))
}

/// BibTeX entry of a data set's version.
pub(crate) fn citation(plan: &Plan) -> String {
    let named = (&plan.dataset, plan.version.as_str(), plan.title.as_str());
    bibtex("dataset", named, &plan.creators, &plan.publisher, plan.released_on, &plan.home)
}

/// BibTeX entry of a version. Characters that would end a field or mean markup elsewhere are left out; those that are
/// commands of TeX are written so that they are text.
pub(crate) fn bibtex(
    kind: &str,
    (name, version, title): (&DatasetName, &str, &str),
    creators: &[Agent],
    publisher: &Agent,
    released_on: Day,
    home: &str,
) -> String {
    let plain = |c: &char| !matches!(c, '{' | '}' | '"' | '\\' | '`' | '<' | '>' | '\n');
    let clean = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars().filter(plain) {
            match c {
                '&' | '%' | '$' | '#' | '_' => out.extend(['\\', c]),
                '~' => out.push_str("\\textasciitilde{}"),
                '^' => out.push_str("\\textasciicircum{}"),
                c => out.push(c),
            }
        }
        out
    };
    let authors: Vec<String> = creators.iter().map(|agent| format!("{{{}}}", clean(&agent.name))).collect();
    let day = released_on.to_string();
    let year = day.split('-').next().unwrap_or_default();
    format!(
        "@{kind}{{{}_{version},\n  title = {{{}}},\n  author = {{{}}},\n  year = {{{year}}},\n  publisher = {{{}}},\n  \
         version = {{{version}}},\n  url = {{{}}}\n}}",
        name.name(),
        clean(title),
        authors.join(" and "),
        clean(&publisher.name),
        // An address is read as it stands.
        home.chars().filter(plain).collect::<String>()
    )
}

/// The licence in the Hub's words.
pub(crate) fn put_license(out: &mut String, spdx: &str, home: &str) {
    let hub = spdx.to_lowercase();
    if HUB_LICENSES.contains(&hub.as_str()) {
        put(out, format_args!("license: {hub}"));
    } else {
        put(out, format_args!("license: other"));
        put(out, format_args!("license_name: {}", yaml(&hub)));
        put(out, format_args!("license_link: {}", yaml(&license_address(spdx, home))));
    }
}

pub(crate) fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push('\n');
}

pub(crate) fn put_list(out: &mut String, key: &str, items: impl Iterator<Item = String>) {
    put(out, format_args!("{key}:"));
    for item in items {
        put(out, format_args!("- {}", yaml(&item)));
    }
}

/// A YAML double-quoted scalar. JSON strings are such scalars; control characters are refused by the plan's check.
pub(crate) fn yaml(text: &str) -> String {
    Value::from(text).to_string()
}

/// Text with everything that Markdown, its tables or HTML would read as markup taken literally. Line feeds become
/// spaces.
pub(crate) fn md(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in text.trim().char_indices() {
        match c {
            '\n' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            // Only at the start of a line do these make a heading, a list or a rule.
            '#' | '-' | '+' | '=' if at == 0 => {
                out.push('\\');
                out.push(c);
            }
            '.' | ')' if at > 0 && text.trim()[..at].bytes().all(|b| b.is_ascii_digit()) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Paragraphs of plain text.
pub(crate) fn paragraphs(text: &str) -> String {
    let parts: Vec<String> = text.split("\n\n").filter(|part| !part.trim().is_empty()).map(md).collect();
    parts.join("\n\n")
}

pub(crate) fn stated(text: &str) -> String {
    if text.trim().is_empty() { "Not stated.".to_owned() } else { paragraphs(text) }
}

pub(crate) fn list(items: &[String]) -> String {
    if items.is_empty() {
        return "- Not stated.\n".to_owned();
    }
    items.iter().map(|item| format!("- {}\n", md(item))).collect()
}

pub(crate) fn agent(agent: &Agent) -> String {
    match &agent.url {
        Some(url) => format!("[{}](<{url}>)", md(&agent.name)),
        None => md(&agent.name),
    }
}

/// At most so many decimals, none that are zero.
fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn percent(n: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { 100.0 * n as f64 / of as f64 }
}

/// The Hub's word for a number of rows.
fn size_category(rows: u64) -> String {
    const STEPS: [(u64, &str); 5] = [
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
        (10_000_000, "1M<n<10M"),
    ];
    STEPS.iter().find(|(limit, _)| rows < *limit).map_or("10M<n<100M", |(_, word)| word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_texts_is_taken_literally() {
        assert_eq!(md("a|b_c*d <script>"), "a\\|b\\_c\\*d &lt;script&gt;");
        assert_eq!(md("# not a heading"), "\\# not a heading");
        assert_eq!(md("1. not a list\nnext"), "1\\. not a list next");
        assert_eq!(md("1.5 mm"), "1\\.5 mm");
        assert_eq!(yaml("a: \"b\" # c\n- d"), "\"a: \\\"b\\\" # c\\n- d\"");
    }

    #[test]
    fn deviation_is_zero_when_shares_agree() {
        assert_eq!(largest_deviation(&[("0".into(), [70, 15, 15]), ("1".into(), [140, 30, 30])]), 0.0);
        let apart = largest_deviation(&[("0".into(), [10, 0, 0]), ("1".into(), [0, 5, 5])]);
        assert!((apart - 0.5).abs() < 1e-12);
    }

    #[test]
    fn sizes_have_the_hubs_words() {
        assert_eq!(size_category(999), "n<1K");
        assert_eq!(size_category(3_900), "1K<n<10K");
        assert_eq!(size_category(50_000_000), "10M<n<100M");
    }
}
