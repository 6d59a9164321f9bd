//! Transformations from the policy to the released file, the receipt and the verifier.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_deidentify::{
    Beside, DeidentifyError, FileTable, Receipt, TableRisk, deidentify_file, read_policy, recount_beside, risk_report,
};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Numbers that look like chance and are always the same.
fn mixed(row: u32, salt: u32) -> u32 {
    let mut value = row.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(0x9e37_79b9));
    value ^= value >> 15;
    value = value.wrapping_mul(0x85eb_ca6b);
    value ^ (value >> 13)
}

fn rows(count: u32) -> Vec<String> {
    (0..count)
        .map(|row| {
            let age = 40 + mixed(row, 1) % 65;
            let sex = ["f", "m"][(mixed(row, 2) % 2) as usize];
            let income = f64::from(mixed(row, 3) % 10_000) / 10.0 * f64::from(1 + mixed(row, 4) % 20);
            let weight = 40.0 + f64::from(mixed(row, 5) % 800) / 10.0;
            let height = 140 + mixed(row, 6) % 60;
            let country = ["de", "de", "de", "es", "es", "fr", "it"][(mixed(row, 7) % 7) as usize];
            let country = if row % 400 == 1 { format!("c{row}") } else { country.to_owned() };
            let marker = if row % 10 == 0 { String::new() } else { (mixed(row, 8) % 5_000).to_string() };
            let came = format!(
                "20{:02}-{:02}-{:02}",
                10 + mixed(row, 9) % 12,
                1 + mixed(row, 10) % 12,
                1 + mixed(row, 11) % 28
            );
            let outcome = ["well", "ill", "dead"][(mixed(row, 12) % 3) as usize];
            format!("p{row},{age},{sex},{income},{weight},{height},{country},{marker},{came},{outcome}")
        })
        .collect()
}

const HEADER: &str = "id,age,sex,income,weight,height,country,marker,came,outcome";

const COLUMNS: &str = r#"
    id = { role = "person-id" }
    age = { role = "quasi-identifier", minimum_level = 1, transform = { ages_pooled = true }, hierarchy = { intervals = { levels = [5, 10], lower = 40, upper = 90 } } }
    sex = { role = "quasi-identifier", hierarchy = "suppress" }
    outcome = { role = "sensitive" }
"#;

fn table(folder: &Path, rows: &[String]) -> std::path::PathBuf {
    let path = folder.join("table.csv");
    std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
    path
}

/// The receipt, the released columns, and the bytes of the file.
type Released = (Receipt, BTreeMap<String, Vec<String>>, Vec<u8>);

/// De-identifies and gives the receipt with the released columns.
fn released(rows: &[String], head: &str, columns: &str, memory_bytes: u64) -> Result<Released, DeidentifyError> {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), rows);
    let policy_file = folder.path().join("policy.toml");
    std::fs::write(&policy_file, format!("k = 5\nmaximum_risk = 0.2\n{head}\n[columns]{COLUMNS}{columns}\n")).unwrap();
    std::fs::write(folder.path().join("secret.key"), KEY).unwrap();
    let (policy, files) = read_policy(&policy_file)?;
    let out = folder.path().join("out.csv");
    let receipt = deidentify_file(&table, None, &policy, &files, &out, memory_bytes)?;
    let beside = Beside { hierarchy_files: Some(&files), ..Beside::default() };
    recount_beside(&out, &policy, &beside).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let names = lines.next().unwrap();
    let mut columns: BTreeMap<String, Vec<String>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for line in lines {
        names.iter().zip(line).for_each(|(name, value)| columns.get_mut(name).unwrap().push(value));
    }
    assert_eq!(receipt.rows.input, receipt.rows.released + receipt.rows.suppressed + receipt.rows.not_sampled);
    Ok((receipt, columns, bytes))
}

const REST: &str = r#"
    income = { role = "direct-identifier" }
    weight = { role = "direct-identifier" }
    height = { role = "direct-identifier" }
    country = { role = "direct-identifier" }
    marker = { role = "direct-identifier" }
    came = { role = "direct-identifier" }
"#;

fn but(names: &[&str], columns: &str) -> String {
    let rest: Vec<&str> = REST
        .lines()
        .filter(|line| !names.iter().any(|name| line.trim_start().starts_with(&format!("{name} "))))
        .collect();
    format!("{}\n{columns}", rest.join("\n"))
}

