//! Persons with events from files to files, against plain counting of what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{AttackKind, read_policy};

const POLICY: &str = r#"
    k = 3
    maximum_risk = 1.0
    recoding = "local"
    suppression_limit = 0.5
    [columns]
    id = { role = "person-id" }
    age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [10], lower = 0, upper = 40 } } }
    sex = { role = "quasi-identifier", hierarchy = "suppress" }
    died = { role = "sensitive" }
    [events]
    codes = ["a", "b"]
    missing = ["?"]
    hierarchy = { tree = { A = { A1 = ["1", "2"], A2 = ["3"] }, B = { B1 = ["4", "5"], B2 = ["6"] } } }
"#;
const KM: &str = "[[models]]\nmodel = \"km-anonymity\"\nm = 2\n";

fn policy_with(text: &str) -> (Policy, BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    read_policy(&path).unwrap()
}

/// Runs one release; what was written, as lines without their headers.
fn release(
    table: &str,
    events: Option<&str>,
    policy: &str,
) -> Result<(Receipt, Vec<String>, Vec<String>), DeidentifyError> {
    let (policy, files) = policy_with(policy);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("in.csv"), table).unwrap();
    let second = events.map(|events| {
        std::fs::write(at("events.csv"), events).unwrap();
        at("events.csv")
    });
    let outcome = deidentify_events(&at("in.csv"), second.as_deref(), &policy, &files, &at("out.csv"));
    let left: BTreeSet<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("out"))
        .collect();
    let expected: &[&str] = if outcome.is_ok() { &["out.csv", "out.events.csv"] } else { &[] };
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let receipt = outcome?;
    let lines = |name: &str| -> Vec<String> {
        std::fs::read_to_string(at(name)).unwrap().lines().skip(1).map(str::to_owned).collect()
    };
    recount_events(&at("out.csv"), &at("out.events.csv"), &policy, &files, None).unwrap();
    Ok((receipt, lines("out.csv"), lines("out.events.csv")))
}

/// For each combination of at most `known` codes in each class, the persons who hold it, by going through all subsets.
fn combinations(persons: &[String], events: &[String], known: u32) -> BTreeMap<(String, Vec<String>), Vec<String>> {
    let mut found: BTreeMap<(String, Vec<String>), Vec<String>> = BTreeMap::new();
    for line in persons {
        let fields: Vec<&str> = line.split(',').collect();
        let codes: BTreeSet<&str> = events
            .iter()
            .filter_map(|event| event.split_once(','))
            .filter(|(person, _)| *person == fields[0])
            .map(|(_, code)| code)
            .collect();
        let codes: Vec<&str> = codes.into_iter().collect();
        for mask in (0_u32..1 << codes.len()).filter(|mask| mask.count_ones() <= known) {
            let chosen =
                codes.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, code)| (*code).to_owned());
            let class = fields[1..3].join(",");
            found.entry((class, chosen.collect())).or_default().push(fields[3].to_owned());
        }
    }
    found
}

fn add_up(receipt: &Receipt, persons: &[String], events: &[String]) {
    let facts = receipt.events.as_ref().unwrap();
    let counts = &facts.counts;
    let told: u64 = facts.levels.iter().map(|level| level.events).sum();
    assert_eq!(counts.read, counts.of_others + counts.repeated + counts.distinct);
    assert_eq!(counts.distinct, told + counts.suppressed + counts.suppressed_with_persons);
    assert_eq!(counts.released, told - counts.merged);
    assert_eq!((counts.released, receipt.rows.released), (events.len() as u64, persons.len() as u64));
    assert_eq!(facts.pooled.persons, receipt.rows.input - receipt.rows.not_sampled);
}

type Row = (u8, bool, bool, [Option<u8>; 2]);

fn rows() -> impl Strategy<Value = Vec<(u8, Row)>> {
    let code = || proptest::option::weighted(0.9, 1..=6_u8);
    let row = (0..50_u8, any::<bool>(), any::<bool>(), [code(), code()]);
    proptest::collection::vec((0..30_u8, row), 0..90)
}

