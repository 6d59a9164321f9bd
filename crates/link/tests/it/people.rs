//! Linkage in the clear on made-up people.

use std::collections::BTreeMap;

use acequia_link::{Config, LinkError, Table, dedupe, link};
use acequia_types::Coded;

use crate::made::{Made, Random, f1, one_file, people, table, two_files};

fn rows(links: &[acequia_link::Link]) -> Vec<(u32, u32)> {
    links.iter().map(|link| (link.a, link.b)).collect()
}

#[test]
fn two_files_are_linked_whatever_they_have_in_common() {
    for (percent, least) in [(80, 0.98), (30, 0.97), (5, 0.93)] {
        let (a, b) = two_files(900, percent, 11);
        let (left, right) = (table(&a), table(&b));
        let config = Config::guess(&[&left, &right]).unwrap();
        let linked = link(&left, &right, &config, 1).unwrap();
        let (f1, missed, wrong) = f1(&a, &b, false, &rows(&linked.links));
        let summary = &linked.summary;
        eprintln!("{percent} %: F1 {f1:.4}, {missed} missed, {wrong} wrong, {:?}", summary.expected);
        assert!(f1 >= least, "{percent} %: F1 {f1}, {missed} missed, {wrong} wrong: {:?}", summary.expected);
        // The model's own expectation is honest.
        let precision = 1.0 - wrong as f64 / summary.links as f64;
        assert!((summary.expected.precision - precision).abs() < 0.04, "{} {precision}", summary.expected.precision);
    }
}

#[test]
fn a_family_under_one_roof_stays_several_people() {
    let records = people(700, 5);
    let found = dedupe(&table(&records), &Config::guess(&[&table(&records)]).unwrap(), 1).unwrap();
    assert!(found.summary.model.household > 0.0);
    assert!(found.links.len() < 8, "{} of {} people were joined", found.links.len(), records.len());
}

#[test]
fn one_file_is_searched() {
    let records = one_file(600, 3);
    let table = table(&records);
    let found = dedupe(&table, &Config::guess(&[&table]).unwrap(), 1).unwrap();
    let (f1, missed, wrong) = f1(&records, &records, true, &rows(&found.links));
    assert!(f1 > 0.97, "F1 {f1}, {missed} missed, {wrong} wrong");
    let clusters: std::collections::BTreeSet<_> = found.cluster.iter().collect();
    assert_eq!((found.cluster.len(), Some(clusters.len() as u64)), (records.len(), found.summary.people));
}

#[test]
fn threads_order_and_sides_change_nothing() {
    let (a, b) = two_files(300, 60, 21);
    let config = Config::guess(&[&table(&a), &table(&b)]).unwrap();
    let names = |a: &[Made], b: &[Made], links: &[acequia_link::Link]| -> BTreeMap<(String, String), u64> {
        let name = |made: &Made| made.fields[0].clone();
        // The last bits of a sum depend on its order.
        links
            .iter()
            .map(|link| ((name(&a[link.a as usize]), name(&b[link.b as usize])), (link.weight * 1e6) as u64))
            .collect()
    };
    let once = link(&table(&a), &table(&b), &config, 1).unwrap();
    for threads in [2, 7] {
        assert_eq!(link(&table(&a), &table(&b), &config, threads).unwrap(), once);
    }
    let known: Vec<_> = names(&a, &b, &once.links).into_keys().collect();
    let turned = link(&table(&b), &table(&a), &config, 1).unwrap();
    let mut back: Vec<_> = names(&b, &a, &turned.links).into_keys().map(|(b, a)| (a, b)).collect();
    back.sort();
    let differing = known.iter().filter(|pair| !back.contains(pair)).count() + back.len().abs_diff(known.len());
    // Random pairs are drawn by row, so a pair at the very threshold may fall on either side.
    assert!(differing <= 1, "{differing} of {} pairs differ", known.len());
    let (mut shuffled_a, mut shuffled_b) = (a.clone(), b.clone());
    Random(1).shuffle(&mut shuffled_a);
    Random(2).shuffle(&mut shuffled_b);
    let shuffled = link(&table(&shuffled_a), &table(&shuffled_b), &config, 1).unwrap();
    let again: Vec<_> = names(&shuffled_a, &shuffled_b, &shuffled.links).into_keys().collect();
    let differing = known.iter().filter(|pair| !again.contains(pair)).count() + again.len().abs_diff(known.len());
    assert!(differing <= 1, "{differing} of {} pairs differ", known.len());
}