fn counts(values: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    values.iter().filter(|value| !value.is_empty()).for_each(|value| *counts.entry(value.as_str()).or_default() += 1);
    counts
}

fn numbers(values: &[String]) -> Vec<f64> {
    values.iter().filter(|value| !value.is_empty()).map(|value| value.parse().unwrap()).collect()
}

#[test]
fn limits_rare_values_and_groups_hold_in_what_is_released() {
    let columns = but(
        &["income", "weight", "height", "country", "marker"],
        r#"
        income = { role = "sensitive", transform = { bottom = 10, top = { share = 0.01 } } }
        country = { role = "insensitive", transform = { rare = { becomes = "elsewhere" } } }
        marker = { role = "insensitive", transform = { class = "median" } }
        weight = { role = "insensitive" }
        height = { role = "insensitive" }
    "#,
    );
    let head = "recoding = \"local\"\n[[microaggregate]]\ncolumns = [\"weight\", \"height\"]";
    let (receipt, out, bytes) = released(&rows(3_000), head, &columns, u64::MAX).unwrap();
    let income = numbers(&out["income"]);
    let (least, most) = (income.iter().copied().fold(f64::MAX, f64::min), income.iter().copied().fold(0.0, f64::max));
    assert_eq!(least, 10.0);
    assert!(income.iter().filter(|value| **value == most).count() >= 5);
    assert!(
        counts(&out["country"]).values().all(|count| *count >= 5) && out["country"].contains(&"elsewhere".to_owned())
    );
    let together: Vec<String> = out["weight"].iter().zip(&out["height"]).map(|(a, b)| format!("{a} {b}")).collect();
    assert!(counts(&together).values().all(|count| *count >= 5));
    let mut of_class: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for ((age, sex), marker) in out["age"].iter().zip(&out["sex"]).zip(&out["marker"]) {
        assert_eq!(of_class.entry((age, sex)).or_insert(marker), marker);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean(&numbers(&out["height"])) - 169.5).abs() < 1.0, "groups keep means");
    let kinds: Vec<&str> = receipt.transformations.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(kinds, ["ages-pooled", "rare", "limits", "class-value", "microaggregation"]);
    let left = |kind: &str| receipt.transformations.iter().find(|step| step.kind == kind).unwrap().kept;
    assert!(left("microaggregation") > 0.9 && left("limits") > 0.9 && left("class-value") < 0.5);
    let mut backwards = rows(3_000);
    backwards.reverse();
    assert!(released(&backwards, head, &columns, u64::MAX).unwrap().2 == bytes, "the order of rows says nothing");
}

