//! Odd inputs have a right answer or a clear error, in memory and from disk.

use std::path::Path;

use acequia_deidentify::{DeidentifyError, Receipt, deidentify_file, read_policy, recount};
use acequia_types::Coded;

const POLICY: &str = r#"
    k = 2
    maximum_risk = 0.5
    suppression_limit = 0.0
    [columns]
    age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [10, 20], lower = 0, upper = 80 } } }
    place = { role = "quasi-identifier", hierarchy = { file = "places.csv" } }
    ill = { role = "sensitive" }
"#;

/// Released lines behind the header, with the receipt.
type Done = Result<(Vec<String>, Receipt), DeidentifyError>;

fn run(folder: &Path, table: &str, head: &str, memory_bytes: u64) -> Done {
    let (path, policy_file, out) = (folder.join("table.csv"), folder.join("policy.toml"), folder.join("out.csv"));
    std::fs::write(&path, table).unwrap();
    std::fs::write(&policy_file, format!("{head}{POLICY}")).unwrap();
    let (policy, files) = read_policy(&policy_file)?;
    let receipt = deidentify_file(&path, None, &policy, &files, &out, memory_bytes)?;
    recount(&out, &policy, &files, None).unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    Ok((text.lines().skip(1).map(str::to_owned).collect(), receipt))
}

/// Both ways of recoding, in memory and from disk.
fn each(table: &str, check: impl Fn(&str, Done)) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("places.csv"), "a;north;*\nb;north;*\nc;south;*\nd;south;*\n").unwrap();
    for recoding in ["global", "local"] {
        for memory_bytes in [u64::MAX, 0] {
            let head = format!("recoding = {recoding:?}\n");
            check(&format!("{recoding} {memory_bytes}"), run(folder.path(), table, &head, memory_bytes));
        }
    }
}

#[test]
fn an_empty_table_stays_empty() {
    each("age,place,ill\n", |how, done| {
        let (lines, receipt) = done.unwrap();
        assert_eq!((lines.len(), receipt.rows.input, receipt.classes.count), (0, 0, 0), "{how}");
    });
}

/// What people open in a spreadsheet runs nothing there, and what was given is read again.
#[test]
fn no_released_text_is_a_formula() {
    let cell = "=HYPERLINK(\"\"x\"\")";
    let table = format!("age,place,ill\n34,a,\"{cell}\"\n35,a,-1.5\n36,b,@SUM(A1)\n37,b,+\n");
    each(&table, |how, done| {
        let ill: Vec<String> =
            done.unwrap().0.iter().map(|line| line.splitn(3, ',').nth(2).unwrap().to_owned()).collect();
        let mut ill: Vec<&str> = ill.iter().map(String::as_str).collect();
        ill.sort_unstable();
        assert_eq!(ill, ["\"'=HYPERLINK(\"\"x\"\")\"", "'@SUM(A1)", "+", "-1.5"], "{how}");
        let again = format!("age,place,ill\n34,a,{}\n35,a,{}\n36,b,{}\n37,b,{}\n", ill[0], ill[1], ill[2], ill[3]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("places.csv"), "a;north;*\nb;north;*\n").unwrap();
        let lines = run(folder.path(), &again, "", u64::MAX).unwrap().0;
        assert!(lines.iter().any(|line| line.ends_with(ill[0])) && !lines.concat().contains("''"), "{how}: {lines:?}");
    });
}

#[test]
fn an_empty_file_is_no_table() {
    each("", |how, done| assert_eq!(done.unwrap_err().to_string(), "table.csv: the file is empty", "{how}"));
}

#[test]
fn one_row_cannot_hide() {
    each("age,place,ill\n34,a,x\n", |how, done| {
        let error = done.unwrap_err();
        assert!(matches!(error, DeidentifyError::Unreachable { k: 2, limit: 0, rows: 1 }), "{how}: {error}");
    });
}

#[test]
fn rows_that_all_differ_are_alike_at_the_root_at_the_latest() {
    let rows: Vec<String> = (0..64).map(|row| format!("{},{},{row}", row + 1, ["a", "b", "c", "d"][row % 4])).collect();
    each(&format!("age,place,ill\n{}\n", rows.join("\n")), |how, done| {
        let (lines, receipt) = done.unwrap();
        assert_eq!((lines.len(), receipt.rows.suppressed), (64, 0), "{how}");
        assert!(receipt.classes.smallest >= 2, "{how}");
    });
}

#[test]
fn missing_values_are_alike_and_stay_missing() {
    each(&format!("age,place,ill\n{}", ",,\n".repeat(5)), |how, done| {
        let (lines, receipt) = done.unwrap();
        assert_eq!(lines, [",,"; 5], "{how}");
        assert_eq!((receipt.classes.count, receipt.classes.smallest), (1, 5), "{how}");
    });
}

#[test]
fn a_leaf_that_the_hierarchy_lacks_is_told_by_its_row() {
    each("age,place,ill\n34,a,x\n35,b,x\n36,secret,x\n", |how, done| {
        let error = done.unwrap_err();
        assert_eq!(error.to_string(), "row 3, column place: the value is not in the hierarchy", "{how}");
        assert_eq!(error.code(), "DE003");
    });
}

#[test]
fn a_row_that_is_too_short_is_told_by_its_line() {
    each("age,place,ill\n34,a,x\n35,b\n", |how, done| {
        assert_eq!(done.unwrap_err().to_string(), "table.csv: row 3 has 2 fields where 3 are expected", "{how}");
    });
}

#[test]
fn a_million_leaves_are_no_trouble() {
    const LEAVES: u32 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    // An odd factor gives every value below the power of two once.
    let leaf = |at: u32| at.wrapping_mul(2_654_435_761) % LEAVES;
    let (mut hierarchy, mut table) = (String::new(), "leaf\n".to_owned());
    for at in 0..LEAVES {
        hierarchy += &format!("{};g{};*\n", leaf(at), leaf(at) >> 10);
        table += &format!("{}\n", leaf(at));
    }
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("leaves.csv"), hierarchy).unwrap();
    std::fs::write(path("table.csv"), table).unwrap();
    let policy = "k = 5\nmaximum_risk = 1.0\nsuppression_limit = 0.0\n[attacks]\nenabled = false\n[columns]\nleaf = { role = \"quasi-identifier\", hierarchy = { file = \"leaves.csv\" } }\n";
    std::fs::write(path("policy.toml"), policy).unwrap();
    let (policy, files) = read_policy(&path("policy.toml")).unwrap();
    let receipt = deidentify_file(&path("table.csv"), None, &policy, &files, &path("out.csv"), u64::MAX).unwrap();
    assert_eq!((receipt.rows.released, receipt.classes.count, receipt.quasi_identifiers[0].level), (1 << 20, 1_024, 1));
    assert_eq!(receipt.classes.smallest, 1_024);
}

#[test]
fn exact_days_are_kept_by_no_release() {
    let days = |rows: [&str; 2]| format!("age,place,ill\n1,a,{}\n2,a,{}\n3,a,\n", rows[0], rows[1]);
    let refused = "column ill: days are kept by no release: make it a quasi-identifier, or a time since another event";
    for text in [days(["2021-03-04", "2021-03-05"]), days(["2021-03-04T10:00:00", "2021-03-04 11:00"])] {
        each(&text, |how, done| assert_eq!(done.unwrap_err().to_string(), refused, "{how}"));
    }
    // Years, and texts of which only some begin with a day, are something else.
    for text in [days(["2021", "2022"]), days(["2021-03-04", "unknown"])] {
        each(&text, |how, done| assert_eq!(done.unwrap().0.len(), 3, "{how}"));
    }
}