#[test]
fn a_rule_that_is_too_coarse_is_refused_before_anything_is_compared() {
    let rows: Vec<String> = (0..2000).map(|at| format!("Secretname{at},Everybody")).collect();
    let table = Table::from_csv(format!("given,surname\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    let config = "blocking = { limit_pairs = 100000, rules = [[\"surname\"]] }\n\
        column = [{ name = \"given\", compare = \"name\" }, { name = \"surname\", compare = \"name\" }]";
    let error = dedupe(&table, &Config::parse(config).unwrap(), 1).unwrap_err();
    let LinkError::TooManyPairs { ref rule, pairs, limit, largest } = error else { panic!("{error}") };
    assert_eq!((rule.as_str(), pairs, limit, largest), ("surname", 1_999_000, 100_000, 2000));
    let said = format!("{error} {error:?} {}", error.hint());
    assert!(!said.contains("Everybody") && !said.contains("Secretname") && error.code() == "LI004", "{said}");
    // Where rules are chosen by size, the same table is searched without that rule.
    let chosen = Config::parse(&config.replace(", rules = [[\"surname\"]]", "")).unwrap();
    let found = dedupe(&table, &chosen, 1).unwrap();
    assert!(found.summary.pairs_compared <= 100_000);
    assert!(
        found.summary.rules_left_out.iter().any(|size| size.rule == "surname"),
        "{:?}",
        found.summary.rules_left_out
    );
}

#[test]
fn configured_rules_are_those_that_are_used() {
    let (a, b) = two_files(200, 50, 4);
    let mut config = Config::guess(&[&table(&a)]).unwrap();
    config.blocking.bands = 0;
    config.blocking.rules =
        [&["surname:sound", "birth_date:year"][..], &["given_name:cologne", "postcode"], &["birth_date"]]
            .map(|rule| rule.iter().map(|key| (*key).to_owned()).collect())
            .to_vec();
    let linked = link(&table(&a), &table(&b), &config, 1).unwrap();
    let named: Vec<_> = linked.summary.rules.iter().map(|size| size.rule.as_str()).collect();
    assert_eq!(named, ["surname:sound + birth_date:year", "given_name:cologne + postcode", "birth_date"]);
    let sizes: u64 = linked.summary.rules.iter().map(|size| size.pairs).sum();
    assert!(linked.summary.pairs_compared <= sizes && sizes > 0);
    assert!(f1(&a, &b, false, &rows(&linked.links)).0 > 0.9);
}

#[test]
fn odd_tables_are_no_trouble() {
    let config =
        Config::parse("column = [{ name = \"a\", compare = \"name\" }, { name = \"b\", compare = \"date\" }]").unwrap();
    let of = |text: &str| Table::from_csv(text.as_bytes()).unwrap();
    // No rows, one row, nothing in common, all the same.
    assert!(dedupe(&of("a,b\n"), &config, 1).is_err());
    assert_eq!(dedupe(&of("a,b\nAnn,1990-01-01\n"), &config, 1).unwrap().cluster, [0]);
    assert!(link(&of("a,b\nAnn,1990-01-01\n"), &of("a,b\n"), &config, 1).unwrap().links.is_empty());
    assert!(link(&of("a,b\nAnn,\n"), &of("a,b\n,1990-01-01\n"), &config, 1).unwrap().links.is_empty());
    let same = "a,b\n".to_owned() + &"Ann,1990-01-01\n".repeat(500);
    let found = dedupe(&of(&same), &config, 1).unwrap();
    assert_eq!(found.cluster.len(), 500);
    let error = dedupe(&of("a,c\nSecret,2\n"), &config, 1).unwrap_err();
    assert!(matches!(error, LinkError::Column { .. }) && !error.to_string().contains("Secret"));
}
