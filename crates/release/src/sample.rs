//! Test data: invented persons with skewed values, and a plan with texts that try to break every format.

use std::sync::Arc;

use acequia_custody::Conditions;
use acequia_frame::Table;
use acequia_gate::InputDigest;
use acequia_types::{DatasetName, Digest, parse_day};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};

use crate::*;

/// Text that means something in YAML, Markdown, HTML, JSON and BibTeX.
pub(crate) const NASTY: &str = "a: \"b\" | c # d <script>&amp; {e} `f` *g* [h](i) \\n é – 漢";

/// A small generator of numbers, so that the sample is the same everywhere.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

pub(crate) fn table(rows: usize) -> Table {
    let mut next = numbers(42);
    let bands = ["<40", "40-49", "50-59", "60-69", ">=70"];
    let age: Vec<&str> = (0..rows).map(|_| bands[next(5) as usize]).collect();
    let meno: Vec<&str> = age.iter().map(|age| if *age < "5" { "premenopausal" } else { "postmenopausal" }).collect();
    let nodes: Vec<i64> = (0..rows).map(|_| (next(6) * next(6) * next(4)) as i64).collect();
    let er: Vec<Option<f64>> =
        (0..rows).map(|_| (next(20) > 0).then(|| (next(100) * next(100)) as f64 / 10.0)).collect();
    let grade: Vec<Option<i64>> = (0..rows).map(|_| (next(50) > 0).then(|| 1 + next(3) as i64)).collect();
    let hormone: Vec<bool> = (0..rows).map(|_| next(3) == 0).collect();
    let time: Vec<i64> = (0..rows).map(|_| 30 + next(5_000) as i64).collect();
    let event: Vec<i64> = (0..rows).map(|_| i64::from(next(10) < 4)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("age", Arc::new(StringArray::from(age))),
        ("menopausal_status", Arc::new(StringArray::from(meno))),
        ("grade", Arc::new(Int64Array::from(grade))),
        ("nodes", Arc::new(Int64Array::from(nodes))),
        ("er", Arc::new(Float64Array::from(er))),
        ("hormone_therapy", Arc::new(BooleanArray::from(hormone))),
        ("time_days", Arc::new(Int64Array::from(time))),
        ("event", Arc::new(Int64Array::from(event))),
    ];
    Table::new("cohort", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

pub(crate) fn assignment(rows: usize) -> Vec<u64> {
    (0..rows as u64).map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

pub(crate) fn receipt(table: &Table, k: u64) -> Value {
    let sizes = rows::class_sizes([table], &["age", "menopausal_status"]).unwrap();
    let (highest, mean) = (1.0 / sizes[0] as f64, sizes.len() as f64 / table.rows() as f64);
    json!({
        "schema": "acequia-risk/1",
        "attacker": "prosecutor",
        "policy": {"k": k, "maximum_risk": 1.0 / k as f64, "suppression_limit": 0.05},
        "rows": {"input": table.rows() + 20, "released": table.rows(), "suppressed": 20},
        "quasi_identifiers": [
            {"column": "age", "hierarchy": "intervals", "level": 2, "levels": 4, "loss": 0.2},
            {"column": "menopausal_status", "hierarchy": "suppress", "level": 0, "levels": 2, "loss": 0.0},
        ],
        "classes": {"count": sizes.len(), "smallest": sizes[0], "average": 1.0 / mean},
        "risk": {
            "prosecutor": {"maximum": highest, "average": mean, "at_risk_share": 0.0},
            "journalist": {"maximum": highest},
            "marketer": {"average": mean},
        },
        "loss": {"total": 0.11},
        "models": [{"name": "k-anonymity", "parameter": k, "held": true, "measured": sizes[0]}],
        "verified_by": "acequia-deidentify verify",
    })
}

pub(crate) fn plan() -> Plan {
    let column = |name: &str, title: &str, role: &str, unit: Option<&str>| ColumnPlan {
        name: name.to_owned(),
        title: title.to_owned(),
        description: format!("{title} at diagnosis."),
        unit: unit.map(str::to_owned),
        role: role.to_owned(),
        equivalent: Vec::new(),
        values: Default::default(),
    };
    let mut columns = vec![
        column("age", "Age", "quasi-identifier", Some("a")),
        column("menopausal_status", "Menopausal status", "quasi-identifier", None),
        column("grade", "Histologic grade", "insensitive", None),
        column("nodes", "Positive lymph nodes", "insensitive", Some("{nodes}")),
        column("er", "Oestrogen receptor", "insensitive", Some("fmol/mg")),
        column("hormone_therapy", "Hormone therapy", "insensitive", None),
        column("time_days", "Time to event", "sensitive", Some("d")),
        column("event", "Recurrence or death", "sensitive", None),
    ];
    columns[3].equivalent = vec!["https://loinc.org/21893-3".to_owned()];
    columns[6].description = NASTY.to_owned();
    columns[7].values = [("0", "not observed"), ("1", "observed")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let age = |label: &str, share| ReferenceCell { label: label.to_owned(), share };
    Plan {
        dataset: DatasetName::parse("acequia/sample").unwrap(),
        version: "1.0.0".to_owned(),
        title: format!("Sample {NASTY}"),
        summary: NASTY.to_owned(),
        description: format!("First.\n\n# {NASTY}\n\n---\nlast: line"),
        license: "CC-BY-4.0".to_owned(),
        creators: vec![Agent { name: NASTY.to_owned(), url: None, contact: None, kind: AgentKind::Person }],
        publisher: Agent {
            name: "Acequia".to_owned(),
            url: Some("https://acequia.example".to_owned()),
            contact: Some("data@acequia.example".to_owned()),
            kind: AgentKind::Organization,
        },
        citations: vec![NASTY.to_owned()],
        home: "https://acequia.example/datasets/acequia/sample".to_owned(),
        released_on: parse_day("2026-11-23").unwrap(),
        keywords: vec!["breast cancer".to_owned(), "no".to_owned(), NASTY.to_owned()],
        languages: vec!["en".to_owned()],
        split: SplitPlan::default(),
        seed: 7,
        recipe: Digest::of(b"recipe"),
        program: "acequia 0.1.0".to_owned(),
        inputs: vec![InputDigest {
            source: "a|b".to_owned(),
            format: "csv".to_owned(),
            files: 1,
            digest: Digest::of(b"in"),
        }],
        columns,
        diversity: DiversityPlan {
            population: "women of the European Union (27), 2020".to_owned(),
            source: NASTY.to_owned(),
            dimensions: vec![
                Dimension {
                    column: "age".to_owned(),
                    title: String::new(),
                    reference: vec![
                        age("0-19", 19.0),
                        age("20-39", 23.0),
                        age("40-49", 14.0),
                        age("50-59", 15.0),
                        age("60-69", 13.0),
                        age("70-84", 12.0),
                        age("85+", 4.0),
                    ],
                },
                Dimension {
                    column: "menopausal_status".to_owned(),
                    title: "Menopause".to_owned(),
                    reference: Vec::new(),
                },
                Dimension {
                    column: "nodes".to_owned(),
                    title: String::new(),
                    reference: vec![age("0", 6.0), age("1-3", 2.0), age("4+", 2.0)],
                },
            ],
            intersections: vec![vec!["age".to_owned(), "menopausal_status".to_owned(), "grade".to_owned()]],
            purpose: NASTY.to_owned(),
            ..DiversityPlan::default()
        },
        people: None,
        previous_diversity: None,
        health: HealthPlan {
            categories: vec!["EHRS".to_owned()],
            access_body: Some(Agent {
                name: NASTY.to_owned(),
                url: None,
                contact: Some("https://acequia.example/access".to_owned()),
                kind: AgentKind::Organization,
            }),
            population: NASTY.to_owned(),
            ..HealthPlan::default()
        },
        minimum_cell: 12,
        consent: ConsentPlan {
            counted: "donations of individual donors".to_owned(),
            outcomes: [("included", 240), ("refused", 24), ("withdrawn", 12), ("expired", 4), ("unknown", 3)]
                .map(|(name, count)| ConsentOutcome { name: name.to_owned(), title: name.to_owned(), count })
                .into(),
            ..ConsentPlan::default()
        },
        not_recorded: vec![NotRecorded { name: "ethnicity".to_owned(), reason: NASTY.to_owned() }],
        collection: CollectionPlan {
            motivation: NASTY.to_owned(),
            collection_types: vec!["Secondary Data analysis".to_owned()],
            timeframe: "1978/1993".to_owned(),
            biases: vec![NASTY.to_owned()],
            preprocessing: vec![NASTY.to_owned()],
            limitations: vec![NASTY.to_owned()],
            sensitive: vec![NASTY.to_owned()],
            use_cases: vec!["Teaching".to_owned()],
            misuse: vec!["Insurance".to_owned()],
            ..CollectionPlan::default()
        },
        use_term: UseTerm::default(),
        terms: Conditions::default(),
        history: vec![VersionNote {
            version: "1.0.0".to_owned(),
            released_on: parse_day("2026-11-23").unwrap(),
            note: "First.".to_owned(),
        }],
    }
}
