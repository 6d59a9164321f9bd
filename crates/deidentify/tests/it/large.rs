//! Tables whose rows lie on disk are released as those in memory are, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_deidentify::{DeidentifyError, Policy, deidentify_file, read_policy};

use crate::reference::{policy, shared};

const POLICY: &str = r#"
    k = 3
    maximum_risk = 1.0
    suppression_limit = 0.2
    [columns]
    id = { role = "person-id" }
    name = { role = "direct-identifier" }
    age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [5, 10, 20], lower = 0, upper = 100 } } }
    sex = { role = "quasi-identifier", hierarchy = "suppress" }
    place = { role = "quasi-identifier", hierarchy = { prefixes = [3, 1] } }
    diagnosis = { role = "sensitive" }
    dose = { role = "insensitive" }
"#;

/// Rows that differ from each other, without any source of chance.
fn rows(count: u32) -> String {
    let mut text = "dose,id,age,name,sex,place,diagnosis\n".to_owned();
    for row in 0..count {
        let mixed = row.wrapping_mul(2_654_435_761) >> 8;
        let missing = if mixed % 17 == 0 { String::new() } else { (mixed % 90).to_string() };
        let sex = ["f", "m", ""][(mixed / 90 % 3) as usize];
        text += &format!("{},p{row},{missing},n{row},{sex},{:05},d{}\n", mixed % 7, mixed % 300 * 211, mixed % 5);
    }
    text
}

fn released(
    table: &Path,
    head: &str,
    memory_bytes: u64,
    extension: &str,
) -> Result<(Vec<u8>, String), DeidentifyError> {
    let folder = tempfile::tempdir().unwrap();
    let policy_file = folder.path().join("policy.toml");
    std::fs::write(&policy_file, format!("{head}\n{POLICY}")).unwrap();
    let (policy, files) = read_policy(&policy_file)?;
    let out = folder.path().join(format!("out.{extension}"));
    let receipt = deidentify_file(table, None, &policy, &files, &out, memory_bytes)?;
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left beside the policy and the table: {left:?}");
    Ok((std::fs::read(&out).unwrap(), serde_json::to_string(&receipt).unwrap()))
}

#[test]
fn rows_on_disk_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    std::fs::write(&table, rows(3_000)).unwrap();
    let models = "\n[[models]]\nmodel = \"t-closeness\"\ncolumn = \"diagnosis\"\nt = 0.4\ndistance = \"ordered\"\n";
    for head in ["recoding = \"global\"", "recoding = \"local\""] {
        for extension in ["csv", "parquet"] {
            let memory = released(&table, head, u64::MAX, extension).unwrap();
            let disk = released(&table, head, 0, extension).unwrap();
            assert!(memory.0.len() > 1_000 && memory == disk, "{head} {extension}");
        }
    }
    // Keys of the policy's own table come before any model.
    let with_model = |memory| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        let text = format!("l_diversity = {{ diagnosis = 2 }}\n{POLICY}{models}");
        std::fs::write(&file, text).unwrap();
        let (policy, files) = read_policy(&file).unwrap();
        let out = folder.path().join("out.csv");
        deidentify_file(&table, None, &policy, &files, &out, memory).unwrap();
        std::fs::read(out).unwrap()
    };
    assert_eq!(with_model(u64::MAX), with_model(0));
    // Parquet in, Parquet out; kept numbers stay numbers.
    let parquet = folder.path().join("released.parquet");
    std::fs::write(&parquet, released(&table, "recoding = \"local\"", 0, "parquet").unwrap().0).unwrap();
    let again = tempfile::tempdir().unwrap();
    let strict = "[columns]\nage = { role = \"insensitive\" }\nsex = { role = \"insensitive\" }\ndose = { role = \"insensitive\" }\nplace = { role = \"insensitive\" }\ndiagnosis = { role = \"quasi-identifier\", hierarchy = \"suppress\" }\n";
    let policy: Policy = toml::from_str(strict).unwrap();
    for memory in [u64::MAX, 0] {
        let out = again.path().join("again.parquet");
        let receipt = deidentify_file(&parquet, None, &policy, &BTreeMap::new(), &out, memory).unwrap();
        assert_eq!(receipt.rows.input, receipt.rows.released);
    }
}

#[test]
fn persons_must_differ_on_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    std::fs::write(&table, rows(300).replace(",p7,", ",p8,")).unwrap();
    for memory in [u64::MAX, 0] {
        let refused = released(&table, "", memory, "csv").unwrap_err();
        assert!(matches!(refused, DeidentifyError::NotOneRowPerPerson { .. }), "{refused}");
    }
    std::fs::write(&table, rows(300).replace(",p7,", ",,")).unwrap();
    for memory in [u64::MAX, 0] {
        assert!(matches!(released(&table, "", memory, "csv"), Err(DeidentifyError::NotOneRowPerPerson { .. })));
    }
    std::fs::write(&table, "dose,id,age,name,sex,place,diagnosis\n").unwrap();
    assert_eq!(released(&table, "", u64::MAX, "csv").unwrap(), released(&table, "", 0, "csv").unwrap());
}

#[test]
fn a_real_table_on_disk_gives_the_same_bytes_with_a_population() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/anonymity/adult");
    let subset = folder.join("adult_subset.csv");
    let whole = folder.join("adult.csv.gz");
    let table = acequia_deidentify::FileTable::read(&subset, None).unwrap();
    let columns = ["age", "sex", "race", "education"];
    let head = "k = 2\nmaximum_risk = 1.0\n[[models]]\nmodel = \"k-map\"\nk = 20\n";
    let (policy, files) = policy(&folder, "adult", &table, &columns, Some("occupation"), head);
    let out = tempfile::tempdir().unwrap();
    let release = |memory| {
        let to = out.path().join("released.csv");
        let receipt = deidentify_file(&subset, Some(&whole), &policy, &files, &to, memory).unwrap();
        (std::fs::read(&to).unwrap(), serde_json::to_string(&receipt).unwrap())
    };
    assert_eq!(release(u64::MAX), release(0));
}
