//! Attacks on releases of public tables.

use acequia_deidentify::{Attack, AttackKind, Extent, FileTable, Receipt, deidentify_file};

use crate::reference::{policy, shared};

const ADULT: [&str; 8] =
    ["age", "education", "marital-status", "native-country", "race", "salary-class", "sex", "workclass"];

fn attacked(head: &str, extent: Extent) -> Option<Receipt> {
    let folder = shared()?.join("data/anonymity/adult");
    let path = folder.join("adult.csv.gz");
    let table = FileTable::read(&path, None).unwrap();
    let (mut policy, files) = policy(&folder, "adult", &table, &ADULT, Some("occupation"), head);
    policy.attacks.extent = extent;
    let out = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    let receipt = deidentify_file(&path, None, &policy, &files, &out.path().join("out.csv"), u64::MAX).unwrap();
    eprintln!("{extent:?} {:?}", begun.elapsed());
    Some(receipt)
}

fn of(receipt: &Receipt, kind: AttackKind) -> Vec<&Attack> {
    receipt.attacks.iter().flat_map(|attacks| &attacks.results).filter(|attack| attack.attack == kind).collect()
}

#[test]
fn all_attacks_run_on_a_release() {
    for recoding in ["global", "local"] {
        let head = format!("k = 12\nmaximum_risk = 0.09\nsuppression_limit = 0.05\nrecoding = {recoding:?}");
        let Some(gate) = attacked(&head, Extent::Gate) else { return };
        let Some(full) = attacked(&head, Extent::Full) else { return };
        for attack in full.attacks.iter().flat_map(|attacks| &attacks.results) {
            eprintln!("{}\n   {}\n   {attack:?}", attack.named(), attack.conclusion);
        }
        assert_eq!(of(&gate, AttackKind::Matching)[0], of(&full, AttackKind::Matching)[0]);
    }
}
