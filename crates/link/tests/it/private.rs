//! Linkage between parties that do not show each other their records.

use acequia_link::{Config, Encoded, Key, encode, link_encoded};
use proptest::prelude::*;

use crate::made::{Made, f1, table, two_files};

const KEY: &str = "5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5";

fn encoded(records: &[Made]) -> Encoded {
    let config = Config::guess(&[&table(records)]).unwrap();
    encode(&table(records), &config, &Key::parse(KEY).unwrap()).unwrap()
}

#[test]
fn the_line_is_drawn_without_truth_whatever_the_overlap() {
    // (share in both files, least F1)
    for (percent, least) in [(90, 0.93), (50, 0.9), (20, 0.85), (5, 0.6)] {
        let (a, b) = two_files(900, percent, 31);
        let linked = link_encoded(&encoded(&a), &encoded(&b), 0.5, 1).unwrap();
        let rows: Vec<_> = linked.links.iter().map(|link| (link.a, link.b)).collect();
        let (f1, missed, wrong) = f1(&a, &b, false, &rows);
        eprintln!("{percent} %: F1 {f1:.4}, {missed} missed, {wrong} wrong, threshold {:?}", linked.summary.threshold);
        assert!(f1 >= least, "{percent} %: F1 {f1}, {missed} missed, {wrong} wrong: {:?}", linked.summary);
    }
    // Two files without anybody in common, but with relatives under one roof, whom a filter cannot tell from slips.
    let (a, b) = two_files(900, 0, 32);
    let linked = link_encoded(&encoded(&a), &encoded(&b), 0.5, 1).unwrap();
    assert!(linked.links.len() <= a.len() / 25, "{} links among strangers", linked.links.len());
}

#[test]
fn threads_and_sides_change_nothing() {
    let (a, b) = two_files(300, 60, 33);
    let (a, b) = (encoded(&a), encoded(&b));
    let once = link_encoded(&a, &b, 0.5, 1).unwrap();
    assert_eq!(link_encoded(&a, &b, 0.5, 3).unwrap(), once);
    assert!(once.links.iter().all(|link| (link.dice - a.dice(link.a as usize, &b, link.b as usize)).abs() < 1e-12));
    let mut a_rows: Vec<_> = once.links.iter().map(|link| link.a).collect();
    a_rows.dedup();
    assert_eq!(a_rows.len(), once.links.len());
}

#[test]
fn a_file_says_nothing_but_its_filters() {
    let (a, _) = two_files(50, 60, 34);
    let bytes = encoded(&a).to_bytes();
    for made in &a {
        for field in made.fields.iter().filter(|field| field.len() > 4) {
            assert!(!bytes.windows(field.len()).any(|part| part == field.as_bytes()));
        }
    }
    assert_eq!(Encoded::from_bytes(&bytes).unwrap().to_bytes(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Dice lies between 0 and 1, is symmetric, is 1 for the same record, and no larger than its bound by set bits alone.
    #[test]
    fn dice_keeps_its_bounds(seed in any::<u64>()) {
        let (a, b) = two_files(8, 60, seed);
        prop_assume!(!a.is_empty() && !b.is_empty());
        let config = Config::parse("column = [{ name = \"surname\", compare = \"name\" }, { name = \"birth_date\", compare = \"date\" }]").unwrap();
        let key = Key::parse(KEY).unwrap();
        let (left, right) = (encode(&table(&a), &config, &key).unwrap(), encode(&table(&b), &config, &key).unwrap());
        for row in 0..a.len() {
            for other in 0..b.len() {
                let dice = left.dice(row, &right, other);
                prop_assert!((0.0..=1.0).contains(&dice));
                prop_assert_eq!(dice, right.dice(other, &left, row));
                let (x, y) = (f64::from(left.set_bits(row)), f64::from(right.set_bits(other)));
                prop_assert!(x + y == 0.0 || dice <= 2.0 * x.min(y) / (x + y) + 1e-12);
            }
            prop_assert!(left.set_bits(row) == 0 || left.dice(row, &left, row) == 1.0);
        }
    }
}