#[test]
fn values_that_models_look_at_are_pooled_before_the_search() {
    let columns = but(&["country"], r#"country = { role = "sensitive", transform = { rare = {} } }"#);
    let head = "suppression_limit = 0.3\n[[models]]\nmodel = \"distinct-l\"\ncolumn = \"country\"\nl = 3";
    let (receipt, out, _) = released(&rows(600), head, &columns, u64::MAX).unwrap();
    assert!(counts(&out["country"]).values().all(|count| *count >= 5), "{:?}", counts(&out["country"]));
    assert!(
        receipt.models.iter().any(|model| model.name == "distinct l-diversity of country" && model.measured >= 3.0)
    );
    assert!(receipt.transformations.iter().any(|step| step.kind == "rare"));
}

#[test]
fn quasi_identifiers_are_transformed_before_the_search() {
    let columns = but(
        &["height", "weight", "country", "marker"],
        r#"
        height = { role = "quasi-identifier", transform = { bottom = 150, top = 190 }, hierarchy = { intervals = { levels = [10, 20], lower = 150, upper = 190 } } }
        country = { role = "quasi-identifier", transform = { rare = {} }, hierarchy = { tree = { known = ["de", "es", "fr", "it"], odd = ["c1", "c401", "c801", "c1201", "c1601", "c2001", "c2401", "c2801"] } } }
        marker = { role = "quasi-identifier", transform = { class = "mean" } }
        weight = { role = "quasi-identifier", hierarchy = "suppress" }
    "#,
    );
    let head = "recoding = \"local\"\nsuppression_limit = 0.1\n[[microaggregate]]\ncolumns = [\"weight\"]\nk = 200";
    let (receipt, out, _) = released(&rows(3_000), head, &columns, u64::MAX).unwrap();
    assert!(receipt.classes.smallest >= 5);
    assert!(counts(&out["weight"]).keys().filter(|weight| **weight != "*").count() <= 15);
    assert!(counts(&out["country"]).keys().all(|country| !country.starts_with('c')));
    let rare = receipt.transformations.iter().find(|step| step.kind == "rare").unwrap();
    assert_eq!(rare.words, "values of fewer than 5 rows take the lowest label that is not rare (8 rows)");
    assert!(out["age"].iter().all(|age| age == "*" || age == ">=90" || age < &"90".to_owned()));
    let marker = receipt.quasi_identifiers.iter().find(|column| column.column == "marker").unwrap();
    assert_eq!(marker.words, "the mean of its equivalence class");
    let classes: BTreeMap<Vec<&String>, usize> = (0..out["age"].len()).fold(BTreeMap::new(), |mut classes, row| {
        *classes
            .entry(["age", "sex", "height", "country", "weight", "marker"].map(|name| &out[name][row]).to_vec())
            .or_default() += 1;
        classes
    });
    assert!(classes.values().all(|rows| *rows >= 5));
}

#[test]
fn samples_and_shifted_days_are_the_same_from_disk() {
    let columns = but(
        &["came", "height"],
        r#"
        came = { role = "insensitive", transform = { shift = true } }
        height = { role = "quasi-identifier", transform = { bottom = 150, top = 190 }, hierarchy = { intervals = { levels = [10, 20], lower = 150, upper = 190 } } }
    "#,
    );
    let head = "[sample]\nshare = 0.5\nseed = 3\n[date_shift]\nkey = \"secret.key\"\ndays_max = 364";
    let (receipt, out, bytes) = released(&rows(3_000), head, &columns, u64::MAX).unwrap();
    let (on_disk, _, bytes_on_disk) = released(&rows(3_000), head, &columns, 0).unwrap();
    assert!(bytes == bytes_on_disk, "the same rows");
    assert_eq!(receipt.transformations, on_disk.transformations);
    assert_eq!(receipt.sample, on_disk.sample);
    let sample = receipt.sample.as_ref().unwrap();
    assert_eq!((sample.rows, receipt.rows.not_sampled), (3_000, 3_000 - sample.drawn));
    assert!((1_300..1_700).contains(&sample.drawn));
    let sampled = receipt.risk.sampled.as_ref().unwrap();
    assert!((sampled.risk.maximum - receipt.risk.prosecutor.risk.maximum * 0.5).abs() < 1e-12);
    assert!(out["came"].iter().all(|day| day.len() == 10 && ("2009-01-01".."2024-01-01").contains(&day.as_str())));
    assert!(receipt.transformations.iter().any(|step| step.kind == "date-shift"));
    let again = released(&rows(3_000), &head.replace("seed = 3", "seed = 4"), &columns, u64::MAX).unwrap();
    assert!(again.2 != bytes, "another seed draws others");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |head: &str, columns: String| released(&rows(50), head, &columns, u64::MAX).unwrap_err().to_string();
    let income = |transform: &str| {
        but(&["income"], &format!("income = {{ role = \"sensitive\", transform = {{ {transform} }} }}"))
    };
    assert!(refused("", income("top = 1, rare = {}")).contains("one transformation at a time"));
    assert!(refused("", income("top = 1, bottom = 2")).contains("bottom must be below top"));
    assert!(refused("", income("top = { share = 0.7 }")).contains("a share must be above 0"));
    assert!(refused("", income("")).contains("must say what it does"));
    assert!(refused("", income("shift = true")).contains("shift needs [date_shift]"));
    assert!(refused("[sample]\nshare = 2.0", REST.to_owned()).contains("share must be above 0"));
    let shift = "[date_shift]\nkey = \"secret.key\"\ndays_max = 30";
    assert!(refused(shift, REST.to_owned()).contains("at least 21 shifts"));
    let outcome =
        "[[models]]\nmodel = \"distinct-l\"\ncolumn = \"outcome\"\nl = 2\n[[microaggregate]]\ncolumns = [\"outcome\"]";
    assert!(refused(outcome, REST.to_owned()).contains("a model looks at outcome"));
    let shifted = "[date_shift]\nkey = \"secret.key\"\ndays_max = 364";
    assert_eq!(
        refused(shifted, but(&["country"], "country = { role = \"insensitive\", transform = { shift = true } }")),
        "row 1, column country: not a day (YYYY-MM-DD)"
    );
    let on_disk =
        |columns: String| released(&rows(50), "suppression_limit = 1.0", &columns, 0).unwrap_err().to_string();
    assert_eq!(on_disk(income("top = 1")), "top or bottom coding of column income needs the rows in memory");
}

#[test]
fn the_verifier_counts_the_population_itself() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &rows(400));
    let people = folder.path().join("people.csv");
    std::fs::write(&people, format!("{HEADER}\n{}\n", rows(2_000).join("\n"))).unwrap();
    for (recoding, model) in [
        ("global", "model = \"k-map\"\nk = 20"),
        ("local", "model = \"k-map\"\nk = 20"),
        ("global", "model = \"delta-presence\"\nminimum = 0.05\nmaximum = 0.5"),
    ] {
        let text = |model: &str| {
            format!(
                "k = 2\nmaximum_risk = 1.0\nsuppression_limit = 0.5\nrecoding = {recoding:?}\n[[models]]\n{model}\n[columns]{COLUMNS}{REST}"
            )
        };
        let policy_file = folder.path().join("policy.toml");
        std::fs::write(&policy_file, text(model)).unwrap();
        let (policy, files) = read_policy(&policy_file).unwrap();
        let out = folder.path().join("out.csv");
        let receipt = deidentify_file(&table, Some(&people), &policy, &files, &out, u64::MAX).unwrap();
        let on_disk = deidentify_file(&table, Some(&people), &policy, &files, &out, 0).unwrap();
        assert_eq!(receipt.models, on_disk.models);
        let measured = receipt.models.last().unwrap().measured;
        let beside = Beside { hierarchy_files: Some(&files), population: Some(&people), ..Beside::default() };
        assert_eq!(recount_beside(&out, &policy, &beside).unwrap().models, [Some(measured)]);
        // A stricter policy does not hold for the same file.
        let strict = if model.contains("k-map") {
            "model = \"k-map\"\nk = 2000"
        } else {
            "model = \"delta-presence\"\nminimum = 0.0\nmaximum = 0.05"
        };
        std::fs::write(&policy_file, text(strict)).unwrap();
        let (policy, _) = read_policy(&policy_file).unwrap();
        assert!(
            matches!(recount_beside(&out, &policy, &beside), Err(DeidentifyError::Model { .. })),
            "{recoding} {model}"
        );
    }
}