fn table(rows: &[(u8, Row)]) -> String {
    let mut text = "id,age,sex,died,a,b\n".to_owned();
    for (id, (age, sex, died, codes)) in rows {
        let code = |code: &Option<u8>| code.map_or("?".to_owned(), |code| code.to_string());
        text += &format!("p{id},{age},{sex},{died},{},{}\n", code(&codes[0]), code(&codes[1]));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_knows_two_codes_finds_three_persons(rows in rows(), global in any::<bool>(), seed in any::<u64>()) {
        let policy = format!("{POLICY}recoding = \"{}\"\n{KM}", if global { "global" } else { "local" });
        let outcome = release(&table(&rows), None, &policy);
        let (receipt, persons, events) = match outcome {
            Ok(done) => done,
            Err(DeidentifyError::Unreachable { .. } | DeidentifyError::EventsUnreachable { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        add_up(&receipt, &persons, &events);
        let fewest = combinations(&persons, &events, 2).values().map(Vec::len).min();
        prop_assert!(fewest.is_none_or(|fewest| fewest >= 3));
        let facts = receipt.events.as_ref().unwrap();
        prop_assert_eq!(facts.smallest, fewest.unwrap_or(0) as u64);
        prop_assert_eq!(facts.after.known[2].below_k, 0);
        let suppressed = facts.counts.suppressed + facts.counts.suppressed_with_persons;
        prop_assert!(suppressed * 2 <= facts.counts.distinct);
        if global {
            // A code has one label: no label lies below another.
            let labels: BTreeSet<&str> = events.iter().filter_map(|event| Some(event.split_once(',')?.1)).collect();
            let below = [("A", vec!["A1", "A2", "1", "2", "3"]), ("B", vec!["B1", "B2", "4", "5", "6"]),
                ("A1", vec!["1", "2"]), ("A2", vec!["3"]), ("B1", vec!["4", "5"]), ("B2", vec!["6"])];
            for (above, below) in below {
                prop_assert!(!labels.contains(above) || below.iter().all(|label| !labels.contains(label)), "{labels:?}");
            }
        }
        // Rows of different persons may come in any order.
        let mut shuffled = rows;
        shuffled.sort_by_key(|(id, _)| (u64::from(*id) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (other, other_persons, other_events) = release(&table(&shuffled), None, &policy).unwrap();
        prop_assert_eq!((persons, events), (other_persons, other_events));
        prop_assert_eq!(receipt, other);
    }

    #[test]
    fn nobody_infers_a_guarded_value(rows in rows(), all in any::<bool>()) {
        let values = if all { "" } else { "values = [\"true\"]\n" };
        let lkc = format!("[[models]]\nmodel = \"lkc-privacy\"\ncolumn = \"died\"\nl = 2\nc = 0.6\n{values}");
        let outcome = release(&table(&rows), None, &format!("{POLICY}{lkc}"));
        let Ok((receipt, persons, events)) = outcome else {
            let refused = matches!(outcome, Err(DeidentifyError::Unreachable { .. } | DeidentifyError::EventsUnreachable { .. }));
            prop_assert!(refused, "{:?}", outcome.err());
            return Ok(());
        };
        add_up(&receipt, &persons, &events);
        for died in combinations(&persons, &events, 2).values() {
            prop_assert!(died.len() >= 3);
            let of = |value: &str| died.iter().filter(|other| *other == value).count() as f64 / died.len() as f64;
            prop_assert!(of("true") <= 0.6);
            prop_assert!(!all || of("false") <= 0.6);
        }
    }
}

/// Sixty persons: each holds 1 or 2, and 4 or 6; one holds 3, which nobody else does.
fn sixty() -> (String, String) {
    let (mut persons, mut events) = ("id,age,sex,died\n".to_owned(), "id,a,b,on\n".to_owned());
    for at in 0..60 {
        persons += &format!("p{at},{},m,{}\n", 5 + at % 3, at % 2);
        let (a, b, month) = (1 + at % 2, if at < 30 { 4 } else { 6 }, 1 + at % 4 / 2);
        events += &format!("p{at},{a},{b},2024-0{month}-11\n");
    }
    events += "p7,3,?,2024-05-01\np7,3,,2024-05-01\nq,3,3,2024-05-01\n";
    (persons, events)
}

#[test]
fn events_may_lie_in_a_second_table() {
    let (persons, events) = sixty();
    let (receipt, persons, events) = release(&persons, Some(&events), &format!("{POLICY}{KM}")).unwrap();
    add_up(&receipt, &persons, &events);
    let facts = receipt.events.unwrap();
    assert_eq!((facts.counts.read, facts.counts.of_others, facts.counts.repeated), (124, 2, 1));
    // Code 3 is of one person: it is told as A at most, or given up so that others tell more.
    assert_eq!((facts.counts.rare_codes, facts.counts.rare_events), (1, 1));
    assert!(facts.counts.suppressed <= 1 && facts.levels[0].events >= 60, "{:?} {:?}", facts.counts, facts.levels);
    assert_eq!((facts.before.known[1].alone, facts.after.known[1].alone), (1, 0));
    assert!(persons[0].starts_with("1,"));
    assert!(events.iter().all(|event| !event.ends_with(",3") && !event.contains('p')));
}

#[test]
fn dates_go_before_codes_do() {
    let (persons, events) = sixty();
    let dated = "date = \"on\"\ndate_hierarchy = { dates = [\"month\", \"year\"] }\n";
    let months = |k: u64| {
        let policy = format!("{POLICY}{dated}{KM}").replace("k = 3", &format!("k = {k}"));
        let (receipt, persons, events) = release(&persons, Some(&events), &policy).unwrap();
        add_up(&receipt, &persons, &events);
        let dates = |event: &String| event.matches(',').count() == 2 && !event.contains("2024-01-11");
        assert!(events.iter().all(dates), "three columns, and no days");
        let facts = receipt.events.unwrap();
        let [days, months, years, _] = facts.date_levels.as_slice() else { panic!("{:?}", facts.date_levels) };
        assert_eq!(days.events, 0);
        assert!(months.events + years.events > 0);
        months.events
    };
    let (few, many) = (months(2), months(9));
    assert!(few > many, "{few} months told for 2 persons, {many} for 9");
}

/// Persons with two codes each, many of them alike, of two rows each.
fn many_persons() -> String {
    let mut text = "id,age,sex,died,stay,a,b\n".to_owned();
    for at in 0..600_u64 {
        let draw = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let (age, sex, stay, code) = (draw % 40, draw / 40 % 2, draw / 80 % 30, 1 + draw / 2_400 % 6);
        for _ in 0..2 {
            text += &format!("p{at},{age},{sex},{},{stay},{code},1\n", at % 2);
        }
    }
    text
}

#[test]
fn persons_are_drawn_and_their_columns_transformed() {
    let with = |stay: &str| {
        let head = "[sample]\nshare = 0.5\nseed = 3\n[columns]";
        let stay = format!("died = {{ role = \"sensitive\" }}\n    stay = {{ role = \"insensitive\"{stay} }}");
        let policy = format!("{POLICY}{KM}").replace("[columns]", head);
        policy.replace("died = { role = \"sensitive\" }", &stay)
    };
    let (receipt, persons, events) = release(&many_persons(), None, &with(", transform = { top = 20 }")).unwrap();
    add_up(&receipt, &persons, &events);
    // All rows of a person are drawn, or none.
    let sample = receipt.sample.as_ref().unwrap();
    assert_eq!((sample.rows, sample.drawn), (600, receipt.rows.input - receipt.rows.not_sampled));
    assert!((200..400).contains(&sample.drawn));
    let facts = receipt.events.as_ref().unwrap();
    assert_eq!((facts.pooled.rows, facts.pooled.of_several_rows), (1_200, sample.drawn));
    assert!(combinations(&persons, &events, 2).values().all(|who| who.len() >= 3));
    let stays = |persons: &[String]| -> Vec<u64> {
        persons.iter().map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(stays(&persons).into_iter().max(), Some(20));
    assert_eq!(receipt.transformations.iter().map(|step| step.kind.as_str()).collect::<Vec<_>>(), ["limits"]);
    // The verifier of events looks at values too: what was not coded at the top is found.
    let (_, exact, events) = release(&many_persons(), None, &with("")).unwrap();
    assert!(stays(&exact).into_iter().max() > Some(20));
    let (policy, files) = policy_with(&with(", transform = { top = 20 }"));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.csv"), format!("person,age,sex,died,stay\n{}\n", exact.join("\n"))).unwrap();
    std::fs::write(at("b.csv"), format!("person,code\n{}\n", events.join("\n"))).unwrap();
    let error = recount_events(&at("a.csv"), &at("b.csv"), &policy, &files, None).unwrap_err();
    assert!(matches!(error, DeidentifyError::Untransformed { .. }), "{error}");
}

#[test]
fn a_column_that_a_guard_looks_at_is_pooled_before_codes_are_told() {
    let lkc = "[[models]]\nmodel = \"lkc-privacy\"\ncolumn = \"stay\"\nl = 1\nc = 0.9\n";
    let stay = "died = { role = \"insensitive\" }\n    stay = { role = \"sensitive\", transform = { rare = { fewer_than = 18 } } }";
    let policy = format!("{POLICY}{KM}{lkc}").replace("died = { role = \"sensitive\" }", stay);
    let (receipt, persons, events) = release(&many_persons(), None, &policy).unwrap();
    add_up(&receipt, &persons, &events);
    let mut stays: BTreeMap<&str, usize> = BTreeMap::new();
    persons.iter().for_each(|line| *stays.entry(line.rsplit(',').next().unwrap()).or_default() += 1);
    assert!(stays.values().all(|rows| *rows >= 18), "{stays:?}");
    assert!(receipt.transformations.iter().any(|step| step.kind == "rare" && step.columns == ["stay"]));
}

#[test]
fn a_forged_release_is_refused() {
    let (policy, files) = policy_with(&format!("{POLICY}{KM}"));
    let folder = tempfile::tempdir().unwrap();
    let check = |persons: &str, events: &str| {
        let (a, b) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        std::fs::write(&a, persons).unwrap();
        std::fs::write(&b, events).unwrap();
        recount_events(&a, &b, &policy, &files, None).map_err(|error| error.to_string())
    };
    let persons = "person,age,sex,died\n1,0-9,m,0\n2,0-9,m,0\n3,0-9,m,1\n";
    let good = "person,code\n1,A\n2,A\n3,A\n";
    let (_, found) = check(persons, good).unwrap();
    assert_eq!((found.events, found.combinations, found.smallest), (3, 2, 3));
    let refused = |persons: &str, events: &str| check(persons, events).unwrap_err();
    assert!(refused(persons, "person,code\n1,A\n2,A\n").contains("(k,k^m)-anonymity"));
    assert!(refused(persons, "person,code\n1,A\n1,B\n2,A\n2,B\n3,A\n").contains("(k,k^m)-anonymity"));
    assert!(refused(persons, "person,code\n4,A\n").contains("row 2: its person is not in the table"));
    assert!(refused(persons, "person,code\n1,\n").contains("row 2 has no code"));
    assert!(refused(persons, "person,code,note\n1,A,x\n").contains("column note"));
    assert!(refused("person,age,sex,died,id\n1,0-9,m,0,p\n", good).contains("column id"));
    assert!(refused("person,age,sex,died\n1,0-9,m,0\n1,0-9,m,0\n", good).contains("twice"));
}

#[test]
fn attacks_stay_within_the_limit_up_to_the_codes_protected_from() {
    let mut text = "id,age,sex,died,a,b\n".to_owned();
    for at in 0..600_u64 {
        let draw = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        text +=
            &format!("p{at},{},{},{},{},{}\n", draw % 40, draw / 40 % 2, at % 2, 1 + draw / 80 % 6, 1 + draw / 480 % 6);
    }
    let (receipt, ..) =
        release(&text, None, &format!("{POLICY}{KM}").replace("maximum_risk = 1.0", "maximum_risk = 0.34")).unwrap();
    let attacks = receipt.attacks.unwrap().results;
    let with: Vec<_> = attacks.iter().filter(|attack| attack.variant.contains("code")).collect();
    assert_eq!(with.len(), 5);
    for (attack, codes) in with.iter().zip(1..) {
        assert_eq!((attack.attack, attack.limit.is_some()), (AttackKind::Matching, codes <= 2));
        assert!(attack.limit.is_none_or(|limit| attack.highest.unwrap() <= limit));
        assert!(attack.interval.upper >= attack.rate);
    }
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    let refused = |text: &str| policy_with(text).0.check().unwrap_err().to_string();
    assert!(refused(POLICY).contains("how many codes an attacker knows"));
    assert!(refused(&format!("{POLICY}{KM}").replace("[\"a\", \"b\"]", "[]")).contains("at least one column"));
    assert!(
        refused(&format!("{POLICY}{KM}").replace("[\"a\", \"b\"]", "[\"a\", \"a\"]")).contains("different columns")
    );
    assert!(refused(&format!("{POLICY}{KM}").replace("[\"a\", \"b\"]", "[\"age\"]")).contains("column age"));
    assert!(refused(&format!("{POLICY}{KM}").replace("m = 2", "m = 9")).contains("at most 8"));
    assert!(refused(&format!("{POLICY}date = \"on\"\n{KM}")).contains("belong together"));
    let dated = format!("{POLICY}date = \"on\"\ndate_hierarchy = {{ dates = [\"year\"] }}\n{KM}");
    let shifted = "[date_shift]\nkey = \"k\"\ndays_max = 364\n[columns]\n    came = { role = \"insensitive\", transform = { shift = true } }";
    let policy: Policy = toml::from_str(&dated.replace("[columns]", shifted)).unwrap();
    assert!(policy.check().unwrap_err().to_string().contains("would tell the shift"));
    let lkc = "[[models]]\nmodel = \"lkc-privacy\"\ncolumn = \"died\"\nl = 1\nc = 1.5\n";
    assert!(refused(&format!("{POLICY}{lkc}")).contains("c of lkc-privacy"));
    let head = POLICY.split("[events]").next().unwrap();
    assert!(refused(&format!("{head}{KM}")).contains("needs a section [events]"));
}

#[test]
fn a_value_without_a_place_is_told_by_its_row() {
    let table = "id,age,sex,died,a,b\np0,1,m,0,1,9\n";
    let error = release(table, None, &format!("{POLICY}{KM}")).unwrap_err();
    assert_eq!(error.to_string(), "row 1, column a: the value is not in the hierarchy");
    let error = release("id,age,sex,died,a,b\n,1,m,0,1,2\n", None, &format!("{POLICY}{KM}")).unwrap_err();
    assert_eq!(error.to_string(), "in.csv: row 2 has no person");
    assert!(release("id,age,sex,died,a,b\n", None, &format!("{POLICY}{KM}")).unwrap().1.is_empty());
}

#[test]
fn the_events_lie_beside_the_persons() {
    for (persons, events) in
        [("out/safe.csv", "out/safe.events.csv"), ("safe.parquet", "safe.events.parquet"), ("safe", "safe.events")]
    {
        assert_eq!(events_path(Path::new(persons)), Path::new(events));
    }
}