#[test]
fn the_report_is_one_page_that_states_the_attacker() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), &rows(800));
    let people = folder.path().join("people.csv");
    std::fs::write(&people, format!("{HEADER}\n{}\n", rows(2_000).join("\n"))).unwrap();
    let known = ["age", "sex", "height"].map(str::to_owned);
    let read = FileTable::read(&path, Some(&people)).unwrap();
    let mut risk: TableRisk = read.risk(&known, 0.09, None).unwrap();
    risk.special_uniques = Some(read.special_uniques(&known, 3, None).unwrap());
    let (receipt, ..) =
        released(&rows(800), "[sample]\nshare = 0.8\n[attacks]\nextent = \"full\"", REST, u64::MAX).unwrap();
    let page = risk_report("visits <2024>", Some(&risk), Some(&receipt));
    for words in [
        "ISO/IEC 27559:2022",
        "Risk report: visits &lt;2024&gt;",
        "Prosecutor",
        "Journalist (population table)",
        "Marketer",
        "Pitman",
        "Zayatz",
        "shifted negative binomial",
        "Dankar",
        "SUDA2",
        "Governance",
        "Non-uniform entropy",
        "ages over 89 are 90",
        "A sample:",
        "@media print",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<script") && page.matches("<svg").count() > 5);
    assert_eq!(page, risk_report("visits <2024>", Some(&risk), Some(&receipt)), "the same numbers, the same bytes");
}
